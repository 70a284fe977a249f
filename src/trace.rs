//! What a request arrived with and leaves with.
//!
//! Two headers can carry a trace: `X-Amzn-Trace-Id` and `traceparent`. The one that carries a parent wins; if both do,
//! X-Ray's; if neither does, the X-Ray `Root` is kept. So a load balancer's `Root`-only header does not cut a W3C
//! caller off from its own trace, and a `Root` that came in survives.

pub mod id;
pub mod state;
pub mod w3c;
pub mod xray;

pub use id::{SegmentId, TraceId};
use w3c::Traceparent;
pub use xray::Said;
use xray::{Extras, XrayHeader};

/// W3C level 2 wants it said of new traces whether the last seven bytes of their id are random; all of ours are.
const NEW_IS_RANDOM: bool = true;

/// The header that gave the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `X-Amzn-Trace-Id`.
    Xray,
    /// `traceparent`.
    W3c,
    /// Neither was there.
    None,
}

/// What became of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The trace goes on.
    Continued,
    /// There was none; a new trace starts.
    Started,
    /// The trace goes on, but a stricter reader would have stumbled over the header.
    Repaired,
    /// A header was there from which no trace could be read; a new trace starts.
    Rejected,
}

/// What a request arrived with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The trace to continue.
    pub trace: Option<TraceId>,
    /// The caller's segment; only ever with `trace`.
    pub parent: Option<SegmentId>,
    /// The caller's decision.
    pub said: Said,
    /// `Sampled=?` was there: the decision goes into the response.
    pub asked: bool,
    /// To be handed on with `X-Amzn-Trace-Id`.
    pub extras: Extras,
    /// To be handed on with `traceparent`: what the caller said of its trace id, and the truth about an id of ours.
    pub random: bool,
    /// A `tracestate` belongs to the trace that goes on; otherwise its trace ends here, and it with it.
    pub state: bool,
    /// Which header won.
    pub format: Format,
    /// And how it was read.
    pub reading: Reading,
}

impl Arrived {
    /// Reads the two headers. Each is given as its fields in the order received: the first `X-Amzn-Trace-Id` counts,
    /// and more than one `traceparent` counts as none, as the standard wants.
    pub fn read<'a>(
        mut xray: impl Iterator<Item = &'a [u8]>,
        mut traceparent: impl Iterator<Item = &'a [u8]>,
    ) -> Arrived {
        let header = xray.next().map(XrayHeader::read);
        let repeated = header.is_some() && xray.next().is_some();
        let w3c_field = traceparent.next();
        let w3c = match (w3c_field, traceparent.next()) {
            (Some(value), None) => Traceparent::read(value.trim_ascii()),
            _ => None,
        };
        let Some(header) = header else {
            return match w3c {
                Some(w3c) => Arrived::from_w3c(w3c, Extras::default(), false),
                None if w3c_field.is_some() => Arrived::unknown(Format::W3c, Reading::Rejected),
                None => Arrived::unknown(Format::None, Reading::Started),
            };
        };
        let asked = header.said == Said::Ask;
        match w3c {
            Some(w3c) if header.parent.is_none() => Arrived::from_w3c(w3c, header.extras, asked),
            _ => Arrived {
                trace: header.root,
                parent: header.parent,
                said: header.said,
                asked,
                extras: header.extras,
                random: match header.root {
                    Some(root) => w3c.is_some_and(|w3c| w3c.random && w3c.trace == root),
                    None => NEW_IS_RANDOM,
                },
                // A `traceparent` that cannot be read takes its `tracestate` with it, whatever X-Ray's header says.
                state: header.root.is_some() && (w3c.is_some() || w3c_field.is_none()),
                format: Format::Xray,
                reading: match header.root {
                    Some(_) if header.flawed || repeated => Reading::Repaired,
                    Some(_) => Reading::Continued,
                    None if header.root_refused => Reading::Rejected,
                    None => Reading::Started,
                },
            },
        }
    }

    fn from_w3c(w3c: Traceparent, extras: Extras, asked: bool) -> Arrived {
        Arrived {
            trace: Some(w3c.trace),
            parent: Some(w3c.parent),
            said: if w3c.sampled { Said::Keep } else { Said::Drop },
            asked,
            extras,
            random: w3c.random,
            state: true,
            format: Format::W3c,
            reading: Reading::Continued,
        }
    }

    fn unknown(format: Format, reading: Reading) -> Arrived {
        Arrived {
            trace: None,
            parent: None,
            said: Said::Nothing,
            asked: false,
            extras: Extras::default(),
            random: NEW_IS_RANDOM,
            state: false,
            format,
            reading,
        }
    }

    /// Forgets the caller's trace and decision, as an untrusted caller's must be; returns the `Root` it named.
    pub fn disown(&mut self) -> Option<TraceId> {
        self.parent = None;
        self.said = Said::Nothing;
        self.random = NEW_IS_RANDOM;
        self.state = false;
        self.trace.take()
    }
}

/// What a request leaves with.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// The trace.
    pub trace: TraceId,
    /// The id under which the application's own segments will hang.
    pub parent: SegmentId,
    /// The decision; the application's SDK obeys it.
    pub sampled: bool,
    /// Parts of the incoming header to be handed on.
    pub extras: &'a Extras,
    /// W3C level 2 flag to be handed on.
    pub random: bool,
    /// A `tracestate` goes on, if it is one.
    pub state: bool,
}

impl Leaving<'_> {
    /// Appends the value of `X-Amzn-Trace-Id`.
    pub fn write_xray(&self, out: &mut Vec<u8>) {
        xray::write(self.trace, self.parent, self.sampled, self.extras, out);
    }

    /// The value of `traceparent`; says the same as `X-Amzn-Trace-Id`.
    pub fn traceparent(&self) -> [u8; w3c::LENGTH] {
        Traceparent { trace: self.trace, parent: self.parent, sampled: self.sampled, random: self.random }
            .to_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XRAY: &str = "1-5759e988-bd862e3fe1be46a994272793";
    const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[track_caller]
    fn check(xray: &[&str], w3c: &[&str], expected: &str) {
        let arrived = Arrived::read(xray.iter().map(|v| v.as_bytes()), w3c.iter().map(|v| v.as_bytes()));
        let trace = arrived.trace.map_or("none".into(), |trace| trace.to_string()[..10].to_owned());
        let parent = arrived.parent.map_or("none".into(), |parent| parent.to_string()[..4].to_owned());
        let got = format!("{:?} {:?}: {trace} {parent} {:?}", arrived.format, arrived.reading, arrived.said);
        assert_eq!(got, expected, "{xray:?} {w3c:?}");
    }

    #[test]
    fn the_header_that_carries_a_parent_wins() {
        let full = format!("Root={XRAY};Parent=53995c3f42cd8ad8;Sampled=0");
        check(&[&full], &[W3C], "Xray Continued: 1-5759e988 5399 Drop");
        check(&[&format!("Root={XRAY};Sampled=0")], &[W3C], "W3c Continued: 1-0af76519 b7ad Keep");
        check(&[&format!("Root={XRAY}")], &["garbage"], "Xray Continued: 1-5759e988 none Nothing");
        check(&[], &[W3C], "W3c Continued: 1-0af76519 b7ad Keep");
        check(&["Root=bad;Parent=53995c3f42cd8ad8"], &[W3C], "W3c Continued: 1-0af76519 b7ad Keep");
    }

    #[test]
    fn nothing_legible_starts_a_new_trace() {
        check(&[], &[], "None Started: none none Nothing");
        check(&["Root=bad;Sampled=1"], &[], "Xray Rejected: none none Keep");
        check(&["Sampled=?"], &[], "Xray Started: none none Ask");
        check(&[], &["00-bad"], "W3c Rejected: none none Nothing");
        check(&[], &[W3C, W3C], "W3c Rejected: none none Nothing");
    }

    #[test]
    fn the_first_of_several_xray_headers_counts() {
        check(&[&format!("Root={XRAY};Sampled=1"), "Root=other"], &[], "Xray Repaired: 1-5759e988 none Keep");
    }

    /// Whether a `tracestate` goes on, and whether the outgoing trace id is called random.
    #[track_caller]
    fn check_level_2(xray: &[&str], w3c: &[&str], state: bool, random: bool) {
        let arrived = Arrived::read(xray.iter().map(|v| v.as_bytes()), w3c.iter().map(|v| v.as_bytes()));
        assert_eq!((arrived.state, arrived.random), (state, random), "{xray:?} {w3c:?}");
    }

    #[test]
    fn a_tracestate_goes_on_with_its_trace_and_ends_with_it() {
        let full = format!("Root={XRAY};Parent=53995c3f42cd8ad8;Sampled=0");
        let same = "00-5759e988bd862e3fe1be46a994272793-b7ad6b7169203331-02";
        check_level_2(&[], &[W3C], true, false);
        check_level_2(&[], &[same], true, true);
        check_level_2(&[], &[], false, true);
        check_level_2(&[], &["00-bad"], false, true);
        check_level_2(&[], &[W3C, W3C], false, true);
        check_level_2(&["Root=bad"], &[], false, true);
        check_level_2(&[&full], &[], true, false);
        check_level_2(&[&full], &[same], true, true);
        check_level_2(&[&full], &[W3C], true, false);
        check_level_2(&[&full], &["00-bad"], false, false);
    }

    #[test]
    fn a_disowned_trace_takes_its_state_along() {
        let mut arrived = Arrived::read(std::iter::empty(), [W3C.as_bytes()].into_iter());
        arrived.disown();
        assert!(!arrived.state && arrived.random, "{arrived:?}");
    }

    #[test]
    fn both_headers_leave_with_the_same_words() {
        let leaving = Leaving {
            trace: TraceId::from_xray(XRAY.as_bytes()).unwrap(),
            parent: SegmentId::new(0x53995c3f42cd8ad8),
            sampled: true,
            extras: &Extras::default(),
            random: false,
            state: true,
        };
        let mut xray = Vec::new();
        leaving.write_xray(&mut xray);
        assert_eq!(
            String::from_utf8(xray).unwrap(),
            format!("Root={XRAY};Parent=53995c3f42cd8ad8;Sampled=1")
        );
        assert_eq!(&leaving.traceparent(), b"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
    }
}
