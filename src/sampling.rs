//! Decides whether a request is kept.
//!
//! Owns: the rules in force, one reservoir per rule, and the order in which rules are tried.
//! May not: read a clock, roll dice, do I/O, log, or know what HTTP is. Callers pass `now` and `draw`.
//! Runs: once per request on the hot path; takes no lock, allocates nothing.
//!
//! The order of judgment: an inherited decision is final; a probe is ignored unless a rule names it; otherwise the
//! first rule that matches decides, by its reservoir and then by its rate. There is no falling through to the next.
//! Rules that only observe count what they would have done, and rules that have expired are passed over; after either the
//! search goes on as if it had not matched.

pub mod pattern;
pub mod reservoir;
pub mod rule;
pub mod capture;
mod compiled;
pub mod trust;

use crate::moment::Moment;
pub use capture::{Captured, Standby};
use compiled::{Candidates, Compiled};
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
    /// What it may still be recorded for when it has ended; only ever for a request that is not kept.
    pub standby: Option<&'a Arc<Standby>>,
}

/// The rules in force, in order, and the default that takes what is left.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    default: Rule,
    /// `None` where asking each is as quick.
    compiled: Option<Arc<Compiled>>,
    /// For each rule and the default, if it captures; empty if none does.
    standbys: Vec<Option<Arc<Standby>>>,
    /// Whether any captures what a caller dropped. If not, inherited requests need no search.
    captures_inherited: bool,
    /// What each rule and the default had matched when the set came into force; empty for none.
    matched_before: Vec<u64>,
}

impl RuleSet {
    /// Orders `rules` by priority, equal ones by name, byte by byte, as the X-Ray SDKs do.
    pub fn new(mut rules: Vec<Rule>, default: Rule) -> RuleSet {
        rules.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        let compiled = Compiled::new(&rules).map(Arc::new);
        let (standbys, matched_before) = (Vec::new(), Vec::new());
        let mut set =
            RuleSet { rules, default, compiled, standbys, captures_inherited: false, matched_before };
        set.stand_by();
        set
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

    /// Every rule that matches, in order, whatever its mode and expiry; the default is not among them.
    pub fn matching<A: Attributes>(&self, facts: &Facts<'_, A>) -> impl Iterator<Item = &Rule> {
        self.numbers_matching(facts).filter_map(|number| self.rules.get(number))
    }

    /// The first rule that matches, whatever its mode and expiry; else the default.
    pub fn find<A: Attributes>(&self, facts: &Facts<'_, A>) -> &Rule {
        self.matching(facts).next().unwrap_or(&self.default)
    }

    /// The rule that decides at `now`: the first that matches, is not expired and does not only observe; else the default.
    pub fn deciding<A: Attributes>(&self, facts: &Facts<'_, A>, now: Moment) -> &Rule {
        self.matching(facts)
            .find(|rule| rule.mode == Mode::Enforce && !rule.is_expired(now))
            .unwrap_or(&self.default)
    }

    #[inline]
    fn numbers_matching<A: Attributes>(&self, facts: &Facts<'_, A>) -> impl Iterator<Item = usize> {
        self.candidates(facts)
            .filter(|&number| self.rules.get(number).is_some_and(|rule| rule.matchers.matches(facts)))
    }

    #[inline]
    fn candidates<A: Attributes>(&self, facts: &Facts<'_, A>) -> Candidates {
        match &self.compiled {
            Some(compiled) => compiled.candidates(facts),
            None => Candidates::All(0..self.rules.len()),
        }
    }

    /// Judges one request. `inherited` is a trusted caller's decision, `draw` is uniform over all of `u64`.
    pub fn decide<A: Attributes>(
        &self,
        facts: &Facts<'_, A>,
        inherited: Option<bool>,
        draw: u64,
        now: Moment,
    ) -> Decision<'_> {
        let without_rule = |verdict| Decision { verdict, rule: None, standby: None };
        match inherited {
            Some(true) => return without_rule(Verdict::InheritedSampled),
            Some(false) if self.captures_inherited => {
                let standby = self.standby_of_dropped(facts, now);
                return Decision { standby, ..without_rule(Verdict::InheritedDropped) };
            }
            Some(false) => return without_rule(Verdict::InheritedDropped),
            None => {}
        }
        let is_probe = is_probe(facts);
        let mut deciding = (self.rules.len(), &self.default);
        for number in self.candidates(facts) {
            let Some(rule) = self.rules.get(number) else { continue };
            if !rule.matchers.matches(facts) || rule.is_expired(now) {
                continue;
            }
            if rule.mode == Mode::Enforce {
                deciding = (number, rule);
                break;
            }
            if !is_probe || rule.matchers.names_user_agents() {
                rule.observe(draw, now);
            }
        }
        let (number, rule) = deciding;
        if is_probe && !rule.matchers.names_user_agents() {
            return without_rule(Verdict::Ignored);
        }
        let verdict = rule.judge(draw, now);
        let may_be_captured = verdict == Verdict::Dropped && !is_probe;
        let standby = if may_be_captured { self.standbys.get(number).and_then(Option::as_ref) } else { None };
        Decision { verdict, rule: Some(rule), standby }
    }

    /// For a request that a caller dropped: what the rule that would have decided it captures. Observing rules do not count
    /// it, for no rule was asked.
    fn standby_of_dropped<A: Attributes>(&self, facts: &Facts<'_, A>, now: Moment) -> Option<&Arc<Standby>> {
        if is_probe(facts) {
            return None;
        }
        let decides = |&number: &usize| {
            self.rules.get(number).is_some_and(|rule| rule.mode == Mode::Enforce && !rule.is_expired(now))
        };
        let number = self.numbers_matching(facts).find(decides).unwrap_or(self.rules.len());
        self.standbys.get(number)?.as_ref().filter(|standby| standby.takes_inherited())
    }

    /// Rules that have matched nothing since this set came into force, the default among them.
    pub fn never_matched(&self) -> impl Iterator<Item = &Rule> {
        let before = self.matched_before.iter().copied().chain(std::iter::repeat(0));
        self.iter().zip(before).filter(|(rule, before)| rule.state.matched() <= *before).map(|(rule, _)| rule)
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
        self.matched_before = self.iter().map(|rule| rule.state.matched()).collect();
        self.stand_by();
    }

    /// To be called whenever a rule has got another state.
    fn stand_by(&mut self) {
        let standby = |rule: &Rule| {
            let capture = rule.capture.as_ref()?;
            Some(Arc::new(Standby::new(&rule.name, capture, &rule.state)))
        };
        let captures = self.iter().any(|rule| rule.capture.is_some());
        self.standbys = if captures { self.iter().map(standby).collect() } else { Vec::new() };
        self.captures_inherited = self.standbys.iter().flatten().any(|standby| standby.takes_inherited());
    }

    /// Eight hex digits over what the rules say; comments, spelling and file names do not matter.
    pub fn hash(&self) -> String {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for rule in self.iter() {
            hash.text(rule.name.as_str());
            hash.text(&rule.priority.get().to_string());
            hash.text(&format!("{} {}", rule.reservoir.get(), rule.rate.get()));
            let matchers = &rule.matchers;
            for (_, globs) in matchers.fields() {
                for pattern in globs.patterns() {
                    hash.text(pattern.as_str());
                }
                hash.text("|");
            }
            for (name, pattern) in &matchers.attributes {
                hash.text(name);
                hash.text(pattern.as_str());
            }
            // Only where they say something, so that a set that has none of them keeps its number.
            if rule.mode == Mode::Observe {
                hash.text("observe");
            }
            if let Some(expires) = rule.expires {
                hash.text(&format!("expires {expires}"));
            }
            if let Some(capture) = &rule.capture {
                let Capture { statuses, slower_than, limit, inherited } = capture;
                hash.text(&format!("capture {statuses:?} {slower_than:?} {} {inherited}", limit.get()));
            }
        }
        format!("{:08x}", (hash.0 >> 32) as u32 ^ hash.0 as u32)
    }
}

impl Rule {
    fn judge(&self, draw: u64, now: Moment) -> Verdict {
        if self.state.reservoir.take(self.reservoir, now) {
            self.state.by_reservoir.increment();
            Verdict::Reservoir
        } else if self.rate.keeps(draw) {
            self.state.by_rate.increment();
            Verdict::Rate
        } else {
            self.state.dropped.increment();
            Verdict::Dropped
        }
    }

    /// Counts what [`Rule::judge`] would have come to, and spends nothing that is real.
    fn observe(&self, draw: u64, now: Moment) {
        let state = &self.state;
        if state.would_reservoir.take(self.reservoir, now) {
            state.would_by_reservoir.increment();
        } else if self.rate.keeps(draw) {
            state.would_by_rate.increment();
        } else {
            state.would_drop.increment();
        }
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
    let agent = facts.attributes.user_agent();
    // Nearly all agents are told by their first letter.
    matches!(agent, [b'E' | b'k' | b'A', ..])
        && PROBES.iter().any(|probe| agent.starts_with(probe.as_bytes()))
}

#[cfg(test)]
mod tests;
