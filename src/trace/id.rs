//! `TraceId` and `SegmentId`: fixed bytes, parsed once at the edge, printed in either spelling.
//!
//! X-Ray writes a trace id as `1-` 8 hex `-` 24 hex, W3C as 32 hex; both are the same 16 bytes. All-zero ids are
//! invalid in W3C and used by the X-Ray Go SDK to say "no trace", so neither type can hold zero.

use std::fmt;

/// Each byte in hex. A table of pairs, because every request has 48 bytes written so.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Identifies one trace: 4 bytes of time (seconds since 1970 where X-Ray made it) and 12 random bytes; never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Identifies a segment or subsegment within its trace; never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentId([u8; 8]);

impl TraceId {
    /// Length of the X-Ray spelling.
    pub const XRAY_LENGTH: usize = 35;
    /// Length of the W3C spelling.
    pub const W3C_LENGTH: usize = 32;

    /// A new id from the present second and 96 bits of strong randomness.
    ///
    /// Ids are visible in responses; predictable ones would let a stranger join a trace, so `random` must come from a
    /// cryptographically seeded generator.
    pub fn new(epoch_seconds: u32, random: [u8; 12]) -> TraceId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&epoch_seconds.to_be_bytes());
        bytes[4..].copy_from_slice(&random);
        if bytes == [0; 16] {
            bytes[15] = 1;
        }
        TraceId(bytes)
    }

    /// Reads `1-5759e988-bd862e3fe1be46a994272793`, hex of either case. `None` for anything else, and for all zeros.
    pub fn from_xray(text: &[u8]) -> Option<TraceId> {
        if text.len() != Self::XRAY_LENGTH || &text[..2] != b"1-" || text[10] != b'-' {
            return None;
        }
        let mut bytes = [0; 16];
        read_hex(&text[2..10], &mut bytes[..4])?;
        read_hex(&text[11..], &mut bytes[4..])?;
        (bytes != [0; 16]).then_some(TraceId(bytes))
    }

    /// Reads 32 lower-case hex digits as W3C Trace Context wants them. `None` for anything else, and for all zeros.
    pub fn from_w3c(text: &[u8]) -> Option<TraceId> {
        let mut bytes = [0; 16];
        if text.len() != Self::W3C_LENGTH || text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        read_hex(text, &mut bytes)?;
        (bytes != [0; 16]).then_some(TraceId(bytes))
    }

    /// The X-Ray spelling, 35 bytes of ASCII.
    pub fn to_xray(self) -> [u8; Self::XRAY_LENGTH] {
        let mut text = *b"1-00000000-000000000000000000000000";
        write_hex(&self.0[..4], &mut text[2..10]);
        write_hex(&self.0[4..], &mut text[11..]);
        text
    }

    /// The W3C spelling, 32 bytes of ASCII.
    pub fn to_w3c(self) -> [u8; Self::W3C_LENGTH] {
        let mut text = [0; Self::W3C_LENGTH];
        write_hex(&self.0, &mut text);
        text
    }
}

impl SegmentId {
    /// Length in text, in both X-Ray and W3C.
    pub const LENGTH: usize = 16;

    /// A new id from 64 random bits; the one value that would be all zero becomes 1.
    pub fn new(random: u64) -> SegmentId {
        SegmentId(random.max(1).to_be_bytes())
    }

    /// Reads 16 hex digits of either case. `None` for anything else, and for all zeros.
    pub fn parse(text: &[u8]) -> Option<SegmentId> {
        let mut bytes = [0; 8];
        if text.len() != Self::LENGTH {
            return None;
        }
        read_hex(text, &mut bytes)?;
        (bytes != [0; 8]).then_some(SegmentId(bytes))
    }

    /// 16 lower-case hex digits.
    pub fn to_hex(self) -> [u8; Self::LENGTH] {
        let mut text = [0; Self::LENGTH];
        write_hex(&self.0, &mut text);
        text
    }
}

impl fmt::Display for TraceId {
    /// The X-Ray spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ascii(&self.to_xray(), f)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ascii(&self.to_hex(), f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn ascii(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)
}

/// Fills `out` from twice as many hex digits; `None` at the first byte that is none.
fn read_hex(text: &[u8], out: &mut [u8]) -> Option<()> {
    for (pair, byte) in text.chunks_exact(2).zip(out) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(())
}

/// The value of one hex digit of either case.
pub(super) fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn write_hex(bytes: &[u8], out: &mut [u8]) {
    for (&byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair.copy_from_slice(&HEX[usize::from(byte)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_spellings_name_the_same_trace() {
        let id = TraceId::from_xray(b"1-5759e988-bd862e3fe1be46a994272793").unwrap();
        assert_eq!(&id.to_w3c(), b"5759e988bd862e3fe1be46a994272793");
        assert_eq!(TraceId::from_w3c(&id.to_w3c()), Some(id));
    }

    #[test]
    fn upper_case_is_read_from_xray_and_refused_from_w3c() {
        let id = TraceId::from_xray(b"1-5759E988-BD862E3FE1BE46A994272793").unwrap();
        assert_eq!(id.to_string(), "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(TraceId::from_w3c(b"5759E988BD862E3FE1BE46A994272793"), None);
    }

    #[test]
    fn malformed_ids_are_no_ids() {
        for text in [
            "",
            "1-5759e988-bd862e3fe1be46a99427279",
            "1-5759e988-bd862e3fe1be46a9942727933",
            "2-5759e988-bd862e3fe1be46a994272793",
            "1-5759e98g-bd862e3fe1be46a994272793",
            "1_5759e988_bd862e3fe1be46a994272793",
            "1-00000000-000000000000000000000000",
        ] {
            assert_eq!(TraceId::from_xray(text.as_bytes()), None, "{text}");
        }
        assert_eq!(SegmentId::parse(b"0000000000000000"), None);
    }

    proptest! {
        #[test]
        fn printing_then_reading_gives_the_same_id(bytes: [u8; 12], seconds: u32, random: u64) {
            let id = TraceId::new(seconds, bytes);
            prop_assert_eq!(TraceId::from_xray(&id.to_xray()), Some(id));
            prop_assert_eq!(TraceId::from_w3c(&id.to_w3c()), Some(id));
            let id = SegmentId::new(random);
            prop_assert_eq!(SegmentId::parse(&id.to_hex()), Some(id));
        }

        #[test]
        fn any_bytes_may_be_offered_as_an_id(bytes: Vec<u8>) {
            if let Some(id) = TraceId::from_xray(&bytes) {
                prop_assert_eq!(id.to_xray().to_vec(), bytes.to_ascii_lowercase());
            }
            let _ = (TraceId::from_w3c(&bytes), SegmentId::parse(&bytes));
        }
    }
}
