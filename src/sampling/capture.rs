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

    /// Whether a request that ended so is recorded, and for what; a status comes before slowness. Takes a place, and
    /// counts either way.
    pub fn capture(&self, status: u16, elapsed: Duration, now: Moment) -> Option<Captured> {
        let capture = &self.capture;
        let captured = if capture.statuses.iter().any(|&(first, last)| (first..=last).contains(&status)) {
            Captured::Status
        } else if capture.slower_than.is_some_and(|limit| elapsed > limit) {
            Captured::Slow
        } else {
            return None;
        };
        if !self.state.captures.take(capture.limit, now) {
            self.state.captures_refused.increment();
            return None;
        }
        self.state.captured.increment();
        Some(captured)
    }
}
