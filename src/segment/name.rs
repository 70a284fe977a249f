//! Names of segments, repaired to what X-Ray takes.

use std::sync::Arc;

/// X-Ray's limit, in characters.
const MAX_NAME: usize = 200;

/// 1 to 200 characters: letters and digits of any script, white space, and `_ . : / % & # = + \ - @`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentName(Arc<str>);

impl SegmentName {
    /// What is used when nothing legible is left.
    pub const FALLBACK: &'static str = "collimator";

    /// Deletes what X-Ray refuses and cuts at 200 characters, on a character boundary. Nothing left is the fallback.
    pub fn repair(name: &str) -> SegmentName {
        let kept: String = name.chars().filter(|&c| is_allowed(c)).take(MAX_NAME).collect();
        let kept = kept.trim();
        SegmentName(if kept.is_empty() { Self::FALLBACK.into() } else { kept.into() })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SegmentName {
    fn default() -> SegmentName {
        SegmentName(Self::FALLBACK.into())
    }
}

fn is_allowed(character: char) -> bool {
    character.is_alphanumeric() || character == ' ' || "_.:/%&#=+\\-@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(SegmentName::repair(name).as_str(), expected);
    }

    #[test]
    fn what_xray_refuses_is_deleted_and_the_rest_kept() {
        check("orders", "orders");
        check("a?b*c;(d)!$~^<e>", "abcde");
        check("_.:/%&#=+\\-@", "_.:/%&#=+\\-@");
        check("Bestellungen für München 1", "Bestellungen für München 1");
        check("", "collimator");
        check("???", "collimator");
        check(&"ü".repeat(300), &"ü".repeat(200));
        check("line\nbreak\u{7}", "linebreak");
    }
}
