//! `*` and `?` wildcards: compiled once, matched without allocating.
//!
//! `*` is any run of characters, `?` exactly one character (not one byte), every other character is itself; the whole
//! value must match, and case is ignored, for every field, as the X-Ray SDKs do. There is no escape.

/// A compiled wildcard pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As written, for people.
    source: Box<str>,
    /// Case folded, runs of `*` made one.
    folded: Box<str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only `*`: no text needs to be looked at.
    Anything,
    /// No wildcard.
    Literal,
    /// The general case, all ASCII.
    Ascii,
    /// The general case.
    Unicode,
}

impl Pattern {
    /// Compiles `source`. Every text is a pattern.
    pub fn new(source: &str) -> Pattern {
        let mut folded = String::with_capacity(source.len());
        for character in source.chars().map(fold) {
            if !(character == '*' && folded.ends_with('*')) {
                folded.push(character);
            }
        }
        let kind = if folded == "*" {
            Kind::Anything
        } else if folded.is_ascii() && !folded.contains(['*', '?']) {
            Kind::Literal
        } else if folded.is_ascii() {
            Kind::Ascii
        } else {
            Kind::Unicode
        };
        Pattern { source: source.into(), folded: folded.into(), kind }
    }

    /// The pattern that matches everything.
    pub fn anything() -> Pattern {
        Pattern::new("*")
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// What is compared: case folded, runs of `*` made one. Every `*` and `?` in it is a wildcard.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether it matches every text, the empty one too.
    pub fn is_anything(&self) -> bool {
        self.kind == Kind::Anything
    }

    /// Whether the whole of `text` matches. Linear for all but contrived pairs, then the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        match self.kind {
            Kind::Anything => true,
            Kind::Literal if text.is_ascii() => self.folded.eq_ignore_ascii_case(text),
            Kind::Ascii if text.is_ascii() => matches_ascii(self.folded.as_bytes(), text.as_bytes()),
            _ => matches_unicode(&self.folded, text),
        }
    }
}

/// Lower case where that is one character; the few letters that would become several stay as they are.
fn fold(character: char) -> char {
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

/// Greedy: on a mismatch, let the last `*` take one byte more. Earlier stars need no second look.
fn matches_ascii(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                if p + 1 == pattern.len() {
                    return true;
                }
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == text[t].to_ascii_lowercase() => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (p, t) = (star, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

fn matches_unicode(pattern: &str, text: &str) -> bool {
    let (mut p, mut t) = (pattern.chars(), text.chars());
    let mut retry = None;
    loop {
        let before = (p.clone(), t.clone());
        match (p.next(), t.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                t = before.1;
                retry = Some((p.clone(), t.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(got)) if wanted == fold(got) => {}
            _ => {
                let Some((star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (p, t) = (star.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, by recursion: slow and plainly right.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match pattern.first() {
            None => text.is_empty(),
            Some('*') => (0..=text.len()).any(|n| slow(&pattern[1..], &text[n..])),
            Some('?') => !text.is_empty() && slow(&pattern[1..], &text[1..]),
            Some(&wanted) => {
                text.first().is_some_and(|&got| fold(wanted) == fold(got)) && slow(&pattern[1..], &text[1..])
            }
        }
    }

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} ~ {text}");
        let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        assert_eq!(slow(&p, &t), expected, "the reference disagrees: {pattern} ~ {text}");
    }

    #[test]
    fn stars_take_any_run_and_question_marks_one_character() {
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("?", "", false);
        check("a*c", "abbbc", true);
        check("a**c", "ac", true);
        check("*ab", "aab", true);
        check("*ab*", "xxabyy", true);
        check("a?c", "ac", false);
        check("/api/v?/*/orders", "/api/v2/7/orders", true);
        check("/api/v?/*/orders", "/api/v22/7/orders", false);
    }

    #[test]
    fn case_is_ignored_and_other_characters_are_themselves() {
        check("/API/*", "/api/x", true);
        check("get", "GET", true);
        check("a.c", "abc", false);
        check("[ab]", "a", false);
        check("a\\*", "a\\b", true);
        check("*", "line\nbreak", true);
    }

    #[test]
    fn a_question_mark_is_one_character_and_not_one_byte() {
        check("?", "ü", true);
        check("??", "ü", false);
        check("Ü*", "über", true);
        check("k", "\u{212a}", true); // the Kelvin sign lower-cases to an ASCII letter
        check("\u{130}", "\u{130}", true); // and this one to two characters
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let text = "a".repeat(8_192);
        assert!(!Pattern::new(&"*a".repeat(250)).matches(&format!("{text}b")));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[abA*?ü]{0,10}", text in "[abBüÜ]{0,12}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), slow(&p, &t));
        }

        #[test]
        fn agrees_with_wildmatch(pattern in "[ab/.*?]{0,14}", text in "[ab/.]{0,16}") {
            let oracle = wildmatch::WildMatch::new_case_insensitive(&pattern);
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), oracle.matches(&text));
        }
    }
}
