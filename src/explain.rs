//! Which rule decides a request, and why the others do not.
//!
//! ```text
//!   shop.example.com GET /api/state/42          rules b41c90e2, service shop (type unknown: matches any)
//!     decision   state-polling → 0.3 % of requests, no reservoir          rules/20-shop.yaml:11:5
//!         10  healthz          no   url_path ≠ /healthz | /readyz | /metrics
//!        500  state-polling    YES
//!      10000  Default          –    not reached; would match
//!     capture    none on this rule
//! ```
//!
//! The rule is found by the engine that the proxy runs ([`RuleSet::find`]); the reasons are worked out beside it, field
//! by field. Nothing is taken from a reservoir and nothing is counted.

mod layout;
mod reasons;
mod request;

use crate::config::rules::places::Places;
use crate::config::rules::rate::percent;
use crate::lint::{is_expired, is_in_force};
use crate::moment::Moment;
use crate::sampling::rule::Globs;
use crate::sampling::{
    Attributes, Capture, Facts, Mode, Rate, ReservoirSize, Rule, RuleName, RuleSet, is_probe,
};
use crate::trace::{Arrived, Said};
pub use reasons::Reason;
pub use request::{BadRequest, Request};

/// Whose rules they are. What is not known matches any pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service<'a> {
    /// The segment's name.
    pub name: Option<&'a str>,
    /// The segment's `origin`.
    pub kind: Option<&'a str>,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A trusted caller has decided.
    Inherited {
        /// What it said.
        sampled: bool,
    },
    /// A health check, which the rule that takes it does not name.
    Ignored {
        /// Its user agent.
        user_agent: String,
    },
    /// A rule decides.
    Decided(Chosen),
}

/// The rule that decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Its name.
    pub name: RuleName,
    /// Kept each second before the rate.
    pub reservoir: ReservoirSize,
    /// The share kept of the rest.
    pub rate: Rate,
    /// What it records after the fact.
    pub capture: Option<Capture>,
    /// `file:line:column`.
    pub source: String,
    /// Places taken and places there are in this second, of a running sidecar.
    pub level: Option<(u32, u32)>,
}

impl Chosen {
    /// `reservoir_then_rate`, `reservoir`, `rate`, `always` or `never`.
    pub fn decision(&self) -> &'static str {
        match (self.reservoir.get() > 0.0, self.rate.get()) {
            (_, 1.0) => "always",
            (true, 0.0) => "reservoir",
            (true, _) => "reservoir_then_rate",
            (false, 0.0) => "never",
            (false, _) => "rate",
        }
    }

    /// `1/s + 5 %`.
    pub fn brief(&self) -> String {
        match self.reservoir.get() > 0.0 {
            true => format!("{}/s + {}", self.reservoir.get(), spaced(self.rate)),
            false => spaced(self.rate),
        }
    }
}

/// `5 %`, as people write it.
fn spaced(rate: Rate) -> String {
    percent(rate).replace('%', " %")
}

/// How one rule stands to the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    /// Its name.
    pub name: RuleName,
    /// Its place in the order.
    pub priority: u16,
    /// It only counts.
    pub observes: bool,
    /// Its time is over.
    pub expired: bool,
    /// Every field matches.
    pub matched: bool,
    /// It is the one that decides.
    pub chosen: bool,
    /// It was asked before one had decided.
    pub reached: bool,
    /// Every field that does not match; empty if it matches.
    pub reasons: Vec<Reason>,
}

/// Everything there is to say about one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What was asked.
    pub request: Request,
    /// Of the rules.
    pub hash: String,
    /// The service's name, if known.
    pub service_name: Option<String>,
    /// The service's type, if known.
    pub service_type: Option<String>,
    /// What comes of it.
    pub outcome: Outcome,
    /// Every rule in the order they are tried; empty if none is consulted.
    pub rules: Vec<Considered>,
}

/// Explains what `rules` make of `request`. `live` is now, for a running sidecar whose reservoirs can be looked at;
/// `now` is the same in seconds since 1970, and decides which rules have expired.
pub fn explain(
    rules: &RuleSet,
    places: &Places,
    request: &Request,
    service: Service<'_>,
    now: u64,
    live: Option<Moment>,
) -> Explanation {
    let explanation = |outcome, rules: Vec<Considered>, hash| Explanation {
        request: request.clone(),
        hash,
        service_name: service.name.map(str::to_owned),
        service_type: service.kind.map(str::to_owned),
        outcome,
        rules,
    };
    let hash = rules.hash();
    if let Some(sampled) = inherited(request) {
        return explanation(Outcome::Inherited { sampled }, Vec::new(), hash);
    }
    let facts = facts(request, service);
    // The set itself, wherever it can answer: another one takes a while to make, and tests ask a thousand times.
    let relaxed;
    let knows_enough =
        service.name.is_some() || rules.iter().all(|rule| rule.matchers.service_name.is_anything());
    let chosen = match knows_enough {
        true => rules.deciding(&facts, Moment::new(now.saturating_mul(1_000_000), 0)),
        false => {
            relaxed = in_force(rules, service, now);
            relaxed.find(&facts)
        }
    };
    let outcome = if is_probe(&facts) && !chosen.matchers.names_user_agents() {
        Outcome::Ignored { user_agent: request.attribute("user-agent").unwrap_or_default().to_owned() }
    } else {
        Outcome::Decided(Chosen {
            name: chosen.name.clone(),
            reservoir: chosen.reservoir,
            rate: chosen.rate,
            capture: chosen.capture.clone(),
            source: chosen.place.to_string(),
            level: live.map(|now| chosen.state.reservoir.level(chosen.reservoir, now)),
        })
    };
    let mut reached = true;
    let mut considered = Vec::new();
    for rule in rules.iter() {
        let reasons = reasons::of(rule, &facts, service.name.is_some(), places);
        let is_chosen = rule.name == chosen.name;
        considered.push(Considered {
            name: rule.name.clone(),
            priority: rule.priority.get(),
            observes: rule.mode == Mode::Observe,
            expired: is_expired(rule, now),
            matched: reasons.is_empty(),
            chosen: is_chosen,
            reached,
            reasons,
        });
        reached &= !is_chosen;
    }
    explanation(outcome, considered, hash)
}

/// What a trace header says, if it says anything.
pub fn inherited(request: &Request) -> Option<bool> {
    let fields = |name: &'static str| {
        request.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_bytes())
    };
    match Arrived::read(fields("x-amzn-trace-id"), fields("traceparent")).said {
        Said::Keep => Some(true),
        Said::Drop => Some(false),
        Said::Ask | Said::Nothing => None,
    }
}

/// What the engine looks at.
pub fn facts<'a>(request: &'a Request, service: Service<'a>) -> Facts<'a, Request> {
    Facts {
        service_name: service.name.unwrap_or_default(),
        service_type: service.kind,
        host: &request.host,
        method: &request.method,
        path: &request.path,
        attributes: request,
    }
}

/// The rules that decide, as the engine is to see them: without those that only observe or have expired, and without
/// asking for a service's name that is not known. Reservoirs and counts are those of `rules`.
pub fn in_force(rules: &RuleSet, service: Service<'_>, now: u64) -> RuleSet {
    let relaxed = |rule: &Rule| {
        let mut rule = rule.clone();
        if service.name.is_none() {
            rule.matchers.service_name = Globs::anything();
        }
        rule
    };
    let own = rules.iter().take(rules.len()).filter(|rule| is_in_force(rule, now));
    RuleSet::new(own.map(relaxed).collect(), rules.default_rule().clone())
}

#[cfg(test)]
mod tests;
