//! Counts the frames of HTTP/2 that cost the receiver work and carry nothing.
//!
//! h2 bounds what is remembered of them, but answers each `PING` and `SETTINGS`, and looks at each empty `DATA`, for as
//! long as they come. A client that means well sends a few a second.

/// How many such frames a client may send in a second.
const MOST_PER_TICK: u32 = 2_000;

/// The client's preface comes before its first frame.
const PREFACE: usize = 24;
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Follows the frames that come from a client, as far as type and length go.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Bytes to pass over before the next header.
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
    tick: u32,
    counted: u32,
}

/// More frames than anybody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl FrameMeter {
    /// For a connection that has sent nothing yet.
    pub(super) fn new() -> FrameMeter {
        FrameMeter { skip: PREFACE, header: [0; HEADER], filled: 0, tick: 0, counted: 0 }
    }

    /// Looks at the next bytes of the connection, which came in this tick (of a second).
    ///
    /// # Errors
    /// Too many frames that carry nothing.
    pub(super) fn read(&mut self, mut bytes: &[u8], tick: u32) -> Result<(), Flood> {
        if tick != self.tick {
            (self.tick, self.counted) = (tick, 0);
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(bytes.len());
                self.skip -= n;
                bytes = &bytes[n..];
                continue;
            }
            let n = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if self.filled == HEADER {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, ..] = self.header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.skip = length;
        let carries = match kind {
            DATA | CONTINUATION => length > 0,
            // One begins a request; the other is the price of receiving an answer, and h2 answers neither.
            HEADERS | WINDOW_UPDATE => true,
            // `RST_STREAM` among them: h2 limits only those of requests that still wait.
            _ => false,
        };
        if carries {
            return Ok(());
        }
        self.counted += 1;
        if self.counted > MOST_PER_TICK { Err(Flood) } else { Ok(()) }
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

    #[test]
    fn frames_that_carry_nothing_are_counted_per_second() {
        const PING: u8 = 6;
        for (kind, payload, counts) in [
            (PING, 8, true),
            (4, 0, true),
            (3, 4, true),
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
            let mut rest = &bytes[..];
            for n in cuts.iter().cycle() {
                let (head, tail) = rest.split_at((*n).min(rest.len()));
                cut.read(head, 1).unwrap();
                rest = tail;
                if rest.is_empty() { break }
            }
            prop_assert_eq!((whole.skip, whole.filled, whole.counted), (cut.skip, cut.filled, cut.counted));
        }

        #[test]
        fn any_bytes_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = FrameMeter::new().read(&bytes, 0);
        }
    }
}
