//! The access log: one line for a request, if the setting asks for it.
//!
//! Never a query string, never the value of a header. Lines about failed requests are limited, because a broken
//! application must not fill a disk; how many were left out is said with the next line.

use super::exchange::rule_label;
use crate::config::AccessLevel;
use crate::logging::LineLimit;
use crate::moment::Moment;
use crate::segment::{Failure, Hop};
use http::Method;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// What a line says.
pub(super) struct Access<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) elapsed: Duration,
    pub(super) bytes: u64,
    pub(super) hop: &'a Hop,
    pub(super) failure: Option<&'a Failure>,
    pub(super) client_closed: bool,
}

/// Writes lines.
#[derive(Debug, Default)]
pub struct AccessLog {
    /// An [`AccessLevel`].
    level: AtomicU8,
    /// Of lines about failed requests, where only those are asked for.
    errors: LineLimit,
}

impl AccessLog {
    /// Nothing written yet.
    pub fn new(level: AccessLevel) -> AccessLog {
        AccessLog { level: AtomicU8::new(level as u8), ..AccessLog::default() }
    }

    /// Writes other lines from here on.
    pub fn set_level(&self, level: AccessLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    fn level(&self) -> AccessLevel {
        let level = self.level.load(Ordering::Relaxed);
        AccessLevel::ALL.iter().copied().find(|one| *one as u8 == level).unwrap_or_default()
    }

    /// Writes a line if this request gets one. The logger takes it without waiting.
    pub(super) fn write(&self, access: &Access<'_>, now: Moment) {
        let failed = access.status >= 500 || access.failure.is_some();
        let sampled = access.hop.verdict.is_sampled();
        match self.level() {
            AccessLevel::Off => return,
            AccessLevel::Errors | AccessLevel::Sampled if failed => {
                if !self.errors.admits(now) {
                    return;
                }
            }
            AccessLevel::Errors => return,
            AccessLevel::Sampled if !sampled => return,
            AccessLevel::Sampled | AccessLevel::All => {}
        }
        let hop = access.hop;
        let w3c = hop.trace.to_w3c();
        tracing::info!(
            target: "access",
            method = access.method.as_str(),
            path = access.path,
            status = access.status,
            duration_ms = access.elapsed.as_micros() as f64 / 1e3,
            bytes = access.bytes,
            trace_id = std::str::from_utf8(&w3c).unwrap_or_default(),
            span_id = %hop.id,
            trace_flags = if sampled { "01" } else { "00" },
            xray_trace_id = %hop.trace,
            rule = rule_label(hop.rule.as_ref()),
            decision = hop.verdict.as_str(),
            error = access.failure.map(|failure| failure.kind),
            cause = access.failure.map(|failure| failure.message.as_str()),
            client_closed = access.client_closed.then_some(true),
            lines_left_out = self.errors.left_out(),
            "request"
        );
    }
}
