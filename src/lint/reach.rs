//! R101 and R102: rules that are never reached, and rules whose order hangs on their names.
//!
//! A rule is covered by an earlier one if every field of the earlier one holds all that the later one's does. Several
//! together cover it if each of them covers everything but the method, and their methods together hold all of its own.
//! Most of the pairs are told apart by one made-up request; only what is left is walked as automata.

use super::automaton::{Answer, Budget, outside};
use super::fields::{Request, refs, shared};
use super::{Report, is_expired, is_in_force};
use crate::sampling::rule::Globs;
use crate::sampling::{Matchers, Mode, Pattern, Rule, RuleSet};
use std::collections::HashMap;

/// The most overlaps looked for at one priority: whoever gives a thousand rules the same one means no order.
const MAX_PAIRS: usize = 100_000;

pub(super) fn check(rules: &RuleSet, report: &mut Report<'_>) {
    let now = report.options.now;
    let own: Vec<&Rule> = rules.iter().take(rules.len()).filter(|rule| !is_expired(rule, now)).collect();
    let mut prover = Prover { budget: Budget::new(), known: HashMap::new() };
    let mut covered = vec![false; own.len()];
    for (n, later) in own.iter().enumerate() {
        let takers = prover.takers(later, own.get(..n).unwrap_or_default(), now);
        if takers.is_empty() {
            continue;
        }
        covered[n] = true;
        // Without a request that could be sent it is dead for another reason, which R103 tells.
        if let Some(example) = shared(&later.matchers, &later.matchers, None, &mut prover.budget) {
            unreachable(later, &takers, &example, report);
        }
    }
    overlaps(&own, &covered, &mut prover, report);
}

/// Remembers which lists of patterns hold which others: most rules say the same of most fields.
struct Prover {
    budget: Budget,
    known: HashMap<(Vec<String>, Vec<String>), bool>,
}

impl Prover {
    /// The rules of `earlier` that take every request which `later` matches; none on doubt.
    fn takers<'r>(&mut self, later: &Rule, earlier: &[&'r Rule], now: u64) -> Vec<&'r Rule> {
        let sample = Request::unlikely(&later.matchers);
        let mut by_method: Vec<&Rule> = Vec::new();
        for rule in earlier {
            // One that ends before the later one does uncovers it again.
            let lasts = match (rule.expires, later.expires) {
                (None, _) => true,
                (Some(ends), Some(until)) => ends >= until,
                (Some(_), None) => false,
            };
            if !(is_in_force(rule, now) && lasts && self.covers_but_method(&rule.matchers, later, &sample)) {
                continue;
            }
            if self.holds(&refs(&rule.matchers.http_method), &refs(&later.matchers.http_method)) {
                return vec![*rule];
            }
            by_method.push(rule);
        }
        // A method that adds nothing is no part of the reason.
        let method = &later.matchers.http_method;
        by_method.retain(|rule| method.patterns().iter().any(|pattern| overlaps_literally(pattern, rule)));
        let together: Vec<&Pattern> =
            by_method.iter().flat_map(|rule| rule.matchers.http_method.patterns()).collect();
        match by_method.len() > 1 && self.holds(&together, &refs(method)) {
            true => by_method,
            false => Vec::new(),
        }
    }

    fn covers_but_method(&mut self, outer: &Matchers, later: &Rule, sample: &Request) -> bool {
        let inner = &later.matchers;
        let sample_fits = outer.url_path.matches(&sample.path)
            && outer.host.matches_host(&sample.host)
            && outer.service_name.matches(&sample.service_name)
            && sample.service_type.as_deref().is_none_or(|it| outer.service_type.matches(it));
        sample_fits
            && self.globs(&outer.url_path, &inner.url_path)
            && self.host(&outer.host, &inner.host)
            && self.globs(&outer.service_name, &inner.service_name)
            && self.globs(&outer.service_type, &inner.service_type)
            && self.globs(&outer.resource_arn, &inner.resource_arn)
            && outer.attributes.iter().all(|(name, pattern)| {
                let same = inner.attributes.iter().find(|(other, _)| other == name);
                same.is_some_and(|(_, inner)| self.holds(&[pattern], &[inner]))
            })
    }

    /// Whether `outer` matches each host that `inner` does. Patterns with a colon see the port and others do not, so
    /// that only like is compared with like, and one without wildcards with everything.
    fn host(&mut self, outer: &Globs, inner: &Globs) -> bool {
        if outer.is_anything() {
            return true;
        }
        let (outer_ports, outer_bare): (Vec<&Pattern>, Vec<&Pattern>) =
            outer.patterns().iter().partition(|pattern| pattern.as_str().contains(':'));
        inner.patterns().iter().all(|pattern| {
            let text = pattern.as_str();
            match text.contains(':') {
                false => self.holds(&outer_bare, &[pattern]),
                true if !text.contains(['*', '?']) => outer.matches_host(text),
                true => self.holds(&outer_ports, &[pattern]),
            }
        })
    }

    fn globs(&mut self, outer: &Globs, inner: &Globs) -> bool {
        self.holds(&refs(outer), &refs(inner))
    }

    /// Whether `outer` matches everything that `inner` does; on doubt it does not.
    fn holds(&mut self, outer: &[&Pattern], inner: &[&Pattern]) -> bool {
        let is_literal = |pattern: &Pattern| !pattern.as_str().contains(['*', '?']);
        let plainly = |pattern: &&&Pattern| {
            outer.iter().any(|other| other.is_anything() || other.folded() == pattern.folded())
                || is_literal(pattern) && outer.iter().any(|other| other.matches(pattern.as_str()))
        };
        let rest: Vec<&Pattern> = inner.iter().filter(|pattern| !plainly(pattern)).copied().collect();
        if rest.is_empty() || outer.is_empty() {
            return rest.is_empty();
        }
        if rest.iter().any(|pattern| is_literal(pattern)) {
            return false;
        }
        let texts =
            |patterns: &[&Pattern]| patterns.iter().map(|it| it.folded().to_owned()).collect::<Vec<_>>();
        let question = (texts(outer), texts(&rest));
        if let Some(&answer) = self.known.get(&question) {
            return answer;
        }
        let answer = outside(&rest, outer, &mut self.budget) == Answer::None;
        self.known.insert(question, answer);
        answer
    }
}

/// Whether one of the rule's methods and `pattern` could be the same, as far as texts without wildcards tell.
fn overlaps_literally(pattern: &Pattern, rule: &Rule) -> bool {
    rule.matchers
        .http_method
        .patterns()
        .iter()
        .any(|other| other.matches(pattern.as_str()) || pattern.matches(other.as_str()))
}

fn unreachable(later: &Rule, takers: &[&Rule], example: &Request, report: &mut Report<'_>) {
    let named: Vec<String> = takers
        .iter()
        .map(|rule| format!("\"{}\" (priority {}, {})", rule.name, rule.priority.get(), rule.place))
        .collect();
    let first = match named.as_slice() {
        [one] => format!("every request it matches is taken first by {one}"),
        all => format!("every request it matches is taken first, by method, by {}", all.join(" or ")),
    };
    let lowest = takers.iter().map(|rule| rule.priority.get()).min().unwrap_or_default();
    let remedy = match lowest {
        0 | 1 => "remove it, or make the other narrower".to_owned(),
        lowest => format!("give \"{}\" a priority below {lowest}", later.name),
    };
    let example =
        example.shown(!later.matchers.host.is_anything(), !later.matchers.service_name.is_anything());
    let message = format!("rule \"{}\" (priority {}) can never be reached", later.name, later.priority.get());
    let spot = report.places.rule(&later.place);
    report.warn("R101", &spot, message, format!("{first}\ne.g. {example}   – {remedy}"));
}

/// Rules of one priority that some request makes compete. The first partner of each is told.
fn overlaps(rules: &[&Rule], covered: &[bool], prover: &mut Prover, report: &mut Report<'_>) {
    let now = report.options.now;
    let mut left = MAX_PAIRS;
    for (n, later) in rules.iter().enumerate() {
        if covered.get(n) == Some(&true) || later.mode == Mode::Observe {
            continue;
        }
        let peers = rules.get(..n).unwrap_or_default().iter().rev();
        let peers: Vec<&&Rule> = peers.take_while(|earlier| earlier.priority == later.priority).collect();
        for earlier in peers.into_iter().rev().filter(|earlier| is_in_force(earlier, now)) {
            left = left.saturating_sub(1);
            if left == 0 {
                return;
            }
            let name = report.options.service_name;
            let Some(example) = shared(&earlier.matchers, &later.matchers, name, &mut prover.budget) else {
                continue;
            };
            let asks = |field: fn(&Matchers) -> &Globs| {
                !(field(&earlier.matchers).is_anything() && field(&later.matchers).is_anything())
            };
            let shown = example.shown(asks(|it| &it.host), asks(|it| &it.service_name));
            let message = format!(
                "\"{}\" and \"{}\" share priority {} and overlap; \"{}\" wins by name",
                earlier.name,
                later.name,
                later.priority.get(),
                earlier.name
            );
            let hint = format!("both match e.g. {shown}   – give them different priorities");
            let spot = report.field(later, "priority", 0);
            report.warn("R102", &spot, message, hint);
            break;
        }
    }
}
