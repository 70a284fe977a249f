//! Follows the frames of HTTP/2 on a client's connection, as far as type and length go.
//!
//! Of those that come, it counts the ones that cost the receiver work and carry nothing. h2 bounds what is remembered of
//! them, but answers each `PING` and `SETTINGS`, and looks at each empty `DATA`, for as long as they come. A client that
//! means well sends a few a second.
//!
//! Of those that go, it counts the streams that h2 refuses because there are too many: it tells nobody but the client.

/// How many such frames a client may send in a tick of half a second.
const MOST_PER_TICK: u32 = 1_000;

/// The client's preface comes before its first frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;
/// What follows the header of a `RST_STREAM`: why.
const REASON: usize = 4;

/// Where in the header the flags stand, and the one by which a stream ends.
const FLAGS: usize = 4;
const END_STREAM: u8 = 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const REFUSED_STREAM: [u8; REASON] = [0, 0, 0, 7];

/// Follows frames through bytes that are cut anywhere.
#[derive(Debug)]
struct Follower {
    /// Bytes to pass over before the next header.
    skip: usize,
    /// A header, and the reason if it is a reset's.
    begun: [u8; HEADER + REASON],
    filled: usize,
}

impl Follower {
    fn new(skip: usize) -> Follower {
        Follower { skip, begun: [0; HEADER + REASON], filled: 0 }
    }

    /// The next frame's kind and length, taken off the bytes; what it carries is passed over.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<(u8, usize)> {
        let over = self.skip.min(bytes.len());
        *bytes = &bytes[over..];
        self.skip -= over;
        while !bytes.is_empty() {
            let wanted = if self.filled >= HEADER && self.resets() { HEADER + REASON } else { HEADER };
            let n = (wanted - self.filled).min(bytes.len());
            self.begun[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            *bytes = &bytes[n..];
            if self.filled == HEADER && !self.resets() || self.filled == HEADER + REASON {
                self.skip = self.length() - (self.filled - HEADER);
                self.filled = 0;
                return Some((self.begun[3], self.length()));
            }
        }
        None
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.begun;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    /// Whether the header is one of a reset with a reason to be read.
    fn resets(&self) -> bool {
        self.begun[3] == RST_STREAM && self.length() >= REASON
    }

    /// Whether the frame that was told last, one of data, is the last of its stream.
    fn ends_stream(&self) -> bool {
        self.begun[FLAGS] & END_STREAM != 0
    }

    /// Whether the frame that was told last refuses a stream.
    fn refuses(&self) -> bool {
        self.resets() && self.begun[HEADER..] == REFUSED_STREAM
    }
}

/// Counts what comes from a client and carries nothing.
#[derive(Debug)]
pub(super) struct FrameMeter {
    follower: Follower,
    tick: u32,
    counted: u32,
}

/// More frames than anybody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl FrameMeter {
    /// For a connection that has sent nothing yet.
    pub(super) fn new() -> FrameMeter {
        FrameMeter { follower: Follower::new(PREFACE), tick: 0, counted: 0 }
    }

    /// Looks at the next bytes of the connection, which came in this tick.
    ///
    /// # Errors
    /// Too many frames that carry nothing.
    pub(super) fn read(&mut self, mut bytes: &[u8], tick: u32) -> Result<(), Flood> {
        if tick != self.tick {
            (self.tick, self.counted) = (tick, 0);
        }
        while let Some((kind, length)) = self.follower.next(&mut bytes) {
            let carries = match kind {
                // The end of a body is often a frame of its own.
                DATA => length > 0 || self.follower.ends_stream(),
                CONTINUATION => length > 0,
                // One begins a request; the other is the price of receiving an answer, and h2 answers neither.
                HEADERS | WINDOW_UPDATE => true,
                // `RST_STREAM` among them: h2 limits only those of requests that still wait.
                _ => false,
            };
            self.counted += u32::from(!carries);
            if self.counted > MOST_PER_TICK {
                return Err(Flood);
            }
        }
        Ok(())
    }
}

/// Counts the streams that are refused to a client.
#[derive(Debug)]
pub(super) struct RefusedStreams(Follower);

impl RefusedStreams {
    /// For a connection on which nothing was said yet.
    pub(super) fn new() -> RefusedStreams {
        RefusedStreams(Follower::new(0))
    }

    /// Looks at the next bytes that went to the client: how many streams they refuse.
    pub(super) fn written(&mut self, mut bytes: &[u8]) -> u32 {
        let mut refused = 0;
        while self.0.next(&mut bytes).is_some() {
            refused += u32::from(self.0.refuses());
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![(payload >> 16) as u8, (payload >> 8) as u8, payload as u8, kind, 0, 0, 0, 0, 1];
        bytes.resize(HEADER + payload, kind);
        bytes
    }

    fn reset(reason: u8) -> Vec<u8> {
        [&frame(RST_STREAM, REASON)[..HEADER], &[0, 0, 0, reason]].concat()
    }

    /// The same bytes in pieces of these lengths, over and over.
    fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
        cuts.iter().cycle().map_while(move |n| {
            let (head, tail) = bytes.split_at((*n).min(bytes.len()));
            bytes = tail;
            (!head.is_empty()).then_some(head)
        })
    }

    #[test]
    fn frames_that_carry_nothing_are_counted_per_second() {
        const PING: u8 = 6;
        for (kind, payload, counts) in [
            (PING, 8, true),
            (4, 0, true),
            (RST_STREAM, 4, true),
            (DATA, 0, true),
            (CONTINUATION, 0, true),
            (DATA, 100, false),
            (HEADERS, 100, false),
            (WINDOW_UPDATE, 4, false),
            (200, 5, true),
        ] {
            let mut meter = FrameMeter::new();
            meter.read(&[0; PREFACE], 7).unwrap();
            for n in 1..=3 * MOST_PER_TICK {
                let read = meter.read(&frame(kind, payload), 7);
                assert_eq!(read.is_err(), counts && n > MOST_PER_TICK, "{kind} {n}");
                if read.is_err() {
                    break;
                }
            }
            assert_eq!(meter.read(&frame(kind, payload), 8), Ok(()), "a new second");
        }
    }

    #[test]
    fn the_end_of_a_body_is_something() {
        let (mut meter, mut last) = (FrameMeter::new(), frame(DATA, 0));
        last[FLAGS] = END_STREAM;
        meter.read(&[0; PREFACE], 7).unwrap();
        for n in 1..=3 * MOST_PER_TICK {
            assert_eq!(meter.read(&last, 7), Ok(()), "{n}");
        }
    }

    #[test]
    fn of_all_that_is_written_only_refusals_count() {
        let mut refused = RefusedStreams::new();
        for (bytes, n) in [
            (reset(7), 1),
            (reset(8), 0),
            ([reset(7), reset(0), reset(7)].concat(), 2),
            // A refusal within an answer's bytes is none.
            ([&frame(DATA, 13)[..HEADER], &reset(7)].concat(), 0),
            (frame(RST_STREAM, 0), 0),
            // As long as no reset is, and yet followed.
            ([&frame(RST_STREAM, 5)[..HEADER], &[0, 0, 0, 7, 7], &reset(7)].concat(), 2),
            (frame(6, 8), 0),
        ] {
            assert_eq!(refused.written(&bytes), n, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_between_reads_change_nothing(
            frames in proptest::collection::vec((0u8..12, 0usize..40), 0..60),
            cuts in proptest::collection::vec(1usize..30, 1..200),
        ) {
            let mut bytes = vec![0; PREFACE];
            frames.iter().for_each(|&(kind, payload)| bytes.extend(frame(kind, payload)));
            let mut whole = FrameMeter::new();
            whole.read(&bytes, 1).unwrap();
            let mut cut = FrameMeter::new();
            pieces(&bytes, &cuts).for_each(|piece| cut.read(piece, 1).unwrap());
            let state = |meter: &FrameMeter| (meter.follower.skip, meter.follower.filled, meter.counted);
            prop_assert_eq!(state(&whole), state(&cut));
            prop_assert_eq!(state(&whole).0, 0);
        }

        #[test]
        fn cuts_between_writes_change_nothing(
            frames in proptest::collection::vec((0u8..12, 0usize..40, 6u8..9), 0..60),
            cuts in proptest::collection::vec(1usize..30, 1..200),
        ) {
            let is_reset = |kind| matches!(kind, RST_STREAM | 10 | 11);
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|&(kind, payload, reason)| {
                    if is_reset(kind) { reset(reason) } else { frame(kind, payload) }
                })
                .collect();
            let expected = frames.iter().filter(|&&(kind, _, reason)| is_reset(kind) && reason == 7).count();
            let mut refused = RefusedStreams::new();
            let counted: u32 = pieces(&bytes, &cuts).map(|piece| refused.written(piece)).sum();
            prop_assert_eq!(counted as usize, expected);
        }

        #[test]
        fn any_bytes_may_come_and_go(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = FrameMeter::new().read(&bytes, 0);
            let _ = RefusedStreams::new().written(&bytes);
        }
    }
}
