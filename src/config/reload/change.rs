//! What a reload changed, told by what the rules say and not by how they are written.

use super::super::rules::rate::percent;
use super::super::rules::time;
use crate::sampling::rule::Globs;
use crate::sampling::{Mode, Pattern, Rule, RuleSet};
use std::collections::HashMap;
use std::fmt;

/// The most rules told by name; the rest is counted, so that a log line stays a line.
const MAX_TOLD: usize = 20;

/// The difference of two sets: `rules 7f3d0a11 → b41c90e2: ~checkout-writes rate 20% → 50%, +static, −legacy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The hash of the set before.
    pub old_hash: String,
    /// The hash of the set now in force.
    pub new_hash: String,
    /// One entry a rule, those that changed first, then the new ones, then those that are gone. Empty if only
    /// comments, spelling or file names changed.
    pub rules: Vec<String>,
}

impl Change {
    /// Compares two sets by their rules' names.
    pub fn between(old: &RuleSet, new: &RuleSet) -> Change {
        let before: HashMap<&str, &Rule> = old.iter().map(|rule| (rule.name.as_str(), rule)).collect();
        let after: HashMap<&str, &Rule> = new.iter().map(|rule| (rule.name.as_str(), rule)).collect();
        let changed = new.iter().filter_map(|rule| {
            let before = before.get(rule.name.as_str())?;
            let fields = fields(before, rule);
            (!fields.is_empty()).then(|| format!("~{} {}", rule.name, fields.join(" and ")))
        });
        let added = new.iter().filter(|rule| !before.contains_key(rule.name.as_str()));
        let removed = old.iter().filter(|rule| !after.contains_key(rule.name.as_str()));
        Change {
            old_hash: old.hash(),
            new_hash: new.hash(),
            rules: changed
                .chain(added.map(|rule| format!("+{}", rule.name)))
                .chain(removed.map(|rule| format!("−{}", rule.name)))
                .collect(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules {} → {}: ", self.old_hash, self.new_hash)?;
        if self.rules.is_empty() {
            return f.write_str("no rule changed");
        }
        f.write_str(&self.rules[..self.rules.len().min(MAX_TOLD)].join(", "))?;
        match self.rules.len().saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// `rate 20% → 50%` and the like, for every field that differs.
fn fields(old: &Rule, new: &Rule) -> Vec<String> {
    let mut fields = Vec::new();
    let mut compare = |field: &str, old: String, new: String| {
        if old != new {
            fields.push(format!("{field} {old} → {new}"));
        }
    };
    compare("priority", old.priority.get().to_string(), new.priority.get().to_string());
    compare("reservoir", old.reservoir.get().to_string(), new.reservoir.get().to_string());
    compare("rate", percent(old.rate), percent(new.rate));
    compare("mode", mode(old).to_owned(), mode(new).to_owned());
    compare("expires", expiry(old.expires), expiry(new.expires));
    let capture = |rule: &Rule| rule.capture.as_ref().map_or("none".to_owned(), ToString::to_string);
    compare("capture", capture(old), capture(new));
    let (a, b) = (&old.matchers, &new.matchers);
    for (field, a, b) in [
        ("service_name", &a.service_name, &b.service_name),
        ("service_type", &a.service_type, &b.service_type),
        ("host", &a.host, &b.host),
        ("http_method", &a.http_method, &b.http_method),
        ("url_path", &a.url_path, &b.url_path),
        ("resource_arn", &a.resource_arn, &b.resource_arn),
    ] {
        compare(field, globs(a), globs(b));
    }
    compare("attributes", attributes(&a.attributes), attributes(&b.attributes));
    fields
}

fn mode(rule: &Rule) -> &'static str {
    match rule.mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

/// `2026-12-01T00:00:00Z`, or `never`.
fn expiry(expires: Option<u64>) -> String {
    expires.map_or("never".to_owned(), time::text)
}

fn globs(globs: &Globs) -> String {
    globs.patterns().iter().map(|pattern| format!("{:?}", pattern.as_str())).collect::<Vec<_>>().join(" | ")
}

fn attributes(attributes: &[(Box<str>, Pattern)]) -> String {
    let mut told: Vec<String> =
        attributes.iter().map(|(name, pattern)| format!("{name}: {:?}", pattern.as_str())).collect();
    told.sort();
    format!("{{{}}}", told.join(", "))
}
