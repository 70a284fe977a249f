//! Records after the fact what sampling let go and what turned out to matter.
//!
//! ```text
//!   dropped by a rule with `capture` ─► Standby, kept with the request ─► it ends ─► slow, or of a status asked for?
//!                                                                         no ─► forgotten        yes ─► a place left?
//!                                                                               refused, counted ◄─ no │ yes ─► recorded
//! ```
//!
//! What is recorded so is this hop alone: everything behind it was told `Sampled=0`. The request stays counted as
//! dropped, because that was the decision its headers carried; `captured` is counted beside it.

use super::rule::{Capture, RuleName, RuleState};
use crate::moment::Moment;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a request was recorded after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// For its status.
    Status,
    /// For the time it took.
    Slow,
}

impl Captured {
    /// The annotation's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Captured::Status => "status",
            Captured::Slow => "slow",
        }
    }
}

impl Capture {
    /// What a request that ended so would be recorded for, if there is a place for it; a status comes before slowness.
    pub fn reason(&self, status: u16, elapsed: Duration) -> Option<Captured> {
        if self.statuses.iter().any(|&(first, last)| (first..=last).contains(&status)) {
            Some(Captured::Status)
        } else if self.slower_than.is_some_and(|limit| elapsed > limit) {
            Some(Captured::Slow)
        } else {
            None
        }
    }
}

impl fmt::Display for Capture {
    /// `status 500–599, 429 or slower than 750ms, at most 1/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.statuses.iter().enumerate() {
            f.write_str(if n == 0 { "status " } else { ", " })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}–{last}")?,
            }
        }
        if let Some(limit) = self.slower_than {
            let or = if self.statuses.is_empty() { "" } else { " or " };
            write!(f, "{or}slower than {limit:?}")?;
        }
        write!(f, ", at most {}/s", self.limit.get())?;
        f.write_str(if self.inherited { ", also what a caller dropped" } else { "" })
    }
}

/// What a request that was not kept may still be recorded for. Shared: a request holds on to the one it was decided with,
/// also across a reload.
#[derive(Debug)]
pub struct Standby {
    /// The rule's name.
    pub rule: RuleName,
    capture: Capture,
    state: Arc<RuleState>,
}

impl Standby {
    pub(super) fn new(rule: &RuleName, capture: &Capture, state: &Arc<RuleState>) -> Standby {
        Standby { rule: rule.clone(), capture: capture.clone(), state: Arc::clone(state) }
    }

    /// Whether requests that a trusted caller dropped count too.
    pub(super) fn takes_inherited(&self) -> bool {
        self.capture.inherited
    }

    /// Whether a request that ended so is recorded, and for what. Takes a place, and counts either way.
    pub fn capture(&self, status: u16, elapsed: Duration, now: Moment) -> Option<Captured> {
        let captured = self.capture.reason(status, elapsed)?;
        if !self.state.captures.take(self.capture.limit, now) {
            self.state.captures_refused.increment();
            return None;
        }
        self.state.captured.increment();
        Some(captured)
    }
}
