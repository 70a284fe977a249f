//! `Rule`, its parts, and what it matches on.

use super::pattern::Pattern;
use super::reservoir::{Reservoir, ReservoirSize};
use crate::moment::Moment;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A share of requests, from 0 (none) to 1 (all), kept to full precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64); // invariant: 0.0 <= rate <= 1.0, so never NaN

/// The value was not between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("rate {0} is not between 0 and 1")]
pub struct RateOutOfRange(pub f64);

impl Rate {
    /// Keeps nothing.
    pub const NONE: Rate = Rate(0.0);
    /// Keeps everything.
    pub const ALL: Rate = Rate(1.0);
    /// X-Ray's own default.
    pub const FIVE_PERCENT: Rate = Rate(0.05);

    /// The share.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Whether `draw`, uniform over all of `u64`, falls into this share. 0 never keeps and 1 always does.
    pub fn keeps(self, draw: u64) -> bool {
        // 2^64 as a float is exact, and below rate 1 the product stays below it.
        self.0 >= 1.0 || draw < (self.0 * 18_446_744_073_709_551_616.0) as u64
    }
}

impl TryFrom<f64> for Rate {
    type Error = RateOutOfRange;

    fn try_from(rate: f64) -> Result<Rate, RateOutOfRange> {
        if (0.0..=1.0).contains(&rate) { Ok(Rate(rate)) } else { Err(RateOutOfRange(rate)) }
    }
}

/// Where a rule stands in the order: 1 to 9999, lower first. X-Ray's `Default` has 10000 and is not one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u16);

impl Priority {
    /// What X-Ray shows for `Default`.
    pub const DEFAULT_RULE: Priority = Priority(10_000);

    /// `None` outside 1 to 9999.
    pub fn new(priority: i64) -> Option<Priority> {
        (1..=9_999).contains(&priority).then_some(Priority(priority as u16))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// What a rule is called. Shared, because segments and metrics carry it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleName(Arc<str>);

impl RuleName {
    /// X-Ray's name for the catch-all.
    pub const DEFAULT: &'static str = "Default";

    /// Any text; what a rule file may say is `config`'s business.
    pub fn new(name: &str) -> RuleName {
        RuleName(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a rule was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or `built-in`.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of what nobody wrote.
    pub fn built_in() -> Place {
        Place { file: "built-in".into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            _ => write!(f, "{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

/// One or more patterns, any of which will do. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globs {
    patterns: Vec<Pattern>,
    /// One of them is `*`: known beforehand, because most fields of most rules are so.
    anything: bool,
}

impl Globs {
    /// What a rule says that does not mention the field.
    pub fn anything() -> Globs {
        Globs { patterns: vec![Pattern::anything()], anything: true }
    }

    /// `None` if there are no patterns.
    pub fn new(patterns: Vec<Pattern>) -> Option<Globs> {
        let anything = patterns.iter().any(Pattern::is_anything);
        (!patterns.is_empty()).then_some(Globs { patterns, anything })
    }

    /// The patterns, in the order written.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether any text matches.
    #[inline]
    pub fn is_anything(&self) -> bool {
        self.anything
    }

    /// Whether one pattern matches all of `text`.
    #[inline]
    pub fn matches(&self, text: &str) -> bool {
        self.anything || self.patterns.iter().any(|pattern| pattern.matches(text))
    }

    /// As [`Globs::matches`] for a `Host`: the port counts only for patterns that have a colon themselves.
    #[inline]
    pub fn matches_host(&self, host: &str) -> bool {
        if self.anything {
            return true;
        }
        let bare = without_port(host);
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(if pattern.as_str().contains(':') { host } else { bare }))
    }
}

/// `example.com:8080` → `example.com`, `[::1]:80` → `[::1]`.
pub(super) fn without_port(host: &str) -> &str {
    if !host.as_bytes().contains(&b':') {
        return host;
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

/// Looks up what rules call attributes; here, request headers by lower-case name.
pub trait Attributes {
    /// The first value, if there is a legible one.
    fn attribute(&self, name: &str) -> Option<&str>;

    /// The `user-agent`'s bytes, legible or not. Every request is asked for them, so whoever has a quicker way takes it.
    fn user_agent(&self) -> &[u8] {
        self.attribute("user-agent").unwrap_or_default().as_bytes()
    }
}

/// What is known of a request. An empty `host` or an absent `service_type` is unknown, and matches any pattern.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a, A> {
    /// The segment's name.
    pub service_name: &'a str,
    /// The segment's `origin`.
    pub service_type: Option<&'a str>,
    /// `Host` or `:authority`, port included.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path as received, without the query.
    pub path: &'a str,
    /// The headers.
    pub attributes: &'a A,
}

/// What a rule asks of a request; every part must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matchers {
    /// Against the segment's name.
    pub service_name: Globs,
    /// Against the segment's `origin`.
    pub service_type: Globs,
    /// Against the host.
    pub host: Globs,
    /// Against the method.
    pub http_method: Globs,
    /// Against the path.
    pub url_path: Globs,
    /// Against the ARN of the resource, which no sidecar knows: anything matches.
    pub resource_arn: Globs,
    /// Lower-case header name and the pattern its value must match; an absent header does not match.
    pub attributes: Vec<(Box<str>, Pattern)>,
}

/// How many fields take patterns, attributes not counted.
pub const N_FIELDS: usize = 6;

impl Matchers {
    /// The fields that take patterns, attributes not counted, each with its key in a rule file.
    pub fn fields(&self) -> [(&'static str, &Globs); N_FIELDS] {
        [
            ("service_name", &self.service_name),
            ("service_type", &self.service_type),
            ("host", &self.host),
            ("http_method", &self.http_method),
            ("url_path", &self.url_path),
            ("resource_arn", &self.resource_arn),
        ]
    }
}

impl Default for Matchers {
    fn default() -> Matchers {
        Matchers {
            service_name: Globs::anything(),
            service_type: Globs::anything(),
            host: Globs::anything(),
            http_method: Globs::anything(),
            url_path: Globs::anything(),
            resource_arn: Globs::anything(),
            attributes: Vec::new(),
        }
    }
}

impl Matchers {
    /// Whether every part matches.
    pub fn matches<A: Attributes>(&self, facts: &Facts<'_, A>) -> bool {
        self.url_path.matches(facts.path)
            && self.http_method.matches(facts.method)
            && (facts.host.is_empty() || self.host.matches_host(facts.host))
            && self.service_name.matches(facts.service_name)
            && facts.service_type.is_none_or(|service_type| self.service_type.matches(service_type))
            && self.attributes.iter().all(|(name, pattern)| {
                facts.attributes.attribute(name).is_some_and(|value| pattern.matches(value))
            })
    }

    /// Whether the rule speaks of user agents, and so may name probes.
    pub fn names_user_agents(&self) -> bool {
        self.attributes.iter().any(|(name, _)| &**name == "user-agent")
    }
}

/// Whether a rule decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It counts what it would have done, and the next rule is tried as if it had not matched.
    Observe,
}

/// Which requests that were not kept are recorded after all, by how they ended. Never empty: a status or a duration is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Statuses, each range from its first to its last.
    pub statuses: Vec<(u16, u16)>,
    /// Longer than this.
    pub slower_than: Option<Duration>,
    /// At most so many a second.
    pub limit: ReservoirSize,
    /// Also requests that a trusted caller dropped.
    pub inherited: bool,
}

/// What a rule carries for people and for round trips: nothing decides by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The reservoir as written, if instances share it and [`Rule::reservoir`] is this one's part.
    pub whole_reservoir: Option<ReservoirSize>,
    /// X-Ray's own name of the rule.
    pub arn: Option<Box<str>>,
    /// In seconds since 1970.
    pub created_at: Option<f64>,
    /// In seconds since 1970.
    pub modified_at: Option<f64>,
    /// What X-Ray may raise the rate to.
    pub boost: Option<Boost>,
}

/// How far and how often X-Ray may raise a rate when it sees anomalies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boost {
    /// The highest rate.
    pub max_rate: Rate,
    /// At most one boost in so many minutes.
    pub cooldown_minutes: u32,
}

/// What a rule has given and counted. Survives a reload under the rule's name.
#[derive(Debug, Default)]
pub struct RuleState {
    /// Its places.
    pub reservoir: Reservoir,
    /// Kept by the reservoir.
    pub by_reservoir: Count,
    /// Kept by the rate.
    pub by_rate: Count,
    /// Not kept.
    pub dropped: Count,
    /// Places for what is recorded after the fact.
    pub captures: Reservoir,
    /// Not kept, and recorded after the fact.
    pub captured: Count,
    /// Not kept, and not recorded after the fact either, because no place was left.
    pub captures_refused: Count,
    /// The places it would have had to give while it only observed.
    pub would_reservoir: Reservoir,
    /// While it only observed: would have been kept by the reservoir.
    pub would_by_reservoir: Count,
    /// While it only observed: would have been kept by the rate.
    pub would_by_rate: Count,
    /// While it only observed: would not have been kept.
    pub would_drop: Count,
}

impl RuleState {
    /// Requests it decided.
    pub fn decided(&self) -> u64 {
        self.by_reservoir.get() + self.by_rate.get() + self.dropped.get()
    }

    /// Requests it only observed.
    pub fn observed(&self) -> u64 {
        self.would_by_reservoir.get() + self.would_by_rate.get() + self.would_drop.get()
    }

    /// Requests it matched, in either mode.
    pub fn matched(&self) -> u64 {
        self.decided() + self.observed()
    }
}

/// A count that several workers add to.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One sampling rule, compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its set.
    pub name: RuleName,
    /// Its place in the order.
    pub priority: Priority,
    /// Kept each second before the rate applies.
    pub reservoir: ReservoirSize,
    /// The share kept of the rest.
    pub rate: Rate,
    /// What it asks of a request.
    pub matchers: Matchers,
    /// Whether it decides, or only counts what it would have decided.
    pub mode: Mode,
    /// From this second since 1970 on it is passed over; `None` is never.
    pub expires: Option<u64>,
    /// Requests it did not keep that are recorded after all, for how they ended.
    pub capture: Option<Capture>,
    /// For people.
    pub description: Option<String>,
    /// What it carries besides, if anything.
    pub kept: Option<Box<Kept>>,
    /// Where it was written.
    pub place: Place,
    /// What it has given and counted.
    pub state: Arc<RuleState>,
}

impl Rule {
    /// The catch-all: priority 10000, matches everything.
    pub fn default_rule(reservoir: ReservoirSize, rate: Rate, place: Place) -> Rule {
        Rule {
            name: RuleName::new(RuleName::DEFAULT),
            priority: Priority::DEFAULT_RULE,
            reservoir,
            rate,
            matchers: Matchers::default(),
            mode: Mode::Enforce,
            expires: None,
            capture: None,
            description: None,
            kept: None,
            place,
            state: Arc::default(),
        }
    }

    /// Whether it is passed over because its time is over. Wall time: it was written by people.
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| now.wall_micros() / 1_000_000 >= expires)
    }

    /// The reservoir of all instances together: as written, where `replicas` divided it.
    pub fn whole_reservoir(&self) -> ReservoirSize {
        self.kept.as_ref().and_then(|kept| kept.whole_reservoir).unwrap_or(self.reservoir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_counts_only_for_patterns_that_have_one() {
        let globs = |text: &str| Globs::new(vec![Pattern::new(text)]).unwrap();
        assert!(globs("example.com").matches_host("Example.com:8080"));
        assert!(!globs("example.com:80").matches_host("example.com:8080"));
        assert!(globs("example.com:*").matches_host("example.com:8080"));
        assert!(globs("[??1]").matches_host("[::1]:80"));
        assert_eq!(without_port("::1"), "::1");
    }

    #[test]
    fn trap_17_a_rate_of_five_is_an_error_and_not_500_percent() {
        assert_eq!(Rate::try_from(5.0), Err(RateOutOfRange(5.0)));
        assert!(Rate::try_from(-0.0).is_ok());
        assert!(Rate::try_from(f64::NAN).is_err());
    }

    #[test]
    fn rates_are_exact_at_their_ends() {
        assert!(!Rate::NONE.keeps(0));
        assert!(Rate::ALL.keeps(u64::MAX));
        assert!(!Rate::try_from(0.5).unwrap().keeps(1 << 63));
        assert!(Rate::try_from(0.5).unwrap().keeps((1 << 63) - 1));
    }
}
