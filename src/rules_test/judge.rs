//! Holds rules against a test.

use super::file::{Captured, Expectation, Sampled, Test, Trials};
use crate::config::rules::places::Places;
use crate::config::rules::rate::percent;
use crate::explain::{Chosen, Explanation, Outcome, Service, explain, facts, in_force, inherited};
use crate::lint::is_in_force;
use crate::moment::Moment;
use crate::sampling::capture::Captured as Reason;
use crate::sampling::{Capture, Rule, RuleName, RuleSet, is_probe};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::HashSet;
use std::sync::Arc;

/// What came of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was expected and is not so, one line or several each. Empty if the test passed.
    pub failures: Vec<String>,
    /// The rule that decided, if one did.
    pub chosen: Option<RuleName>,
}

/// Judges one test. `now`, in seconds since 1970, decides which rules have expired.
pub fn judge(rules: &RuleSet, places: &Places, service: Service<'_>, now: u64, test: &Test) -> Verdict {
    let explanation = explain(rules, places, &test.request, service, now, None);
    let chosen = match &explanation.outcome {
        Outcome::Decided(chosen) => Some(chosen),
        Outcome::Inherited { .. } | Outcome::Ignored { .. } => None,
    };
    let mut failures = Vec::new();
    let expect = &test.expect;
    let mut fail = |expected: String, got: String| failures.push(format!("expected {expected}   got {got}"));
    let got = in_words(&explanation);
    if let Some(rule) = expect.rule.as_ref().filter(|rule| chosen.is_none_or(|it| it.name.as_str() != **rule))
    {
        fail(format!("rule {rule}"), got.clone());
    }
    let decision = match explanation.outcome {
        Outcome::Inherited { .. } => "inherited",
        Outcome::Ignored { .. } => "ignored",
        Outcome::Decided(_) => "rule",
    };
    let is_met = |expected: &str| expected == decision || chosen.is_some_and(|it| it.decision() == expected);
    if let Some(expected) = expect.decision.as_deref().filter(|expected| !is_met(expected)) {
        fail(format!("decision {expected}"), got.clone());
    }
    if let Some(expected) = expect.sampled
        && is_sampled(&explanation.outcome) != Some(expected)
    {
        let word = if expected == Sampled::Never { "never" } else { "always" };
        fail(format!("sampled {word}"), got.clone());
    }
    // Another rule has another rate, and that is told already.
    let is_other = expect.rule.is_some() && !failures.is_empty();
    let mut fail = |expected: String, got: String| failures.push(format!("expected {expected}   got {got}"));
    if let Some(expected) = expect.rate.filter(|rate| !is_other && chosen.is_none_or(|it| it.rate != *rate)) {
        fail(format!("rate {}", percent(expected)), got.clone());
    }
    if let (Some(expected), Some(per_second)) = (expect.sampled_per_second, test.per_second) {
        let computed = kept_per_second(&explanation.outcome, per_second);
        // Figures are written with a few digits, and computed with all of them.
        if (computed - expected).abs() > 1e-6 * expected.abs().max(1.0) {
            fail(format!("sampled_per_second {expected}"), format!("{} ({got})", rounded(computed)));
        }
    }
    if let Some(expected) = expect.captured {
        let found = captured(&explanation.outcome, &in_force(rules, service, now), service, test);
        if found != expected {
            fail(format!("captured {}", word(expected)), format!("captured {} ({got})", word(found)));
        }
    }
    if let (Some(Trials { n, seed }), Some(chosen)) = (test.trials, chosen) {
        failures.extend(trials(rules, service, now, test, chosen, n, seed));
    }
    failures.extend(why_lost(&explanation, rules, expect).filter(|_| !failures.is_empty()));
    Verdict { failures, chosen: chosen.map(|chosen| chosen.name.clone()) }
}

/// `state-polling (0.3 %)`.
fn in_words(explanation: &Explanation) -> String {
    match &explanation.outcome {
        Outcome::Inherited { sampled: true } => "inherited: sampled".to_owned(),
        Outcome::Inherited { sampled: false } => "inherited: not sampled".to_owned(),
        Outcome::Ignored { .. } => "ignored, as a health check".to_owned(),
        Outcome::Decided(chosen) => format!("{} ({})", chosen.name, chosen.brief()),
    }
}

fn is_sampled(outcome: &Outcome) -> Option<Sampled> {
    match outcome {
        Outcome::Inherited { sampled: true } => Some(Sampled::Always),
        Outcome::Inherited { sampled: false } | Outcome::Ignored { .. } => Some(Sampled::Never),
        Outcome::Decided(chosen) => match chosen.decision() {
            "always" => Some(Sampled::Always),
            "never" => Some(Sampled::Never),
            _ => None,
        },
    }
}

fn kept_per_second(outcome: &Outcome, per_second: f64) -> f64 {
    match outcome {
        Outcome::Inherited { sampled: true } => per_second,
        Outcome::Inherited { sampled: false } | Outcome::Ignored { .. } => 0.0,
        Outcome::Decided(chosen) => {
            let by_reservoir = chosen.reservoir.get().min(per_second);
            by_reservoir + chosen.rate.get() * (per_second - by_reservoir)
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn word(captured: Captured) -> &'static str {
    match captured {
        Captured::Status => "status",
        Captured::Slow => "slow",
        Captured::No => "no",
    }
}

/// Whether the answer makes an unsampled request be recorded.
///
/// `rules` are those in force, as the engine asks them for a request that a caller dropped.
fn captured(outcome: &Outcome, rules: &RuleSet, service: Service<'_>, test: &Test) -> Captured {
    let Some((status, duration)) = test.response else { return Captured::No };
    let facts = facts(&test.request, service);
    let capture: Option<&Capture> = match outcome {
        // Of health checks nothing is recorded after the fact.
        _ if is_probe(&facts) => None,
        Outcome::Decided(chosen) if chosen.decision() == "always" => None,
        Outcome::Decided(chosen) => chosen.capture.as_ref(),
        // A caller's `Sampled=0` is captured only by a rule that says so, and is matched for that.
        Outcome::Inherited { sampled: false } => {
            rules.find(&facts).capture.as_ref().filter(|capture| capture.inherited)
        }
        Outcome::Inherited { sampled: true } | Outcome::Ignored { .. } => None,
    };
    let capture = capture.filter(|capture| capture.limit.get() > 0.0);
    match capture.and_then(|capture| capture.reason(status, duration)) {
        Some(Reason::Status) => Captured::Status,
        Some(Reason::Slow) => Captured::Slow,
        None => Captured::No,
    }
}

/// Runs the sampler and compares with what its formula says, in a band that one run in a thousand leaves.
fn trials(
    rules: &RuleSet,
    service: Service<'_>,
    now: u64,
    test: &Test,
    chosen: &Chosen,
    n: u32,
    seed: u64,
) -> Option<String> {
    let per_second = test.per_second.unwrap_or(100.0).max(1e-3);
    let set = in_force(&fresh(rules), service, now);
    let facts = facts(&test.request, service);
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut kept = 0u32;
    for k in 0..n {
        let nanos = f64::from(k) / per_second * 1e9;
        let decision = set.decide(
            &facts,
            inherited(&test.request),
            dice.next_u64(),
            Moment::new(now * 1_000_000, nanos as u64),
        );
        kept += u32::from(decision.verdict.is_sampled());
    }
    let (places, rate) = (chosen.reservoir.get(), chosen.rate.get());
    let by_reservoir = places.min(per_second) / per_second * f64::from(n);
    let rest = f64::from(n) - by_reservoir;
    let expected = by_reservoir + rate * rest;
    // The first and the last second may be cut.
    let band = 3.29 * (rate * (1.0 - rate) * rest).sqrt() + places + 1.0;
    let off = (f64::from(kept) - expected).abs() > band;
    off.then(|| format!("expected {expected:.0} ± {band:.0} of {n} trials   got {kept} (seed {seed})"))
}

/// The same rules with full reservoirs and counts of zero.
fn fresh(rules: &RuleSet) -> RuleSet {
    let renew = |rule: &Rule| Rule { state: Arc::default(), ..rule.clone() };
    RuleSet::new(rules.iter().take(rules.len()).map(renew).collect(), renew(rules.default_rule()))
}

/// Why the rule that was expected is not the one.
fn why_lost(explanation: &Explanation, rules: &RuleSet, expect: &Expectation) -> Option<String> {
    let Outcome::Decided(chosen) = &explanation.outcome else { return None };
    let expected = expect.rule.as_deref().filter(|rule| *rule != chosen.name.as_str())?;
    let Some(rule) = explanation.rules.iter().find(|rule| rule.name.as_str() == expected) else {
        return Some(format!("there is no rule {expected}"));
    };
    let place =
        |of: &str| rules.iter().find(|rule| rule.name.as_str() == of).map(|rule| rule.place.to_string());
    if let Some(first) = rule.reasons.first() {
        let at =
            first.place.as_ref().map(ToString::to_string).or_else(|| place(expected)).unwrap_or_default();
        return Some(format!("{expected} lost: {}   {at}", rule.reasons()));
    }
    let why = match (rule.expired, rule.observes) {
        (true, _) => "its time is over".to_owned(),
        (_, true) => "it only observes".to_owned(),
        _ => format!("{} takes the request first", chosen.name),
    };
    Some(format!("{expected} lost: {why}   {}", place(expected).unwrap_or_default()))
}

/// The rules that can decide, the default among them, in their order: how many, and those never chosen.
pub fn coverage(rules: &RuleSet, chosen: &HashSet<RuleName>, now: u64) -> (usize, Vec<RuleName>) {
    let all: Vec<&Rule> = rules.iter().filter(|rule| is_in_force(rule, now)).collect();
    let never = all.iter().filter(|rule| !chosen.contains(&rule.name)).map(|rule| rule.name.clone());
    (all.len(), never.collect())
}
