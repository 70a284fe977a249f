//! One decision, from facts to verdict, in sets of which only the last rule matches.

use crate::Measure;
use collimator::config::rules::from_sources;
use collimator::moment::Moment;
use collimator::sampling::{Attributes, Facts, Pattern, RuleSet, Verdict};
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use std::hint::black_box;

/// Request headers, looked up as the proxy does.
struct Headers(HeaderMap);

impl Attributes for Headers {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn user_agent(&self) -> &[u8] {
        self.0.get(USER_AGENT).map_or(&[], HeaderValue::as_bytes)
    }
}

fn headers() -> Headers {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example.com"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        ("content-length", "182"),
        ("x-request-id", "0b6e5d1c-4a3f-4f67-9a51-7d1f0c2b9f11"),
        ("x-tenant", "globex"),
    ] {
        headers.insert(name, value.parse().expect("a header"));
    }
    headers.insert(USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101".parse().expect("a header"));
    Headers(headers)
}

/// What a set's rules are told apart by.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Paths that begin alike, and methods.
    Paths,
    /// Four in ten by other things: the end of the path, something within it, the host, a header.
    Mixed,
}

/// So many rules, of which only the last takes the request.
pub(crate) fn yaml(n_rules: usize, kind: Kind) -> String {
    let mut text = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\nrules:\n".to_owned();
    let methods = ["GET", "POST", "PUT", "\"*\""];
    for n in 1..n_rules {
        let matchers = match (kind, n % 10) {
            (Kind::Mixed, 0) => format!("url_path: \"*/reports/{n}.csv\""),
            (Kind::Mixed, 1) => format!("url_path: /t/*/invoices-{n}/*"),
            (Kind::Mixed, 2) => format!("host: tenant-{n}.example.com"),
            (Kind::Mixed, 3) => format!("attributes: {{ x-tenant: \"acme-{n}*\" }}"),
            (_, 4) => format!("url_path: [/api/v1/resource-{n}, /api/v1/resource-{n}/*]"),
            _ => format!("http_method: {}, url_path: /api/v1/resource-{n}/*", methods[n % 4]),
        };
        text.push_str(&format!("  - {{ name: rule-{n}, priority: {n}, rate: 0.5, {matchers} }}\n"));
    }
    let last = "http_method: POST, url_path: /api/v1/checkout/*";
    text.push_str(&format!("  - {{ name: last, priority: 9999, reservoir: 0, rate: 0.05, {last} }}\n"));
    text
}

fn set(n_rules: usize, kind: Kind) -> RuleSet {
    let text = yaml(n_rules, kind).into_bytes();
    let set = from_sources(vec![("bench.yaml".to_owned(), text)]).expect("rules").rules;
    assert_eq!(set.len(), n_rules);
    set
}

pub(crate) fn cases(measure: &mut impl Measure) {
    let headers = headers();
    let facts = Facts {
        service_name: "shop",
        service_type: Some("AWS::ECS::Container"),
        host: "shop.example.com",
        method: "POST",
        path: "/api/v1/checkout/7f3d0a11/items",
        attributes: &headers,
    };
    let now = Moment::new(1_790_000_000_000_000, 7_000_000_000);
    for (name, n_rules, kind) in [
        ("decide/1_rules_last_matches", 1, Kind::Paths),
        ("decide/25_rules_last_matches", 25, Kind::Paths),
        ("decide/1000_rules_last_matches", 1_000, Kind::Paths),
        ("decide/25_mixed_rules_last_matches", 25, Kind::Mixed),
        ("decide/1000_mixed_rules_last_matches", 1_000, Kind::Mixed),
    ] {
        let set = set(n_rules, kind);
        measure.case(name, || {
            let decision = black_box(&set).decide(black_box(&facts), None, u64::MAX, now);
            assert!(decision.rule.is_some_and(|rule| rule.name.as_str() == "last"));
        });
    }
    let set = set(1_000, Kind::Mixed);
    measure.case("decide/inherited", || {
        let decision = black_box(&set).decide(black_box(&facts), Some(false), u64::MAX, now);
        assert_eq!(decision.verdict, Verdict::InheritedDropped);
    });
    // The longest path there can be, made of what the rules look for.
    let path = "/t/x/invoices-/reports/".repeat(356);
    let hostile = Facts { path: &path, ..facts };
    measure.case("decide/1000_mixed_rules_8_kib_path", || {
        let decision = black_box(&set).decide(black_box(&hostile), None, u64::MAX, now);
        assert!(decision.rule.is_some_and(|rule| rule.name.as_str() == "Default"));
    });
    // The product of both lengths for a matcher that goes back for every star.
    let (pattern, text) = (Pattern::new(&format!("*{}b*", "a?".repeat(255))), "a".repeat(8_192));
    measure.case("pattern/512_bytes_on_8_kib", || assert!(!black_box(&pattern).matches(black_box(&text))));
}
