//! The text of each format.

use super::Format;
use super::flat::{Flat, reservoir};
use crate::sampling::{Boost, Rule};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

pub(super) fn write(format: Format, rules: &[Flat<'_>], default: &Rule) -> String {
    match format {
        Format::AwsApi => {
            let catch_all = Flat { rule: default, name: default.name.to_string(), patterns: ["*"; 6] };
            let records = rules.iter().chain([&catch_all]).map(ApiRecord::of).collect();
            json(&ApiAnswer { sampling_rule_records: records })
        }
        Format::SdkV2 => json(&SdkFile {
            version: 2,
            rules: rules.iter().map(SdkRule::of).collect(),
            default: SdkDefault { fixed_target: whole(format, default), rate: default.rate.get() },
        }),
        Format::CloudFormation => json(&Template::of(rules)),
        Format::Terraform => terraform(rules),
    }
}

/// Indented, with a line feed at the end.
fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// A reservoir that was judged to be whole.
fn whole(format: Format, rule: &Rule) -> u32 {
    reservoir(format, rule) as u32
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ApiAnswer<'r> {
    sampling_rule_records: Vec<ApiRecord<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ApiRecord<'r> {
    sampling_rule: ApiRule<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ApiRule<'r> {
    rule_name: &'r str,
    #[serde(rename = "RuleARN", skip_serializing_if = "Option::is_none")]
    rule_arn: Option<&'r str>,
    #[serde(rename = "ResourceARN")]
    resource_arn: &'r str,
    priority: u16,
    fixed_rate: f64,
    reservoir_size: u32,
    service_name: &'r str,
    service_type: &'r str,
    host: &'r str,
    #[serde(rename = "HTTPMethod")]
    http_method: &'r str,
    #[serde(rename = "URLPath")]
    url_path: &'r str,
    version: u8,
    attributes: BTreeMap<&'r str, &'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sampling_rate_boost: Option<ApiBoost>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ApiBoost {
    max_rate: f64,
    cooldown_window_minutes: u32,
}

impl<'r> ApiRecord<'r> {
    fn of(flat: &'r Flat<'r>) -> ApiRecord<'r> {
        let kept = flat.rule.kept.as_ref();
        ApiRecord {
            created_at: kept.and_then(|kept| kept.created_at),
            modified_at: kept.and_then(|kept| kept.modified_at),
            // What was one rule and has become several has no ARN of its own.
            sampling_rule: ApiRule {
                rule_arn: kept
                    .and_then(|kept| kept.arn.as_deref())
                    .filter(|_| flat.name == flat.rule.name.as_str()),
                ..ApiRule::of(flat)
            },
        }
    }
}

impl<'r> ApiRule<'r> {
    fn of(flat: &'r Flat<'r>) -> ApiRule<'r> {
        let rule = flat.rule;
        let [service_name, service_type, host, http_method, url_path, resource_arn] = flat.patterns;
        let boost = |boost: Boost| ApiBoost {
            max_rate: boost.max_rate.get(),
            cooldown_window_minutes: boost.cooldown_minutes,
        };
        ApiRule {
            rule_name: &flat.name,
            rule_arn: None,
            resource_arn,
            priority: rule.priority.get(),
            fixed_rate: rule.rate.get(),
            reservoir_size: whole(Format::AwsApi, rule),
            service_name,
            service_type,
            host,
            http_method,
            url_path,
            version: 1,
            attributes: attributes(rule),
            sampling_rate_boost: rule.kept.as_ref().and_then(|kept| kept.boost).map(boost),
        }
    }
}

fn attributes(rule: &Rule) -> BTreeMap<&str, &str> {
    rule.matchers.attributes.iter().map(|(name, pattern)| (&**name, pattern.as_str())).collect()
}

#[derive(Serialize)]
struct SdkFile<'r> {
    version: u8,
    rules: Vec<SdkRule<'r>>,
    default: SdkDefault,
}

#[derive(Serialize)]
struct SdkDefault {
    fixed_target: u32,
    rate: f64,
}

#[derive(Serialize)]
struct SdkRule<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    host: &'r str,
    http_method: &'r str,
    url_path: &'r str,
    fixed_target: u32,
    rate: f64,
}

impl<'r> SdkRule<'r> {
    fn of(flat: &Flat<'r>) -> SdkRule<'r> {
        let [_, _, host, http_method, url_path, _] = flat.patterns;
        SdkRule {
            description: flat.rule.description.as_deref(),
            host,
            http_method,
            url_path,
            fixed_target: whole(Format::SdkV2, flat.rule),
            rate: flat.rule.rate.get(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Template<'r> {
    #[serde(rename = "AWSTemplateFormatVersion")]
    version: &'static str,
    description: &'static str,
    resources: Resources<'r>,
}

/// In the order of the rules, which a map would lose.
struct Resources<'r>(Vec<(String, ApiRule<'r>)>);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Resource<'a, 'r> {
    r#type: &'static str,
    properties: Properties<'a, 'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Properties<'a, 'r> {
    sampling_rule: &'a ApiRule<'r>,
}

impl Serialize for Resources<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, sampling_rule)| {
            let properties = Properties { sampling_rule };
            (id, Resource { r#type: "AWS::XRay::SamplingRule", properties })
        }))
    }
}

impl<'r> Template<'r> {
    fn of(rules: &'r [Flat<'r>]) -> Template<'r> {
        let mut taken = HashSet::new();
        let resources = rules.iter().map(|flat| {
            let words = flat.name.split(|c: char| !c.is_ascii_alphanumeric());
            let camel: String = words.map(capitalized).collect();
            (unique(format!("Rule{camel}"), "x", &mut taken), ApiRule::of(flat))
        });
        Template {
            version: "2010-09-09",
            description: "X-Ray sampling rules",
            resources: Resources(resources.collect()),
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

/// `id`, or with a number after it if it is taken.
fn unique(id: String, separator: &str, taken: &mut HashSet<String>) -> String {
    let mut free = id.clone();
    let mut n = 2;
    while !taken.insert(free.clone()) {
        free = format!("{id}{separator}{n}");
        n += 1;
    }
    free
}

fn terraform(rules: &[Flat<'_>]) -> String {
    let (mut text, mut taken) = (String::new(), HashSet::new());
    for flat in rules {
        let rule = flat.rule;
        let plain: String = flat
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let is_word = plain.starts_with(|c: char| c.is_ascii_lowercase());
        let label = unique(if is_word { plain } else { format!("rule_{plain}") }, "_", &mut taken);
        let [service_name, service_type, host, http_method, url_path, resource_arn] = flat.patterns;
        let separator = if text.is_empty() { "" } else { "\n" };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{separator}resource \"aws_xray_sampling_rule\" \"{label}\" {{");
        for (key, value) in [
            ("rule_name", quoted(&flat.name)),
            ("priority", rule.priority.get().to_string()),
            ("version", "1".to_owned()),
            ("reservoir_size", whole(Format::Terraform, rule).to_string()),
            ("fixed_rate", rule.rate.get().to_string()),
            ("service_name", quoted(service_name)),
            ("service_type", quoted(service_type)),
            ("host", quoted(host)),
            ("http_method", quoted(http_method)),
            ("url_path", quoted(url_path)),
            ("resource_arn", quoted(resource_arn)),
        ] {
            let _ = writeln!(text, "  {key:<14} = {value}");
        }
        if !rule.matchers.attributes.is_empty() {
            let _ = writeln!(text, "\n  attributes = {{");
            // Aligned as `terraform fmt` would align it.
            let attributes = attributes(rule);
            let width = attributes.keys().map(|name| quoted(name).chars().count()).max().unwrap_or(0);
            for (name, pattern) in attributes {
                let _ = writeln!(text, "    {:<width$} = {}", quoted(name), quoted(pattern));
            }
            text.push_str("  }\n");
        }
        text.push_str("}\n");
    }
    text
}

/// A string of HCL, in which `${` and `%{` would begin a template.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if characters.peek() == Some(&'{') => quoted.extend([character, character]),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
