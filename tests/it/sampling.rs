//! Rules files as requests meet them: which rule decides, what it decides, and who is believed.

use std::time::Instant;

use crate::support::client::{Client, Request};
use crate::support::most_in;
use crate::support::scrape::Scrape;
use crate::support::sidecar::Options;
use crate::support::trace::{Carried, PARENT, ROOT};
use crate::support::world::{ALWAYS, NEVER, World};

/// Rules from lines of `name priority matchers`, all recording every request, over a default that records none.
pub(crate) fn rules(lines: &[&str]) -> String {
    let mut text = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\nrules:\n".to_owned();
    for line in lines {
        text.push_str(&format!("  - {{ {line}, reservoir: 0, rate: 1 }}\n"));
    }
    text
}

/// The request must be recorded by this rule.
#[track_caller]
pub(crate) fn check_decided_by(world: &World, request: &Request, rule: &str) {
    let document = world.record(request);
    assert_eq!(document["aws"]["xray"]["sampling_rule_name"], rule, "{document}");
}

/// No rule may record the request.
#[track_caller]
pub(crate) fn check_unmatched(world: &World, request: &Request) {
    assert!(!world.carry(request).sampled, "{request:?}");
}

/// How many requests of a burst were recorded, held to a reservoir's bound for the time it took.
#[track_caller]
pub(crate) fn check_reservoir(world: &World, per_second: u64, n_requests: usize, request: &Request) {
    let start = Instant::now();
    world.burst(n_requests, request);
    let most = most_in(start.elapsed(), per_second);
    let kept = world.upstream.seen().iter().filter(|seen| Carried::by(seen).sampled).count() as u64;
    assert!((per_second..=most).contains(&kept), "{kept} kept, expected {per_second} to {most}");
}

/// The rules error must be said with its place, and the sidecar must not start.
#[track_caller]
pub(crate) fn check_refused(rules: &str, place: &str) {
    let exit = Options::run().args(&["--upstream", "http://127.0.0.1:9"]).rules(rules).output();
    exit.check(2);
    assert!(exit.stderr.contains(place), "no {place} in\n{}", exit.stderr);
}

fn total_decisions(scrape: &Scrape) -> f64 {
    scrape.sum("collimator_sampling_decisions_total", &[])
}

#[test]
fn the_lowest_priority_number_decides_whatever_the_order_in_the_file() {
    let world = World::ruled(&rules(&["name: late, priority: 20", "name: early, priority: 10"]));
    check_decided_by(&world, &Request::get("/"), "early");
}

#[test]
fn equal_priorities_go_by_name_upper_case_first() {
    let world = World::ruled(&rules(&["name: alpha, priority: 10", "name: Beta, priority: 10"]));
    check_decided_by(&world, &Request::get("/"), "Beta");
}

#[test]
fn the_first_match_decides_and_nothing_falls_through() {
    let text = "rules_version: 1\ndefault: { reservoir: 9, rate: 1 }\nrules:\n\
                \x20 - { name: mute, priority: 1, url_path: /quiet, reservoir: 0, rate: 0 }\n\
                \x20 - { name: loud, priority: 2, reservoir: 9, rate: 1 }\n";
    let world = World::ruled(text);
    check_unmatched(&world, &Request::get("/quiet"));
    check_decided_by(&world, &Request::get("/other"), "loud");
}

#[test]
fn the_query_is_not_part_of_the_path() {
    let world = World::ruled(&rules(&["name: exact, priority: 1, url_path: /cart"]));
    check_decided_by(&world, &Request::get("/cart?item=1"), "exact");
    check_unmatched(&world, &Request::get("/other?/cart"));
}

#[test]
fn the_path_is_compared_as_received() {
    let world = World::ruled(&rules(&["name: raw, priority: 1, url_path: /a%20b"]));
    check_decided_by(&world, &Request::get("/a%20b"), "raw");
    check_unmatched(&world, &Request::get("/a%20c"));
}

#[test]
fn every_field_ignores_case() {
    let world = World::start(|options| {
        let fields = "host: SHOP.example, http_method: get, url_path: /Cart/*, service_name: ORDERS";
        options
            .rules(&rules(&[&format!("name: any, priority: 1, {fields}")]))
            .args(&["--service-name", "orders"])
    });
    check_decided_by(&world, &Request::get("/cART/1").header("Host", "shop.EXAMPLE"), "any");
}

#[test]
fn every_field_must_match() {
    let fields = "host: shop.example, http_method: POST, url_path: /cart";
    let world = World::ruled(&rules(&[&format!("name: all, priority: 1, {fields}")]));
    let shop = |request: Request| request.header("Host", "shop.example");
    check_decided_by(&world, &shop(Request::post("/cart", "")), "all");
    check_unmatched(&world, &shop(Request::get("/cart")));
    check_unmatched(&world, &shop(Request::post("/car", "")));
    check_unmatched(&world, &Request::post("/cart", "").header("Host", "shop.example.org"));
}

#[test]
fn a_port_counts_only_in_a_pattern_with_a_colon() {
    let world = World::ruled(&rules(&[
        "name: with-port, priority: 1, host: \"shop.example:8443\"",
        "name: without-port, priority: 2, host: shop.example",
    ]));
    let to = |host: &str| Request::get("/").header("Host", host);
    check_decided_by(&world, &to("shop.example:8443"), "with-port");
    check_decided_by(&world, &to("shop.example:80"), "without-port");
    check_decided_by(&world, &to("shop.example"), "without-port");
}

#[test]
fn a_star_is_any_run_and_a_question_mark_exactly_one_character() {
    let world = World::ruled(&rules(&[
        "name: one, priority: 1, url_path: \"/item/?\"",
        "name: run, priority: 2, url_path: \"/item/*/b?d.*\"",
    ]));
    check_decided_by(&world, &Request::get("/item/7"), "one");
    check_decided_by(&world, &Request::get("/item//bad."), "run");
    check_decided_by(&world, &Request::get("/item/a/b/c/bXd.html"), "run");
    for path in ["/item/", "/item/77", "/item/a/bd.x", "/items/7"] {
        check_unmatched(&world, &Request::get(path));
    }
}

#[test]
fn a_list_of_patterns_matches_by_any_of_them() {
    let world = World::ruled(&rules(&["name: some, priority: 1, url_path: [/a, \"/b/*\"]"]));
    check_decided_by(&world, &Request::get("/a"), "some");
    check_decided_by(&world, &Request::get("/b/1"), "some");
    check_unmatched(&world, &Request::get("/c"));
}

#[test]
fn attributes_are_request_headers_and_an_absent_one_does_not_match() {
    let world = World::ruled(&rules(&["name: tenant, priority: 1, attributes: { x-tenant: \"acme*\" }"]));
    check_decided_by(&world, &Request::get("/").header("X-Tenant", "ACME-7"), "tenant");
    check_unmatched(&world, &Request::get("/").header("X-Tenant", "other"));
    check_unmatched(&world, &Request::get("/"));
}

#[test]
fn rules_of_several_files_are_one_set() {
    let world = World::start(|options| {
        std::fs::create_dir(options.directory().join("rules")).unwrap();
        options
            .file("rules/10-a.yaml", rules(&["name: a, priority: 10, url_path: /a"]))
            .file("rules/20-b.yaml", "rules_version: 1\nrules:\n  - { name: b, priority: 5, rate: 1 }\n")
            .file("rules/.hidden.yaml", "not: rules\n")
            .file("rules/shop.test.yaml", "tests: []\n")
            .args(&["--rules", "rules"])
    });
    check_decided_by(&world, &Request::get("/a"), "b");
}

#[test]
fn a_reservoir_comes_before_the_rate() {
    let world = World::ruled("rules_version: 1\ndefault: { reservoir: 3, rate: 0 }\nrules: []\n");
    check_reservoir(&world, 3, 50, &Request::get("/"));
    let scrape = world.scrape();
    assert!(scrape.decisions("reservoir") >= 3.0 && scrape.decisions("dropped") > 0.0, "{}", scrape.text);
    assert_eq!(scrape.decisions("rate"), 0.0);
}

#[test]
fn rate_one_keeps_all_and_rate_zero_none() {
    let mut always = World::ruled(ALWAYS);
    always.burst(200, &Request::get("/"));
    assert_eq!(always.scrape().decisions("rate"), 200.0);
    assert_eq!(always.stop().len(), 200);
    let mut never = World::ruled(NEVER);
    never.burst(200, &Request::get("/"));
    assert_eq!(never.scrape().decisions("dropped"), 200.0);
    assert!(never.stop().is_empty());
}

#[test]
fn a_rate_may_be_written_as_a_percentage() {
    let world = World::ruled("rules_version: 1\ndefault: { reservoir: 0, rate: 100% }\nrules: []\n");
    world.record(&Request::get("/"));
}

#[test]
fn inherited_decisions_are_final_and_take_nothing_from_the_rules() {
    let mut world = World::ruled("rules_version: 1\ndefault: { reservoir: 1, rate: 0 }\nrules: []\n");
    for sampled in [0, 1, 0, 1, 1] {
        let header = format!("Root={ROOT};Parent={PARENT};Sampled={sampled}");
        assert_eq!(world.carry(&Request::get("/").trace(header)).sampled, sampled == 1);
    }
    let scrape = world.scrape();
    assert_eq!(scrape.decisions("inherited_sampled"), 3.0);
    assert_eq!(scrape.decisions("inherited_dropped"), 2.0);
    assert_eq!(total_decisions(&scrape), 5.0);
    assert_eq!(world.stop().len(), 3);
}

#[test]
fn probes_are_not_traced_but_counted() {
    let mut world = World::ruled(ALWAYS);
    let probes = [
        "ELB-HealthChecker/2.0",
        "kube-probe/1.29",
        "Amazon-Route53-Health-Check-Service (ref 0123; report http://amzn.to/1vsZADi)",
    ];
    for agent in probes {
        let carried = world.carry(&Request::get("/health").header("User-Agent", agent));
        assert!(!carried.sampled, "{agent} is a probe");
    }
    let scrape = world.scrape();
    assert_eq!(scrape.decisions("ignored"), 3.0);
    let requests = scrape.sum("collimator_requests_total", &[("direction", "inbound")]);
    assert_eq!(requests, 3.0, "probes are requests");
    assert!(world.stop().is_empty());
}

#[test]
fn a_rule_that_names_a_probe_by_user_agent_traces_it() {
    let world =
        World::ruled(&rules(&["name: probes, priority: 1, attributes: { user-agent: \"kube-probe/*\" }"]));
    check_decided_by(&world, &Request::get("/").header("User-Agent", "kube-probe/1.29"), "probes");
    check_unmatched(&world, &Request::get("/").header("User-Agent", "ELB-HealthChecker/2.0"));
}

#[test]
fn workers_share_one_reservoir() {
    let world = World::start(|options| {
        options
            .rules("rules_version: 1\ndefault: { reservoir: 5, rate: 0 }\nrules: []\n")
            .args(&["--workers", "4"])
    });
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.burst(40, &Request::get("/")));
        }
    });
    let most = most_in(start.elapsed(), 5) as f64;
    let kept = world.scrape().decisions("reservoir");
    assert!((5.0..=most).contains(&kept), "{kept} kept, expected 5 to {most}");
}

#[test]
fn without_rules_one_a_second_and_five_percent_are_recorded() {
    let world = World::start(|options| options);
    let start = Instant::now();
    world.burst(600, &Request::get("/"));
    let most = most_in(start.elapsed(), 1) as f64;
    let scrape = world.scrape();
    let (reservoir, rate) = (scrape.decisions("reservoir"), scrape.decisions("rate"));
    assert!((1.0..=most).contains(&reservoir), "{reservoir} by the reservoir, expected 1 to {most}");
    // 30 are expected with a standard deviation of 5.3; five of them either side.
    assert!((4.0..=57.0).contains(&rate), "{rate} of 600 by a rate of 5 %");
    assert_eq!(total_decisions(&scrape), 600.0);
}

#[test]
fn sample_all_records_every_request() {
    let world = World::start(|options| options.arg("--sample-all").rules(NEVER));
    for n_documents in 1..=5 {
        world.forward(&Request::get("/"));
        world.sink.wait_for(n_documents);
    }
}

#[test]
fn broken_rules_are_refused_at_start_with_their_place() {
    let rule = |line: &str| format!("rules_version: 1\nrules:\n  - name: a\n    priority: 1\n    {line}\n");
    check_refused(&rule("rate: 5"), "rules.yaml:5:11");
    check_refused(&rule("rate: -0.1"), "rules.yaml:5:11");
    check_refused(&rule("rate: often"), "rules.yaml:5:11");
    check_refused(&rule("rates: 0.5"), "rules.yaml:5:5");
    check_refused(&rule("rate: 1\n    reservoir: -1"), "rules.yaml:6:16");
    check_refused(&rule("rate: 1\n  - { name: a, priority: 2, rate: 1 }"), "rules.yaml:6:");
    check_refused(&rule("host: *\n    rate: 1"), "rules.yaml:5:11");
    check_refused("default: { reservoir: 1, rate: 0.05 }\n", "rules.yaml:");
}

/// Sends a burst with `Sampled=1` under rules that record nothing, and says how many were kept, and the most
/// that this cap per second can have let through.
#[track_caller]
fn believed(trust: &[&str], forwarded_for: Option<&str>, cap: u64) -> (f64, f64) {
    let world = World::start(|options| options.rules(NEVER).args(trust));
    let mut request = Request::get("/").trace(format!("Root={ROOT};Parent={PARENT};Sampled=1"));
    if let Some(forwarded_for) = forwarded_for {
        request = request.header("X-Forwarded-For", forwarded_for);
    }
    let start = Instant::now();
    world.burst(100, &request);
    let most = most_in(start.elapsed(), cap).min(100);
    let kept = world.upstream.seen().iter().filter(|seen| Carried::by(seen).sampled).count();
    (kept as f64, most as f64)
}

#[track_caller]
fn check_capped(trust: &[&str], forwarded_for: &str, cap: u64) {
    let (kept, most) = believed(trust, Some(forwarded_for), cap);
    assert!((cap as f64..=most).contains(&kept), "{kept} of 100 kept, expected {cap} to {most}");
}

#[test]
fn a_private_client_is_believed_without_limit() {
    assert_eq!(believed(&[], None, 0).0, 100.0);
    assert_eq!(believed(&[], Some("10.1.2.3"), 0).0, 100.0);
}

#[test]
fn a_public_client_is_believed_ten_times_a_second() {
    check_capped(&[], "8.8.8.8", 10);
    check_capped(&["--trust", "internal"], "2001:4860:4860::8888", 10);
}

#[test]
fn a_private_address_that_the_client_made_up_does_not_lift_the_cap() {
    // What a load balancer appends stands last; what stands before it is the client's own invention.
    check_capped(&[], "10.0.0.1, 8.8.8.8", 10);
}

#[test]
fn the_cap_of_public_decisions_can_be_set() {
    check_capped(&["--trust", "3/s"], "8.8.8.8", 3);
}

#[test]
fn a_public_no_is_left_to_the_rules() {
    let world = World::ruled(ALWAYS);
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let carried = world.carry(&Request::get("/").trace(header).header("X-Forwarded-For", "8.8.8.8"));
    assert_eq!((carried.root.as_str(), carried.sampled), (ROOT, true), "the Root survives, the no does not");
}

#[test]
fn trust_all_believes_everybody() {
    assert_eq!(believed(&["--trust", "all"], Some("8.8.8.8"), 0).0, 100.0);
}

#[test]
fn trust_of_networks_believes_only_these() {
    assert_eq!(believed(&["--trust", "127.0.0.0/8"], None, 0).0, 100.0);
    assert_eq!(believed(&["--trust", "10.0.0.0/8"], None, 0).0, 0.0);
}

#[test]
fn trust_none_starts_a_new_trace_and_notes_the_old_one() {
    let world = World::start(|options| options.rules(ALWAYS).args(&["--trust", "none"]));
    for sampled in [0, 1] {
        let header = format!("Root={ROOT};Parent={PARENT};Sampled={sampled}");
        let document = world.record(&Request::get("/").trace(header));
        let carried = Carried::by(&world.upstream.last());
        assert!(carried.sampled && carried.root != ROOT, "{carried:?}");
        assert_eq!(document["trace_id"], carried.root.as_str());
        assert_eq!(document.get("parent_id"), None);
        let annotations = document["annotations"].as_object().expect("the old Root is an annotation");
        assert!(annotations.values().any(|value| value == ROOT), "{annotations:?}");
    }
}

#[test]
fn trust_none_does_not_believe_a_yes() {
    let (kept, _) = believed(&["--trust", "none"], None, 0);
    assert_eq!(kept, 0.0);
}

#[test]
fn decisions_are_counted_by_rule() {
    let world = World::ruled(&rules(&["name: a, priority: 1, url_path: /a"]));
    let mut client = Client::connect(world.sidecar.listen);
    for _ in 0..3 {
        client.send(&Request::get("/a"));
        client.send(&Request::get("/b"));
    }
    let scrape = world.scrape();
    assert_eq!(scrape.decisions_of("a", "rate"), 3.0);
    assert_eq!(scrape.decisions("dropped"), 3.0);
    assert_eq!(total_decisions(&scrape), 6.0);
}
