//! Rule files in; rules, or problems word for word, out.

mod fixtures;

use super::*;
use crate::sampling::Rate;
use crate::sampling::rule::Globs;
use proptest::prelude::*;

fn from(files: &[(&str, &str)]) -> Result<Loaded, Problems> {
    from_sources(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect())
}

/// One rule with `body` below its name and priority, given as lines.
fn one_rule(body: &str) -> String {
    format!("rules_version: 1\nrules:\n  - name: a\n    priority: 5\n{body}")
}

#[track_caller]
fn check_files(files: &[(&str, &str)], expected: &[&str]) {
    let problems = from(files).expect_err("expected problems").to_string();
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected);
}

#[track_caller]
fn check_problem(text: &str, expected: &[&str]) {
    check_files(&[("r.yaml", text)], expected);
}

/// One line under `- name: a, priority: 5, rate: 1`, wrong in one way: code and column, message, hint.
#[track_caller]
fn check_line(line: &str, expected: &str) {
    let rate = if line.trim_start().starts_with("rate") || line.contains("FixedRate") {
        ""
    } else {
        "    rate: 1\n"
    };
    let problems = from(&[("r.yaml", &one_rule(&format!("    {line}\n{rate}")))]).expect_err(line);
    let got: Vec<String> = problems
        .iter()
        .map(|p| {
            format!(
                "{} {}:{}: {} | {}",
                p.code,
                p.place.line,
                p.place.column,
                p.message,
                p.hint.clone().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(got, [expected], "{line}");
}

fn globs(globs: &Globs) -> Vec<&str> {
    globs.patterns().iter().map(|pattern| pattern.as_str()).collect()
}

#[test]
fn every_field_is_read() {
    let text = r#"
rules_version: 1
default: { reservoir: 2, rate: 0.3% }
rules:
  - name: full
    priority: 9999
    reservoir: 0.2
    rate: 5%
    service_name: shop
    service_type: "AWS::ECS::Container"
    host: ["*.example.com", example.com]
    http_method: POST
    url_path: /api/*
    resource_arn: "*"
    attributes: { X-Tenant: "acme*", user-agent: curl* }
    description: For the record.
    version: 1
    created_at: 1530920505.0
"#;
    let loaded = from(&[("r.yaml", text)]).unwrap();
    let rule = loaded.rules.iter().next().unwrap();
    assert_eq!((rule.name.as_str(), rule.priority.get()), ("full", 9999));
    assert_eq!((rule.reservoir.get(), rule.rate.get()), (0.2, 0.05));
    assert_eq!(globs(&rule.matchers.service_name), ["shop"]);
    assert_eq!(globs(&rule.matchers.service_type), ["AWS::ECS::Container"]);
    assert_eq!(globs(&rule.matchers.host), ["*.example.com", "example.com"]);
    assert_eq!(globs(&rule.matchers.http_method), ["POST"]);
    assert_eq!(globs(&rule.matchers.url_path), ["/api/*"]);
    assert_eq!(globs(&rule.matchers.resource_arn), ["*"]);
    let attributes: Vec<(&str, &str)> =
        rule.matchers.attributes.iter().map(|(name, pattern)| (&**name, pattern.as_str())).collect();
    assert_eq!(attributes, [("user-agent", "curl*"), ("x-tenant", "acme*")]);
    assert_eq!(rule.description.as_deref(), Some("For the record."));
    assert_eq!(rule.place.to_string(), "r.yaml:5:5");
    let default = loaded.rules.default_rule();
    assert_eq!((default.reservoir.get(), default.rate.get()), (2.0, 0.003));
    assert_eq!(default.place.to_string(), "r.yaml:3:10");
    assert!(loaded.warnings.is_empty());
}

#[test]
fn every_spelling_of_a_field_means_the_same() {
    let canonical = from(&[("r.yaml", concat!(
        "rules_version: 1\nrules:\n  - { name: a, priority: 5, reservoir: 1, rate: 0.1, service_name: s, service_type: t, ",
        "host: h, http_method: m, url_path: p, resource_arn: r, attributes: { x: y } }\n"
    ))]).unwrap().rules.hash();
    let spellings = [
        "RuleName: a, Priority: 5, ReservoirSize: 1, FixedRate: 0.1, ServiceName: s, ServiceType: t, Host: h, HTTPMethod: m, URLPath: p, ResourceARN: r, Attributes: { X: y }, Version: 1, RuleARN: z, CreatedAt: 1, ModifiedAt: 2",
        "rule_name: a, priority: 5, reservoir_size: 1, fixed_rate: 10%, service_name: s, service_type: t, host: h, method: m, path: p, resource_arn: r, attributes: { x: y }, enabled: true",
        "name: a, priority: 5, fixed_target: 1.0, rate: '0.1', service_name: [s], service_type: t, host: h, HttpMethod: m, UrlPath: p, ResourceArn: r, attributes: { x: y }",
    ];
    for spelling in spellings {
        let text = format!("rules_version: 1\nrules:\n  - {{ {spelling} }}\n");
        let loaded = from(&[("r.yaml", &text)]).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.rules.hash(), canonical, "{spelling}");
    }
}

#[test]
fn absent_fields_have_their_defaults() {
    let loaded = from(&[("r.yaml", &one_rule("    rate: 0\n"))]).unwrap();
    let rule = loaded.rules.iter().next().unwrap();
    assert_eq!(rule.reservoir.get(), 0.0);
    assert_eq!(rule.matchers, crate::sampling::Matchers::default());
    assert_eq!(loaded.rules.default_rule().reservoir.get(), 1.0);
    assert_eq!(loaded.rules.default_rule().rate, Rate::FIVE_PERCENT);
    let nothing = from(&[("r.yaml", "rules_version: 1\n")]).unwrap();
    assert_eq!(nothing.rules.hash(), RuleSet::built_in().hash());
    let json = r#"{"rules_version": 1, "rules": [{"name": "a", "priority": 5, "rate": 0}]}"#;
    assert_eq!(from(&[("r.json", json)]).unwrap().rules.hash(), loaded.rules.hash());
}

#[test]
fn a_disabled_rule_is_checked_and_not_used() {
    let loaded = from(&[("r.yaml", &one_rule("    rate: 0\n    enabled: false\n"))]).unwrap();
    assert!(loaded.rules.is_empty());
    assert_eq!(loaded.disabled[0].name.as_str(), "a");
    check_line("enabled: yes", "R112 5:14: `enabled` must be true or false, not text | write `true`");
    check_line(
        "enabled: 0",
        "R003 5:14: `enabled` must be true or false, not a number | write `true` or `false`",
    );
}

#[test]
fn several_files_make_one_set() {
    let loaded = from(&[
        ("10.yaml", "rules_version: 1\nrules:\n  - { name: late, priority: 9, rate: 0 }\n"),
        (
            "20.yaml",
            "rules_version: 1\ndefault: { rate: 1 }\nrules:\n  - { name: early, priority: 1, rate: 0 }\n",
        ),
    ])
    .unwrap();
    let names: Vec<&str> = loaded.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["early", "late", "Default"]);
    assert_eq!(loaded.files, [PathBuf::from("10.yaml"), PathBuf::from("20.yaml")]);
}

#[test]
fn r001_yaml_is_translated() {
    check_problem(
        &one_rule("    host: *.partner.example.com\n"),
        &[
            "error[R001] r.yaml:5:11: a value that starts with `*` must be quoted",
            "   5 |     host: *.partner.example.com",
            "     |           ^ write host: \"*.partner.example.com\"",
        ],
    );
}

#[test]
fn r002_unknown_keys_are_told_with_the_nearest() {
    check_problem(
        &one_rule("    rate: 1\n    hots: x\n"),
        &[
            "error[R002] r.yaml:6:5: unknown key `hots`",
            "   6 |     hots: x",
            "     |     ^^^^ did you mean `host`?",
        ],
    );
    check_line("Rate: 1", "R002 5:5: unknown key `Rate` | did you mean `rate`?");
    check_line("colour: red", "R002 5:5: unknown key `colour` | a rule has no such key");
    check_problem(
        "rules_version: 1\nrule: []\n",
        &[
            "error[R002] r.yaml:2:1: unknown key `rule`",
            "   2 | rule: []",
            "     | ^^^^ did you mean `rules`?",
        ],
    );
    check_problem(
        "rules_version: 1\ndefault: { rate: 1, reservor: 1 }\n",
        &[
            "error[R002] r.yaml:2:21: unknown key `reservor`",
            "   2 | default: { rate: 1, reservor: 1 }",
            "     |                     ^^^^^^^^ did you mean `reservoir`?",
        ],
    );
}

#[test]
fn r112_what_yaml_readers_take_for_different_things() {
    check_line("reservoir: '5'", "R112 5:16: `reservoir` must be a number, not text | write reservoir: 5");
    check_line(
        "reservoir: 010",
        "R112 5:16: `010` is octal to some YAML readers and decimal to others | write reservoir: 10",
    );
    check_line("enabled: Off", "R112 5:14: `enabled` must be true or false, not text | write `false`");
}

#[test]
fn r003_types_and_ranges() {
    for (line, expected) in [
        ("host: 10", "5:11: `host` must be text, not a number | write host: \"10\""),
        ("host: true", "5:11: `host` must be text, not true or false | write host: \"true\""),
        ("host:", "5:9: `host` is empty | give it a value, or remove the key"),
        ("host: ''", "5:11: `host` is empty | give it a value, or remove the key"),
        ("host: {a: b}", "5:11: `host` must be text, not a mapping | write one text here"),
        ("host: [a, [b]]", "5:15: `host` must be text, not a list | write one text here"),
        (
            "host: []",
            "5:11: `host` is an empty list, which nothing matches | remove the key to match anything",
        ),
        (
            "reservoir: -1",
            "5:16: reservoir -1 is not between 0 and 1000000 | it is the number of traces kept each second before the rate",
        ),
        (
            "reservoir: .nan",
            "5:16: reservoir .nan is not between 0 and 1000000 | it is the number of traces kept each second before the rate",
        ),
        (
            "reservoir: 1e-9",
            "5:16: reservoir 1e-9 is smaller than a millionth | 0.000001 is one trace in 12 days",
        ),
        ("reservoir: 5/s", "5:16: `reservoir` must be a number, not text | write reservoir: 5"),
        ("reservoir: many", "5:16: `reservoir` must be a number, not text | write a number"),
        (
            "attributes: [a]",
            "5:17: `attributes` must be a mapping, not a list | write attributes: { x-tenant: \"acme*\" }",
        ),
        ("attributes: { x: 1 }", "5:22: `x` must be text, not a number | write x: \"1\""),
        ("attributes: { '': a }", "5:19: an attribute's name has 1 to 512 bytes | name a request header"),
        (
            "rate: [1]",
            "5:11: `rate` must be a number or a percentage, not a list | write a share from 0 to 1, or a percentage such as 5%",
        ),
        (
            "rate: true",
            "5:11: `rate` must be a number or a percentage, not true or false | write a share from 0 to 1, or a percentage such as 5%",
        ),
        ("rate:", "5:9: `rate` is empty | write a share from 0 to 1, or a percentage such as 5%"),
    ] {
        check_line(line, &format!("R003 {expected}"));
    }
    let long = "x".repeat(600);
    check_line(
        &format!("url_path: /{long}"),
        "R003 5:15: `url_path` has 601 bytes, more than 512 | shorten it",
    );
    let long = "x".repeat(1025);
    check_line(
        &format!("description: {long}"),
        "R003 5:18: `description` has 1025 bytes, more than 1024 | shorten it",
    );
}

#[test]
fn r003_too_many_patterns_or_attributes() {
    check_line(
        &format!("host: [{}]", "a,".repeat(257)),
        "R003 5:11: `host` has 257 patterns, more than 256 | use wildcards to say the same in fewer",
    );
    let attributes: Vec<String> = (0..33).map(|n| format!("x-{n}: a")).collect();
    check_line(
        &format!("attributes: {{ {} }}", attributes.join(", ")),
        "R003 5:17: `attributes` has 33 entries, more than 32 | a rule that looks at fewer headers is easier to follow",
    );
}

#[test]
fn r003_priorities_and_names() {
    #[track_caller]
    fn check(rule: &str, expected: &str) {
        let text = format!("rules_version: 1\nrules:\n  - {rule}\n");
        let problems = from(&[("r.yaml", &text)]).expect_err(rule);
        let got: Vec<String> = problems.iter().map(|p| p.one_line()).collect();
        assert_eq!(got, [expected], "{rule}");
    }
    for priority in ["0", "-3", "1.5", "12345678901234567890"] {
        check(
            &format!("{{ name: a, rate: 1, priority: {priority} }}"),
            &format!(
                "r.yaml:3:35: priority {priority} is not a whole number from 1 to 9999; 1 is tried first, 9999 last"
            ),
        );
    }
    check(
        "{ name: a, rate: 1, priority: 10000 }",
        "r.yaml:3:35: priority 10000 is not a whole number from 1 to 9999; 10000 is X-Ray's `Default`; write `default:` at the top of the file",
    );
    check(
        "{ name: a, rate: 1, priority: 010 }",
        "r.yaml:3:35: `010` is octal to some YAML readers and decimal to others; write priority: 10",
    );
    check(
        "{ name: a, rate: 1, priority: \"10\" }",
        "r.yaml:3:35: `priority` must be a number, not text; write priority: 10",
    );
    check(
        "{ name: a, rate: 1 }",
        "r.yaml:3:5: rule `a` has no `priority`; add one from 1, tried first, to 9999",
    );
    check(
        "{ name: a, priority: 1 }",
        "r.yaml:3:5: rule `a` has no `rate`; add `rate: 5%`, or `rate: 0` to keep only what the reservoir takes",
    );
    check(
        "{ priority: 1, rate: 1 }",
        "r.yaml:3:5: the rule has no `name`; add one; metrics and every trace it keeps show it",
    );
    check(
        "{ name: 404, priority: 1, rate: 1 }",
        "r.yaml:3:13: `name` must be text, not a number; write name: \"404\"",
    );
    check(
        "{ name: \"a\\tb\", priority: 1, rate: 1 }",
        "r.yaml:3:13: `name` holds a control character; use letters, digits and `-`",
    );
    check(
        &format!("{{ name: {}, priority: 1, rate: 1 }}", "n".repeat(129)),
        "r.yaml:3:13: `name` has 129 bytes, more than 128; shorten it",
    );
    check("a", "r.yaml:3:5: a rule is a mapping, not text; write `- name: …` and its other keys below");
}

#[test]
fn r003_the_shape_of_a_file() {
    check_problem(
        "rules_version: 1\nrules: { a: b }\n",
        &[
            "error[R003] r.yaml:2:8: `rules` is a list, not a mapping",
            "   2 | rules: { a: b }",
            "     |        ^ write `- name: …` below it, or rules: []",
        ],
    );
    check_problem(
        "rules_version: 1\ndefault: 5%\n",
        &[
            "error[R003] r.yaml:2:10: `default` is a mapping, not text",
            "   2 | default: 5%",
            "     |          ^^ write default: { reservoir: 1, rate: 5% }",
        ],
    );
    check_problem(
        "rules_version: 1\ndefault: { reservoir: 1 }\n",
        &[
            "error[R003] r.yaml:2:10: `default` has no `rate`",
            "   2 | default: { reservoir: 1 }",
            "     |          ^ add `rate: 5%`",
        ],
    );
}

#[test]
fn r004_duplicate_names_are_told_with_both_places() {
    check_files(
        &[
            ("rules/10.yaml", "rules_version: 1\nrules:\n  - { name: api, priority: 9, rate: 0 }\n"),
            (
                "rules/20.yaml",
                "rules_version: 1\nrules:\n  - { name: api, priority: 1, rate: 0, enabled: false }\n",
            ),
        ],
        &[
            "error[R004] rules/20.yaml:3:13: two rules are called `api`",
            "   3 |   - { name: api, priority: 1, rate: 0, enabled: false }",
            "     |             ^^^ the first is at rules/10.yaml:3:13; names are unique in the whole set",
        ],
    );
}

#[test]
fn r005_two_spellings_and_repeated_keys() {
    check_problem(
        &one_rule("    rate: 1\n    FixedRate: 1\n"),
        &[
            "error[R005] r.yaml:6:5: `FixedRate` is another spelling of `rate`",
            "   6 |     FixedRate: 1",
            "     |     ^^^^^^^^^ it is already set at r.yaml:5:5; keep one of them",
        ],
    );
    check_problem(
        &one_rule("    rate: 1\n    rate: 1\n"),
        &[
            "error[R005] r.yaml:6:5: `rate` is repeated",
            "   6 |     rate: 1",
            "     |     ^^^^ it is already set at r.yaml:5:5; keep one of them",
        ],
    );
    check_line(
        "attributes: { x-a: b, X-A: c }",
        "R005 5:27: `X-A` is another spelling of `x-a` | it is already set at r.yaml:5:19; names of headers ignore case",
    );
}

#[test]
fn r006_the_default_is_one_and_takes_everything() {
    check_problem(
        "rules_version: 1\ndefault: { rate: 1, host: a, priority: 5 }\n",
        &[
            "error[R006] r.yaml:2:21: `default` takes every request and cannot have `host`",
            "   2 | default: { rate: 1, host: a, priority: 5 }",
            "     |                     ^^^^ write a rule with a priority of 9999 instead",
            "error[R006] r.yaml:2:30: `default` cannot have `priority`",
            "   2 | default: { rate: 1, host: a, priority: 5 }",
            "     |                              ^^^^^^^^ it has only `reservoir`, `rate` and `capture`",
        ],
    );
    let file = "rules_version: 1\ndefault: { rate: 1 }\n";
    check_files(
        &[("a.yaml", file), ("b.yaml", file)],
        &[
            "error[R006] b.yaml:2:1: this is a second `default`",
            "   2 | default: { rate: 1 }",
            "     | ^^^^^^^ the first is at a.yaml:2:1; one set has one",
        ],
    );
    check_problem(
        "rules_version: 1\nrules:\n  - { name: Default, priority: 1, rate: 1 }\n",
        &[
            "error[R006] r.yaml:3:13: `Default` is the name of the catch-all",
            "   3 |   - { name: Default, priority: 1, rate: 1 }",
            "     |             ^^^^^^^ write `default:` at the top of the file, or choose another name",
        ],
    );
}

#[test]
fn r007_a_rate_of_five_is_an_error() {
    check_problem(
        &one_rule("    rate: 5\n"),
        &[
            "error[R007] r.yaml:5:11: rate 5 is above 1",
            "   5 |     rate: 5",
            "     |           ^ X-Ray's API takes 0–1, its console takes percent; did you mean 5% (0.05)?",
        ],
    );
    check_line("rate: 500%", "R007 5:11: rate 500% is above 100% | 100% keeps every request");
    check_line(
        "FixedRate: -1",
        "R007 5:16: rate -1 is below 0 | write a share from 0 to 1, or a percentage such as 5%",
    );
    check_line(
        "rate: .inf",
        "R007 5:11: `.inf` is no rate | write a share from 0 to 1, or a percentage such as 5%",
    );
    check_line(
        "rate: often",
        "R007 5:11: `often` is no rate | write a share from 0 to 1, or a percentage such as 5%",
    );
}

#[test]
fn r008_versions_and_notations() {
    check_problem(
        "rules: []\n",
        &[
            "error[R008] r.yaml:1:1: `rules_version` is missing",
            "   1 | rules: []",
            "     | ^ begin the file with `rules_version: 1`",
        ],
    );
    for version in ["2", "\"1\"", "1.0"] {
        let line = format!("rules_version: {version}");
        check_problem(
            &line,
            &[
                "error[R008] r.yaml:1:16: this `rules_version` is not supported",
                &format!("   1 | {line}"),
                &format!("     |                {} write rules_version: 1", "^".repeat(version.len())),
            ],
        );
    }
    check_problem(
        "",
        &[
            "error[R008] r.yaml:1:1: the file is empty",
            "   1 | ",
            "     | ^ begin the file with `rules_version: 1`",
        ],
    );
    check_problem(
        "- a\n",
        &[
            "error[R008] r.yaml:1:1: this is not a rule file",
            "   1 | - a",
            "     | ^ begin the file with `rules_version: 1`",
        ],
    );
    check_line(
        "version: 2",
        "R008 5:14: `version` of a rule must be 1 | X-Ray knows no other; remove the key",
    );
}

#[test]
fn all_problems_of_all_files_are_told() {
    let checked = super::check(&[
        Source {
            path: "a.yaml".into(),
            bytes: b"rules_version: 1\nrules:\n  - name: x\n    rate: 5\n    hots: y\n".into(),
        },
        Source { path: "b.yaml".into(), bytes: b"host: *\n".into() },
        Source {
            path: "c.yaml".into(),
            bytes: b"rules_version: 1\nrules:\n  - { name: x, priority: 1, rate: 1 }\n".into(),
        },
    ]);
    let lines: Vec<String> = checked.problems.iter().map(|p| format!("{} {}", p.code, p.place)).collect();
    assert_eq!(
        lines,
        ["R003 a.yaml:3:5", "R007 a.yaml:4:11", "R002 a.yaml:5:5", "R001 b.yaml:1:7", "R004 c.yaml:3:13"]
    );
    let report = checked.problems.report(checked.n_files, checked.n_rules).to_string();
    assert!(report.ends_with("\n5 errors · 3 files, 2 rules · not loadable"), "{report}");
}

#[test]
fn limits_hold() {
    let rules = |n: usize| {
        let rules: String = (0..n).map(|n| format!("  - {{ name: r{n}, priority: 1, rate: 0 }}\n")).collect();
        format!("rules_version: 1\nrules:\n{rules}")
    };
    assert_eq!(from(&[("r.yaml", &rules(1000))]).unwrap().rules.len(), 1000);
    check_problem(
        &rules(1200),
        &[
            "error[R003] r.yaml:1003:5: more than 1000 rules",
            "1003 |   - { name: r1000, priority: 1, rate: 0 }",
            "     |     ^ use lists and wildcards to say the same in fewer",
        ],
    );
    let wrong = format!("rules_version: 1\nrules: [{}]\n", "a,".repeat(900));
    let problems = from(&[("r.yaml", &wrong)]).unwrap_err();
    assert_eq!(problems.len(), 201);
    assert!(problems.one_line(300).ends_with("r.yaml: and 700 more problems in this file"), "{problems}");
}

#[test]
fn a_directory_is_read_in_byte_order_without_tests_and_dot_files() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let rule =
        |name: &str| format!("rules_version: 1\nrules:\n  - {{ name: {name}, priority: 1, rate: 0 }}\n");
    write("b.yaml", &rule("b"));
    write("a.yml", &rule("a"));
    write("Z.json", r#"{"rules_version": 1}"#);
    write("a.test.yaml", "not: rules");
    write(".hidden.yaml", "not: rules");
    write("README.md", "not rules");
    std::fs::create_dir(directory.path().join("sub.yaml")).unwrap();
    let loaded = load(directory.path()).unwrap();
    let names: Vec<_> = loaded.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["Z.json", "a.yml", "b.yaml"]);
    assert_eq!(loaded.rules.len(), 2);
    assert_eq!(loaded.fingerprint, load(directory.path()).unwrap().fingerprint);
    write("b.yaml", &rule("c"));
    assert_ne!(loaded.fingerprint, load(directory.path()).unwrap().fingerprint);
}

#[test]
fn what_cannot_be_read_is_told() {
    #[track_caller]
    fn check(path: &Path, expected: &str) {
        let problems = load(path).unwrap_err();
        assert_eq!(problems.to_string(), format!("error[R000] {}: {expected}", path.display()));
    }
    let directory = tempfile::tempdir().unwrap();
    check(
        directory.path(),
        "the directory has no rule files\n     put a *.yaml, *.yml or *.json file there; dot files and *.test.yaml do not count",
    );
    check(
        &directory.path().join("none.yaml"),
        "there is no such file or directory\n     check the setting `rules` and the mount",
    );
    check(Path::new("/dev/null"), "this is neither a file nor a directory\n     rules are read from files");
    let link = directory.path().join("dangling.yaml");
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    let problems = load(directory.path()).unwrap_err();
    assert_eq!(
        problems.one_line(1),
        format!(
            "{}: there is no such file or directory; check the setting `rules` and the mount",
            link.display()
        )
    );
    std::fs::remove_file(&link).unwrap();
    let large = directory.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; super::super::yaml::MAX_BYTES + 1]).unwrap();
    let problems = load(directory.path()).unwrap_err();
    assert_eq!(
        problems.one_line(1),
        format!("{}:1:1: the file is larger than 1 MiB; split it into several files", large.display())
    );
}

#[test]
fn every_shipped_file_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let set = load(&root).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(set.rules.hash(), RuleSet::built_in().hash(), "rules/ is the built-in set, spelled out");
    let mut n_examples = 0;
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let loaded = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!loaded.rules.is_empty(), "{}", path.display());
        n_examples += 1;
    }
    assert!(n_examples >= 2);
}

/// Pieces that come further into the lowering than random text does.
fn rule_like() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "name",
        "priority",
        "rate",
        "reservoir",
        "host",
        "http_method",
        "url_path",
        "attributes",
        "enabled",
        "version",
        "description",
        "FixedRate",
        "capture",
        "nmae",
        "default",
        "x",
    ]);
    let value = prop::sample::select(vec![
        "a",
        "5",
        "0.5",
        "5%",
        "[a, \"*\"]",
        "{ x: y }",
        "",
        "true",
        "~",
        "\"\"",
        "-1",
        "010",
        ".nan",
        "é",
        "[]",
        "Default",
    ]);
    proptest::collection::vec(proptest::collection::vec((key, value), 0..6), 0..4).prop_map(|rules| {
        let mut text = "rules_version: 1\nrules:\n".to_owned();
        for rule in rules {
            text.push_str("  - {");
            for (key, value) in rule {
                text.push_str(&format!(" {key}: {value},"));
            }
            text.push_str(" }\n");
        }
        text
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = from_sources(vec![("r.yaml".into(), bytes)]);
    }

    #[test]
    fn no_rules_panic_and_every_problem_has_a_place(text in rule_like()) {
        if let Err(problems) = from(&[("r.yaml", &text)]) {
            prop_assert!(problems.has_errors());
            for problem in &problems {
                prop_assert!(problem.place.line > 0 && problem.place.column > 0, "{}\n{}", problem, text);
            }
        }
    }
}
