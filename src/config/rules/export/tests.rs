//! What others would read, and that they would decide the same.

use super::super::from_sources;
use super::*;
use crate::sampling::{Attributes, Facts, RuleSet};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use std::path::PathBuf;

const ALL: [Format; 4] = [Format::AwsApi, Format::SdkV2, Format::CloudFormation, Format::Terraform];

fn source(text: &str) -> Source {
    Source { path: "r.yaml".into(), bytes: text.as_bytes().to_vec() }
}

fn rules(lines: &[&str]) -> String {
    let rules: String = lines.iter().map(|line| format!("  - {{ {line} }}\n")).collect();
    format!("rules_version: 1\nrules:\n{rules}")
}

/// What is told of one rule beside its name, priority and rate, without the source line; and whether it is refused.
#[track_caller]
fn check_told(format: Format, rule: &str, expected: &[&str]) {
    let text = rules(&[&format!("name: a, priority: 1, rate: 0, {rule}")]);
    let exported = export(&[source(&text)], format, false);
    let problems = exported.map_or_else(|problems| problems, |exported| exported.notes);
    let told: Vec<String> =
        problems.iter().map(|p| format!("{} {}", p.severity.as_str(), p.one_line())).collect();
    assert_eq!(told, expected, "{} {rule}", format.as_str());
}

#[track_caller]
fn check_fixture(set: &str, format: Format, ending: &str, notes: &[&str]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rules/export");
    let bytes = std::fs::read(folder.join(format!("{set}.yaml"))).unwrap();
    let source = Source { path: format!("{set}.yaml").into(), bytes };
    let exported = export(&[source], format, false).unwrap_or_else(|problems| panic!("{problems}"));
    let told: Vec<String> =
        exported.notes.iter().map(|p| format!("{} {}", p.severity.as_str(), p.one_line())).collect();
    assert_eq!(told, notes);
    let path = folder.join(format!("{set}.{ending}"));
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, &exported.text).unwrap();
    }
    assert_eq!(exported.text, std::fs::read_to_string(&path).unwrap());
}

#[test]
fn each_format_is_written_as_its_reader_expects_it() {
    let disabled =
        "note set.yaml: 1 rule with `enabled: false` left out; others have no rules that are not used";
    let described = "note set.yaml: 1 description left out; X-Ray's rules have none";
    let default = "warning set.yaml: X-Ray's `Default` is there already, and is left as it is; set it once: aws xray \
                   update-sampling-rule --sampling-rule-update RuleName=Default,ReservoirSize=2,FixedRate=0.01";
    check_fixture("set", Format::AwsApi, "aws-api.json", &[disabled, described]);
    check_fixture("set", Format::SdkV2, "sdk-v2.json", &[disabled]);
    check_fixture("set", Format::CloudFormation, "cloudformation.json", &[disabled, described, default]);
    check_fixture("set", Format::Terraform, "tf", &[disabled, described, default]);
    // One reservoir for all instances is what X-Ray has, so it is told the whole of it.
    let boost = "note central.yaml: `sampling_rate_boost` is left out; Terraform's provider does not know it";
    check_fixture("central", Format::AwsApi, "aws-api.json", &[]);
    check_fixture("central", Format::CloudFormation, "cloudformation.json", &[]);
    check_fixture("central", Format::Terraform, "tf", &[boost]);
}

#[test]
fn what_no_other_format_can_say_is_refused_with_its_place() {
    for format in ALL {
        let name = format.as_str();
        let leave = "remove it, or leave the rule to the sidecar";
        check_told(
            format,
            "capture: { status: 5xx }",
            &[&format!("error r.yaml:3:47: `capture` cannot be said in {name}; {leave}")],
        );
        check_told(
            format,
            "mode: observe",
            &[&format!("error r.yaml:3:44: `mode: observe` cannot be said in {name}; {leave}")],
        );
        check_told(
            format,
            "expires: 2026-12-01T00:00:00Z",
            &[&format!("error r.yaml:3:47: `expires` cannot be said in {name}; {leave}")],
        );
        check_told(
            format,
            "reservoir: 0.2",
            &[
                "error r.yaml:3:49: reservoir 0.2 is not a whole number; others know no part of a trace; use a whole number and a lower rate",
            ],
        );
        check_told(
            format,
            "url_path: [/a, /b], http_method: [GET, PUT, HEAD]",
            &[
                &format!(
                    "error r.yaml:3:71: `http_method` has 3 patterns, and {name} takes one; write one pattern, or make several rules of it with --expand"
                ),
                &format!(
                    "error r.yaml:3:48: `url_path` has 2 patterns, and {name} takes one; write one pattern, or make several rules of it with --expand"
                ),
            ],
        );
    }
    let text = "rules_version: 1\ndefault: { rate: 1, capture: { status: 5xx } }\n";
    let problems = export(&[source(text)], Format::SdkV2, true).unwrap_err();
    assert_eq!(
        problems.to_string().lines().collect::<Vec<_>>(),
        [
            "error[R109] r.yaml:2:30: `capture` cannot be said in sdk-v2",
            "   2 | default: { rate: 1, capture: { status: 5xx } }",
            "     |                              ^ remove it, or leave the rule to the sidecar",
        ]
    );
}

#[test]
fn the_limits_of_x_ray_are_limits_of_what_goes_there() {
    let long = "x".repeat(200);
    for (rule, expected) in [
        (
            format!("host: {long}"),
            "error r.yaml:3:44: `host` has 200 characters, and X-Ray takes 64; shorten it with a wildcard",
        ),
        (
            format!("service_name: {long}"),
            "error r.yaml:3:52: `service_name` has 200 characters, and X-Ray takes 64; shorten it with a wildcard",
        ),
        (
            format!("service_type: {long}"),
            "error r.yaml:3:52: `service_type` has 200 characters, and X-Ray takes 64; shorten it with a wildcard",
        ),
        (
            format!("url_path: {long}"),
            "error r.yaml:3:48: `url_path` has 200 characters, and X-Ray takes 128; shorten it with a wildcard",
        ),
        (
            "http_method: ABCDEFGHIJK".to_owned(),
            "error r.yaml:3:51: `http_method` has 11 characters, and X-Ray takes 10; shorten it with a wildcard",
        ),
        (
            format!("resource_arn: {long}{long}{}", &long[..105]),
            "error r.yaml:3:52: `resource_arn` has 505 characters, and X-Ray takes 500",
        ),
        (
            "attributes: { a: b, c: d, e: f, g: h, i: j, k: l }".to_owned(),
            "error r.yaml:3:50: the rule has 6 attributes, and X-Ray takes 5; ask for fewer headers",
        ),
        (
            format!("attributes: {{ a: {} }}", &long[..33]),
            "error r.yaml:3:50: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is longer than the 32 characters that X-Ray takes",
        ),
    ] {
        for format in [Format::AwsApi, Format::CloudFormation, Format::Terraform] {
            let text = rules(&[&format!("name: a, priority: 1, rate: 0, {rule}")]);
            let problems = export(&[source(&text)], format, false).unwrap_err();
            let told = format!("error {}", problems.one_line(2));
            assert!(told.starts_with(expected), "{told}");
        }
    }
    let name = "n".repeat(33);
    let text = rules(&[&format!("name: {name}, priority: 1, rate: 0, url_path: /{}", &long[..127])]);
    assert!(export(&[source(&text)], Format::SdkV2, false).is_ok(), "the SDKs have no names");
    let problems = export(&[source(&text)], Format::AwsApi, false).unwrap_err();
    let expected = format!(
        "r.yaml:3:13: the name `{name}` is longer than 32 characters; X-Ray takes no more; shorten it"
    );
    assert_eq!(problems.one_line(9), expected);
    let many: Vec<String> = (0..26).map(|n| format!("name: r{n:02}, priority: 1, rate: 0")).collect();
    let many = rules(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let notes = export(&[source(&many)], Format::AwsApi, false).unwrap().notes;
    assert_eq!(
        notes.one_line(9),
        "r.yaml: 26 rules are more than the 25 that X-Ray takes in a region; ask AWS for more, or use wildcards to say the same in fewer"
    );
}

#[test]
fn the_sdks_know_host_method_and_path_only_and_have_reservoirs_of_their_own() {
    let only = "the SDKs match host, method and path only";
    for (rule, column, name) in [
        ("service_name: shop", 52, "service_name"),
        ("service_type: AWS", 52, "service_type"),
        ("resource_arn: arn", 52, "resource_arn"),
        ("attributes: { a: b }", 50, "attributes"),
    ] {
        let expected = format!("error r.yaml:3:{column}: `{name}` cannot be said in sdk-v2; {only}");
        check_told(Format::SdkV2, rule, &[&expected]);
    }
    let shared = |replicas: u32| {
        let text = rules(&["name: a, priority: 1, rate: 0, reservoir: 6"]);
        let text = format!("{text}replicas: {replicas}\ndefault: {{ rate: 0 }}\n");
        export(&[source(&text)], Format::SdkV2, false)
    };
    assert!(shared(3).unwrap().text.contains("\"fixed_target\": 2,"));
    assert_eq!(
        shared(4).unwrap_err().one_line(9),
        "r.yaml:3:49: reservoir 1.5, one instance's part of 6, is not a whole number; others know no part of a trace; use a whole number and a lower rate"
    );
}

#[test]
fn a_list_becomes_several_rules_that_no_longer_share_a_reservoir() {
    let text = rules(&[
        "name: probes, priority: 10, url_path: [/a, /b], http_method: [GET, HEAD], rate: 0, reservoir: 1",
        "name: none, priority: 20, url_path: [/c, \"*\"], rate: 1",
        "name: two, priority: 30, host: [x, y], rate: 1",
    ]);
    let exported = export(&[source(&text)], Format::AwsApi, true).unwrap();
    let told: Vec<String> =
        exported.notes.iter().map(|p| format!("{} {}", p.severity.as_str(), p.one_line())).collect();
    assert_eq!(
        told,
        [
            "warning r.yaml:3:101: `probes` becomes 4 rules that no longer share one reservoir; each has its own, and together they may keep more; give them less, or none",
            "note r.yaml:5:5: `two` becomes 2 rules; it has no reservoir that they would have to share",
        ]
    );
    let answer: Value = serde_json::from_str(&exported.text).unwrap();
    let told: Vec<String> = answer["SamplingRuleRecords"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            let rule = &record["SamplingRule"];
            format!("{} {} {} {}", rule["RuleName"], rule["Host"], rule["HTTPMethod"], rule["URLPath"])
                .replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "probes-1 * GET /a",
            "probes-2 * HEAD /a",
            "probes-3 * GET /b",
            "probes-4 * HEAD /b",
            "none * * *",
            "two-1 x * *",
            "two-2 y * *",
            "Default * * *",
        ]
    );
}

#[test]
fn an_expansion_that_would_change_names_or_order_is_refused() {
    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let problems = export(&[source(&rules(lines))], Format::AwsApi, true).unwrap_err();
        let error = problems.iter().find(|problem| problem.severity == Severity::Error).unwrap();
        assert_eq!(error.one_line(), expected);
        // In a file of the SDKs, order is order.
        assert!(export(&[source(&rules(lines))], Format::SdkV2, true).is_ok());
    }
    check(
        &["name: a, priority: 1, rate: 0, host: [x, y]", "name: a-2, priority: 2, rate: 0"],
        "r.yaml:4:13: two rules would be called `a-2`; rename one of them",
    );
    check(
        &["name: a, priority: 7, rate: 0, host: [x, y]", "name: a+, priority: 7, rate: 0"],
        "r.yaml:4:27: `a+` would be tried before `a-2`, with which it shares a priority; give one of them a priority of its own",
    );
    let hosts = format!("[{}]", (0..200).map(|n| format!("h{n}, ")).collect::<String>());
    let text = rules(&[&format!(
        "name: a, priority: 1, rate: 0, host: {hosts}, url_path: {hosts}, service_name: {hosts}"
    )]);
    let problems = export(&[source(&text)], Format::AwsApi, true).unwrap_err();
    assert_eq!(
        problems.one_line(9),
        "r.yaml:3:13: the lists of `a` make more than 1000 rules; shorten them, or use wildcards"
    );
}

#[test]
fn a_place_is_found_wherever_the_rule_was_written() {
    let files = [
        Source {
            path: "1.json".into(),
            bytes: br#"{"version": 1, "default": {"fixed_target": 0, "rate": 0}, "rules": [{"service_name": "a",
 "http_method": "VERSION-CONTROL", "url_path": "*", "fixed_target": 0, "rate": 0}]}"#
                .to_vec(),
        },
        Source {
            path: "2.json".into(),
            bytes: br#"[{"SamplingRule": {"RuleName": "b", "Priority": 1, "FixedRate": 0, "HTTPMethod": "VERSION-CONTROL"}}]"#.to_vec(),
        },
        Source { path: "3.yaml".into(), bytes: b"RuleName: c\nPriority: 2\nFixedRate: 0\nHTTPMethod: VERSION-CONTROL\n".to_vec() },
    ];
    let problems = export(&files, Format::AwsApi, false).unwrap_err();
    let places: Vec<String> = problems.iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(places, ["2.json:1:82", "3.yaml:4:13", "1.json:2:17"]);
}

/// Headers by name.
struct Headers(Vec<(&'static str, &'static str)>);

impl Attributes for Headers {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| *value)
    }
}

#[derive(Clone, Debug)]
struct Asked {
    host: &'static str,
    method: &'static str,
    path: &'static str,
    service: &'static str,
    tenant: Option<&'static str>,
}

fn asked() -> impl Strategy<Value = Asked> {
    (
        select(vec!["a.example", "B.example", "c"]),
        select(vec!["GET", "POST"]),
        select(vec!["/", "/a", "/a/b", "/b"]),
        select(vec!["shop", "cart"]),
        select(vec![None, Some("acme"), Some("beta")]),
    )
        .prop_map(|(host, method, path, service, tenant)| Asked { host, method, path, service, tenant })
}

/// What decides: the reservoir and the rate of the rule that takes a request. Rates differ from rule to rule.
fn decided(rules: &RuleSet, asked: &Asked) -> (f64, f64) {
    let headers = Headers(asked.tenant.map(|tenant| ("x-tenant", tenant)).into_iter().collect());
    let facts = Facts {
        service_name: asked.service,
        service_type: Some("AWS::ECS::Container"),
        host: asked.host,
        method: asked.method,
        path: asked.path,
        attributes: &headers,
    };
    let rule = rules.find(&facts);
    (rule.reservoir.get(), rule.rate.get())
}

/// Rules that every format can say, but for lists; those of the SDKs without service and attributes.
fn sets(is_central: bool) -> impl Strategy<Value = String> {
    let globs = |choices: Vec<&'static str>| {
        prop_oneof![
            3 => Just("\"*\"".to_owned()),
            3 => select(choices.clone()).prop_map(|glob| format!("\"{glob}\"")),
            1 => proptest::collection::vec(select(choices), 1..3)
                .prop_map(|globs| format!("{:?}", globs)),
        ]
    };
    let rule = (
        1..4u16,
        globs(vec!["*.example", "c", "?.EXAMPLE"]),
        globs(vec!["GET", "p*"]),
        globs(vec!["/a*", "/?", "/a/b"]),
        globs(vec!["shop", "c*"]),
        select(vec!["{}", "{}", "{ X-Tenant: \"ac*\" }", "{ x-tenant: beta }"]),
        0..3u8,
    );
    proptest::collection::vec(rule, 1..7).prop_map(move |rules| {
        let mut text = "rules_version: 1\ndefault: { reservoir: 4, rate: 0.99 }\nrules:\n".to_owned();
        for (n, (priority, host, method, path, service, attributes, reservoir)) in
            rules.into_iter().enumerate()
        {
            let rate = (n + 1) as f64 / 17.0;
            text.push_str(&format!(
                "  - {{ name: r{n}, priority: {priority}, rate: {rate}, reservoir: {reservoir}, "
            ));
            text.push_str(&format!("host: {host}, http_method: {method}, url_path: {path}"));
            if is_central {
                text.push_str(&format!(", service_name: {service}, attributes: {attributes}"));
            }
            text.push_str(" }\n");
        }
        text
    })
}

/// What a template sets up, as X-Ray's API would then print it; its default is set by hand.
fn from_template(text: &str) -> String {
    let template: Value = serde_json::from_str(text).unwrap();
    let resources = template["Resources"].as_object().unwrap();
    let rules: Vec<&Value> =
        resources.values().map(|resource| &resource["Properties"]["SamplingRule"]).collect();
    serde_json::to_string(&rules).unwrap()
}

/// As [`from_template`]. Only the lines that we write are understood.
fn from_terraform(text: &str) -> String {
    let mut rules = Vec::new();
    for block in text.split("resource \"aws_xray_sampling_rule\"").skip(1) {
        let mut rule = serde_json::Map::new();
        let mut attributes = serde_json::Map::new();
        for line in block.lines() {
            let Some((key, value)) = line.split_once(" = ").filter(|(_, value)| *value != "{") else {
                continue;
            };
            let value: Value = serde_json::from_str(value).unwrap();
            let key = match key.trim() {
                header if header.starts_with('"') => {
                    attributes.insert(header.trim_matches('"').to_owned(), value);
                    continue;
                }
                "rule_name" => "RuleName",
                "priority" => "Priority",
                "version" => "Version",
                "reservoir_size" => "ReservoirSize",
                "fixed_rate" => "FixedRate",
                "service_name" => "ServiceName",
                "service_type" => "ServiceType",
                "host" => "Host",
                "http_method" => "HTTPMethod",
                "url_path" => "URLPath",
                "resource_arn" => "ResourceARN",
                other => panic!("{other}"),
            };
            rule.insert(key.to_owned(), value);
        }
        rule.insert("Attributes".to_owned(), attributes.into());
        rules.push(Value::from(rule));
    }
    serde_json::to_string(&rules).unwrap()
}

fn same_decisions(text: &str, format: Format, asked: &[Asked]) -> Result<(), TestCaseError> {
    let before = from_sources(vec![("r.yaml".into(), text.into())]).unwrap().rules;
    let exported = match export(&[source(text)], format, true) {
        Ok(exported) => exported.text,
        Err(problems) => return Err(TestCaseError::fail(format!("{text}\n{problems}"))),
    };
    let read_back = match format {
        Format::AwsApi | Format::SdkV2 => exported.clone(),
        Format::CloudFormation => from_template(&exported),
        Format::Terraform => from_terraform(&exported),
    };
    let mut files = vec![("back.json".to_owned(), read_back.into_bytes())];
    if matches!(format, Format::CloudFormation | Format::Terraform) {
        let default = b"rules_version: 1\ndefault: { reservoir: 4, rate: 0.99 }\n".to_vec();
        files.push(("default.yaml".to_owned(), default));
        if files[0].1 == b"[]" {
            files.remove(0);
        }
    }
    let after =
        from_sources(files).map_err(|problems| TestCaseError::fail(format!("{exported}\n{problems}")))?;
    for asked in asked {
        prop_assert_eq!(
            decided(&before, asked),
            decided(&after.rules, asked),
            "{:?}\n{}\n{}",
            asked,
            text,
            exported
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_exported_and_read_back_decides_as_before(
        central in sets(true),
        local in sets(false),
        asked in proptest::collection::vec(asked(), 1..20),
    ) {
        for format in ALL {
            let text = if format == Format::SdkV2 { &local } else { &central };
            same_decisions(text, format, &asked)?;
        }
    }
}
