//! Rule files in; findings, word for word, out.

use super::*;
use crate::config::rules::{self, Source};
use crate::sampling::{Facts, Place};
use proptest::prelude::*;

/// The first second of December 2026.
const NOW: u64 = 1_796_083_200;

fn options() -> Options<'static> {
    Options { now: NOW, ..Options::default() }
}

fn lint_text(text: &str, options: &Options<'_>) -> Problems {
    let sources = [Source { path: "r.yaml".into(), bytes: text.into() }];
    let checked = rules::check(&sources);
    assert!(!checked.problems.has_errors(), "{}", checked.problems);
    lint(&checked.rules, &Places::read(&sources), options)
}

/// `rules` as lines of flow mappings, below a default; of the findings those with `code`.
#[track_caller]
fn check_with(options: &Options<'_>, code: &str, rules: &[&str], expected: &[&str]) {
    let lines: String = rules.iter().map(|rule| format!("  - {{ {rule} }}\n")).collect();
    let text = format!("rules_version: 1\ndefault: {{ reservoir: 1, rate: 5% }}\nrules:\n{lines}");
    let found = lint_text(&text, options);
    let lines: Vec<String> = found
        .iter()
        .filter(|problem| problem.code == code)
        .flat_map(|problem| problem.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines, expected);
}

#[track_caller]
fn check(code: &str, rules: &[&str], expected: &[&str]) {
    check_with(&options(), code, rules, expected);
}

#[test]
fn r101_a_rule_behind_a_wider_one() {
    check(
        "R101",
        &[
            "name: api, priority: 300, rate: 1%, url_path: /api/*",
            "name: orders-read, priority: 600, rate: 1%, http_method: GET, url_path: /API/orders/*",
        ],
        &[
            r#"warning[R101] r.yaml:5:5: rule "orders-read" (priority 600) can never be reached"#,
            "   5 |   - { name: orders-read, priority: 600, rate: 1%, http_method: GET, url_path: /API/orders/* }",
            r#"     |     ^ every request it matches is taken first by "api" (priority 300, r.yaml:4:5)"#,
            r#"     | e.g. GET /api/orders/   – give "orders-read" a priority below 300"#,
        ],
    );
}

#[test]
fn r101_several_rules_that_together_take_its_methods() {
    check(
        "R101",
        &[
            "name: read, priority: 10, rate: 1%, http_method: [GET, HEAD], url_path: /a/*",
            "name: other, priority: 11, rate: 1%, http_method: DELETE, url_path: /a/*",
            "name: write, priority: 12, rate: 1%, http_method: P*, url_path: /a/*",
            "name: late, priority: 20, rate: 1, http_method: [GET, POST], url_path: /a/b, host: a.eu",
        ],
        &[
            r#"warning[R101] r.yaml:7:5: rule "late" (priority 20) can never be reached"#,
            r#"   7 |   - { name: late, priority: 20, rate: 1, http_method: [GET, POST], url_path: /a/b, host: a.eu }"#,
            r#"     |     ^ every request it matches is taken first, by method, by "read" (priority 10, r.yaml:4:5) or "write" (priority 12, r.yaml:6:5)"#,
            r#"     | e.g. GET a.eu /a/b   – give "late" a priority below 10"#,
        ],
    );
}

#[test]
fn r101_is_silent_where_a_request_may_get_through() {
    for rules in [
        // Another method, another host, a header that may be absent.
        ["http_method: GET, url_path: /a/*", "url_path: /a/b"],
        ["host: a.example, url_path: /a/*", "url_path: /a/b"],
        ["attributes: { x-a: \"*\" }, url_path: /a/*", "url_path: /a/b"],
        ["attributes: { x-a: \"a\" }", "attributes: { x-a: \"?\" }"],
        ["url_path: /a?*", "url_path: /a*"],
        // A host pattern with a port sees the port, others do not.
        ["host: \"shop:8080\"", "host: shop"],
        ["host: \"shop:*\"", "host: shop*"],
        ["resource_arn: \"arn:a\"", "url_path: /a"],
        // Dead for another reason.
        ["url_path: \"*\"", "url_path: \"/a b\""],
    ] {
        check(
            "R101",
            &[
                &format!("name: a, priority: 1, rate: 1%, {}", rules[0]),
                &format!("name: b, priority: 2, rate: 1%, {}", rules[1]),
            ],
            &[],
        );
    }
}

#[test]
fn r102_rules_of_one_priority_that_some_request_makes_compete() {
    check(
        "R102",
        &[
            "name: mobile, priority: 700, rate: 1%, host: m.*",
            "name: eu, priority: 700, rate: 1%, host: \"*.example.eu\"",
            "name: us, priority: 700, rate: 1%, host: \"*.example.us\", attributes: { x-a: \"b*\" }",
        ],
        &[
            r#"warning[R102] r.yaml:4:31: "eu" and "mobile" share priority 700 and overlap; "eu" wins by name"#,
            "   4 |   - { name: mobile, priority: 700, rate: 1%, host: m.* }",
            "     |                               ^^^ both match e.g. GET m.example.eu /   – give them different priorities",
            r#"warning[R102] r.yaml:6:27: "mobile" and "us" share priority 700 and overlap; "mobile" wins by name"#,
            r#"   6 |   - { name: us, priority: 700, rate: 1%, host: "*.example.us", attributes: { x-a: "b*" } }"#,
            "     |                           ^^^ both match e.g. GET m.example.us / -H 'x-a: b'   – give them different priorities",
        ],
    );
    for rules in [
        ["url_path: /a/*", "url_path: /b/*"],
        ["http_method: GET", "http_method: POST"],
        ["attributes: { x: a }", "attributes: { x: b }"],
        ["url_path: \"*.css\"", "url_path: \"*.js\""],
        ["host: \"shop:8080\"", "host: other"],
        ["service_name: a", "service_name: b"],
    ] {
        check(
            "R102",
            &[
                &format!("name: a, priority: 1, rate: 1%, {}", rules[0]),
                &format!("name: b, priority: 1, rate: 1%, {}", rules[1]),
            ],
            &[],
        );
    }
}

#[test]
fn r103_patterns_that_nothing_matches() {
    check_heads(
        &options(),
        "R103",
        &set(
            "default: { rate: 1% }",
            &[
                "name: a, priority: 1, rate: 1%, url_path: \"/search?q=*\"",
                "name: b, priority: 2, rate: 1%, http_method: [GET, \"POST,PUT\"], host: https://shop.eu, url_path: api/*",
            ],
        ),
        &[
            r#"warning r.yaml:4:49: url_path "/search?q=*" never matches: the query is not part of the path, and `?` is one character; write /search"#,
            r#"warning r.yaml:5:104: url_path "api/*" never matches: a path begins with `/`; write /api/*"#,
            r#"warning r.yaml:5:77: host "https://shop.eu" never matches: a host has no scheme; write shop.eu"#,
            r#"warning r.yaml:5:58: http_method "POST,PUT" never matches: several methods are a list; write [POST, PUT]"#,
        ],
    );
}

#[test]
fn r104_another_service() {
    let shop = Options { service_name: Some("shop"), service_type: Some("AWS::ECS::Container"), ..options() };
    check_with(
        &shop,
        "R104",
        &[
            "name: a, priority: 1, rate: 1%, service_name: shop/",
            "name: b, priority: 2, rate: 1%, service_name: [cart, Score*]",
            "name: c, priority: 3, rate: 1%, service_type: \"AWS:ECS:Container\"",
            "name: d, priority: 4, rate: 1%, service_name: SH*, service_type: \"*ecs*\"",
        ],
        &[
            r#"warning[R104] r.yaml:4:53: service_name "shop/" can never match this service ("shop"): trailing "/""#,
            "   4 |   - { name: a, priority: 1, rate: 1%, service_name: shop/ }",
            "     |                                                     ^^^^^ write shop",
            r#"note[R104] r.yaml:5:54: service_name "cart" | "Score*" can never match this service ("shop")"#,
            "   5 |   - { name: b, priority: 2, rate: 1%, service_name: [cart, Score*] }",
            r#"     |                                                      ^^^^ "b" is for others; here it is dead"#,
            r#"warning[R104] r.yaml:6:53: service_type "AWS:ECS:Container" can never match this service's type ("AWS::ECS::Container"): the punctuation differs"#,
            r#"   6 |   - { name: c, priority: 3, rate: 1%, service_type: "AWS:ECS:Container" }"#,
            "     |                                                     ^^^^^^^^^^^^^^^^^^^^ write AWS::ECS::Container",
        ],
    );
}

#[test]
fn r105_rates_that_come_to_nothing() {
    check_with(
        &Options { traffic_per_hour: Some(12.0), ..options() },
        "R105",
        &[
            "name: a, priority: 1, rate: 0.001%, url_path: /a",
            "name: b, priority: 2, rate: 0.001%, reservoir: 1, url_path: /b",
            "name: d, priority: 4, rate: 50%, url_path: /d",
        ],
        &[
            "warning[R105] r.yaml:4:35: rate 0.001% at 12 requests/h (from --traffic) is one trace in 347 days",
            "   4 |   - { name: a, priority: 1, rate: 0.001%, url_path: /a }",
            "     |                                   ^^^^^^ use a reservoir or a higher rate",
        ],
    );
}

#[test]
fn r105_a_rate_that_cannot_be_told_from_nothing_is_no_rate() {
    let text = set("default: { rate: 1e-10 }", &[]).replace("rules:\n", "");
    let sources = [Source { path: "r.yaml".into(), bytes: text.into() }];
    assert_eq!(
        heads(&rules::check(&sources).problems, "R105"),
        [
            "error r.yaml:2:18: rate 1e-10 is below the resolution of 2⁻³² (0.0000000233%); use a reservoir, a higher rate, or rate: 0"
        ]
    );
}

/// One finding's head and hint, without its line.
fn heads(problems: &Problems, code: &str) -> Vec<String> {
    let of_code = problems.iter().filter(|problem| problem.code == code);
    of_code.map(|problem| format!("{} {}", problem.severity.as_str(), problem.one_line())).collect()
}

#[track_caller]
fn check_heads(options: &Options<'_>, code: &str, text: &str, expected: &[&str]) {
    assert_eq!(heads(&lint_text(text, options), code), expected);
}

fn set(default: &str, rules: &[&str]) -> String {
    let lines: String = rules.iter().map(|rule| format!("  - {{ {rule} }}\n")).collect();
    format!("rules_version: 1\n{default}\nrules:\n{lines}")
}

#[test]
fn r106_what_drops_everything() {
    check_heads(
        &options(),
        "R106",
        &set("default: { rate: 0 }", &["name: a, priority: 1, rate: 0, url_path: /healthz"]),
        &[
            r#"note r.yaml:4:35: rule "a" drops everything: rate 0 and no reservoir; its requests are counted and never traced"#,
            "warning r.yaml:2:18: the default drops everything: rate 0 and no reservoir; it takes every request that is left; nothing of them is seen",
        ],
    );
}

#[test]
fn r107_what_costs_much() {
    let text = set(
        "default: { rate: 100% }",
        &[
            "name: a, priority: 1, rate: 10%, url_path: /a",
            "name: b, priority: 2, rate: 0, reservoir: 100, url_path: /b",
        ],
    );
    check_heads(
        &options(),
        "R107",
        &text,
        &[
            "warning r.yaml:2:18: the default keeps every request there is; 100% on everything grows with traffic; use a reservoir, or match less",
        ],
    );
    check_heads(
        &Options { max_usd: Some(100.0), traffic_per_hour: Some(1_000_000.0), ..options() },
        "R107",
        &text,
        &[
            r#"warning r.yaml:4:35: rule "a" may record 74,400,000 traces a month, $371.50, if all 1,000,000 requests/h (from --traffic) are its own; --max-usd allows $100.00; lower its rate or reservoir"#,
            r#"warning r.yaml:5:49: rule "b" may record 267,840,000 traces a month, $1338.70, if all 1,000,000 requests/h (from --traffic) are its own; --max-usd allows $100.00; lower its rate or reservoir"#,
            "warning r.yaml:2:18: the default keeps every request there is; 100% on everything grows with traffic; use a reservoir, or match less",
        ],
    );
    check_heads(
        &Options { max_usd: Some(2000.0), replicas: Some(2), ..options() },
        "R107",
        &set("default: { rate: 1% }", &["name: b, priority: 2, rate: 0, reservoir: 100, url_path: /b"]),
        &[
            r#"warning r.yaml:4:49: rule "b" may record 535,680,000 traces a month, $2677.90, from its reservoir alone; --max-usd allows $2000.00; lower its rate or reservoir"#,
        ],
    );
}

#[test]
fn r108_reservoirs_of_several_instances() {
    check_heads(
        &Options { replicas: Some(8), ..options() },
        "R108",
        &set("default: { rate: 1% }", &["name: b, priority: 2, rate: 0, reservoir: 0.3, url_path: /b"]),
        &[
            "warning r.yaml:4:49: reservoir 0.3 is up to 2.4 traces/s in 8 instances (from --replicas); write `replicas: 8` at the top of a rule file to share it",
        ],
    );
}

#[test]
fn r109_and_r110_what_xray_and_its_sdks_do_not_take() {
    let long = "n".repeat(33);
    let text = set(
        "default: { rate: 1% }",
        &[
            &format!(
                "name: {long}, priority: 1, rate: 1%, reservoir: 0.5, http_method: [GET, VERYLONGMETHOD], url_path: /b"
            ),
            "name: b, priority: 2, rate: 1%, attributes: { a: b, c: d, e: f, g: h, i: j, k: l }",
            "name: c, priority: 3, rate: 1%, resource_arn: arn:aws:x",
        ],
    );
    check_heads(
        &options(),
        "R109",
        &text,
        &[
            "note r.yaml:4:13: the name has 33 characters, and X-Ray takes 32; it cannot be exported to X-Ray; shorten it",
            "note r.yaml:4:106: http_method has 14 characters, and X-Ray takes 10; it cannot be exported to X-Ray; shorten it",
            "note r.yaml:4:82: reservoir 0.5 is not whole, and X-Ray's are; it cannot be exported to X-Ray; round it",
            "note r.yaml:5:51: 6 attributes, and X-Ray takes 5; it cannot be exported to X-Ray; ask for fewer",
        ],
    );
    check_heads(
        &options(),
        "R110",
        &text,
        &[
            "note r.yaml:5:51: X-Ray's SDKs ignore a rule with attributes; this sidecar compares them with request headers; SDKs with the same rules decide otherwise",
            "note r.yaml:6:53: X-Ray's SDKs ignore a rule with a resource ARN; this sidecar knows no ARN and takes it for a match; SDKs with the same rules decide otherwise",
        ],
    );
}

#[test]
fn r112_values_that_readers_understand_differently() {
    check_heads(
        &options(),
        "R112",
        &set("default: { rate: 1% }", &["name: no, priority: 1, rate: \"0.1\", url_path: /a"]),
        &[
            "warning r.yaml:4:13: no is text here, and true or false to other YAML readers; write \"no\"",
            "warning r.yaml:4:36: \"0.1\" is a number in quotes, which other readers take for text; write 0.1",
        ],
    );
}

#[test]
fn r113_no_default() {
    let text = set("", &["name: a, priority: 1, rate: 1%, url_path: /a"]);
    let note = "note r.yaml:1:1: no default: the built-in 1/s + 5 % applies to what no rule takes; to choose it yourself write default: { reservoir: 1, rate: 5% }";
    check_heads(&options(), "R113", &text, &[note]);
    check_heads(&Options { incomplete: true, ..options() }, "R113", &text, &[]);
    check_heads(&options(), "R113", &set("", &["name: a, priority: 9999, rate: 1%"]), &[]);
}

/// Fields that the notation may not have yet are set on the rule itself.
fn with(change: impl Fn(&mut Rule)) -> Problems {
    let text = set(
        "default: { rate: 1% }",
        &["name: a, priority: 1, rate: 100%, url_path: /a", "name: b, priority: 2, rate: 1%, url_path: /a"],
    );
    let sources = [Source { path: "r.yaml".into(), bytes: text.into() }];
    let checked = rules::check(&sources);
    let mut own: Vec<Rule> = checked.rules.iter().take(2).cloned().collect();
    change(&mut own[0]);
    let set = RuleSet::new(own, checked.rules.default_rule().clone());
    lint(&set, &Places::read(&sources), &options())
}

#[test]
fn r111_rules_that_end() {
    let heads = |expires: u64| heads(&with(|rule| rule.expires = Some(expires)), "R111");
    assert_eq!(heads(NOW + 8 * 86_400), [""; 0]);
    assert_eq!(
        heads(NOW + 2 * 86_400 + 1),
        [
            r#"note r.yaml:4:5: rule "a" expires within 3 days; from then on the rules after it take its requests"#
        ]
    );
    assert_eq!(
        heads(NOW - 86_400),
        [r#"warning r.yaml:4:5: rule "a" has expired and is passed over; remove it, or move the date"#]
    );
}

#[test]
fn what_ends_or_only_observes_covers_nothing() {
    let unreached = |change: &dyn Fn(&mut Rule)| heads(&with(change), "R101").len();
    assert_eq!(unreached(&|_| {}), 1);
    assert_eq!(unreached(&|rule| rule.expires = Some(NOW + 1)), 0);
    assert_eq!(unreached(&|rule| rule.mode = Mode::Observe), 0);
}

#[test]
fn r114_capture() {
    use crate::sampling::{Capture, ReservoirSize};
    let capture = Capture {
        statuses: vec![(500, 599)],
        slower_than: None,
        limit: ReservoirSize::per_second(1),
        inherited: false,
    };
    let found = heads(&with(|rule| rule.capture = Some(capture.clone())), "R114");
    assert_eq!(
        found,
        [
            r#"warning r.yaml:4:5: rule "a" keeps every request, so there is nothing to capture; remove `capture`, or lower the rate"#,
            "note r.yaml:4:5: a captured trace holds this hop only: what it called was told Sampled=0; it is billed as a trace, and not counted as sampled in X-Ray's statistics",
        ]
    );
}

#[test]
fn a_good_set_is_clean() {
    let text = set("default: { reservoir: 1, rate: 5% }", &["name: a, priority: 1, rate: 1%, url_path: /a"]);
    assert!(lint_text(&text, &options()).is_empty());
    assert!(lint(&RuleSet::built_in(), &Places::default(), &options()).is_empty());
}

#[test]
fn every_code_has_a_line_in_the_table() {
    let mut codes: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
    codes.dedup();
    assert_eq!(codes.len(), 24);
    assert!(codes.is_sorted());
}

#[test]
fn a_thousand_rules_are_judged_soon() {
    let rules: String = (0..1_000)
        .map(|n| {
            let (kind, priority) = (n % 5, 1 + n / 3);
            let path = ["/api/v1/a*", "/b?/*", "*/c", "/d/*/e*", "/f"][kind];
            format!("  - {{ name: r{n}, priority: {priority}, rate: 1%, url_path: \"{path}{n}\", host: \"*.{kind}.eu\" }}\n")
        })
        .collect();
    let text = format!("rules_version: 1\ndefault: {{ rate: 1% }}\nrules:\n{rules}");
    let sources = [Source { path: "r.yaml".into(), bytes: text.into() }];
    let checked = rules::check(&sources);
    let clock = crate::clock::Clock::start();
    lint(&checked.rules, &Places::read(&sources), &options());
    // A build for tests is some ten times slower than what is shipped, and the machine is shared.
    assert!(clock.nanos() < 20_000_000_000, "{} ms", clock.nanos() / 1_000_000);
}

fn field(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(prop::sample::select(texts), 1..3)
        .prop_map(|list| list.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", "))
}

fn random_rule() -> impl Strategy<Value = String> {
    (
        1..4u8,
        field(&["*", "/*", "/a*", "/?", "/a", "/ab", "*b", "/?b*", "/A?"]),
        field(&["*", "GET", "POST", "P*", "G?T"]),
        field(&["*", "a", "a:80", "a*", "?:*", "*.b"]),
        prop::sample::select(vec!["", "x-a: \"*\"", "x-a: a", "x-a: \"?\", x-b: \"*\""]),
    )
        .prop_map(|(priority, path, method, host, attributes)| {
            format!(
                "priority: {priority}, rate: 1%, url_path: [{path}], http_method: [{method}], host: [{host}], attributes: {{ {attributes} }}"
            )
        })
}

/// Every combination of a few values that the rules above tell apart.
fn requests() -> Vec<fields::Request> {
    let mut all = Vec::new();
    for path in ["/", "/a", "/ab", "/b", "/xb", "/aax", "/abx", "/x/y"] {
        for method in ["GET", "POST", "PUT", "GXT", "DELETE"] {
            for host in ["", "a", "a:80", "ab", "b", "b:1", "x.b", "x.b:80", "zz"] {
                for headers in
                    [vec![], vec![("x-a", "a")], vec![("x-a", "b"), ("x-b", "c")], vec![("x-b", "")]]
                {
                    all.push(fields::Request {
                        service_name: "shop".into(),
                        service_type: None,
                        host: host.into(),
                        method: method.into(),
                        path: path.into(),
                        headers: headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
                    });
                }
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn r101_never_names_a_rule_that_a_search_can_reach(rules in proptest::collection::vec(random_rule(), 2..6)) {
        let rules: Vec<String> = rules.iter().enumerate().map(|(n, rule)| format!("name: r{n}, {rule}")).collect();
        let text = set("default: { rate: 1% }", &rules.iter().map(String::as_str).collect::<Vec<_>>());
        let sources = [Source { path: "r.yaml".into(), bytes: text.into() }];
        let checked = rules::check(&sources);
        let found = lint(&checked.rules, &Places::read(&sources), &options());
        let unreachable: Vec<Place> =
            found.iter().filter(|problem| problem.code == "R101").map(|problem| problem.place.clone()).collect();
        for request in requests() {
            let facts = Facts {
                service_name: &request.service_name,
                service_type: None,
                host: &request.host,
                method: &request.method,
                path: &request.path,
                attributes: &request,
            };
            let taken = checked.rules.find(&facts);
            prop_assert!(!unreachable.contains(&taken.place), "{} takes {request:?}", taken.name);
        }
    }
}
