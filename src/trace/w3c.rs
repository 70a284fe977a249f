//! Reads and writes `traceparent` (W3C Trace Context, levels 1 and 2).
//!
//! `00-<32 hex>-<16 hex>-<2 hex>`, lower case only. For its companion `tracestate` see [`super::state`].

use super::id::{SegmentId, TraceId, hex_digit};

/// Length of a version 00 value.
pub const LENGTH: usize = 55;

const SAMPLED: u8 = 0b01;
/// Level 2: the right-most seven bytes of the trace id are random. To be handed on as it came.
const RANDOM: u8 = 0b10;

/// A valid `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub parent: SegmentId,
    /// Flag bit 0.
    pub sampled: bool,
    /// Flag bit 1.
    pub random: bool,
}

impl Traceparent {
    /// `None` for whatever the standard calls invalid.
    pub fn read(value: &[u8]) -> Option<Traceparent> {
        // spec: a version 00 header has exactly four fields; a higher version is read by its first four fields, and
        // if it is longer a dash must follow the flags.
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let version = hex_byte(&head[..2])?;
        let longer_is_allowed = version != 0 && rest.first() == Some(&b'-');
        if version == 0xff || !(rest.is_empty() || longer_is_allowed) {
            return None;
        }
        if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        let parent = &head[36..52];
        if parent.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let flags = hex_byte(&head[53..55])?;
        Some(Traceparent {
            trace: TraceId::from_w3c(&head[3..35])?,
            parent: SegmentId::parse(parent)?,
            sampled: flags & SAMPLED != 0,
            random: flags & RANDOM != 0,
        })
    }

    /// The version 00 spelling; flags other than the two known ones are never set.
    pub fn to_text(self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.trace.to_w3c());
        text[36..52].copy_from_slice(&self.parent.to_hex());
        text[54] = b'0' + u8::from(self.sampled) * SAMPLED + u8::from(self.random) * RANDOM;
        text
    }
}

/// Two lower-case hex digits.
fn hex_byte(pair: &[u8]) -> Option<u8> {
    if pair.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[track_caller]
    fn check(value: &str, valid: bool) {
        assert_eq!(Traceparent::read(value.as_bytes()).is_some(), valid, "{value}");
    }

    #[test]
    fn the_standard_says_which_are_valid() {
        check(&format!("00-{TRACE}-b7ad6b7169203331-01"), true);
        check(&format!("00-{TRACE}-b7ad6b7169203331-ff"), true);
        check(&format!("cc-{TRACE}-b7ad6b7169203331-01"), true);
        check(&format!("cc-{TRACE}-b7ad6b7169203331-01-what-the-future-brings"), true);
        check(&format!("cc-{TRACE}-b7ad6b7169203331-01.what"), false);
        check(&format!("00-{TRACE}-b7ad6b7169203331-01-more"), false);
        check(&format!("ff-{TRACE}-b7ad6b7169203331-01"), false);
        check(&format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), false);
        check(&format!("00-{TRACE}-B7AD6B7169203331-01"), false);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", false);
        check(&format!("00-{TRACE}-0000000000000000-01"), false);
        check(&format!("00-{TRACE}-b7ad6b7169203331-0"), false);
        check(&format!("00-{TRACE}-b7ad6b7169203331-0X"), false);
        check(&format!("00-{TRACE}-b7ad6b7169203331-0A"), false);
        check(&format!("0x-{TRACE}-b7ad6b7169203331-01"), false);
        check(&format!("00_{TRACE}-b7ad6b7169203331-01"), false);
        check("", false);
    }

    proptest! {
        #[test]
        fn printing_then_reading_gives_the_same(random: [u8; 12], seconds: u32, id: u64, sampled: bool, level2: bool) {
            let parent = Traceparent {
                trace: TraceId::new(seconds, random), parent: SegmentId::new(id), sampled, random: level2,
            };
            prop_assert_eq!(Traceparent::read(&parent.to_text()), Some(parent));
        }

        #[test]
        fn no_bytes_panic(value: Vec<u8>) {
            let _ = Traceparent::read(&value);
        }
    }
}
