//! What rules do besides deciding: record after the fact, observe, expire, and count as a candidate.

use std::time::{Duration, Instant};

use crate::support::client::{Client, Request};
use crate::support::eventually;
use crate::support::scrape::Scrape;
use crate::support::sidecar::Options;
use crate::support::trace::{Carried, PARENT, ROOT};
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};

/// One rule that keeps nothing and captures as told.
fn capturing(capture: &str) -> String {
    format!(
        "rules_version: 1\ndefault: {{ reservoir: 0, rate: 0 }}\nrules:\n  - {{ name: watch, priority: 1, rate: 0, capture: {{ {capture} }} }}\n"
    )
}

/// An application that answers with the status that the path names.
fn by_path(rules: &str) -> World {
    let status = |target: String| target.trim_start_matches('/').parse().unwrap_or(200);
    let upstream = Upstream::start(move |seen| Answer::status(status(seen.target())));
    World::with(upstream, |options| options.rules(rules))
}

#[test]
fn a_fault_nobody_sampled_is_recorded_after_the_fact() {
    let mut world = by_path(&capturing("status: [5xx, 429], limit: 100/s"));
    for path in ["/200", "/503", "/404", "/429"] {
        world.send(&Request::get(path));
        assert!(!Carried::by(&world.upstream.last()).sampled, "the application was told otherwise");
    }
    let scrape = world.scrape();
    let counted = ["dropped", "captured", "reservoir", "rate"].map(|what| scrape.decisions_of("watch", what));
    assert_eq!(counted, [4.0, 2.0, 0.0, 0.0]);
    let documents = world.stop_and_read();
    let told: Vec<_> = documents
        .iter()
        .map(|document| (&document["http"]["response"]["status"], &document["annotations"]["captured"]))
        .collect();
    assert_eq!(format!("{told:?}"), r#"[(Number(503), String("status")), (Number(429), String("status"))]"#);
    assert_eq!(documents[0]["aws"]["xray"]["sampling_rule_name"], "watch");
    assert_eq!(documents[0]["fault"], true);
}

#[test]
fn a_slow_answer_is_recorded_and_a_quick_one_is_not() {
    let (gate, limit) = (Gate::default(), Duration::from_millis(2));
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target().as_str() {
        "/slow" => Answer::ok().held_by(&held),
        _ => Answer::ok(),
    });
    let world = World::with(upstream, |options| options.rules(&capturing("slower_than: 2ms, limit: 100/s")));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/slow").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    let asked = Instant::now();
    eventually("it is slow", || asked.elapsed() > limit);
    gate.open();
    client.read("GET").unwrap();
    let document = world.sink.wait_for(1).swap_remove(0);
    assert_eq!(document["annotations"]["captured"], "slow");
    assert!(document["http"]["request"]["url"].as_str().unwrap().ends_with("/slow"), "{document}");
}

#[test]
fn an_answer_that_breaks_off_counts_as_a_fault_whatever_its_head_said() {
    let broken = |_: &_| Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").then_close();
    let world = World::with(Upstream::start(broken), |options| {
        options.rules(&capturing("status: [5xx], limit: 100/s"))
    });
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    assert!(client.read("GET").is_err(), "half an answer must not look whole");
    assert_eq!(world.sink.wait_for(1)[0]["annotations"]["captured"], "status");
}

#[test]
fn captures_beyond_the_limit_are_refused_and_counted() {
    let mut world = by_path(&capturing("status: [5xx], limit: 1/s"));
    let start = Instant::now();
    world.burst_any(50, &Request::get("/500"));
    let most = crate::support::most_in(start.elapsed(), 1) as f64;
    let scrape = world.scrape();
    let captured = scrape.decisions_of("watch", "captured");
    let refused = scrape.sum("collimator_sampling_captures_refused_total", &[("rule", "watch")]);
    assert!((1.0..=most).contains(&captured), "{captured} of at most {most}");
    assert_eq!(captured + refused, 50.0);
    assert_eq!(world.stop().len() as f64, captured);
}

#[test]
fn what_a_caller_dropped_is_captured_only_where_the_rule_says_so() {
    let dropped = Request::get("/500").trace(format!("Root={ROOT};Parent={PARENT};Sampled=0"));
    let mut silent = by_path(&capturing("status: [5xx], limit: 100/s"));
    silent.send(&dropped);
    assert_eq!(silent.stop().len(), 0);

    let world = by_path(&capturing("status: [5xx], limit: 100/s, inherited: true"));
    let document = world.record(&dropped);
    assert_eq!(document["annotations"]["captured"], "status");
    assert_eq!((&document["trace_id"], &document["parent_id"]), (&ROOT.into(), &PARENT.into()));
    let scrape = world.scrape();
    assert_eq!((scrape.decisions("inherited_dropped"), scrape.decisions_of("watch", "captured")), (1.0, 1.0));
}

#[test]
fn probes_are_never_captured() {
    let mut world = by_path(&capturing("status: [5xx], limit: 100/s, inherited: true"));
    world.send(&Request::get("/500").header("user-agent", "ELB-HealthChecker/2.0"));
    assert_eq!(world.stop().len(), 0);
}

fn observed(scrape: &Scrape, rule: &str, decision: &str) -> f64 {
    let labels = [("rule", rule), ("decision", decision)];
    scrape.sum("collimator_sampling_observed_decisions_total", &labels)
}

#[test]
fn an_observing_rule_counts_what_it_would_have_done_and_does_nothing() {
    let rules = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\nrules:\n\
                 \x20 - { name: eager, priority: 1, rate: 1, mode: observe }\n\
                 \x20 - { name: shy, priority: 2, rate: 0 }\n";
    let mut world = World::ruled(rules);
    world.burst(7, &Request::get("/"));
    let scrape = world.scrape();
    assert_eq!((observed(&scrape, "eager", "rate"), scrape.decisions_of("eager", "rate")), (7.0, 0.0));
    assert_eq!(scrape.decisions_of("shy", "dropped"), 7.0);
    let told = &world.sidecar.admin("GET", "/rules").json()["list"][0];
    assert_eq!((&told["observes"], &told["observed"]["by_rate"]), (&true.into(), &7.into()));
    assert_eq!(world.stop().len(), 0);
}

#[test]
fn an_expired_rule_is_passed_over_and_told() {
    let rules = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\nrules:\n\
                 \x20 - { name: over, priority: 1, rate: 1, expires: 2020-01-01T00:00:00Z }\n\
                 \x20 - { name: lasting, priority: 2, rate: 0, expires: 2100-01-01T00:00:00Z }\n";
    let world = World::ruled(rules);
    assert!(!world.carry(&Request::get("/")).sampled);
    let scrape = world.scrape();
    let expired = |rule| scrape.value("collimator_rule_expired", &[("rule", rule)]);
    assert_eq!((expired("over"), expired("lasting")), (Some(1.0), Some(0.0)));
    assert_eq!(scrape.decisions_of("lasting", "dropped"), 1.0);
    let told = world.sidecar.admin("GET", "/rules").json();
    assert_eq!(told["expired"], serde_json::json!(["over"]));
    assert_eq!(told["never_matched"], serde_json::json!(["over", "Default"]));
}

fn candidate(scrape: &Scrape, rule: &str, decision: &str) -> f64 {
    let labels = [("rule", rule), ("decision", decision)];
    scrape.sum("collimator_sampling_candidate_decisions_total", &labels)
}

#[test]
fn a_candidate_counts_beside_the_rules_and_changes_nothing() {
    let next = "rules_version: 1\ndefault: { reservoir: 0, rate: 1 }\nrules:\n\
                \x20 - { name: muted, priority: 1, url_path: /quiet, rate: 0 }\n";
    let world = World::start(|options| {
        options.rules(NEVER).file("next.yaml", next).args(&["--candidate", "next.yaml"])
    });
    world.burst(3, &Request::get("/"));
    world.burst(2, &Request::get("/quiet"));
    world.send(&Request::get("/").trace(format!("Root={ROOT};Parent={PARENT};Sampled=0")));
    let scrape = world.scrape();
    assert_eq!((candidate(&scrape, "Default", "rate"), candidate(&scrape, "muted", "dropped")), (3.0, 2.0));
    assert_eq!((scrape.decisions("rate"), scrape.decisions("dropped")), (0.0, 5.0));
    assert!(world.upstream.seen().iter().all(|seen| !Carried::by(seen).sampled));

    let told = world.sidecar.admin("GET", "/rules").json();
    assert_eq!(told["candidate"]["count"], 1);
    assert_eq!(told["candidate"]["list"][0]["dropped"], 2);
    assert_eq!(told["list"][0]["dropped"], 5);
}

#[test]
fn a_candidate_is_loaded_again_when_it_changes_and_kept_when_it_breaks() {
    let world = World::start(|options| {
        options.rules(ALWAYS).file("next.yaml", NEVER).args(&["--candidate", "next.yaml"])
    });
    let told = || world.sidecar.admin("GET", "/rules").json();
    let before = told();
    std::fs::write(world.sidecar.path("next.yaml"), ALWAYS).unwrap();
    eventually("the candidate is swapped", || told()["candidate"]["hash"] != before["candidate"]["hash"]);
    let after = told();
    assert_eq!(after["hash"], before["hash"], "the rules in force stay");
    assert_eq!(after["candidate"]["hash"], after["hash"], "both say the same now");
    assert_eq!(after["candidate"]["last_change"]["rules"], serde_json::json!(["~Default rate 0% → 100%"]));

    std::fs::write(world.sidecar.path("next.yaml"), "rules_version: 7\n").unwrap();
    eventually("the failure is told", || told()["candidate"]["last_error"].is_string());
    assert_eq!(told()["candidate"]["hash"], after["hash"]);
    assert_eq!(world.scrape().value("collimator_rules_last_reload_success", &[]), Some(1.0));
    let reload = world.sidecar.admin("POST", "/reload");
    assert_eq!(reload.status, 422, "{}", reload.text());
}

#[test]
fn a_broken_candidate_does_not_start() {
    let options = Options::run().args(&["--upstream", "http://127.0.0.1:9", "--candidate", "next.yaml"]);
    let exit = options.file("next.yaml", "rules_version: 1\nrules: [{ name: a }]\n").output();
    exit.check(2);
    assert!(exit.stderr.contains("next.yaml:2"), "{}", exit.stderr);
}

#[test]
fn the_last_reload_is_told_with_its_difference() {
    let world = World::ruled(NEVER);
    assert!(world.sidecar.admin("GET", "/rules").json()["last_change"].is_null());
    let text = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\nrules:\n\
                \x20 - { name: new, priority: 1, rate: 1, reservoir: 3 }\n";
    std::fs::write(world.sidecar.path("rules.yaml"), text).unwrap();
    eventually("the reload is told", || {
        world.sidecar.admin("GET", "/rules").json()["last_change"].is_object()
    });
    Client::once(world.sidecar.listen, &Request::get("/"));
    let told = world.sidecar.admin("GET", "/rules").json();
    assert_eq!(told["last_change"]["rules"], serde_json::json!(["+new"]));
    assert_eq!(told["last_change"]["new_hash"], told["hash"]);
    assert_eq!(told["list"][0]["reservoir_places"], 3);
    assert_eq!(told["never_matched"], serde_json::json!(["Default"]));
}
