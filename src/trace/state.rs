//! Reads `tracestate`, to tell whether it is one.
//!
//! X-Ray has no form of it and we have no member of our own in it, so it is handed on byte for byte: members in their
//! order, fields as they came, and nothing cut, so that the standard's "at least 512 characters" and "at most 32
//! members" hold of what leaves because they held of what came. What breaks the standard's grammar is dropped whole:
//! a reader further on could only do the same, and part of it would say something that nobody said.
//!
//! ```text
//! tracestate: rojo=00f067aa0ba902b7,congo@eu=t61rcWkgMzE
//!             ╰─┬╯ ╰──────┬───────╯
//!              key      value
//! ```

/// The most members of all fields together.
const MAX_MEMBERS: usize = 32;
/// The longest key and the longest value, in bytes.
const MAX_LENGTH: usize = 256;

/// Whether the fields, in the order received, are one valid list. Empty members are allowed and do not count.
pub fn is_valid<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut keys = [&[][..]; MAX_MEMBERS];
    let mut n_members = 0;
    for member in fields.flat_map(|field| field.split(|&byte| byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        // Only one entry per key: it says where its owner last met the trace, and nobody is in two places.
        match key_of(member) {
            Some(key) if n_members < MAX_MEMBERS && !keys[..n_members].contains(&key) => {
                keys[n_members] = key;
                n_members += 1;
            }
            _ => return false,
        }
    }
    true
}

/// The key of `key=value`, if both are what they should be.
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let (key, rest) = member.split_at(member.iter().position(|&byte| byte == b'=')?);
    let value = &rest[1..];
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let goes_on = key.iter().all(|&byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    });
    let has_value = !value.is_empty()
        && value.len() <= MAX_LENGTH
        && value.iter().all(|&byte| matches!(byte, 0x20..=0x7e) && byte != b'=');
    (begins && goes_on && key.len() <= MAX_LENGTH && has_value).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(fields: &[&str], expected: bool) {
        assert_eq!(is_valid(fields.iter().map(|field| field.as_bytes())), expected, "{fields:?}");
    }

    fn members(numbers: std::ops::RangeInclusive<u32>) -> String {
        numbers.map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",")
    }

    // The cases of the W3C group's own test suite, with the keys as level 2 has them: there `@` is a letter like
    // any other, and the tenant's and the vendor's part have no lengths of their own.

    #[test]
    fn lists_and_several_fields_are_one_list() {
        check(&["foo=1"], true);
        check(&["foo=1,bar=2"], true);
        check(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], true);
    }

    #[test]
    fn empty_members_and_white_space_around_members_do_not_matter() {
        for fields in [&[""][..], &["foo=1", ""], &["", "foo=1"], &[" ,\t, foo=1,,"]] {
            check(fields, true);
        }
        for field in
            ["foo=1 \t , \t bar=2, \t baz=3", "foo=1\t \t,\t \tbar=2", " foo=1", "\tfoo=1", "foo=1\t"]
        {
            check(&[field], true);
        }
    }

    #[test]
    fn a_key_that_comes_twice_spoils_the_list() {
        for fields in
            [&["foo=1,foo=1"][..], &["foo=1,foo=2"], &["foo=1", "foo=1"], &["foo=1", "a=b", "foo=2"]]
        {
            check(fields, false);
        }
    }

    #[test]
    fn keys_have_their_letters_and_lengths() {
        check(&["abcdefghijklmnopqrstuvwxyz0123456789_-*/=1"], true);
        check(&["0a=1"], true);
        check(&["tenant@vendor=1"], true);
        check(&["foo@bar@baz=1,bar=2"], true);
        for field in
            ["foo =1", "FOO=1", "foo.bar=1", "@foo=1,bar=2", "_a=1", "-a=1", "=1", "foo", "fo\u{f6}=1"]
        {
            check(&[field], false);
        }
        check(&["foo=1", &format!("{}=1", "z".repeat(256))], true);
        check(&["foo=1", &format!("{}=1", "z".repeat(257))], false);
    }

    #[test]
    fn values_have_their_letters_and_lengths() {
        let all: String = (b' '..=b'~').map(char::from).filter(|c| !",=".contains(*c)).collect();
        check(&[&format!("foo={all}")], true);
        check(&[&format!("foo={}", "v".repeat(256))], true);
        check(&[&format!("foo={}", "v".repeat(257))], false);
        for field in ["foo=bar=baz", "foo=,bar=3", "foo= ", "foo=a\tb", "foo=\u{e4}", "foo=a\u{7f}"] {
            check(&[field], false);
        }
    }

    #[test]
    fn thirty_two_members_are_allowed_and_not_one_more() {
        check(&[&members(1..=10), &members(11..=20), &members(21..=30), &members(31..=32)], true);
        check(&[&members(1..=10), &members(11..=20), &members(21..=30), &members(31..=33)], false);
        check(&[&members(1..=32), ", ,"], true);
    }

    #[test]
    fn far_more_than_512_characters_are_allowed() {
        let long: Vec<String> = (0..32).map(|n| format!("k{n}={}", "v".repeat(256))).collect();
        check(&[&long.join(",")], true);
    }

    proptest! {
        #[test]
        fn any_bytes_may_come(fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4)) {
            is_valid(fields.iter().map(Vec::as_slice));
        }
    }
}
