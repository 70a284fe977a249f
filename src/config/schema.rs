//! The JSON Schemas (draft 2020-12) of rule files and of the settings file, for editors.
//!
//! Both are made from the tables that drive the readers, so that they cannot drift apart, and are published in
//! `rules/schema`. A schema sees one file at a time and no more than shapes: what it accepts may still be refused by
//! the readers, for a name given twice or an include that is not there. What it refuses, they refuse.

mod rules;
mod settings;

use serde_json::{Value, json};

/// The schema of rule files in every notation, indented, with a line feed at the end.
pub fn rules() -> String {
    text(&rules::schema())
}

/// The schema of the settings file, indented, with a line feed at the end.
pub fn settings() -> String {
    text(&settings::schema())
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A decimal number with one of these units.
fn number_with_unit(units: &str) -> String {
    format!("^\\s*([0-9]+\\.?[0-9]*|\\.[0-9]+)({units})\\s*$")
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": number_with_unit("ms|s|m|h"), "examples": ["750ms", "1.5s", "2m"] })
}

/// One of these, or a list of them.
fn one_or_list(item: &Value, most: usize) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1, "maxItems": most }] })
}

#[cfg(test)]
mod tests;
