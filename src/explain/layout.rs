//! An explanation as text for people, and as JSON.

use super::{Chosen, Considered, Explanation, Outcome, spaced};
use serde_json::{Value, json};
use std::fmt::Write as _;

impl Explanation {
    /// Several lines, with a line feed at the end of each.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let request = &self.request;
        let host = if request.host.is_empty() { "(host unknown: matches any)" } else { &request.host };
        let service = match (&self.service_name, &self.service_type) {
            (None, _) => "service unknown: matches any".to_owned(),
            (Some(name), None) => format!("service {name} (type unknown: matches any)"),
            (Some(name), Some(kind)) => format!("service {name} ({kind})"),
        };
        let _ = writeln!(
            text,
            "{host} {} {}          rules {}, {service}",
            request.method, request.path, self.hash
        );
        match &self.outcome {
            Outcome::Inherited { sampled } => {
                let said = if *sampled { "sampled" } else { "not sampled" };
                let _ = writeln!(text, "  decision   inherited: {said}; rules not consulted");
            }
            Outcome::Ignored { user_agent } => {
                let _ = writeln!(
                    text,
                    "  decision   ignored: a health check (user-agent \"{user_agent}\"), which no rule names"
                );
            }
            Outcome::Decided(chosen) => {
                let _ = writeln!(
                    text,
                    "  decision   {} → {}          {}",
                    chosen.name,
                    chosen.in_words(),
                    chosen.source
                );
            }
        }
        let called = |rule: &Considered| match (rule.expired, rule.observes) {
            (true, _) => format!("{}  (expired)", rule.name),
            (false, true) => format!("{}   (observe)", rule.name),
            (false, false) => rule.name.to_string(),
        };
        let in_order = |rule: &&Considered| !rule.expired && !rule.observes;
        let width = self
            .rules
            .iter()
            .filter(in_order)
            .map(|rule| rule.name.as_str().chars().count())
            .max()
            .unwrap_or(0);
        for rule in &self.rules {
            let name = called(rule);
            let status = rule.status(matches!(self.outcome, Outcome::Ignored { .. }));
            let line = match in_order(&rule) {
                true => format!("{:>7}  {name:width$}  {status}", rule.priority),
                false => format!("{:>7}  {name} {status}", rule.priority),
            };
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if let Outcome::Decided(chosen) = &self.outcome {
            let capture =
                chosen.capture.as_ref().map_or_else(|| "none on this rule".to_owned(), ToString::to_string);
            let _ = writeln!(text, "  capture    {capture}");
            if let Some((taken, places)) = chosen.level {
                let level = match places {
                    0 => "none on this rule".to_owned(),
                    _ => format!("{taken} of {places} taken now"),
                };
                let _ = writeln!(text, "  reservoir  {level}");
            }
        }
        text
    }

    /// One object; see `collimator explain --help` for its keys.
    pub fn json(&self) -> Value {
        let others: Vec<Value> = self
            .rules
            .iter()
            .filter(|rule| !rule.chosen || !self.is_decided())
            .map(Considered::json)
            .collect();
        let request = &self.request;
        let mut value = json!({
            "request": { "method": request.method, "host": request.host, "path": request.path },
            "hash": self.hash,
            "service_name": self.service_name,
            "service_type": self.service_type,
            "rule": null,
            "others": others,
        });
        match &self.outcome {
            Outcome::Inherited { sampled } => {
                value["decision"] = json!("inherited");
                value["sampled"] = json!(sampled);
            }
            Outcome::Ignored { .. } => {
                value["decision"] = json!("ignored");
                value["sampled"] = json!(false);
            }
            Outcome::Decided(chosen) => {
                value["rule"] = json!(chosen.name.as_str());
                value["decision"] = json!(chosen.decision());
                value["reservoir"] = json!(chosen.reservoir.get());
                value["rate"] = json!(chosen.rate.get());
                value["source"] = json!(chosen.source);
                value["capture"] = json!(chosen.capture.as_ref().map(ToString::to_string));
                if let Some((taken, places)) = chosen.level {
                    value["reservoir_now"] = json!({ "taken": taken, "places": places });
                }
            }
        }
        value
    }

    fn is_decided(&self) -> bool {
        matches!(self.outcome, Outcome::Decided(_))
    }
}

impl Chosen {
    /// `first 5 a second, then 50 %`.
    pub fn in_words(&self) -> String {
        let (places, rate) = (self.reservoir.get(), self.rate);
        match self.decision() {
            "always" => "every request".to_owned(),
            "never" => "no request".to_owned(),
            "rate" => format!("{} of requests, no reservoir", spaced(rate)),
            "reservoir" => format!("first {places} a second, none of the rest"),
            _ => format!("first {places} a second, then {} of requests", spaced(rate)),
        }
    }
}

impl Considered {
    fn status(&self, ignored: bool) -> String {
        let reasons = self.reasons();
        match (self.chosen, self.reached, self.matched) {
            (true, _, _) if ignored => "–    would match; health checks are not traced".to_owned(),
            (true, ..) => "YES".to_owned(),
            (false, true, true) if self.expired => "–    would match, but its time is over".to_owned(),
            (false, true, true) => "yes  it counts, and the next rule is tried".to_owned(),
            (false, true, false) => format!("no   {reasons}"),
            (false, false, true) => "–    not reached; would match".to_owned(),
            (false, false, false) => format!("–    not reached; would not match: {reasons}"),
        }
    }

    /// All reasons in one line; where there is only one, with its detail.
    pub fn reasons(&self) -> String {
        match self.reasons.as_slice() {
            [only] => match &only.detail {
                Some(detail) => format!("{}   ({detail})", only.text),
                None => only.text.clone(),
            },
            all => all.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; "),
        }
    }

    fn json(&self) -> Value {
        let reasons: Vec<&str> = self.reasons.iter().map(|reason| reason.text.as_str()).collect();
        json!({
            "rule": self.name.as_str(),
            "priority": self.priority,
            "matched": self.matched,
            "reached": self.reached,
            "observes": self.observes,
            "expired": self.expired,
            "reasons": reasons,
        })
    }
}
