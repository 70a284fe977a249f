//! What a rule says beyond X-Ray's own fields, and what it carries for X-Ray alone.

use super::super::problem::shown;
use super::super::values;
use super::super::yaml::{Key, Kind, Node, Scalar, Typed};
use super::keys::{self, BoostKey, CaptureKey};
use super::limits::{MAX_ARN_BYTES, MAX_STATUSES};
use super::scalars::Lowering;
use super::time;
use crate::sampling::{Boost, Capture, Mode, ReservoirSize};
use std::time::Duration;

/// The range of `slower_than`.
const SLOWER: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3_600);
/// What `capture` keeps at most if it does not say: what AWS's own anomaly capture does.
const CAPTURE_LIMIT: ReservoirSize = ReservoirSize::per_second(1);

const STATUS_FORMS: &str = "write a status such as 429, a range such as 500-503, or a class such as 5xx";

impl Lowering<'_> {
    pub(super) fn mode(&mut self, key: &Key, node: &Node) -> Option<Mode> {
        let text = self.text(key, node, 64)?;
        match text {
            "enforce" => Some(Mode::Enforce),
            "observe" => Some(Mode::Observe),
            _ => {
                let message = format!("`{}` is neither enforce nor observe", shown(text));
                let hint = "observe counts what the rule would do and decides nothing";
                self.error("R003", node.span, message, hint);
                None
            }
        }
    }

    pub(super) fn expires(&mut self, key: &Key, node: &Node) -> Option<u64> {
        let bad = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Text, text, .. }) => match time::parse(text) {
                Ok(time) => return Some(time.rounded_up()),
                Err(bad) => bad,
            },
            _ => time::BadTime { message: self.not_a(key, node, "a time"), hint: time::FORM.to_owned() },
        };
        self.error("R003", node.span, bad.message, bad.hint);
        None
    }

    /// Seconds since 1970, as AWS's older command line prints them, or RFC 3339, as the newer one does.
    pub(super) fn timestamp(&mut self, key: &Key, node: &Node) -> Option<f64> {
        let bad = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Integer(seconds), .. }) => return Some(*seconds as f64),
            Kind::Scalar(Scalar { typed: Typed::Float(seconds), .. }) if seconds.is_finite() => {
                return Some(*seconds);
            }
            Kind::Scalar(Scalar { typed: Typed::Text, text, .. }) => match time::parse(text) {
                Ok(time) => return Some(time.as_f64()),
                Err(bad) => bad.message,
            },
            _ => self.not_a(key, node, "a time"),
        };
        self.error(
            "R003",
            node.span,
            bad,
            "write seconds since 1970, or a time such as 2026-12-01T00:00:00Z",
        );
        None
    }

    pub(super) fn arn(&mut self, key: &Key, node: &Node) -> Option<Box<str>> {
        self.text(key, node, MAX_ARN_BYTES).map(Into::into)
    }

    pub(super) fn boost(&mut self, key: &Key, node: &Node) -> Option<Boost> {
        const FORM: &str = "write sampling_rate_boost: { max_rate: 20%, cooldown_window_minutes: 10 }";
        let Kind::Mapping(entries) = &node.kind else {
            let message = self.not_a(key, node, "a mapping");
            self.error("R003", node.span, message, FORM);
            return None;
        };
        let (mut max_rate, mut cooldown) = (None, None);
        let n_errors = self.n_errors;
        for (field, key, node) in self.fields(entries, keys::BOOST, "a boost") {
            match field {
                BoostKey::MaxRate => max_rate = self.rate(key, node),
                BoostKey::Cooldown => cooldown = self.whole(key, node, 0..=u32::MAX),
            }
        }
        match (max_rate, cooldown) {
            (Some(max_rate), Some(cooldown_minutes)) => Some(Boost { max_rate, cooldown_minutes }),
            _ => {
                if self.n_errors == n_errors {
                    let message = format!("`{}` has a rate and a cooldown", key.text);
                    self.error("R003", node.span, message, FORM);
                }
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn whole(
        &mut self,
        key: &Key,
        node: &Node,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let scalar = self.number(key, node)?;
        let number = match scalar.typed {
            Typed::Integer(number) => u32::try_from(number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let message = format!(
                "`{}` {} is not a whole number from {least} to {most}",
                key.text,
                shown(&scalar.text)
            );
            self.error("R003", node.span, message, "write a whole number in that range");
        }
        number
    }

    pub(super) fn capture(&mut self, key: &Key, node: &Node) -> Option<Capture> {
        const FORM: &str = "write capture: { status: [5xx, 429], slower_than: 750ms, limit: 1/s }";
        let Kind::Mapping(entries) = &node.kind else {
            let message = self.not_a(key, node, "a mapping");
            self.error("R003", node.span, message, FORM);
            return None;
        };
        let n_errors = self.n_errors;
        let mut capture =
            Capture { statuses: Vec::new(), slower_than: None, limit: CAPTURE_LIMIT, inherited: false };
        for (field, key, node) in self.fields(entries, keys::CAPTURE, "`capture`") {
            match field {
                CaptureKey::Status => capture.statuses = self.statuses(key, node),
                CaptureKey::SlowerThan => capture.slower_than = self.slower_than(key, node),
                CaptureKey::Limit => capture.limit = self.limit(key, node).unwrap_or_default(),
                CaptureKey::Inherited => capture.inherited = self.flag(key, node).unwrap_or(false),
            }
        }
        if self.n_errors == n_errors && capture.statuses.is_empty() && capture.slower_than.is_none() {
            let message =
                format!("`{}` has neither `status` nor `slower_than`, so it captures nothing", key.text);
            self.error("R003", node.span, message, FORM);
        }
        (self.n_errors == n_errors).then_some(capture)
    }

    fn statuses(&mut self, key: &Key, node: &Node) -> Vec<(u16, u16)> {
        let items = match &node.kind {
            Kind::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() || items.len() > MAX_STATUSES {
            let message = format!("`{}` has {} entries, not 1 to {MAX_STATUSES}", key.text, items.len());
            self.error("R003", node.span, message, STATUS_FORMS);
            return Vec::new();
        }
        items.iter().filter_map(|item| self.status(key, item)).collect()
    }

    /// `429` → 429 to 429, `500-503`, `5xx` → 500 to 599.
    fn status(&mut self, key: &Key, node: &Node) -> Option<(u16, u16)> {
        let text = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Text | Typed::Integer(_), text, .. }) => text.as_str(),
            _ => {
                let message = self.not_a(key, node, "a status");
                self.error("R003", node.span, message, STATUS_FORMS);
                return None;
            }
        };
        let one = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>().ok().filter(|status| digits && (100..=599).contains(status))
        };
        let class = |digit: &str| one(&format!("{digit}00")).map(|first| (first, first + 99));
        let range = match text.split_once('-') {
            Some((first, last)) => {
                one(first.trim()).zip(one(last.trim())).filter(|(first, last)| first <= last)
            }
            None => match text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
                Some(digit) => class(digit),
                None => one(text).map(|status| (status, status)),
            },
        };
        if range.is_none() {
            self.error("R003", node.span, format!("`{}` is no status", shown(text)), STATUS_FORMS);
        }
        range
    }

    fn slower_than(&mut self, key: &Key, node: &Node) -> Option<Duration> {
        let text = match &node.kind {
            Kind::Scalar(Scalar {
                typed: Typed::Text | Typed::Integer(_) | Typed::Float(_), text, ..
            }) => text,
            _ => {
                let message = self.not_a(key, node, "a duration");
                self.error("R003", node.span, message, "write for example slower_than: 750ms");
                return None;
            }
        };
        match values::duration(text, SLOWER) {
            Ok(duration) => Some(duration),
            Err(wrong) => {
                self.error("R003", node.span, wrong.message, wrong.hint);
                None
            }
        }
    }

    /// `1/s`, `0.5/s` or `6/m`: the unit is written, because `limit: 10` does not say of what.
    fn limit(&mut self, key: &Key, node: &Node) -> Option<ReservoirSize> {
        const FORMS: &str = "write for example limit: 1/s, or 6/m for one in ten seconds";
        let (text, is_bare) = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Text, text, .. }) => (text.as_str(), false),
            Kind::Scalar(Scalar { typed: Typed::Integer(_) | Typed::Float(_), text, .. }) => {
                (text.as_str(), true)
            }
            _ => {
                let message = self.not_a(key, node, "a number of traces in a time");
                self.error("R003", node.span, message, FORMS);
                return None;
            }
        };
        let split = text.split_once('/').map(|(number, unit)| (number.trim(), unit.trim()));
        let is_decimal = |number: &str| number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let per_second = match split {
            Some((number, unit @ ("s" | "m"))) if is_decimal(number) => {
                number.parse().ok().map(|number: f64| number / if unit == "m" { 60.0 } else { 1.0 })
            }
            _ => None,
        };
        let size = per_second.and_then(|places| ReservoirSize::try_from(places).ok());
        if let Some(size) = size.filter(|size| *size != ReservoirSize::default()) {
            return Some(size);
        }
        let text = shown(text);
        let (message, hint) = match (size, is_bare) {
            (Some(_), _) => {
                (format!("limit `{text}` captures nothing"), "remove `capture`, or give it a place")
            }
            (None, true) => (format!("limit `{text}` does not say in which time"), FORMS),
            (None, false) => (format!("`{text}` is no limit"), FORMS),
        };
        self.error("R003", node.span, message, hint);
        None
    }
}
