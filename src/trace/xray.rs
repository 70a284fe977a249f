//! Reads and writes `X-Amzn-Trace-Id`.
//!
//! `Root=1-…;Parent=…;Sampled=1;Lineage=…`. Writers differ and readers differ more; we read the union of what the
//! X-Ray SDKs, Envoy and the OpenTelemetry propagators accept, and write the one form that all of them understand:
//! `Root`, `Parent` and `Sampled`, one field, no spaces, lower-case hex, then what else came in, in the order received.
//! Nothing in the header can make a request fail.

use super::id::{SegmentId, TraceId};

/// The longest value we write, in bytes. Additional data that would not fit is left out, whole parts at a time.
pub const MAX_VALUE: usize = 1024;

/// `Root=` + 35, `;Parent=` + 16, `;Sampled=` + 1.
const OWN_PARTS: usize = 74;

/// What a caller says of the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// `Sampled=1`: the trace is kept.
    Keep,
    /// `Sampled=0`: the trace is dropped.
    Drop,
    /// `Sampled=?`: decide, and say so in the response.
    Ask,
    /// Absent or illegible.
    #[default]
    Nothing,
}

/// Additional data: `;key=value` parts to be handed on unchanged. Allocates only if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras(Vec<u8>);

impl Extras {
    /// The parts, each with a `;` in front.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes a part if it is printable ASCII and still fits.
    fn push(&mut self, part: &[u8]) -> bool {
        let fits = OWN_PARTS + self.0.len() + 1 + part.len() <= MAX_VALUE;
        let printable = part.iter().all(|byte| (0x20..0x7f).contains(byte));
        if fits && printable {
            self.0.push(b';');
            self.0.extend_from_slice(part);
        }
        fits && printable
    }
}

/// One `X-Amzn-Trace-Id` as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XrayHeader {
    /// `None` if there was no legible `Root`.
    pub root: Option<TraceId>,
    /// `None` if there was no legible `Parent`, and always without a `Root`: a parent means nothing in a new trace.
    pub parent: Option<SegmentId>,
    /// The caller's word on the decision.
    pub said: Said,
    /// `Lineage` and unknown keys. `Self` is the load balancer's own mark and is not for handing on.
    pub extras: Extras,
    /// A `Root` was there but illegible.
    pub root_refused: bool,
    /// Something was skipped, trimmed or replaced that a stricter reader would have stumbled over.
    pub flawed: bool,
}

impl XrayHeader {
    /// Reads any bytes; what is not understood is left out and remembered in `flawed`.
    pub fn read(value: &[u8]) -> XrayHeader {
        let mut header = XrayHeader::default();
        let (mut n_root, mut n_parent, mut n_sampled) = (0u32, 0u32, 0u32);
        for raw in value.split(|&byte| byte == b';') {
            let part = raw.trim_ascii();
            header.flawed |= part.len() != raw.len();
            let Some(equals) = part.iter().position(|&byte| byte == b'=') else {
                header.flawed = true;
                continue;
            };
            let (key, text) = (part[..equals].trim_ascii_end(), part[equals + 1..].trim_ascii_start());
            header.flawed |= key.len() + 1 + text.len() != part.len();
            // The last duplicate wins, also when it is the illegible one: that is what every library does.
            if key.eq_ignore_ascii_case(b"root") {
                n_root += 1;
                header.root = TraceId::from_xray(text);
                header.root_refused = header.root.is_none() && !is_all_zero_root(text);
                header.flawed |= header.root.is_none() || text.iter().any(u8::is_ascii_uppercase);
            } else if key.eq_ignore_ascii_case(b"parent") {
                n_parent += 1;
                header.parent = SegmentId::parse(text);
                header.flawed |= header.parent.is_none() || text.iter().any(u8::is_ascii_uppercase);
            } else if key.eq_ignore_ascii_case(b"sampled") {
                n_sampled += 1;
                header.said = match text {
                    b"1" => Said::Keep,
                    b"0" => Said::Drop,
                    b"?" => Said::Ask,
                    _ => Said::Nothing,
                };
                header.flawed |= header.said == Said::Nothing;
            } else if !key.eq_ignore_ascii_case(b"self") {
                header.flawed |= key.is_empty() || !header.extras.push(part);
            }
        }
        header.flawed |= n_root > 1 || n_parent > 1 || n_sampled > 1;
        if header.root.is_none() {
            header.parent = None;
        }
        header
    }
}

/// The X-Ray Go SDK sends a `Root` of zeros on purpose where it does not trace: that is no `Root`, not a bad one.
fn is_all_zero_root(text: &[u8]) -> bool {
    text == b"1-00000000-000000000000000000000000"
}

/// Appends `Root=…;Parent=…;Sampled=…` and `extras` to `out`: at most [`MAX_VALUE`] bytes, all printable ASCII.
pub fn write(trace: TraceId, parent: SegmentId, sampled: bool, extras: &Extras, out: &mut Vec<u8>) {
    let mut own = *b"Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0";
    own[5..40].copy_from_slice(&trace.to_xray());
    own[48..64].copy_from_slice(&parent.to_hex());
    own[73] = b'0' + u8::from(sampled);
    out.reserve_exact(own.len() + extras.0.len());
    out.extend_from_slice(&own);
    out.extend_from_slice(&extras.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    /// `root parent said extras flaws`, each by a word.
    #[track_caller]
    fn check(value: &str, expected: &str) {
        let header = XrayHeader::read(value.as_bytes());
        let root = header.root.map_or("none".into(), |root| root.to_string().replace(ROOT, "ROOT"));
        let parent = header.parent.map_or("none".into(), |parent| parent.to_string());
        let extras = String::from_utf8(header.extras.0.clone()).unwrap();
        let flawed = if header.flawed { "flawed" } else { "clean" };
        assert_eq!(format!("{root} {parent} {:?} {extras}/{flawed}", header.said), expected, "{value}");
    }

    #[test]
    fn a_complete_header_in_any_order() {
        let clean = "ROOT 53995c3f42cd8ad8 Keep /clean";
        check(&format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"), clean);
        check(&format!("Sampled=1;Root={ROOT};Parent=53995c3f42cd8ad8"), clean);
        check(&format!("sampled=1;ROOT={ROOT};parent=53995c3f42cd8ad8"), clean);
    }

    #[test]
    fn spaces_empty_parts_and_parts_without_a_value_are_forgiven() {
        let flawed = "ROOT 53995c3f42cd8ad8 Drop /flawed";
        check(&format!("Root={ROOT}; Parent=53995c3f42cd8ad8;\tSampled=0 "), flawed);
        check(&format!(";;Root={ROOT};junk;Parent=53995c3f42cd8ad8;Sampled=0;"), flawed);
        check(&format!("Root = {ROOT};Parent=53995c3f42cd8ad8;Sampled=0"), flawed);
    }

    #[test]
    fn self_is_dropped_and_lineage_and_unknown_keys_are_kept_in_order() {
        check(
            &format!("Self=1-67891234-12456789abcdef012345678;Root={ROOT};b=2;Lineage=1:ab12cd34:0;a=x=y"),
            "ROOT none Nothing ;b=2;Lineage=1:ab12cd34:0;a=x=y/clean",
        );
    }

    #[test]
    fn a_bad_root_loses_the_parent_and_keeps_the_decision() {
        check("Root=1-5759e988-bd86;Parent=53995c3f42cd8ad8;Sampled=1", "none none Keep /flawed");
        check("Parent=53995c3f42cd8ad8;Sampled=0", "none none Drop /clean");
        assert!(XrayHeader::read(b"Root=nonsense").root_refused);
        assert!(!XrayHeader::read(b"Root=1-00000000-000000000000000000000000").root_refused);
    }

    #[test]
    fn the_last_duplicate_wins() {
        check(&format!("Root=bad;Root={ROOT};Sampled=1;Sampled=0"), "ROOT none Drop /flawed");
    }

    #[test]
    fn an_undecided_or_illegible_decision_is_told_apart() {
        check(&format!("Root={ROOT};Sampled=?"), "ROOT none Ask /clean");
        check(&format!("Root={ROOT};Sampled=true"), "ROOT none Nothing /flawed");
        check(&format!("Root={ROOT}"), "ROOT none Nothing /clean");
    }

    #[test]
    fn upper_case_hex_is_lowered() {
        check(
            "Root=1-5759E988-BD862E3FE1BE46A994272793;Parent=53995C3F42CD8AD8",
            "ROOT 53995c3f42cd8ad8 Nothing /flawed",
        );
    }

    #[test]
    fn additional_data_beyond_the_limit_is_left_out_whole() {
        let header = XrayHeader::read(format!("Root={ROOT};big={};small=1", "x".repeat(2_000)).as_bytes());
        assert_eq!(header.extras.as_bytes(), b";small=1");
        assert!(header.flawed);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_written_is_short_printable_and_reads_back(
            value in proptest::collection::vec(any::<u8>(), 0..3_000), sampled: bool, seconds: u32, random: u64,
        ) {
            let read = XrayHeader::read(&value);
            let (trace, parent) = (TraceId::new(seconds, [7; 12]), SegmentId::new(random));
            let mut out = Vec::new();
            write(trace, parent, sampled, &read.extras, &mut out);
            prop_assert!(out.len() <= MAX_VALUE);
            prop_assert!(out.iter().all(|byte| (0x20..0x7f).contains(byte)));
            let again = XrayHeader::read(&out);
            prop_assert_eq!(again.root, Some(trace));
            prop_assert_eq!(again.parent, Some(parent));
            prop_assert_eq!(again.said, if sampled { Said::Keep } else { Said::Drop });
            prop_assert_eq!(again.extras, read.extras);
        }

        #[test]
        fn what_other_writers_send_prints_back_unchanged(
            random: [u8; 12], seconds: u32, id: u64, sampled: bool,
            extras in proptest::collection::vec("[A-Za-z]{5,9}=[a-z0-9:.|=]{0,12}", 0..4),
        ) {
            let mut value = format!(
                "Root={};Parent={};Sampled={}", TraceId::new(seconds, random), SegmentId::new(id), u8::from(sampled));
            for extra in &extras {
                value = format!("{value};{extra}");
            }
            prop_assume!(!extras.iter().any(|extra| extra.to_ascii_lowercase().starts_with("parent=")
                || extra.to_ascii_lowercase().starts_with("sampled=")));
            let read = XrayHeader::read(value.as_bytes());
            let mut out = Vec::new();
            write(read.root.unwrap(), read.parent.unwrap(), read.said == Said::Keep, &read.extras, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value);
        }
    }
}
