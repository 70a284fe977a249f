//! The JSON against its shape, the files of the page against the house rules, and the map as text.

use super::*;
use crate::status::{RequestCounts, RuleStatus};
use crate::store::samples::{checkout, segment, store, subsegment, trace_id, with};
use serde_json::{Value, json};

struct Sample(Store);

impl View for Sample {
    fn store(&self) -> &Store {
        &self.0
    }

    fn sidecars(&self) -> Vec<SidecarStatus> {
        let requests = RequestCounts { total: 100, in_flight: 1, sampled: 10, captured: 0 };
        let list =
            vec![RuleStatus { name: "checkout".into(), by_rate: 10, dropped: 90, ..RuleStatus::default() }];
        let mut status = SidecarStatus {
            service: "shop".into(),
            uptime_seconds: 10,
            requests,
            ..SidecarStatus::default()
        };
        status.rules.list = list;
        vec![status]
    }
}

fn sample() -> Sample {
    Sample(store(&checkout()))
}

#[track_caller]
fn get(path: &str) -> Value {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    serde_json::from_slice(&answer(path, query, &sample()).unwrap().body).unwrap()
}

#[test]
fn the_graph_has_the_shape_the_page_expects() {
    let graph = get("/api/v1/graph");
    let pay = graph["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "pay").unwrap();
    assert_eq!(
        pay["stats"],
        json!({
            "n": 1, "ok": 0, "error": 0, "throttle": 1, "fault": 0, "in_progress": 0, "total_s": 0.053,
            "p50": 53_000, "p90": 53_000, "p99": 53_000,
        })
    );
    assert_eq!(
        (&pay["kind"], &pay["type"], &pay["layer"]),
        (&json!("service"), &json!("AWS::ECS::Container"), &json!(2))
    );
    let shop = graph["nodes"].as_array().unwrap().iter().find(|node| node["kind"] == "service").unwrap();
    assert_eq!(shop["seen"], json!({"n": 100, "sampled": 10, "rps": 10.0}));
    assert!(graph["edges"].as_array().unwrap().iter().any(|edge| edge["gap_us"] == 7_000));
}

#[test]
fn a_trace_has_the_shape_the_page_expects() {
    let list = get("/api/v1/traces?limit=1");
    assert_eq!((&list["matched"], &list["items"][0]["id"]), (&json!(1), &json!(trace_id(1))));
    let trace = get(&format!("/api/v1/traces/{}", trace_id(1)));
    assert_eq!(trace["rows"][2]["name"], "pay");
    assert_eq!((&trace["rows"][2]["cp"], &trace["rows"][2]["kind"]), (&json!(53_000), &json!("segment")));
}

#[test]
fn status_tells_the_bounds_of_the_store() {
    let status = get("/api/v1/status");
    assert_eq!((&status["store"]["traces"], &status["store"]["max_traces"]), (&json!(1), &json!(10_000)));
    assert_eq!(status["sidecars"][0]["rules"]["list"][0]["name"], "checkout");
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let status = |path: &str| answer(path, None, &sample()).map(|answer| answer.status.as_u16());
    assert_eq!(status("/api/v1/traces/1-5759e988-00000000000000000000ffff"), Some(404));
    assert_eq!(status("/api/v1/traces/../status"), Some(404));
    assert_eq!(status("/api/v1/nothing"), None);
    assert_eq!(status("/etc/passwd"), None);
    assert_eq!(get("/api/v1/traces?limit=0")["error"]["code"], "bad_limit");
    assert_eq!(get("/api/v1/traces?limit=201")["error"]["code"], "bad_limit");
}

#[test]
fn an_etag_spares_the_body() {
    let (one, two) =
        (answer("/", None, &sample()).unwrap(), answer("/api/v1/graph", None, &sample()).unwrap());
    let tag = one.etag.clone();
    assert!(one.is_known(Some(&tag)) && one.is_known(Some(&format!("\"x\", W/{tag}"))));
    assert!(!one.is_known(Some(&two.etag)) && !one.is_known(None));
    let refusal = answer("/api/v1/traces", Some("limit=x"), &sample()).unwrap();
    assert!(!refusal.is_known(Some(&refusal.etag)));
}

/// Everything in a segment is hostile: no asset turns text into markup or code, or names another host.
#[test]
fn assets_cannot_run_what_a_segment_says() {
    let namespace = "http://www.w3.org/2000/svg";
    let banned = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "srcdoc",
        "DOMParser",
        "createContextualFragment",
        "javascript:",
        "http://",
        "https://",
        "<style",
        " style=",
        "@import",
        "setAttribute(\"on",
    ];
    for (path, _, text) in FILES {
        // The page tells how to send a request to the sidecar; that is the one address made here, and it is text.
        let text = text.replace(namespace, "").replace("curl -i http://${", "");
        for word in banned {
            assert!(!text.contains(word), "{path} has {word}");
        }
        let inline =
            ["onclick=", "onload=", "onerror=", "onmouseover="].iter().any(|handler| text.contains(handler));
        assert!(!inline, "{path} has an inline handler");
        assert!(!text.contains("<script>"), "{path} has an inline script");
    }
}

#[test]
fn the_page_names_only_files_that_are_there_and_stays_small() {
    let known = |path: &str| FILES.iter().any(|(file, ..)| *file == path);
    for (path, _, text) in FILES {
        let quoted = text.split('"').filter(|word| word.starts_with("/assets/") || word.starts_with("./"));
        for word in quoted {
            assert!(known(&word.replace("./", "/assets/")), "{path} names {word}");
        }
    }
    let size: usize = FILES.iter().map(|(.., text)| text.len()).sum();
    assert!(size <= 160 * 1024, "{size} bytes");
}

#[test]
fn the_map_for_a_terminal() {
    let text = map_as_text(&sample().0.graph());
    let expected = [
        "clients of shop",
        " └─▶ shop (AWS::ECS::Container)               1 traced  p50  120 ms  p99  120 ms  5xx 100.0 %",
        "      ├─▶ pay (AWS::ECS::Container)           1 traced  p50 60.0 ms  p99 60.0 ms  429 100.0 %",
        "      └─▶ orders (AWS::DynamoDB::Table)       1 traced  p50 40.0 ms  p99 40.0 ms  ok 100.0 %",
        "",
    ];
    assert_eq!(text, expected.join("\n"));
    assert_eq!(map_as_text(&Store::default().graph()), "");
}

#[test]
fn a_circle_ends_and_no_name_reaches_the_terminal_raw() {
    let documents = [
        segment(1, "a", None, 0, 9),
        with(
            segment(2, "b\u{1b}[2J\u{202e}", Some(1), 1, 8),
            json!({"subsegments": [subsegment(3, "work", 2, 7)]}),
        ),
        segment(4, "a", Some(3), 3, 5),
    ];
    let text = map_as_text(&store(&documents).graph());
    assert!(text.contains("(shown above)") && text.contains("b\u{fffd}[2J\u{fffd}"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
}
