//! Test files in; verdicts and proposals out.

use super::record::Recorder;
use super::*;
use crate::config::rules::places::Places;
use crate::config::rules::{self, Source};
use crate::explain::Service;
use crate::sampling::{Capture, ReservoirSize, Rule, RuleName, RuleSet};
use std::collections::HashSet;
use std::time::Duration;

const RULES: &str = r#"rules_version: 1
rules:
  - { name: healthz, priority: 10, url_path: [/healthz, /readyz], rate: 0 }
  - { name: checkout-writes, priority: 100, http_method: POST, url_path: /api/checkout/*, reservoir: 5, rate: 50% }
  - { name: state-polling, priority: 500, service_name: shop, url_path: /api/state/*, rate: 0.3% }
  - { name: all-carts, priority: 600, url_path: /cart/*, rate: 100% }
"#;

fn load() -> (RuleSet, Places) {
    let sources = [Source { path: "r.yaml".into(), bytes: RULES.into() }];
    let mut own: Vec<Rule> = rules::from_files(&sources).unwrap().rules.iter().cloned().collect();
    let default = own.pop().unwrap();
    own[1].capture = Some(Capture {
        statuses: vec![(500, 599), (429, 429)],
        slower_than: Some(Duration::from_millis(750)),
        limit: ReservoirSize::per_second(1),
        inherited: false,
    });
    (RuleSet::new(own, default), Places::read(&sources))
}

/// The body of one test, and its failures.
#[track_caller]
fn check_at(service: &str, body: &str, expected: &[&str]) {
    let text = format!("service: {{ name: {service} }}\ntests:\n  - {{ name: a, {body} }}\n");
    let file = parse("s.test.yaml", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    let (rules, places) = load();
    let service = Service { name: file.service_name.as_deref(), kind: file.service_type.as_deref() };
    let verdict = judge(&rules, &places, service, 0, &file.tests[0]);
    assert_eq!(verdict.failures, expected, "{body}");
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    check_at("shop", body, expected);
}

#[test]
fn what_holds_passes() {
    for body in [
        "request: GET https://shop.example.com/healthz, expect: { rule: healthz, sampled: never, decision: rule }",
        "request: GET /api/state/42, expect: { rule: state-polling, rate: 0.3% }",
        "request: { method: POST, host: shop.example.com, path: /api/checkout/pay }, traffic: { per_second: 25 }, expect: { rule: checkout-writes, sampled_per_second: 15 }",
        "request: { method: POST, path: /api/checkout/pay }, traffic: { per_second: 3 }, expect: { sampled_per_second: 3 }",
        "request: POST /api/checkout/pay, response: { status: 503, duration: 80ms }, expect: { captured: status }",
        "request: POST /api/checkout/pay, response: { duration: 0.8s }, expect: { captured: slow }",
        "request: POST /api/checkout/pay, response: { status: 404 }, expect: { captured: no }",
        "request: /cart/1, expect: { sampled: always, decision: always }",
        "request: GET /api/state/42, expect: { decision: rate }",
        "request: { method: POST, path: /api/checkout/pay, headers: { x-empty: '' } }, expect: { decision: reservoir_then_rate }",
        "request: { path: /api/checkout/1, headers: { x-amzn-trace-id: \"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0\" } }, expect: { decision: inherited, sampled: never }",
        "request: { path: /cart/1, headers: { user-agent: kube-probe/1.3 } }, expect: { decision: ignored }",
        "request: POST /api/checkout/pay, traffic: { per_second: 25 }, trials: 20000, seed: 7, expect: { rule: checkout-writes }",
        "request: GET /api/state/42, trials: 100000, expect: { rate: 0.003 }",
    ] {
        check(body, &[]);
    }
}

#[test]
fn what_does_not_is_told_with_what_came_instead_and_why() {
    check_at(
        "shop-api",
        "request: GET /api/state/42, expect: { rule: state-polling, rate: 0.3% }",
        &[
            "expected rule state-polling   got Default (1/s + 5 %)",
            "state-polling lost: service_name \"shop-api\" ≠ \"shop\"   r.yaml:5:57",
        ],
    );
    check(
        "request: /healthz, expect: { rule: nobody }",
        &["expected rule nobody   got healthz (0 %)", "there is no rule nobody"],
    );
    check(
        "request: /healthz, expect: { rule: Default }",
        &[
            "expected rule Default   got healthz (0 %)",
            "Default lost: healthz takes the request first   built-in",
        ],
    );
    check(
        "request: POST /api/checkout/a, traffic: { per_second: 25 }, expect: { sampled_per_second: 12.5, sampled: never }",
        &[
            "expected sampled never   got checkout-writes (5/s + 50 %)",
            "expected sampled_per_second 12.5   got 15 (checkout-writes (5/s + 50 %))",
        ],
    );
    check(
        "request: /cart/1, response: { status: 500 }, expect: { captured: status, decision: inherited }",
        &[
            "expected decision inherited   got all-carts (100 %)",
            "expected captured status   got captured no (all-carts (100 %))",
        ],
    );
}

#[test]
fn wrong_test_files_are_told_with_their_places() {
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let problems = parse("s.test.yaml", text.as_bytes()).unwrap_err();
        let lines: Vec<String> =
            problems.iter().map(|problem| format!("{} {}", problem.code, problem.one_line())).collect();
        assert_eq!(lines, expected);
    }
    check("tests: [a", &["T001 s.test.yaml:1:10: the list does not end; close it with `]`"]);
    check("test: []\n", &["T002 s.test.yaml:1:1: unknown key `test`; a test file has service, rules, tests"]);
    check(
        "service: { name: a }\n",
        &["T003 s.test.yaml:1:1: there are no `tests`; write tests: and below it `- name: …`"],
    );
    check(
        "tests:\n  - name: a\n    request: cart\n    expect: { rule: a, sampled: often, rate: 5 }\n",
        &[
            "T003 s.test.yaml:3:14: `cart` is not an address; write https://shop.example.com/cart, or /cart if the host does not matter",
            "T003 s.test.yaml:4:33: `sampled` is not `often`; write one of never, always, false, true",
            "T003 s.test.yaml:4:46: rate 5 is above 1; X-Ray's API takes 0–1, its console takes percent; did you mean 5% (0.05)?",
        ],
    );
    check(
        "tests:\n  - name: a\n    expect: {}\n",
        &[
            "T003 s.test.yaml:2:5: the test has no `request`; write request: GET https://shop.example.com/cart",
            "T003 s.test.yaml:2:5: the test has no `expect`; write expect: { rule: … }",
        ],
    );
    check(
        "tests:\n  - { name: a, request: /, expect: { sampled_per_second: 5 }, response: { duration: 5 } }\n",
        &["T003 s.test.yaml:2:85: `5` is not a duration; write 80ms, 1.5s or 2m"],
    );
    check(
        "tests:\n  - { name: a, request: /, expect: { sampled_per_second: 5 } }\n",
        &["T003 s.test.yaml:2:5: `sampled_per_second` needs traffic; write traffic: { per_second: 25 }"],
    );
}

/// As the engine does: the rule that would have decided is asked, and it alone.
#[test]
fn what_a_caller_dropped_is_captured_only_where_a_rule_says_so() {
    const RULES: &str = r#"rules_version: 1
default: { rate: 5%, capture: { status: 5xx, limit: 1/s, inherited: true } }
rules:
  - { name: late, priority: 1, rate: 5%, expires: 2020-01-01T00:00:00Z, capture: { status: 5xx, limit: 1/s, inherited: true } }
  - { name: watched, priority: 2, rate: 5%, mode: observe, capture: { status: 5xx, limit: 1/s, inherited: true } }
  - { name: own-only, priority: 3, rate: 5%, service_name: shop, url_path: /own/*, capture: { status: 5xx, limit: 1/s } }
  - { name: elsewhere, priority: 4, rate: 5%, service_name: till }
"#;
    let sources = [Source { path: "r.yaml".into(), bytes: RULES.into() }];
    let rules = rules::from_files(&sources).unwrap().rules;
    let check = |path: &str, more_headers: &str, captured: &str| {
        let text = format!(
            "tests:\n  - {{ name: a, request: {{ path: {path}, headers: {{ x-amzn-trace-id: \"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0\"{more_headers} }} }}, response: {{ status: 500 }}, expect: {{ captured: {captured} }} }}\n"
        );
        let file = parse("s.test.yaml", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
        let service = Service { name: Some("shop"), kind: None };
        let verdict = judge(&rules, &Places::read(&sources), service, 1_600_000_000, &file.tests[0]);
        assert_eq!(verdict.failures, [""; 0], "{path}");
    };
    check("/own/1", "", "no");
    check("/other", "", "status");
    check("/other", ", user-agent: kube-probe/1.30", "no");
}

#[test]
fn coverage_counts_what_can_decide() {
    let (rules, _) = load();
    let chosen: HashSet<RuleName> = ["healthz", "Default"].into_iter().map(RuleName::new).collect();
    let (n, never) = coverage(&rules, &chosen, 0);
    assert_eq!(n, 5);
    assert_eq!(
        never.iter().map(RuleName::as_str).collect::<Vec<_>>(),
        ["checkout-writes", "state-polling", "all-carts"]
    );
}

#[test]
fn a_log_becomes_tests_that_pass() {
    let log = concat!(
        "10.0.0.1 - - [20/Nov/2026:14:00:00 +0000] \"GET /api/state/42?x=1 HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n",
        "10.0.0.1 - - [20/Nov/2026:14:00:01 +0000] \"GET /api/state/43 HTTP/1.1\" 200 12 \"-\" \"GET a b\"\n",
        "https 2026-11-20T14:00:00.1Z app/lb/50dc 10.0.0.1:2817 10.0.0.7:80 0.0 0.048 0.0 200 200 0 57 \"POST https://shop.example.com:443/api/checkout/pay HTTP/2.0\" \"curl/7.46.0\" ECDHE TLSv1.2\n",
        "nonsense\n",
        "10.0.0.1 - - [20/Nov/2026:14:00:01 +0000] \"GET /healthz HTTP/1.1\" 200 12 \"-\" \"kube-probe/1.30\"\n",
    );
    let (rules, places) = load();
    let mut recorder = Recorder::new(&rules, Service { name: Some("shop"), kind: None }, 0);
    log.lines().for_each(|line| recorder.line(line));
    let text = recorder.finish("access.log");
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "# Proposed by `collimator test --record access.log` from 4 requests (1 line not understood, 0 requests left out).",
            "# It says what is so today: keep what ought to stay so.",
            "service: { name: \"shop\" }",
            "tests:",
            "  - name: \"POST /api/checkout/pay is for checkout-writes\"",
            "    request: \"POST http://shop.example.com/api/checkout/pay\"    # seen once",
            "    expect: { rule: \"checkout-writes\" }",
            "  - name: \"GET /api/state/* is for state-polling\"",
            "    request: \"GET /api/state/42\"    # seen 2 times",
            "    expect: { rule: \"state-polling\" }",
        ]
    );
    let file = parse("a.test.yaml", text.as_bytes()).unwrap();
    let service = Service { name: file.service_name.as_deref(), kind: None };
    for test in &file.tests {
        assert_eq!(judge(&rules, &places, service, 0, test).failures, [""; 0]);
    }
}

#[test]
fn a_hostile_log_makes_no_hostile_file() {
    let (rules, _) = load();
    let mut recorder = Recorder::new(&rules, Service::default(), 0);
    for line in [
        "\"GET /a\\\" #{}: x HTTP/1.1\"",
        "\"GET /\u{1b}[2J HTTP/1.1\"",
        "\"GET /'*&! HTTP/1.1\"",
        "\"\" \"GET\"",
    ] {
        recorder.line(line);
    }
    let text = recorder.finish("a\nb");
    assert!(parse("a.test.yaml", text.as_bytes()).is_ok(), "{text}");
    for n in 0..2_000 {
        recorder.line(&format!("\"GET /p{n}x HTTP/1.1\""));
    }
    assert!(recorder.n_left_out >= 1_000);
    assert!(recorder.finish("x").len() < 1 << 20);
}
