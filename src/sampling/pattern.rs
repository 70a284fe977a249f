//! `*` and `?` wildcards: compiled once, matched without allocating.
//!
//! `*` is any run of characters, `?` exactly one character (not one byte), every other character is itself; the whole
//! value must match, and case is ignored, for every field, as the X-Ray SDKs do. There is no escape.
//!
//! ```text
//!   /api/*/orders?.json        head `/api/`, middle `*/orders?`, tail `.json`
//!     1 head and tail are compared where they must stand; most texts fail here
//!     2 the middle is matched greedily, a `*` at a time, within a budget of steps
//!     3 what exceeds the budget is an attack or an accident: bits.rs takes it, in time that no text can stretch
//! ```

mod bits;

/// Greedy steps for each byte of a text before the bits take over. Ordinary pairs need one or two.
const STEPS_PER_BYTE: usize = 8;

/// A compiled wildcard pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As written, for people.
    source: Box<str>,
    /// Case folded, runs of `*` made one.
    folded: Box<str>,
    /// Bytes of `folded` before the first wildcard; all of them, if there is none.
    head: usize,
    /// Bytes of `folded` after the last wildcard; none, if there is none.
    tail: usize,
    /// Characters that a text needs at least.
    shortest: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only `*`: no text needs to be looked at.
    Anything,
    /// No wildcard, all ASCII.
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
        let head = folded.find(WILDCARDS).unwrap_or(folded.len());
        let tail = folded.rfind(WILDCARDS).map_or(0, |last| folded.len() - last - 1);
        let kind = if folded == "*" {
            Kind::Anything
        } else if folded.is_ascii() && head == folded.len() {
            Kind::Literal
        } else if folded.is_ascii() {
            Kind::Ascii
        } else {
            Kind::Unicode
        };
        let shortest = folded.chars().filter(|&character| character != '*').count();
        Pattern { source: source.into(), folded: folded.into(), head, tail, shortest, kind }
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
    #[inline]
    pub fn is_anything(&self) -> bool {
        self.kind == Kind::Anything
    }

    /// Whether the whole of `text` matches. Of a pattern of up to [`MAX_BOUNDED`] characters, no text makes this take
    /// more than a small multiple of the time it takes to read it.
    #[inline]
    pub fn matches(&self, text: &str) -> bool {
        match self.kind {
            Kind::Anything => true,
            // As written, most often: methods in capitals, paths in small letters.
            Kind::Literal if text.len() == self.folded.len() => {
                *text == *self.source || text.eq_ignore_ascii_case(&self.folded)
            }
            Kind::Literal if text.is_ascii() => false,
            Kind::Ascii if text.is_ascii() => self.matches_ascii(text.as_bytes()),
            _ => matches_unicode(&self.folded, text),
        }
    }

    fn matches_ascii(&self, text: &[u8]) -> bool {
        if text.len() < self.shortest {
            return false;
        }
        let folded = self.folded.as_bytes();
        let (head, rest) = text.split_at(self.head);
        let (middle, tail) = rest.split_at(rest.len() - self.tail);
        let pattern = &folded[self.head..folded.len() - self.tail];
        equal(head, &folded[..self.head])
            && equal(tail, &folded[folded.len() - self.tail..])
            && (pattern == b"*" || greedy(pattern, middle))
    }

    /// Whether it has no wildcard.
    pub(super) fn is_literal(&self) -> bool {
        self.head == self.folded.len()
    }

    /// Every folded text that matches begins with this.
    pub(super) fn head(&self) -> &str {
        &self.folded[..self.head]
    }

    /// Every folded text that matches ends with this. Empty for a pattern without wildcards, which is all head.
    pub(super) fn tail(&self) -> &str {
        &self.folded[self.folded.len() - self.tail..]
    }

    /// Every folded text that matches has this somewhere: the longest run without wildcards.
    pub(super) fn longest_run(&self) -> &str {
        self.folded.split(WILDCARDS).max_by_key(|run| run.len()).unwrap_or_default()
    }
}

pub use bits::MAX_BOUNDED;

const WILDCARDS: [char; 2] = ['*', '?'];

/// Lower case where that is one character; the few letters that would become several stay as they are.
pub(super) fn fold(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

/// Most texts are in lower case already, and comparing bytes as they are is many times quicker.
fn equal(text: &[u8], folded: &[u8]) -> bool {
    text == folded || text.eq_ignore_ascii_case(folded)
}

/// On a mismatch, let the last `*` take one byte more. Earlier stars need no second look.
fn greedy(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    let mut steps = STEPS_PER_BYTE * (text.len() + 8);
    while t < text.len() {
        if steps == 0 {
            // Only ever the middle of a pattern that is text itself, so this cannot fail to be one.
            let (pattern, text) = (std::str::from_utf8(pattern), std::str::from_utf8(text));
            if let (Ok(pattern), Ok(text)) = (pattern, text)
                && let Some(matches) = bits::matches(pattern, text)
            {
                return matches;
            }
            steps = usize::MAX;
        }
        steps -= 1;
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
    let mut steps = STEPS_PER_BYTE * (text.len() + 8);
    loop {
        if steps == 0 {
            if let Some(matches) = bits::matches(pattern, text) {
                return matches;
            }
            steps = usize::MAX;
        }
        steps -= 1;
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
        let bits = bits::matches(&Pattern::new(pattern).folded, text);
        assert_eq!(bits, Some(expected), "the bits disagree: {pattern} ~ {text}");
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

    /// Each of these takes a greedy matcher the product of both lengths, and some a naive one the age of the universe.
    #[test]
    fn contrived_pairs_do_not_blow_up() {
        let long = "a".repeat(8_192);
        let umlauts = "ü".repeat(4_096);
        for (pattern, text, expected) in [
            ("*a".repeat(250), format!("{long}b"), false),
            ("*a".repeat(250), long.clone(), true),
            (format!("*{}b*", "a".repeat(500)), long.clone(), false),
            (format!("*{}b*", "?".repeat(500)), format!("{long}b"), true),
            (format!("*{}b?*", "?".repeat(500)), format!("{long}b"), false),
            (format!("*{}é*", "ü".repeat(250)), umlauts.clone(), false),
            (format!("*{}?é*x", "a*".repeat(200)), format!("{long}é{long}"), false),
            (format!("*{}b*", "?a".repeat(250)), umlauts, false),
        ] {
            assert_eq!(Pattern::new(&pattern).matches(&text), expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_too_long_for_the_bits_is_matched_all_the_same() {
        let pattern = Pattern::new(&format!("*{}b*", "a".repeat(MAX_BOUNDED)));
        assert!(!pattern.matches(&"a".repeat(2 * MAX_BOUNDED)));
        assert!(pattern.matches(&format!("{}b", "a".repeat(2 * MAX_BOUNDED))));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[abA*?ü]{0,10}", text in "[abBüÜ]{0,12}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            let pattern = Pattern::new(&pattern);
            prop_assert_eq!(pattern.matches(&text), slow(&p, &t));
            prop_assert_eq!(bits::matches(&pattern.folded, &text), Some(slow(&p, &t)));
        }

        #[test]
        fn agrees_with_wildmatch(pattern in "[ab/.*?]{0,14}", text in "[ab/.]{0,16}") {
            let oracle = wildmatch::WildMatch::new_case_insensitive(&pattern);
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), oracle.matches(&text));
        }
    }
}
