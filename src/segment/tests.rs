//! Documents, whole.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn hop() -> Hop {
    Hop {
        trace: TraceId::from_xray(b"1-5759e988-bd862e3fe1be46a994272793").unwrap(),
        id: SegmentId::new(0xa1),
        parent: Some(SegmentId::new(0xb2)),
        application: SegmentId::new(0xc3),
        opened: Moment::new(1_763_800_000_000_001, 5),
        verdict: Verdict::Rate,
        rule: Some(RuleName::new("Default")),
        disowned: None,
        standby: None,
    }
}

fn facts<'a>() -> RequestFacts<'a> {
    RequestFacts {
        scheme: "http",
        host: "shop.example.com",
        path: "/cart",
        method: "GET",
        user_agent: Some("curl/8"),
        client: Client { address: "10.0.0.9".parse().unwrap(), forwarded: false },
    }
}

fn document(hop: Hop, facts: &RequestFacts<'_>, outcome: Outcome) -> String {
    let identity = Arc::new(Identity { name: SegmentName::repair("shop"), ..Identity::default() });
    let mut out = Vec::new();
    hop.close(&identity, facts, outcome).write_json(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_plain_answer() {
    let outcome = Outcome {
        elapsed: Duration::from_micros(1_500),
        status: Some(200),
        content_length: Some(12),
        application: Some(ApplicationPart {
            started: Duration::from_micros(10),
            ended: Duration::from_micros(1_490),
            status: Some(200),
        }),
        ..Outcome::default()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        document(hop(), &facts(), outcome),
        concat!(
            r#"{"id":"00000000000000a1","name":"shop","trace_id":"1-5759e988-bd862e3fe1be46a994272793","#,
            r#""start_time":1763800000.000001,"end_time":1763800000.001501,"parent_id":"00000000000000b2","#,
            r#""http":{"request":{"method":"GET","url":"http://shop.example.com/cart","user_agent":"curl/8","#,
            r#""client_ip":"10.0.0.9"},"response":{"status":200,"content_length":12}},"#,
            r#""aws":{"xray":{"sdk":"collimator","sdk_version":"VERSION","auto_instrumentation":true,"#,
            r#""sampling_rule_name":"Default"}},"#,
            r#""subsegments":[{"id":"00000000000000c3","name":"application","start_time":1763800000.000011,"#,
            r#""end_time":1763800000.001491,"http":{"response":{"status":200}}}]}"#
        )
        .replace("VERSION", version)
    );
}

#[test]
fn trap_06_429_sets_two_flags_and_5xx_one_and_a_dead_upstream_a_fault_without_a_status() {
    let flags = |status, failed| {
        let Flags { error, throttle, fault } = Flags::new(status, failed);
        (error, throttle, fault)
    };
    assert_eq!(flags(Some(200), false), (false, false, false));
    assert_eq!(flags(Some(404), false), (true, false, false));
    assert_eq!(flags(Some(429), false), (true, true, false));
    assert_eq!(flags(Some(500), false), (false, false, true));
    assert_eq!(flags(None, true), (false, false, true));
    assert_eq!(flags(Some(600), false), (false, false, false));
}

#[test]
fn a_failure_is_told_in_both_parts_under_ids_of_their_own() {
    let failure = Failure {
        ids: (SegmentId::new(1), SegmentId::new(2)),
        kind: "upstream-refused",
        message: "connection refused".into(),
    };
    let outcome = Outcome {
        status: Some(502),
        failure: Some(failure),
        application: Some(ApplicationPart { started: Duration::ZERO, ended: Duration::ZERO, status: None }),
        ..Outcome::default()
    };
    let document: Value = serde_json::from_str(&document(hop(), &facts(), outcome)).unwrap();
    let exception = &document["cause"]["exceptions"][0];
    assert_eq!(
        (&exception["type"], &exception["id"]),
        (&"upstream-refused".into(), &"0000000000000001".into())
    );
    let part = &document["subsegments"][0];
    assert_eq!(part["cause"]["exceptions"][0]["id"], "0000000000000002");
    assert_eq!((&part["fault"], part.get("http")), (&true.into(), None));
}

#[test]
fn a_client_that_left_is_an_annotation_and_no_fault() {
    let outcome = Outcome { client_closed: true, ..Outcome::default() };
    let document: Value = serde_json::from_str(&document(hop(), &facts(), outcome)).unwrap();
    assert_eq!(document["annotations"]["client_closed"], true);
    assert_eq!(document.get("fault"), None);
    assert_eq!(document["http"].get("response"), None);
}

#[test]
fn an_identity_too_large_for_a_document_is_left_out_and_said() {
    let mut identity = Identity { name: SegmentName::repair("shop"), ..Identity::default() };
    identity.aws.insert("ecs".into(), serde_json::json!({"container": "x".repeat(70_000)}));
    let mut out = Vec::new();
    hop().close(&Arc::new(identity), &facts(), Outcome::default()).write_json(&mut out);
    let document: Value = serde_json::from_slice(&out).unwrap();
    assert!(out.len() < MAX_DOCUMENT);
    assert_eq!(document["annotations"]["truncated"], true);
    assert_eq!(document["aws"].get("ecs"), None);
}

proptest! {
    #[test]
    fn whatever_came_in_the_document_is_strict_json_within_the_limit(
        host: String, path in ".{0,2000}", method: String, agent in proptest::option::of(".{0,3000}"),
        message in ".{0,5000}", name: String, status: u16,
    ) {
        let identity = Arc::new(Identity { name: SegmentName::repair(&name), ..Identity::default() });
        let facts = RequestFacts {
            host: &host, path: &path, method: &method, user_agent: agent.as_deref(), ..facts()
        };
        let failure = Failure { ids: (SegmentId::new(1), SegmentId::new(2)), kind: "upstream-reset", message };
        let outcome = Outcome { status: Some(status), failure: Some(failure), ..Outcome::default() };
        let mut out = Vec::new();
        hop().close(&identity, &facts, outcome).write_json(&mut out);
        prop_assert!(out.len() <= MAX_DOCUMENT);
        let document: Value = serde_json::from_slice(&out).unwrap();
        let url = document["http"]["request"]["url"].as_str().unwrap();
        prop_assert!(url.chars().count() <= MAX_TEXT);
    }
}
