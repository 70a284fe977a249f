//! The traps of X-Ray that others have fallen into, one test each, named after the row of the list.
//!
//! Row 15 (a clock step must not refill a reservoir) is tested where time is an argument, in the engine's own
//! tests; rows 8, 10 and 11 belong to sinks and rules that speak to AWS.

use crate::support::client::{Client, Request};
use crate::support::trace::{Carried, OTHER_ROOT, PARENT, ROOT, answered, is_root};
use crate::support::world::{ALWAYS, NEVER, World};
use crate::{failures, headers, reload, sampling, segments, sinks};

#[test]
fn trap_01_alb_root_only_header_continues_the_trace() {
    let world = World::ruled(ALWAYS);
    let document = world.record(&Request::get("/").trace(format!("Root={ROOT}")));
    let carried = Carried::by(&world.upstream.last());
    assert_eq!((carried.root.as_str(), carried.sampled), (ROOT, true));
    assert_eq!(document["trace_id"], ROOT);
    assert_eq!(document.get("parent_id"), None);
    headers::check_continued(&World::ruled(NEVER), &format!("Root={ROOT}"), false);
}

#[test]
fn trap_02_self_is_not_forwarded_and_lineage_is() {
    let world = World::ruled(NEVER);
    let header = format!("Self={OTHER_ROOT};Root={ROOT};Lineage=1:ab12cd34:0");
    let carried = headers::check_continued(&world, &header, false);
    assert_eq!(carried.rest, ["Lineage=1:ab12cd34:0"]);
}

#[test]
fn trap_03_a_space_after_the_semicolon_hides_nothing() {
    headers::check_inherited(&World::ruled(NEVER), &format!("Root={ROOT}; Parent={PARENT}; Sampled=1"));
}

#[test]
fn trap_04_a_question_is_answered_in_the_response_and_only_then() {
    let world = World::start(|options| options.rules(ALWAYS).arg("--response-header"));
    let decided = |header: String| {
        let parts = answered(&world.send(&Request::get("/").trace(header)));
        parts.iter().any(|part| part.starts_with("Sampled="))
    };
    assert!(decided(format!("Root={ROOT};Sampled=?")));
    assert!(!decided(format!("Root={ROOT};Sampled=1")));
    assert!(!decided(format!("Root={ROOT}")));
}

#[test]
fn trap_05_unsampled_requests_still_carry_root_parent_and_sampled_0() {
    let world = World::ruled(NEVER);
    let fresh = world.carry(&Request::get("/"));
    assert!(is_root(&fresh.root) && !fresh.sampled, "{fresh:?}");
    headers::check_continued(&world, &format!("Root={ROOT};Parent={PARENT};Sampled=0"), false);
}

#[test]
fn trap_06_429_sets_two_flags_5xx_one_and_a_dead_upstream_a_fault_without_status() {
    segments::check_flags(429, [true, true, false]);
    segments::check_flags(500, [false, false, true]);
    failures::check_refused_connection();
}

#[test]
fn trap_07_no_datagram_is_over_65507_bytes() {
    sinks::check_oversize_document_fits_or_is_counted();
}

#[test]
fn trap_09_a_rate_of_a_tenth_of_a_percent_is_not_one_percent() {
    const REQUESTS: usize = 12_000;
    let world = World::ruled("rules_version: 1\ndefault: { reservoir: 0, rate: 0.001 }\nrules: []\n");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(world.sidecar.listen);
                for _ in 0..REQUESTS / 4 {
                    assert_eq!(client.send(&Request::get("/")).status, 200);
                }
            });
        }
    });
    // 12 are expected with a standard deviation of 3.5; one percent would be 120 with one of 11.
    let kept = world.scrape().decisions("rate");
    assert!((1.0..=40.0).contains(&kept), "{kept} of {REQUESTS} kept");
}

#[test]
fn trap_12_of_equal_priorities_upper_case_names_come_first() {
    let lines = ["name: aaa, priority: 10", "name: Zzz, priority: 10", "name: bbb, priority: 10"];
    sampling::check_decided_by(&World::ruled(&sampling::rules(&lines)), &Request::get("/"), "Zzz");
}

#[test]
fn trap_13_the_query_string_does_not_take_part_in_path_matching() {
    let world = World::ruled(&sampling::rules(&["name: cart, priority: 1, url_path: /cart"]));
    sampling::check_decided_by(&world, &Request::get("/cart?x=/other"), "cart");
    sampling::check_unmatched(&world, &Request::get("/other?x=/cart"));
}

#[test]
fn trap_14_patterns_ignore_case_for_every_field_also_path() {
    let fields = "host: \"*.EXAMPLE\", http_method: geT, url_path: /CART/*, attributes: { X-Tenant: ACME }";
    let world = World::ruled(&sampling::rules(&[&format!("name: any, priority: 1, {fields}")]));
    let request = Request::get("/cart/A").header("Host", "Shop.Example").header("x-tenant", "acme");
    sampling::check_decided_by(&world, &request, "any");
}

#[test]
fn trap_16_rule_text_that_fails_does_not_half_load() {
    reload::check_nothing_half_loaded();
}

#[test]
fn trap_17_a_rate_written_5_is_an_error_and_not_500_percent() {
    let rule = "  - name: a\n    priority: 1\n    rate: 5\n";
    sampling::check_refused(&format!("rules_version: 1\nrules:\n{rule}"), "rules.yaml:5:11");
}

#[test]
fn trap_18_reservoirs_and_counters_of_unchanged_rules_survive_a_reload() {
    reload::check_reservoir_survives_reloads();
}
