//! `did you mean`: the known word nearest to an unknown one.

/// Words longer than this are no misspelling of ours, and comparing takes the product of both lengths.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let allowed = match word.chars().count() {
        0..=2 => return None,
        3..=5 => 1,
        6..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| {
            let folded = candidate.to_ascii_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&word, &folded), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        assert_eq!(nearest(word, ["name", "http_method", "host", "url_path", "rate"]), expected);
    }

    #[test]
    fn near_words_are_offered_and_far_ones_are_not() {
        check("hots", Some("host"));
        check("Rate", Some("rate"));
        check("http-methd", Some("http_method"));
        check("urlpath", Some("url_path"));
        check("colour", None);
        check("x", None);
        check(&"host".repeat(40), None);
    }
}
