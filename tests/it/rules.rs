//! Rules as files: exported, described by schemas, and given without a file at all.

use crate::support::client::Request;
use crate::support::sidecar::Options;
use crate::support::world::World;
use serde_json::Value;
use std::path::Path;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn check_exit(options: Options, code: i32, stdout: &str, stderr: &str) {
    let exit = options.output();
    assert_eq!((exit.stdout.as_str(), exit.stderr.as_str(), exit.code), (stdout, stderr, Some(code)));
}

#[test]
fn export_writes_to_stdout_and_tells_what_was_left_out_on_stderr() {
    let set = std::fs::read(repository().join("tests/fixtures/rules/export/set.yaml")).unwrap();
    let expected = repository().join("tests/fixtures/rules/export/set.sdk-v2.json");
    check_exit(
        Options::bare(&["rules", "export", "--format", "sdk-v2", "set.yaml"]).file("set.yaml", set),
        0,
        &std::fs::read_to_string(expected).unwrap(),
        "note[R109] set.yaml: 1 rule with `enabled: false` left out\n     others have no rules that are not used\n",
    );
}

#[test]
fn export_refuses_what_cannot_be_said_and_says_where() {
    let rules = "rules_version: 1\nrules:\n  - { name: a, priority: 1, rate: 0, url_path: [/a, /b] }\n";
    let export =
        |arguments: &[&str]| Options::bare(&["rules", "export"]).args(arguments).file("r.yaml", rules);
    check_exit(
        export(&["--format", "terraform", "r.yaml"]),
        1,
        "",
        "error[R109] r.yaml:3:48: `url_path` has 2 patterns, and terraform takes one\n   \
         3 |   - { name: a, priority: 1, rate: 0, url_path: [/a, /b] }\n     \
         |                                                ^ write one pattern, or make several rules of it with --expand\n",
    );
    let expanded = export(&["--format", "terraform", "--expand", "r.yaml"]).output();
    assert_eq!(expanded.code, Some(0));
    assert_eq!(expanded.stdout.matches("resource \"aws_xray_sampling_rule\"").count(), 2);
    check_exit(
        export(&["--format", "terraform", "none.yaml"]),
        1,
        "",
        "error[R000] none.yaml: there is no such file or directory\n     check the setting `rules` and the mount\n",
    );
    assert_eq!(export(&["--format", "xml", "r.yaml"]).output().code, Some(2));
    // Without a path it is the usual directory's turn.
    let usual = export(&["--format", "aws-api"]).output();
    assert!(usual.stderr.starts_with("error[R000] rules: "), "{}", usual.stderr);
}

#[test]
fn schemas_are_those_published() {
    for of in ["rules", "settings"] {
        let path = repository().join(format!("rules/schema/{of}.schema.json"));
        check_exit(Options::bare(&["schema", of]), 0, &std::fs::read_to_string(path).unwrap(), "");
    }
    assert_eq!(Options::bare(&["schema", "segments"]).output().code, Some(2));
}

#[test]
fn completions_know_the_commands_and_flags() {
    for (shell, begins) in
        [("bash", "_collimator()"), ("zsh", "#compdef collimator"), ("fish", "# Print an optspec")]
    {
        let exit = Options::bare(&["completions", shell]).output();
        assert_eq!((exit.code, exit.stderr.as_str()), (Some(0), ""));
        assert!(exit.stdout.starts_with(begins), "{}", exit.stdout.lines().next().unwrap());
        for word in ["run", "healthcheck", "drain-delay", "export", "terraform"] {
            assert!(exit.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(Options::bare(&["completions", "tcsh"]).output().code, Some(2));
}

/// The answer of `GET /rules`.
#[track_caller]
fn listed(world: &World) -> Value {
    let response = world.sidecar.admin("GET", "/rules");
    assert_eq!(response.status, 200);
    serde_json::from_str(&response.text()).unwrap()
}

/// The rule that decided a request, with its rate.
#[track_caller]
fn check_decided(world: &World, path: &str, rule: &str, rate: f64) {
    let document = world.record(&Request::get(path));
    assert_eq!(document["aws"]["xray"]["sampling_rule_name"], rule);
    let rules = listed(world);
    let of = rules["list"].as_array().unwrap().iter().find(|listed| listed["name"] == rule).unwrap();
    assert_eq!(of["rate"], rate);
}

#[test]
fn rules_may_stand_in_a_variable_packed_or_not() {
    let plain = "rules_version: 1\nrules: [{ name: inline, priority: 1, rate: 1, url_path: /x }]\n";
    // `gzip -nc | base64` of the same.
    let packed = "H4sIAAAAAAACAysqzUktji9LLSrOzM+zUjDkKgIJWClEVyvkJeamWilk5uVk5qXqKBQUZeYXZZZUAtXoKBQllqSCGaVFOfEFiSUZVgr6FQq1sVwAzNmNDk8AAAA=";
    for text in [plain, packed] {
        let world = World::start(|options| options.env("COLLIMATOR_RULES_INLINE", text));
        check_decided(&world, "/x", "inline", 1.0);
    }
    let refused = Options::run()
        .args(&["--upstream", "http://127.0.0.1:1"])
        .env("COLLIMATOR_RULES_INLINE", "rules_version: 1\ninclude: more.yaml\ndefault: { rate: 5 }\n")
        .output();
    assert_eq!(refused.code, Some(2));
    for expected in [
        "error[R009] COLLIMATOR_RULES_INLINE:2:10: `more.yaml` is not there\n",
        "error[R007] COLLIMATOR_RULES_INLINE:3:18: rate 5 is above 1\n",
    ] {
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
}

#[test]
fn app_meshs_variables_mean_what_they_meant_there() {
    let world = World::start(|options| options.env("XRAY_SAMPLING_RATE", "1"));
    check_decided(&world, "/", "Default", 1.0);
    let manifest = r#"{"version": 2, "default": {"fixed_target": 1, "rate": 0.25},
        "rules": [{"host": "*", "http_method": "GET", "url_path": "/x*", "fixed_target": 0, "rate": 1}]}"#;
    let world = World::start(|options| {
        let path = options.directory().join("manifest.json").display().to_string();
        options
            .file("manifest.json", manifest)
            .env("XRAY_SAMPLING_RULE_MANIFEST", &path)
            .env("XRAY_SAMPLING_RATE", "0")
    });
    check_decided(&world, "/x1", "manifest-1", 1.0);
    check_decided(&world, "/", "Default", 0.25);
}

#[test]
fn rules_that_share_their_reservoir_show_the_part_and_the_whole() {
    let world = World::ruled("rules_version: 1\nreplicas: 8\ndefault: { reservoir: 1, rate: 0 }\n");
    let rules = listed(&world);
    let default = &rules["list"][0];
    assert_eq!(
        (default["reservoir"].as_f64(), default["reservoir_shared"].as_f64()),
        (Some(0.125), Some(1.0))
    );
}
