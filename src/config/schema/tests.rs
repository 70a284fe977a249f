//! The published schemas are the generated ones, and judge every fixture as the readers do, as far as a schema sees.

use super::super::rules::from_sources;
use super::super::yaml::{Codes, Document, Kind, Node, Typed};
use super::*;
use crate::config::{Environment, RunFlags, Settings};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn check_published(file: &str, generated: &str) {
    let path = root().join("rules/schema").join(file);
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let name = file.split('.').next().unwrap();
    assert!(published == generated, "write it anew: collimator schema {name} > rules/schema/{file}");
}

#[test]
fn what_is_published_is_what_is_generated() {
    check_published("rules.schema.json", &rules());
    check_published("settings.schema.json", &settings());
}

/// What a file says, as JSON; `None` if it is not even YAML.
fn value_of(bytes: &[u8]) -> Option<Value> {
    fn value(node: &Node) -> Value {
        match &node.kind {
            Kind::Mapping(entries) => {
                entries.iter().map(|(key, node)| (key.text.clone(), value(node))).collect()
            }
            Kind::Sequence(items) => items.iter().map(value).collect(),
            Kind::Scalar(scalar) => match scalar.typed {
                Typed::Null => Value::Null,
                Typed::Bool(flag) => json!(flag),
                Typed::Integer(number) => json!(number),
                Typed::Float(number) => json!(number),
                Typed::Text => json!(scalar.text),
            },
        }
    }
    Document::parse("f", bytes, Codes::RULES).ok().map(|document| value(&document.root))
}

fn validator(schema: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// The rule files below a folder of the repository, in byte order.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
                && !name.ends_with(".test.yaml")
                && !name.ends_with(".schema.json")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_valid_fixture_and_every_shipped_file_is_accepted() {
    let validator = validator(&rules());
    let files = [files_below("tests/fixtures/rules/valid"), files_below("rules")].concat();
    assert!(files.len() > 40, "{}", files.len());
    for path in files {
        let value = value_of(&std::fs::read(&path).unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

/// Invalid fixtures whose fault no schema sees: it lies between files, on the disk, in the calendar, between two
/// numbers, or in how YAML is written.
const BEYOND: &[&str] = &[
    "anchor.yaml",
    "host-star.yaml",
    "name-twice/1.yaml",
    "name-twice/2.yaml",
    "default-twice/1.yaml",
    "default-twice/2.json",
    "replicas-twice/1.yaml",
    "replicas-twice/2.yaml",
    "include-cyclic/a.yaml",
    "include-cyclic/b.yaml",
    "include-missing.yaml",
    "expires-impossible.yaml",
    "capture-status-range.yaml",
];

#[test]
fn every_invalid_fixture_whose_fault_a_schema_can_see_is_refused() {
    let validator = validator(&rules());
    let folder = "tests/fixtures/rules/invalid";
    let mut wrong = Vec::new();
    for path in files_below(folder) {
        let name = path.strip_prefix(root().join(folder)).unwrap().to_str().unwrap().to_owned();
        let accepted =
            value_of(&std::fs::read(&path).unwrap()).is_none_or(|value| validator.is_valid(&value));
        if accepted != BEYOND.contains(&name.as_str()) {
            wrong.push(format!("{name}: accepted {accepted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn settings_are_judged_as_their_reader_judges_them() {
    let validator = validator(&settings());
    for (text, is_right) in [
        ("", true),
        ("upstream: http://127.0.0.1:8080\nlisten: 127.0.0.1:9000\nservice: { name: shop }\n", true),
        (
            "upstream: http://a:1\nsinks: [store, stdout]\ntrust: 10.0.0.0/8\nworkers: 2\nlimits: { connections: \"7\" }\n",
            true,
        ),
        (
            "upstream: http://a:1\nlog: { access: all, level: debug, format: json }\nheader_case: lower\n",
            true,
        ),
        (
            "upstream: http://a:1\nconnect_timeout: 1.5s\ndrain_delay: 0s\nsample_all: true\nrules: rules/\n",
            true,
        ),
        ("upstream: http://a:1\nresponse_timeout: off\n", true),
        ("upstream: http://a:1\nresponse_timeout: 30s\n", true),
        ("response_timeout: never\n", false),
        ("response_timeout: 30\n", false),
        ("listen: 8000\n", false),
        ("listen: localhost:80\n", false),
        ("upstream: 127.0.0.1:8080\n", false),
        ("lisen: 127.0.0.1:80\n", false),
        ("service: shop\n", false),
        ("service: { nmae: shop }\n", false),
        ("workers: 0\n", false),
        ("workers: 1000\n", false),
        ("drain_delay: 5\n", false),
        ("log: { level: loud }\n", false),
        ("sample_all: yes\n", false),
        ("sinks: []\n", false),
        ("sinks: { a: b }\n", false),
        ("- a\n", false),
    ] {
        let upstream = RunFlags::new().with("upstream", "http://127.0.0.1:8080");
        let file = Some(("c.yaml", text.as_bytes()));
        let read = Settings::resolve(&upstream, &Environment::default(), file);
        assert_eq!(read.is_ok(), is_right, "{text}{read:?}");
        assert_eq!(validator.is_valid(&value_of(text.as_bytes()).unwrap()), is_right, "{text}");
    }
}

#[test]
fn rates_and_limits_are_judged_as_their_readers_judge_them() {
    let validator = validator(&rules());
    let rates = [
        "0", "1", "0.05", "1e-9", "5%", "0.3%", "7 %", "100%", "100.0%", "1e-3%", "'0.5'", "'.5'", "'1.0'",
        "'1e-2'", "5", "500%", "100.1%", "-0.1", "-1%", "''", "fast", "5%%", "'2'", "'1.5'", "true", "~",
        "[1]", "nan", "' 5% '",
    ];
    let limits = ["1/s", "0.5/s", "6/m", "1 / s", ".5/s", "0/s", "0.0/m", "1", "1/h", "/s", "x/s", "-1/s"];
    let rates = rates.map(|rate| format!("rate: {rate}"));
    let limits = limits.map(|limit| format!("rate: 0, capture: {{ status: 5xx, limit: {limit} }}"));
    for body in rates.iter().chain(&limits) {
        let text = format!("rules_version: 1\ndefault: {{ {body} }}\n");
        let is_right = from_sources(vec![("r.yaml".into(), text.clone().into_bytes())]).is_ok();
        assert_eq!(validator.is_valid(&value_of(text.as_bytes()).unwrap()), is_right, "{body}");
    }
}
