//! Rules that stand in a variable, for tasks without a volume: YAML or JSON, perhaps gzip and base64 around it.
//!
//! Which of the two it is shows in the text: every rule file has a colon, and base64 has none.

use super::super::yaml::MAX_BYTES;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// Why a text holds no rules: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInline {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Padding may be left out, as some tools do.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The bytes of a rule file, unpacked.
///
/// # Errors
/// It is packed, and broken or larger than 1 MiB. Whether it holds rules is not looked at.
pub fn unpack(text: &str) -> Result<Vec<u8>, BadInline> {
    let is_packed = !text.trim().is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+/-_=".contains(c) || c.is_ascii_whitespace());
    if !is_packed {
        return Ok(text.as_bytes().to_vec());
    }
    let packed: String = text.split_ascii_whitespace().collect();
    let engine = if packed.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let bytes = engine.decode(&packed).map_err(|_| BadInline {
        message: "this is neither rules nor base64".to_owned(),
        hint: "write the rules themselves, or `gzip -c rules.yaml | base64 -w0`".to_owned(),
    })?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut inflated = Vec::new();
    // One byte more than is allowed tells that it is too long; no more is ever unpacked.
    let read = MultiGzDecoder::new(bytes.as_slice()).take(MAX_BYTES as u64 + 1).read_to_end(&mut inflated);
    match read {
        Ok(_) if inflated.len() > MAX_BYTES => Err(BadInline {
            message: "the rules are larger than 1 MiB when unpacked".to_owned(),
            hint: "use wildcards to say the same in fewer rules".to_owned(),
        }),
        Ok(_) => Ok(inflated),
        Err(error) => Err(BadInline {
            message: format!("the gzip in it is broken: {error}"),
            hint: "pack it again with `gzip -c rules.yaml | base64 -w0`".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const RULES: &str = "rules_version: 1\ndefault: { rate: 0.5 }\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(unpack(text), Ok(expected.as_bytes().to_vec()), "{text}");
    }

    #[test]
    fn rules_are_read_as_they_are_or_unpacked() {
        check(RULES, RULES);
        check("  rules_version: 1\n  default: { rate: 1 }", "  rules_version: 1\n  default: { rate: 1 }");
        check("", "");
        check("{}", "{}");
        for packed in [gzip(RULES.as_bytes()), RULES.as_bytes().to_vec()] {
            let text = STANDARD.encode(&packed);
            check(&text, RULES);
            check(text.trim_end_matches('='), RULES);
            check(&URL_SAFE.encode(&packed), RULES);
            let lines: Vec<&str> =
                text.as_bytes().chunks(20).map(|c| std::str::from_utf8(c).unwrap()).collect();
            check(&lines.join("\n"), RULES);
        }
        let two = [gzip(b"rules_version:"), gzip(b" 1\n")].concat();
        check(&STANDARD.encode(two), "rules_version: 1\n");
    }

    #[test]
    fn what_is_broken_or_too_long_is_refused() {
        let message = |text: &str| unpack(text).unwrap_err().message;
        assert_eq!(message("rules"), "this is neither rules nor base64");
        let packed = gzip(RULES.as_bytes());
        assert!(
            message(&STANDARD.encode(&packed[..packed.len() - 4])).starts_with("the gzip in it is broken")
        );
        let mut wrong = packed.clone();
        let sum = wrong.len() - 8;
        wrong[sum] ^= 1;
        assert!(message(&STANDARD.encode(&wrong)).starts_with("the gzip in it is broken"));
        let trailing = [packed.as_slice(), b"more"].concat();
        assert!(message(&STANDARD.encode(&trailing)).starts_with("the gzip in it is broken"));
        let just = gzip(&vec![b'#'; MAX_BYTES]);
        assert_eq!(unpack(&STANDARD.encode(&just)).unwrap().len(), MAX_BYTES);
        // A thousandfold is packed into a few kilobytes, and never unpacked beyond the limit.
        let bomb = gzip(&vec![b'#'; 64 * MAX_BYTES]);
        assert_eq!(message(&STANDARD.encode(&bomb)), "the rules are larger than 1 MiB when unpacked");
    }
}
