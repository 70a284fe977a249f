//! R109 to R114: what others make of a rule, when it ends, and what it leaves out.

use super::{Report, takes_everything};
use crate::config::rules::places::Spot;
use crate::config::rules::xray::{MAX_ATTRIBUTE, MAX_ATTRIBUTES, MAX_FIELDS, MAX_NAME};
use crate::sampling::rule::Globs;
use crate::sampling::{Rule, RuleName, RuleSet};

const WEEK: u64 = 7 * DAY;
const DAY: u64 = 86_400;

pub(super) fn check(rule: &Rule, report: &mut Report<'_>) {
    exportable(rule, report);
    ignored_by_sdks(rule, report);
    expiry(rule, report);
    ambiguous(rule, report);
    capture(rule, report);
}

fn beyond(report: &mut Report<'_>, spot: &Spot, message: String, remedy: &str) {
    report.note("R109", spot, message, format!("it cannot be exported to X-Ray; {remedy}"));
}

fn exportable(rule: &Rule, report: &mut Report<'_>) {
    let matchers = &rule.matchers;
    let length = rule.name.as_str().chars().count();
    if length > MAX_NAME {
        let message = format!("the name has {length} characters, and X-Ray takes {MAX_NAME}");
        beyond(report, &report.field(rule, "name", 0), message, "shorten it");
    }
    for ((field, globs), most) in matchers.fields().into_iter().zip(MAX_FIELDS) {
        for (n, length) in too_long(globs, most) {
            let message = format!("{field} has {length} characters, and X-Ray takes {most}");
            beyond(report, &report.field(rule, field, n), message, "shorten it");
        }
    }
    let n_attributes = matchers.attributes.len();
    if n_attributes > MAX_ATTRIBUTES {
        let message = format!("{n_attributes} attributes, and X-Ray takes {MAX_ATTRIBUTES}");
        beyond(report, &report.field(rule, "attributes", 0), message, "ask for fewer");
    }
    for (name, pattern) in &matchers.attributes {
        let length = name.chars().count().max(pattern.as_str().chars().count());
        if length > MAX_ATTRIBUTE {
            let spot = report.places.attribute(&rule.place, name);
            let spot = spot.unwrap_or_else(|| report.places.rule(&rule.place));
            let message =
                format!("attribute {name} has {length} characters, and X-Ray takes {MAX_ATTRIBUTE}");
            beyond(report, &spot, message, "shorten it");
        }
    }
    let size = rule.whole_reservoir().get();
    if size.fract() != 0.0 {
        let message = format!("reservoir {size} is not whole, and X-Ray's are");
        beyond(report, &report.field(rule, "reservoir", 0), message, "round it");
    }
}

fn too_long(globs: &Globs, most: usize) -> Vec<(usize, usize)> {
    let lengths = globs.patterns().iter().map(|pattern| pattern.as_str().chars().count()).enumerate();
    lengths.filter(|(_, length)| *length > most).collect()
}

fn ignored_by_sdks(rule: &Rule, report: &mut Report<'_>) {
    let (field, what, here) = if !rule.matchers.attributes.is_empty() {
        ("attributes", "attributes", "this sidecar compares them with request headers")
    } else if !rule.matchers.resource_arn.is_anything() {
        ("resource_arn", "a resource ARN", "this sidecar knows no ARN and takes it for a match")
    } else {
        return;
    };
    let spot = report.field(rule, field, 0);
    let message = format!("X-Ray's SDKs ignore a rule with {what}");
    report.note("R110", &spot, message, format!("{here}; SDKs with the same rules decide otherwise"));
}

fn expiry(rule: &Rule, report: &mut Report<'_>) {
    let Some(expires) = rule.expires else { return };
    let now = report.options.now;
    let spot = report.field(rule, "expires", 0);
    if expires <= now {
        let message = format!("rule \"{}\" has expired and is passed over", rule.name);
        report.warn("R111", &spot, message, "remove it, or move the date");
    } else if expires - now <= WEEK {
        let days = (expires - now).div_ceil(DAY);
        let days = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
        let message = format!("rule \"{}\" expires within {days}", rule.name);
        report.note("R111", &spot, message, "from then on the rules after it take its requests");
    }
}

fn ambiguous(rule: &Rule, report: &mut Report<'_>) {
    for value in report.places.ambiguous(&rule.place) {
        let (text, otherwise) = (&value.text, value.otherwise);
        let (message, hint) = match value.quoted {
            true => (
                format!("\"{text}\" is a number in quotes, which other readers take for {otherwise}"),
                format!("write {text}"),
            ),
            false => (
                format!("{text} is text here, and {otherwise} to other YAML readers"),
                format!("write \"{text}\""),
            ),
        };
        report.warn("R112", &value.spot, message, hint);
    }
}

fn capture(rule: &Rule, report: &mut Report<'_>) {
    if rule.capture.is_none() {
        return;
    }
    let spot = report.field(rule, "capture", 0);
    if rule.rate.get() == 1.0 {
        let message = format!("rule \"{}\" keeps every request, so there is nothing to capture", rule.name);
        report.warn("R114", &spot, message, "remove `capture`, or lower the rate");
    } else if !report.places.has_key(&rule.place, "capture", "limit") {
        let message = format!("capture of rule \"{}\" has no limit, so 1/s applies", rule.name);
        report.warn(
            "R114",
            &spot,
            message,
            "an incident makes every request a failure; say how many a second to keep with `limit`",
        );
    }
}

/// What is missing from the whole set, and what `capture` cannot do.
pub(super) fn check_set(rules: &RuleSet, report: &mut Report<'_>) {
    let default = rules.default_rule();
    let is_built_in = default.place.line == 0 && default.name.as_str() == RuleName::DEFAULT;
    let has_catch_all = rules.iter().take(rules.len()).any(takes_everything);
    if let (true, false, false, Some(spot)) =
        (is_built_in, has_catch_all, report.options.incomplete, report.places.beginning())
    {
        let message = "no default: the built-in 1/s + 5 % applies to what no rule takes";
        report.note(
            "R113",
            &spot,
            message,
            "to choose it yourself write default: { reservoir: 1, rate: 5% }",
        );
    }
    if let Some(rule) = rules.iter().find(|rule| rule.capture.is_some()) {
        let spot = report.field(rule, "capture", 0);
        let message = "a captured trace holds this hop only: what it called was told Sampled=0";
        report.note(
            "R114",
            &spot,
            message,
            "it is billed as a trace, and not counted as sampled in X-Ray's statistics",
        );
    }
}
