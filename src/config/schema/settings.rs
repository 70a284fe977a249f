//! The schema of the settings file, made from the table of settings.

use super::super::table::{Form, SETTINGS, Setting, Takes};
use super::super::values::OFF;
use super::{DRAFT, duration, one_or_list};
use serde_json::{Map, Value, json};

/// More elements than any list of settings needs.
const MOST_ELEMENTS: usize = 1_000;

pub(super) fn schema() -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS {
        match setting.key.split_once('.') {
            None => {
                properties.insert(setting.key.to_owned(), value(setting));
            }
            Some((outer, inner)) => {
                let group = properties.entry(outer).or_insert_with(
                    || json!({ "type": "object", "properties": {}, "additionalProperties": false }),
                );
                group["properties"][inner] = value(setting);
            }
        }
    }
    json!({
        "$schema": DRAFT,
        "title": "Settings of Collimator",
        "description": "The file that `collimator run --config` reads. Each setting may also come from a flag or a variable, which are stronger.",
        // An empty file is one that says nothing.
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn value(setting: &Setting) -> Value {
    let one = one(setting.takes);
    let mut value = match setting.form {
        Form::List => one_or_list(&one, MOST_ELEMENTS),
        Form::One | Form::Switch => one,
    };
    value["description"] = json!(format!(
        "{}\nDefault: {}\nFlag: --{}\nVariable: {}",
        setting.help,
        setting.default,
        setting.flag,
        setting.variable()
    ));
    value
}

/// Every value is read from its text, so numbers may be written with quotes or without.
fn one(takes: Takes) -> Value {
    match takes {
        Takes::Text => json!({ "type": ["string", "number", "boolean"], "minLength": 1 }),
        Takes::Address => json!({
            "type": "string",
            "pattern": "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9a-fA-F:.]+(%[0-9]+)?\\]):[0-9]{1,5}$",
            "examples": ["127.0.0.1:8000", "[::1]:8000"],
        }),
        Takes::Url => json!({
            "type": "string",
            "pattern": "^([Hh][Tt][Tt][Pp][Ss]?|[Hh]2[Cc])://[^/?#@\\s]+/?$",
            "examples": ["http://127.0.0.1:8080"],
        }),
        Takes::Duration => duration(),
        Takes::DurationOrOff => json!({ "anyOf": [{ "const": OFF }, duration()] }),
        Takes::Count(most) => json!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": most },
            { "type": "string", "pattern": "^0*[1-9][0-9]*$" },
        ] }),
        Takes::Flag => json!({ "enum": [true, false, 0, 1, "true", "false", "0", "1"] }),
        Takes::Words(words) => json!({ "enum": words }),
    }
}
