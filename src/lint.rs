//! What is doubtful about rules that are right: what can never happen, what happens only by chance, and what it costs.
//!
//! ```text
//!   sampling::RuleSet ─┐
//!   rules::Places ─────┼─► lint ─► Problems   R101 … R114, each at the value it is about
//!   Options ───────────┘
//! ```
//!
//! May not: read files, clocks or settings; all that is known comes in. On doubt it is silent: R101 and R102 are decided
//! by automata (`automaton`) and never claim what a request could disprove.

mod automaton;
mod fields;
mod limits;
mod patterns;
mod reach;
mod spend;

use crate::config::rules::places::{Places, Spot};
use crate::config::{Problem, Problems, Severity};
use crate::sampling::{Mode, Rule, RuleSet};

/// What is known beside the rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The segment's name, if it is known.
    pub service_name: Option<&'a str>,
    /// The segment's `origin`, if it is known.
    pub service_type: Option<&'a str>,
    /// Requests an hour at each instance.
    pub traffic_per_hour: Option<f64>,
    /// What a month of 31 days may cost, in US dollars.
    pub max_usd: Option<f64>,
    /// How many instances run.
    pub replicas: Option<u32>,
    /// Seconds since 1970.
    pub now: u64,
    /// Some rules are missing here because they are wrong.
    pub incomplete: bool,
}

/// Every code there is, and what it finds in a few words.
pub const CODES: [(&str, &str); 24] = [
    ("R000", "file cannot be read"),
    ("R001", "not YAML, or YAML that is refused"),
    ("R002", "unknown key"),
    ("R003", "wrong type or out of range"),
    ("R004", "two rules of one name"),
    ("R005", "one field set twice"),
    ("R006", "`default` misused"),
    ("R007", "not a rate"),
    ("R008", "unsupported version or notation"),
    ("R009", "include missing, in a circle, or outside the directory"),
    ("R101", "rule that can never be reached"),
    ("R102", "rules of one priority that overlap"),
    ("R103", "pattern that matches nothing real"),
    ("R104", "pattern that cannot match this service"),
    ("R105", "rate that rounds to nothing"),
    ("R106", "rule that drops everything"),
    ("R107", "large spend"),
    ("R108", "reservoir multiplied by instances"),
    ("R109", "beyond X-Ray's limits"),
    ("R110", "rule that X-Ray SDKs ignore"),
    ("R111", "expired, or expires soon"),
    ("R112", "value that YAML readers understand differently"),
    ("R113", "no default"),
    ("R114", "capture without a limit or a purpose"),
];

/// Everything that is doubtful, in the order of the codes.
pub fn lint(rules: &RuleSet, places: &Places, options: &Options<'_>) -> Problems {
    let mut report = Report { places, options, problems: Problems::new() };
    reach::check(rules, &mut report);
    for rule in rules.iter() {
        patterns::check(rule, &mut report);
        spend::check(rule, &mut report);
        limits::check(rule, &mut report);
    }
    limits::check_set(rules, &mut report);
    report.problems
}

/// Whether the rule is passed over because its time is over.
pub fn is_expired(rule: &Rule, now: u64) -> bool {
    rule.expires.is_some_and(|expires| expires <= now)
}

/// Whether it decides: not only observes, and not expired.
pub fn is_in_force(rule: &Rule, now: u64) -> bool {
    rule.mode == Mode::Enforce && !is_expired(rule, now)
}

/// Whether it takes every request.
fn takes_everything(rule: &Rule) -> bool {
    let matchers = &rule.matchers;
    matchers.attributes.is_empty() && matchers.fields().iter().all(|(_, globs)| globs.is_anything())
}

/// Collects what is found.
struct Report<'a> {
    places: &'a Places,
    options: &'a Options<'a>,
    problems: Problems,
}

impl Report<'_> {
    /// Where a field of a rule stands, or the rule, if the field was not written.
    fn field(&self, rule: &Rule, field: &str, nth: usize) -> Spot {
        self.places.field(&rule.place, field, nth).unwrap_or_else(|| self.places.rule(&rule.place))
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        spot: &Spot,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem: Problem = self.places.problem(code, spot, message);
        self.problems.push(problem.severity(severity).hint(hint));
    }

    fn warn(&mut self, code: &'static str, spot: &Spot, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, code, spot, message, hint);
    }

    fn note(&mut self, code: &'static str, spot: &Spot, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Note, code, spot, message, hint);
    }
}

#[cfg(test)]
mod tests;
