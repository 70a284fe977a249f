//! Rules and requests in; the text of rules.md §6 out.

use super::*;
use crate::config::rules::{self, Source};
use proptest::prelude::*;

const RULES: &str = r#"rules_version: 1
rules:
  - { name: debug-tenant-x, priority: 5, attributes: { x-tenant: "acme*" }, rate: 100% }
  - { name: healthz, priority: 10, url_path: [/healthz, /readyz, /metrics], rate: 0 }
  - { name: static, priority: 20, url_path: /static/*, rate: 0.1% }
  - { name: checkout-writes, priority: 100, http_method: POST, url_path: /api/checkout/*, reservoir: 5, rate: 50% }
  - { name: state-polling, priority: 500, url_path: /api/state/*, rate: 0.3% }
  - { name: base-scorekeep, priority: 9000, service_name: Scorekeep, rate: 10%, reservoir: 2 }
"#;

fn load(text: &str) -> (RuleSet, Places) {
    let sources = [Source { path: "r.yaml".into(), bytes: text.into() }];
    let mut own: Vec<Rule> = rules::from_files(&sources).unwrap().rules.iter().cloned().collect();
    let default = own.pop().unwrap();
    for rule in own.iter_mut().filter(|rule| rule.name.as_str() == "debug-tenant-x") {
        rule.mode = Mode::Observe;
    }
    (RuleSet::new(own, default), Places::read(&sources))
}

const SHOP: Service<'static> = Service { name: Some("shop"), kind: None };

fn ask(method: &str, url: &str, headers: &[&str], service: Service<'_>) -> Explanation {
    let (rules, places) = load(RULES);
    let headers = headers.iter().map(|line| Request::header(line).unwrap());
    let request = Request::new(method, url, headers).unwrap();
    explain(&rules, &places, &request, service, 0, None)
}

#[track_caller]
fn check(method: &str, url: &str, headers: &[&str], expected: &[&str]) {
    let text = ask(method, url, headers, SHOP).text();
    let hash = load(RULES).0.hash();
    assert_eq!(text.replace(&hash, "HASH").lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_layout_is_that_of_the_book() {
    check(
        "GET",
        "https://shop.example.com/api/state/42?fresh=1",
        &["x-tenant: beta"],
        &[
            "shop.example.com GET /api/state/42          rules HASH, service shop (type unknown: matches any)",
            "  decision   state-polling → 0.3 % of requests, no reservoir          r.yaml:7:5",
            "      5  debug-tenant-x   (observe) no   attributes.x-tenant \"beta\" ≠ \"acme*\"",
            "     10  healthz          no   url_path ≠ /healthz | /readyz | /metrics",
            "     20  static           no   url_path ≠ \"/static/*\"   (differs at character 2: \"a\", wanted \"s\")",
            "    100  checkout-writes  no   http_method \"GET\" ≠ \"POST\"; url_path ≠ \"/api/checkout/*\"",
            "    500  state-polling    YES",
            "   9000  base-scorekeep   –    not reached; would not match: service_name \"shop\" ≠ \"Scorekeep\"",
            "  10000  Default          –    not reached; would match",
            "  capture    none on this rule",
        ],
    );
}

#[test]
fn what_a_caller_decided_is_not_asked_again() {
    let decided = ["x-amzn-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"];
    check(
        "GET",
        "/healthz",
        &decided,
        &[
            "(host unknown: matches any) GET /healthz          rules HASH, service shop (type unknown: matches any)",
            "  decision   inherited: not sampled; rules not consulted",
        ],
    );
    let json = ask("GET", "/healthz", &decided, SHOP).json();
    assert_eq!((&json["decision"], &json["sampled"]), (&"inherited".into(), &false.into()));
}

#[test]
fn an_observing_rule_and_a_probe_that_match() {
    let lines = |headers: &[&str]| ask("GET", "/healthz", headers, SHOP).text();
    let observed = lines(&["x-tenant: acme-7"]);
    assert!(
        observed.contains("      5  debug-tenant-x   (observe) yes  it counts, and the next rule is tried\n"),
        "{observed}"
    );
    assert!(observed.contains("     10  healthz          YES\n"), "{observed}");
    let probe = lines(&["user-agent: kube-probe/1.31"]);
    assert!(
        probe.contains(
            "  decision   ignored: a health check (user-agent \"kube-probe/1.31\"), which no rule names\n"
        ),
        "{probe}"
    );
    assert!(
        probe.contains("     10  healthz          –    would match; health checks are not traced\n"),
        "{probe}"
    );
}

#[test]
fn a_service_that_is_not_known_matches() {
    let explanation = ask("GET", "/other", &[], Service::default());
    assert_eq!(explanation.json()["rule"], "base-scorekeep");
    assert!(explanation.text().contains("service unknown: matches any\n"), "{}", explanation.text());
}

#[test]
fn json_has_the_rule_its_numbers_and_every_other() {
    let json = ask("POST", "http://shop:8080/api/checkout/pay", &[], SHOP).json();
    assert_eq!(json["rule"], "checkout-writes");
    assert_eq!(json["decision"], "reservoir_then_rate");
    assert_eq!((&json["reservoir"], &json["rate"]), (&5.0.into(), &0.5.into()));
    assert_eq!(json["source"], "r.yaml:6:5");
    assert_eq!(json["others"].as_array().unwrap().len(), 6);
    assert_eq!(json["others"][0]["reasons"][0], "attributes.x-tenant is absent");
    assert_eq!(json["others"][0]["observes"], true);
}

#[test]
fn what_is_no_request_is_refused_with_a_hint() {
    let refused = |method: &str, url: &str| Request::new(method, url, []).unwrap_err().to_string();
    assert!(refused("G ET", "/").starts_with("`G ET` is not a method\n\nhint: "));
    for url in ["shop.example.com/cart", "", "ftp://x/", "cart", "https://"] {
        assert!(refused("GET", url).contains("is not an address\n\nhint: "), "{url}");
    }
    assert!(Request::header("x-tenant").is_err());
    let request = Request::new("GET", "http://a:1/b?c#d", [("Host".into(), " c ".into())]).unwrap();
    assert_eq!((request.host.as_str(), request.path.as_str()), ("c", "/b"));
}

#[test]
fn where_a_path_leaves_its_pattern() {
    let detail = |pattern: &str, path: &str| {
        let text = format!(
            "rules_version: 1\nrules:\n  - {{ name: a, priority: 1, rate: 1, url_path: \"{pattern}\" }}\n"
        );
        let (rules, places) = load(&text);
        let request = Request::new("GET", path, []).unwrap();
        explain(&rules, &places, &request, SHOP, 0, None).rules[0].reasons[0]
            .detail
            .clone()
            .unwrap_or_default()
    };
    assert_eq!(detail("/a", "/a/b"), "goes on at character 3, where the pattern ends");
    assert_eq!(detail("/a?c", "/ab"), "ends before character 4, wanted \"c\"");
    assert_eq!(detail("/a*c", "/ab"), "");
    assert_eq!(detail("/AB", "/ac"), "differs at character 3: \"c\", wanted \"B\"");
}

proptest! {
    #[test]
    fn reasons_are_empty_exactly_where_the_engine_matches(
        method in "(GET|POST)", path in "/(healthz|static/a|api/state/1|api/checkout/x|other)", tenant in "(acme1|beta)",
    ) {
        let explanation = ask(&method, &path, &[&format!("x-tenant: {tenant}")], SHOP);
        let (rules, _) = load(RULES);
        let facts = facts(&explanation.request, SHOP);
        for (rule, considered) in rules.iter().zip(&explanation.rules) {
            prop_assert_eq!(rule.matchers.matches(&facts), considered.matched);
        }
        prop_assert_eq!(explanation.rules.iter().filter(|rule| rule.chosen).count(), 1);
    }
}
