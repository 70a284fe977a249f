//! The schema of rule files.

use super::super::rules::keys::{self, ApiTop, BoostKey, CaptureKey, Field, Record, SdkTop, Spellings, Top};
use super::super::rules::limits::{
    MAX_ARN_BYTES, MAX_ATTRIBUTES, MAX_DESCRIPTION_BYTES, MAX_INCLUDES, MAX_NAME_BYTES, MAX_PATTERN_BYTES,
    MAX_PATTERNS, MAX_REPLICAS, MAX_RULES, MAX_STATUSES,
};
use super::{DRAFT, duration, number_with_unit, one_or_list};
use crate::sampling::{ReservoirSize, RuleName};
use serde_json::{Map, Value, json};

pub(super) fn schema() -> Value {
    let is_object_with = |key: &str| json!({ "type": "object", "required": [key] });
    let is_api = json!({ "anyOf": [
        { "type": "array" },
        is_object_with("SamplingRuleRecords"),
        is_object_with("SamplingRule"),
        is_object_with("RuleName"),
    ] });
    let is_v1 = json!({ "properties": { "version": { "const": 1 } } });
    json!({
        "$schema": DRAFT,
        "title": "Sampling rules of Collimator",
        "description": "Rules in Collimator's own notation, as X-Ray's API prints them, or local rules of X-Ray's SDKs.",
        "if": is_object_with("rules_version"),
        "then": { "$ref": "#/$defs/ours" },
        "else": {
            "if": is_api,
            "then": { "$ref": "#/$defs/api" },
            "else": {
                "if": is_v1,
                "then": { "$ref": "#/$defs/sdk_v1" },
                "else": { "$ref": "#/$defs/sdk_v2" },
            },
        },
        "$defs": {
            "ours": ours(),
            "api": api(),
            "sdk_v1": sdk(1, keys::SDK_RULE_V1),
            "sdk_v2": sdk(2, keys::SDK_RULE),
            "rule": object(keys::RULE, &[Field::Name, Field::Priority, Field::Rate], ours_field),
            "default": default_rule(),
            "api_rule": api_rule(),
            "capture": capture(),
            "boost": object(keys::BOOST, &[BoostKey::MaxRate, BoostKey::Cooldown], |key| match key {
                BoostKey::MaxRate => json!({ "$ref": "#/$defs/rate" }),
                BoostKey::Cooldown => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            }),
            "attributes": {
                "type": "object",
                "maxProperties": MAX_ATTRIBUTES,
                "propertyNames": { "minLength": 1, "maxLength": MAX_PATTERN_BYTES },
                "additionalProperties": { "$ref": "#/$defs/pattern" },
            },
            "globs": one_or_list(&json!({ "$ref": "#/$defs/pattern" }), MAX_PATTERNS),
            "pattern": { "type": "string", "minLength": 1, "maxLength": MAX_PATTERN_BYTES },
            "rate": rate(),
            "reservoir": { "type": "number", "minimum": 0, "maximum": ReservoirSize::MAX },
            "time": time(),
            "timestamp": { "anyOf": [{ "type": "number" }, { "$ref": "#/$defs/time" }] },
        },
    })
}

/// A mapping of these keys in any one of their spellings. Each of `required` is there once, each other at most once.
fn object<F: Copy + PartialEq>(table: &[Spellings<F>], required: &[F], value: impl Fn(F) -> Value) -> Value {
    let mut properties = Map::new();
    let mut once = Vec::new();
    for (field, spellings) in table {
        for spelling in *spellings {
            properties.insert((*spelling).to_owned(), value(*field));
        }
        let mut choices: Vec<Value> =
            spellings.iter().map(|spelling| json!({ "required": [spelling] })).collect();
        match (required.contains(field), spellings.len()) {
            (true, 1) => once.append(&mut choices),
            (true, _) => once.push(json!({ "oneOf": choices })),
            (false, 1) => {}
            (false, _) => {
                let none = json!({ "not": { "anyOf": choices.clone() } });
                choices.push(none);
                once.push(json!({ "oneOf": choices }));
            }
        }
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !once.is_empty() {
        object["allOf"] = Value::Array(once);
    }
    object
}

fn ours() -> Value {
    object(keys::TOP, &[Top::RulesVersion], |key| match key {
        Top::RulesVersion => {
            json!({ "description": "The version of this notation.", "type": "integer", "const": 1 })
        }
        Top::Include => {
            let item = json!({
                "type": "string",
                "pattern": "(\\.ya?ml|\\.json|[*?][^/]*)$",
                "not": { "pattern": "^/|(^|/)\\.\\.(/|$)|\\.test\\.ya?ml$" },
            });
            described("Other rule files, relative to this one.", one_or_list(&item, MAX_INCLUDES))
        }
        Top::Replicas => json!({
            "description": "How many instances share each reservoir.",
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_REPLICAS,
        }),
        Top::Default => described("What happens to requests that no rule takes.", reference("default")),
        Top::Rules => json!({ "type": "array", "items": { "$ref": "#/$defs/rule" }, "maxItems": MAX_RULES }),
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn described(description: &str, mut schema: Value) -> Value {
    schema["description"] = json!(description);
    schema
}

/// What a field holds in our own notation.
fn ours_field(field: Field) -> Value {
    let (description, schema) = match field {
        Field::Name => ("Unique in the whole set.", name()),
        Field::Priority => ("Lower is tried first; ties by name.", priority(1, 9_999)),
        Field::Reservoir => {
            ("Traces kept each second before the rate; 0.2 is one in five seconds.", reference("reservoir"))
        }
        Field::Rate => ("The share kept of the rest: 0 to 1, or a percentage such as 5%.", reference("rate")),
        Field::ServiceName => ("The service's name: a pattern, or a list of them.", reference("globs")),
        Field::ServiceType => ("Where the service runs, such as AWS::ECS::Container.", reference("globs")),
        Field::Host => ("The Host; its port counts only for patterns with a colon.", reference("globs")),
        Field::HttpMethod => ("The method.", reference("globs")),
        Field::UrlPath => ("The path, without the query.", reference("globs")),
        Field::ResourceArn => ("For X-Ray; a sidecar knows none, and anything matches.", reference("globs")),
        Field::Attributes => {
            ("Request headers and the pattern that each must match.", reference("attributes"))
        }
        Field::Description => {
            ("For people.", json!({ "type": "string", "minLength": 1, "maxLength": MAX_DESCRIPTION_BYTES }))
        }
        Field::Enabled => {
            ("Whether the rule is used; if not, it is still checked.", json!({ "type": "boolean" }))
        }
        Field::Capture => ("Requests kept after all, for how they ended.", reference("capture")),
        Field::Mode => (
            "observe counts what the rule would do, and decides nothing.",
            json!({ "enum": ["enforce", "observe"] }),
        ),
        Field::Expires => ("From this time on the rule is passed over.", reference("time")),
        Field::Version => ("X-Ray's version of a rule.", json!({ "type": "integer", "const": 1 })),
        Field::Arn => (
            "X-Ray's own name of the rule; kept for round trips.",
            json!({ "type": "string", "minLength": 1, "maxLength": MAX_ARN_BYTES }),
        ),
        Field::CreatedAt | Field::ModifiedAt => ("Kept for round trips.", reference("timestamp")),
        Field::Boost => ("Kept for round trips.", reference("boost")),
    };
    described(description, schema)
}

fn name() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_BYTES,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        "not": { "const": RuleName::DEFAULT },
    })
}

fn priority(least: u16, most: u16) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

fn rate() -> Value {
    let digits = "([0-9]+\\.?[0-9]*|\\.[0-9]+)";
    let percent = "(0*[0-9]{1,2}(\\.[0-9]*)?|0*100(\\.0*)?|\\.[0-9]+)\\s*%";
    let share = "(0+(\\.[0-9]*)?|0*1(\\.0*)?|\\.[0-9]+)";
    let pattern = format!("^\\s*\\+?({percent}|{share}|{digits}[eE][-+]?[0-9]+\\s*%?)\\s*$");
    json!({ "anyOf": [
        { "type": "number", "minimum": 0, "maximum": 1 },
        { "type": "string", "pattern": pattern, "examples": ["5%", "0.3%"] },
    ] })
}

fn time() -> Value {
    let date = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    let clock = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?";
    let offset = "([Zz]|[-+]([01][0-9]|2[0-3]):[0-5][0-9])";
    json!({
        "type": "string",
        "format": "date-time",
        "pattern": format!("^{date}[Tt]{clock}{offset}$"),
        "examples": ["2026-12-01T00:00:00Z"],
    })
}

fn capture() -> Value {
    let status = json!({ "anyOf": [
        { "type": "integer", "minimum": 100, "maximum": 599 },
        { "type": "string", "pattern": "^[1-5](xx|XX|[0-9]{2}|[0-9]{2}\\s*-\\s*[1-5][0-9]{2})$" },
    ] });
    let mut capture = object(keys::CAPTURE, &[], |key| match key {
        CaptureKey::Status => described(
            "Statuses, ranges such as 500-503, classes such as 5xx.",
            one_or_list(&status, MAX_STATUSES),
        ),
        CaptureKey::SlowerThan => duration(),
        CaptureKey::Limit => json!({
            "description": "At most so many a second or a minute; 1/s if absent.",
            "type": "string",
            "pattern": number_with_unit("\\s*/\\s*[sm]"),
            "not": { "pattern": "^\\s*0*\\.?0*\\s*/" },
            "examples": ["1/s", "6/m"],
        }),
        CaptureKey::Inherited => {
            json!({ "description": "Also requests that a caller decided not to keep.", "type": "boolean" })
        }
    });
    capture["anyOf"] = json!([{ "required": ["status"] }, { "required": ["slower_than"] }]);
    capture
}

fn default_rule() -> Value {
    let table: Vec<Spellings<Field>> = keys::RULE
        .iter()
        .filter(|(field, _)| matches!(field, Field::Reservoir | Field::Rate | Field::Capture))
        .copied()
        .collect();
    object(&table, &[Field::Rate], ours_field)
}

/// What a field holds in the notations of others, which have no lists and no parts of a trace.
fn foreign_field(field: Field) -> Value {
    match field {
        Field::ServiceName
        | Field::ServiceType
        | Field::Host
        | Field::HttpMethod
        | Field::UrlPath
        | Field::ResourceArn => reference("pattern"),
        Field::Reservoir => json!({ "type": "integer", "minimum": 0, "maximum": ReservoirSize::MAX as u32 }),
        _ => ours_field(field),
    }
}

fn api_rule() -> Value {
    let required = [Field::Name, Field::Priority, Field::Rate];
    let mut rule = object(keys::API_RULE, &required, |field| match field {
        // `Default` is a rule like others there; its own limits are below.
        Field::Name => {
            let mut name = name();
            if let Some(name) = name.as_object_mut() {
                name.remove("not");
            }
            name
        }
        Field::Priority => priority(1, 10_000),
        _ => foreign_field(field),
    });
    let anything = json!({ "pattern": "^\\*+$" });
    let mut properties = Map::new();
    for (field, spellings) in keys::API_RULE.iter().filter(|(field, _)| field.is_matcher()) {
        let schema =
            if *field == Field::Attributes { json!({ "maxProperties": 0 }) } else { anything.clone() };
        properties.insert(spellings[0].to_owned(), schema);
    }
    properties.insert("Priority".to_owned(), json!({ "const": 10_000 }));
    rule["if"] = json!({ "properties": { "RuleName": { "const": RuleName::DEFAULT } } });
    rule["then"] = json!({ "properties": properties });
    rule["else"] = json!({ "properties": { "Priority": { "maximum": 9_999 } } });
    rule
}

fn api() -> Value {
    let record = object(keys::RECORD, &[Record::Rule], |key| match key {
        Record::Rule => reference("api_rule"),
        Record::CreatedAt | Record::ModifiedAt => reference("timestamp"),
    });
    let is_rule = json!({ "required": ["RuleName"] });
    let entry = json!({ "type": "object", "if": is_rule, "then": reference("api_rule"), "else": record });
    let entries = json!({ "type": "array", "items": entry });
    let answer = object(keys::API_TOP, &[ApiTop::Records], |key| match key {
        ApiTop::Records => entries.clone(),
        ApiTop::NextToken => json!({ "type": "null" }),
    });
    json!({
        "if": { "type": "array" },
        "then": entries,
        "else": { "if": { "required": ["SamplingRuleRecords"] }, "then": answer, "else": entry },
    })
}

fn sdk(version: u8, table: &'static [Spellings<Field>]) -> Value {
    let required = [Field::Host, Field::HttpMethod, Field::UrlPath, Field::Reservoir, Field::Rate];
    let rule = object(table, &required, foreign_field);
    let default: Vec<Spellings<Field>> =
        table.iter().filter(|(field, _)| matches!(field, Field::Reservoir | Field::Rate)).copied().collect();
    object(keys::SDK_TOP, &[SdkTop::Version, SdkTop::Default], |key| match key {
        SdkTop::Version => json!({ "type": "integer", "const": version }),
        SdkTop::Default => object(&default, &[Field::Reservoir, Field::Rate], foreign_field),
        SdkTop::Rules => json!({ "type": "array", "items": rule, "maxItems": MAX_RULES }),
    })
}
