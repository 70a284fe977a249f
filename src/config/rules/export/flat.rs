//! Rules with one pattern a field and a whole reservoir, which is all that others know.

use super::super::super::problem::{Severity, counted, shown};
use super::super::keys::Field;
use super::super::xray::{MAX_ATTRIBUTE, MAX_ATTRIBUTES, MAX_FIELDS, MAX_NAME};
use super::super::{Loaded, MAX_RULES};
use super::{Exporter, Format};
use crate::sampling::rule::{Globs, N_FIELDS};
use crate::sampling::{Mode, Rule};

/// A rule as others know it.
pub(super) struct Flat<'r> {
    pub(super) rule: &'r Rule,
    /// The rule's own, or with a number after it if a list became several.
    pub(super) name: String,
    /// Service name, service type, host, method, path and ARN.
    pub(super) patterns: [&'r str; N_FIELDS],
}

/// The fields that take patterns, in the order of [`Matchers::fields`](crate::sampling::rule::Matchers::fields).
const FIELDS: [Field; N_FIELDS] = [
    Field::ServiceName,
    Field::ServiceType,
    Field::Host,
    Field::HttpMethod,
    Field::UrlPath,
    Field::ResourceArn,
];

/// What a field takes, with a `*` among others standing for all of them.
fn patterns(globs: &Globs) -> Vec<&str> {
    match globs.is_anything() {
        true => vec!["*"],
        false => globs.patterns().iter().map(|pattern| pattern.as_str()).collect(),
    }
}

/// The reservoir that the target is to have: X-Ray's is that of all instances, an SDK has its own.
pub(super) fn reservoir(format: Format, rule: &Rule) -> f64 {
    if format.is_central() { rule.whole_reservoir().get() } else { rule.reservoir.get() }
}

impl Exporter {
    /// Every rule but the default, in order. What cannot be said is told.
    pub(super) fn flatten<'r>(&mut self, loaded: &'r Loaded) -> Vec<Flat<'r>> {
        let (default, rules) = (loaded.rules.default_rule(), &loaded.rules);
        let mut flat = Vec::new();
        for rule in rules.iter().filter(|rule| !std::ptr::eq(*rule, default)) {
            self.judge(rule);
            self.flatten_rule(rule, &mut flat);
        }
        self.judge_extras(default);
        self.judge_order(&flat);
        flat
    }

    /// One rule, or several.
    fn flatten_rule<'r>(&mut self, rule: &'r Rule, flat: &mut Vec<Flat<'r>>) {
        let choices = rule.matchers.fields().map(|(_, globs)| patterns(globs));
        let n_rules = choices.iter().try_fold(1usize, |n, patterns| n.checked_mul(patterns.len()));
        let room = MAX_RULES.saturating_sub(flat.len());
        let format = self.format.as_str();
        let Some(n_rules) = n_rules.filter(|n| *n <= room) else {
            let message =
                format!("the lists of `{}` make more than {MAX_RULES} rules", shown(rule.name.as_str()));
            return self.refuse(rule, Field::Name, message, "shorten them, or use wildcards");
        };
        if n_rules > 1 && !self.expand {
            let named = rule.matchers.fields().into_iter().zip(FIELDS);
            for (choice, ((name, _), field)) in
                choices.iter().zip(named).filter(|(choice, _)| choice.len() > 1)
            {
                let message = format!("`{name}` has {} patterns, and {format} takes one", choice.len());
                self.refuse(
                    rule,
                    field,
                    message,
                    "write one pattern, or make several rules of it with --expand",
                );
            }
            return;
        }
        if n_rules > 1 {
            let name = shown(rule.name.as_str());
            let message = match rule.reservoir.get() > 0.0 {
                true => format!("`{name}` becomes {n_rules} rules that no longer share one reservoir"),
                false => format!("`{name}` becomes {n_rules} rules"),
            };
            let hint = "each has its own, and together they may keep more; give them less, or none";
            let (severity, hint) = match rule.reservoir.get() > 0.0 {
                true => (Severity::Warning, hint),
                false => (Severity::Note, "it has no reservoir that they would have to share"),
            };
            self.tell(severity, rule, Field::Reservoir, message, hint);
        }
        // Numbers of one width keep their order when names are compared byte by byte.
        let width = n_rules.to_string().len();
        for n in 0..n_rules {
            let mut rest = n;
            let mut pick = |patterns: &Vec<&'r str>| {
                let pattern = patterns[rest % patterns.len()];
                rest /= patterns.len();
                pattern
            };
            let patterns = [0, 1, 2, 3, 4, 5].map(|field: usize| pick(&choices[field]));
            let name = match n_rules {
                1 => rule.name.to_string(),
                _ => format!("{}-{:0width$}", rule.name, n + 1),
            };
            if self.format.is_central() && name.chars().count() > MAX_NAME {
                let message = format!("the name `{}` is longer than {MAX_NAME} characters", shown(&name));
                self.refuse(rule, Field::Name, message, "X-Ray takes no more; shorten it");
            }
            flat.push(Flat { rule, name, patterns });
        }
    }

    /// What a rule says that the target has no word for, or no room.
    fn judge(&mut self, rule: &Rule) {
        self.judge_extras(rule);
        let matchers = &rule.matchers;
        if !self.format.is_central() {
            for ((name, globs), field) in matchers.fields().into_iter().zip(FIELDS) {
                let unknown = matches!(field, Field::ServiceName | Field::ServiceType | Field::ResourceArn);
                if unknown && !globs.is_anything() {
                    let message = format!("`{name}` cannot be said in {}", self.format.as_str());
                    self.refuse(rule, field, message, "the SDKs match host, method and path only");
                }
            }
            if !matchers.attributes.is_empty() {
                let message = format!("`attributes` cannot be said in {}", self.format.as_str());
                self.refuse(rule, Field::Attributes, message, "the SDKs match host, method and path only");
            }
            return;
        }
        for (((name, globs), field), limit) in matchers.fields().into_iter().zip(FIELDS).zip(MAX_FIELDS) {
            for pattern in patterns(globs).into_iter().filter(|pattern| pattern.chars().count() > limit) {
                let length = pattern.chars().count();
                let message = format!("`{name}` has {length} characters, and X-Ray takes {limit}");
                self.refuse(rule, field, message, "shorten it with a wildcard");
            }
        }
        if matchers.attributes.len() > MAX_ATTRIBUTES {
            let n_attributes = counted(matchers.attributes.len(), "attribute");
            let message = format!("the rule has {n_attributes}, and X-Ray takes {MAX_ATTRIBUTES}");
            self.refuse(rule, Field::Attributes, message, "ask for fewer headers");
        }
        for (name, pattern) in &matchers.attributes {
            for text in
                [name, pattern.as_str()].into_iter().filter(|text| text.chars().count() > MAX_ATTRIBUTE)
            {
                let message = format!(
                    "`{}` is longer than the {MAX_ATTRIBUTE} characters that X-Ray takes",
                    shown(text)
                );
                self.refuse(rule, Field::Attributes, message, "shorten it, a value with a wildcard");
            }
        }
    }

    /// As [`Exporter::judge`], for what the default may have, too.
    fn judge_extras(&mut self, rule: &Rule) {
        let format = self.format.as_str();
        for (has, field, name) in [
            (rule.capture.is_some(), Field::Capture, "capture"),
            (rule.mode == Mode::Observe, Field::Mode, "mode: observe"),
            (rule.expires.is_some(), Field::Expires, "expires"),
        ] {
            if has {
                let message = format!("`{name}` cannot be said in {format}");
                self.refuse(rule, field, message, "remove it, or leave the rule to the sidecar");
            }
        }
        let size = reservoir(self.format, rule);
        if size.fract() != 0.0 {
            let shared = match rule.whole_reservoir() == rule.reservoir || self.format.is_central() {
                true => String::new(),
                false => format!(", one instance's part of {},", rule.whole_reservoir().get()),
            };
            let message = format!("reservoir {size}{shared} is not a whole number");
            let hint = "others know no part of a trace; use a whole number and a lower rate";
            self.refuse(rule, Field::Reservoir, message, hint);
        }
    }

    /// Names made of other names must be new, and stand in the order where the rule stood.
    fn judge_order(&mut self, flat: &[Flat<'_>]) {
        if !self.format.is_central() {
            return;
        }
        let mut seen = std::collections::HashSet::new();
        for rule in flat {
            if !seen.insert(rule.name.as_str()) {
                let message = format!("two rules would be called `{}`", shown(&rule.name));
                self.refuse(rule.rule, Field::Name, message, "rename one of them");
            }
        }
        for pair in flat.windows(2) {
            let [before, after] = pair else { continue };
            let key = |flat: &Flat<'_>| (flat.rule.priority, flat.name.clone());
            if key(before) > key(after) {
                let message = format!(
                    "`{}` would be tried before `{}`, with which it shares a priority",
                    shown(&after.name),
                    shown(&before.name)
                );
                self.refuse(after.rule, Field::Priority, message, "give one of them a priority of its own");
            }
        }
    }
}
