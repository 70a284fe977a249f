//! Why a rule does not match, one reason for each field.

use super::Request;
use crate::config::rules::places::Places;
use crate::sampling::rule::Globs;
use crate::sampling::{Attributes, Facts, Pattern, Place, Rule};

/// A field that does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `http_method "GET" ≠ "POST"`.
    pub text: String,
    /// Where the two part, if that can be said: `differs at character 2: "a", wanted "s"`.
    pub detail: Option<String>,
    /// Where the field stands.
    pub place: Option<Place>,
}

/// The most patterns of a list that are told.
const MAX_TOLD: usize = 6;

pub(super) fn of(
    rule: &Rule,
    facts: &Facts<'_, Request>,
    knows_service: bool,
    places: &Places,
) -> Vec<Reason> {
    let matchers = &rule.matchers;
    let mut reasons = Vec::new();
    let mut add = |field: &str, value: Option<&str>, globs: &Globs, detail: Option<String>| {
        let text = match value {
            Some(value) => format!("{field} \"{value}\" ≠ {}", listed(globs.patterns())),
            None => format!("{field} ≠ {}", listed(globs.patterns())),
        };
        let place = places.field(&rule.place, field, 0).map(|spot| spot.place);
        reasons.push(Reason { text, detail, place });
    };
    if knows_service && !matchers.service_name.matches(facts.service_name) {
        add("service_name", Some(facts.service_name), &matchers.service_name, None);
    }
    if let Some(kind) = facts.service_type.filter(|kind| !matchers.service_type.matches(kind)) {
        add("service_type", Some(kind), &matchers.service_type, None);
    }
    if !facts.host.is_empty() && !matchers.host.matches_host(facts.host) {
        add("host", Some(facts.host), &matchers.host, None);
    }
    if !matchers.http_method.matches(facts.method) {
        add("http_method", Some(facts.method), &matchers.http_method, None);
    }
    if !matchers.url_path.matches(facts.path) {
        let detail = match matchers.url_path.patterns() {
            [only] => parting(only, facts.path),
            _ => None,
        };
        add("url_path", None, &matchers.url_path, detail);
    }
    for (name, pattern) in &matchers.attributes {
        let text = match facts.attributes.attribute(name) {
            Some(value) if pattern.matches(value) => continue,
            Some(value) => format!("attributes.{name} \"{value}\" ≠ \"{}\"", pattern.as_str()),
            None => format!("attributes.{name} is absent"),
        };
        let place = places.attribute(&rule.place, name).map(|spot| spot.place);
        reasons.push(Reason { text, detail: None, place });
    }
    reasons
}

/// One pattern in quotes, several separated by bars.
fn listed(patterns: &[Pattern]) -> String {
    match patterns {
        [only] => format!("\"{}\"", only.as_str()),
        all => {
            let told: Vec<&str> = all.iter().take(MAX_TOLD).map(Pattern::as_str).collect();
            match all.len().saturating_sub(MAX_TOLD) {
                0 => told.join(" | "),
                more => format!("{} | {more} more", told.join(" | ")),
            }
        }
    }
}

/// Where a text leaves the path that a pattern lays out, before its first star.
fn parting(pattern: &Pattern, text: &str) -> Option<String> {
    let mut wanted = pattern.as_str().chars();
    let mut got = text.chars();
    for n in 1.. {
        match (wanted.next(), got.next()) {
            (Some('*') | None, None) => return None,
            (Some('*'), Some(_)) => return None,
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(got)) => {
                if !Pattern::new(&wanted.to_string()).matches(&got.to_string()) {
                    return Some(format!("differs at character {n}: \"{got}\", wanted \"{wanted}\""));
                }
            }
            (None, Some(_)) => return Some(format!("goes on at character {n}, where the pattern ends")),
            (Some(wanted), None) => return Some(format!("ends before character {n}, wanted \"{wanted}\"")),
        }
    }
    None
}
