//! Decides whether a request is kept.
//!
//! Owns: the rules in force, one reservoir per rule, and the order in which rules are tried.
//! May not: read a clock, roll dice, do I/O, log, or know what HTTP is. Callers pass `now` and `draw`.
//! Runs: once per request on the hot path; takes no lock, allocates nothing.
//!
//! The order of judgment: an inherited decision is final; a probe is ignored unless a rule names it; otherwise the
//! first rule that matches decides, by its reservoir and then by its rate. There is no falling through to the next.

pub mod pattern;
pub mod reservoir;
pub mod rule;
pub mod trust;

use crate::moment::Moment;
pub use pattern::Pattern;
pub use reservoir::ReservoirSize;
pub use rule::{
    Attributes, Boost, Capture, Facts, Kept, Matchers, Mode, Place, Priority, Rate, Rule, RuleName,
};
use std::collections::HashMap;
use std::sync::Arc;

/// How it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Kept: a place was left in the rule's reservoir.
    Reservoir,
    /// Kept by the rule's rate.
    Rate,
    /// Not kept by the rule.
    Dropped,
    /// Kept: the caller said so.
    InheritedSampled,
    /// Not kept: the caller said so.
    InheritedDropped,
    /// A health check, which no rule names.
    Ignored,
}

impl Verdict {
    /// Whether the hop is recorded.
    pub fn is_sampled(self) -> bool {
        matches!(self, Verdict::Reservoir | Verdict::Rate | Verdict::InheritedSampled)
    }

    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Reservoir => "reservoir",
            Verdict::Rate => "rate",
            Verdict::Dropped => "dropped",
            Verdict::InheritedSampled => "inherited_sampled",
            Verdict::InheritedDropped => "inherited_dropped",
            Verdict::Ignored => "ignored",
        }
    }
}

/// A verdict, and the rule that was asked, if one was.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// How it was decided.
    pub verdict: Verdict,
    /// `None` for inherited and ignored requests.
    pub rule: Option<&'a Rule>,
}

/// The rules in force, in order, and the default that takes what is left.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    default: Rule,
}

impl RuleSet {
    /// Orders `rules` by priority, equal ones by name, byte by byte, as the X-Ray SDKs do.
    pub fn new(mut rules: Vec<Rule>, default: Rule) -> RuleSet {
        rules.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        RuleSet { rules, default }
    }

    /// What applies when nobody wrote rules: one a second and 5 % of the rest.
    pub fn built_in() -> RuleSet {
        let default = Rule::default_rule(ReservoirSize::per_second(1), Rate::FIVE_PERCENT, Place::built_in());
        RuleSet::new(Vec::new(), default)
    }

    /// Every request: for development.
    pub fn sample_all() -> RuleSet {
        RuleSet::new(Vec::new(), Rule::default_rule(ReservoirSize::default(), Rate::ALL, Place::built_in()))
    }

    /// The rules in the order they are tried, the default last.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain([&self.default])
    }

    /// How many rules there are, the default not counted.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is only the default.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The catch-all.
    pub fn default_rule(&self) -> &Rule {
        &self.default
    }

    /// The first rule that matches.
    pub fn find<A: Attributes>(&self, facts: &Facts<'_, A>) -> &Rule {
        self.rules.iter().find(|rule| rule.matchers.matches(facts)).unwrap_or(&self.default)
    }

    /// Judges one request. `inherited` is a trusted caller's decision, `draw` is uniform over all of `u64`.
    pub fn decide<A: Attributes>(
        &self,
        facts: &Facts<'_, A>,
        inherited: Option<bool>,
        draw: u64,
        now: Moment,
    ) -> Decision<'_> {
        match inherited {
            Some(true) => return Decision { verdict: Verdict::InheritedSampled, rule: None },
            Some(false) => return Decision { verdict: Verdict::InheritedDropped, rule: None },
            None => {}
        }
        let rule = self.find(facts);
        if is_probe(facts) && !rule.matchers.names_user_agents() {
            return Decision { verdict: Verdict::Ignored, rule: None };
        }
        let verdict = if rule.state.reservoir.take(rule.reservoir, now) {
            rule.state.by_reservoir.increment();
            Verdict::Reservoir
        } else if rule.rate.keeps(draw) {
            rule.state.by_rate.increment();
            Verdict::Rate
        } else {
            rule.state.dropped.increment();
            Verdict::Dropped
        };
        Decision { verdict, rule: Some(rule) }
    }

    /// Takes over reservoirs and counts of rules of the same name, so that a reload never hands out a second burst.
    pub fn carry_over(&mut self, previous: &RuleSet) {
        let states: HashMap<&RuleName, &Arc<rule::RuleState>> =
            previous.iter().map(|rule| (&rule.name, &rule.state)).collect();
        self.adopt(|name| states.get(name).map(|state| Arc::clone(state)));
    }

    /// Takes over what `state_of` remembers, also of rules that were away for a while.
    pub fn adopt(&mut self, mut state_of: impl FnMut(&RuleName) -> Option<Arc<rule::RuleState>>) {
        for rule in self.rules.iter_mut().chain([&mut self.default]) {
            if let Some(state) = state_of(&rule.name) {
                rule.state = state;
            }
        }
    }

    /// Eight hex digits over what the rules say; comments, spelling and file names do not matter.
    pub fn hash(&self) -> String {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for rule in self.iter() {
            hash.text(rule.name.as_str());
            hash.text(&rule.priority.get().to_string());
            hash.text(&format!("{} {}", rule.reservoir.get(), rule.rate.get()));
            let matchers = &rule.matchers;
            for globs in [
                &matchers.service_name,
                &matchers.service_type,
                &matchers.host,
                &matchers.http_method,
                &matchers.url_path,
                &matchers.resource_arn,
            ] {
                for pattern in globs.patterns() {
                    hash.text(pattern.as_str());
                }
                hash.text("|");
            }
            for (name, pattern) in &matchers.attributes {
                hash.text(name);
                hash.text(pattern.as_str());
            }
        }
        format!("{:08x}", (hash.0 >> 32) as u32 ^ hash.0 as u32)
    }
}

/// FNV-1a: the standard library's hasher may change between releases, and this number is compared across them.
struct Fnv(u64);

impl Fnv {
    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Health checks of load balancers and kubelets, by how their user agents begin.
const PROBES: [&str; 3] = ["ELB-HealthChecker/", "kube-probe/", "Amazon-Route53-Health-Check-Service"];

/// Whether a health check asks, by its user agent; such a request is ignored unless the rule that takes it names user
/// agents.
pub fn is_probe<A: Attributes>(facts: &Facts<'_, A>) -> bool {
    let agent = facts.attributes.attribute("user-agent").unwrap_or_default();
    PROBES.iter().any(|probe| agent.starts_with(probe))
}

#[cfg(test)]
mod tests;
