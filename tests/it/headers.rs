//! Trace context on the wire: what came in, what the application sees, what the caller is told.

use proptest::prelude::*;

use crate::support::client::Request;
use crate::support::sidecar::Options;
use crate::support::trace::{Carried, OTHER_ROOT, PARENT, ROOT, answered, is_root, traceparent};
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};

mod w3c;

/// Sends this trace header; the application must see the same trace, and this decision.
#[track_caller]
pub(crate) fn check_continued(world: &World, header: &str, sampled: bool) -> Carried {
    let carried = world.carry(&Request::get("/").trace(header));
    assert_eq!(carried.root, ROOT, "after {header:?}");
    assert_eq!(carried.sampled, sampled, "after {header:?}");
    assert_ne!(carried.parent, PARENT, "the sidecar is a hop of its own");
    carried
}

/// Sends these headers; the application must see a new trace, and this decision.
#[track_caller]
fn check_new_trace(world: &World, request: &Request, sampled: bool) -> Carried {
    let carried = world.carry(request);
    assert_ne!(carried.root, ROOT);
    assert_ne!(carried.root, OTHER_ROOT);
    assert_eq!(carried.sampled, sampled);
    carried
}

/// Sends this trace header under rules that record nothing; the request must be recorded as a child of `PARENT`.
#[track_caller]
pub(crate) fn check_inherited(world: &World, header: &str) {
    let document = world.record(&Request::get("/").trace(header));
    assert_eq!(document["trace_id"], ROOT, "after {header:?}");
    assert_eq!(document["parent_id"], PARENT, "after {header:?}");
    assert_eq!(Carried::by(&world.upstream.last()).root, ROOT, "after {header:?}");
}

#[test]
fn a_request_without_trace_header_starts_a_trace() {
    let world = World::ruled(ALWAYS);
    let first = check_new_trace(&world, &Request::get("/"), true);
    let second = check_new_trace(&world, &Request::get("/"), true);
    assert_ne!(first.root, second.root);
    assert_ne!(first.parent, second.parent);
    assert!(first.rest.is_empty(), "{first:?}");
}

#[test]
fn a_new_trace_id_begins_with_the_present_second() {
    let world = World::ruled(NEVER);
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let before = now();
    let carried = check_new_trace(&world, &Request::get("/"), false);
    let epoch = u64::from_str_radix(&carried.root[2..10], 16).unwrap();
    assert!((before..=now()).contains(&epoch), "{epoch:x} is not between {before:x} and now");
}

#[test]
fn a_complete_header_is_continued_in_any_order_of_its_parts() {
    let world = World::ruled(NEVER);
    check_inherited(&world, &format!("Root={ROOT};Parent={PARENT};Sampled=1"));
    check_inherited(&world, &format!("Sampled=1;Parent={PARENT};Root={ROOT}"));
}

#[test]
fn spaces_and_tabs_around_parts_do_not_matter() {
    let world = World::ruled(NEVER);
    check_inherited(&world, &format!("Root={ROOT}; Parent={PARENT}; Sampled=1"));
    check_inherited(&world, &format!(" Root={ROOT} ;\tParent={PARENT}\t; Sampled=1 "));
}

#[test]
fn keys_are_read_without_regard_to_case() {
    let world = World::ruled(NEVER);
    check_inherited(&world, &format!("root={ROOT};PARENT={PARENT};sAMPLED=1"));
}

#[test]
fn empty_parts_and_parts_without_equals_sign_are_skipped() {
    let world = World::ruled(NEVER);
    check_inherited(&world, &format!(";;Root={ROOT};;nonsense;Parent={PARENT};Sampled=1;"));
    let carried = Carried::by(&world.upstream.last());
    assert!(carried.rest.is_empty(), "{carried:?}");
}

#[test]
fn a_value_is_split_off_at_the_first_equals_sign() {
    let world = World::ruled(NEVER);
    let carried = check_continued(&world, &format!("Root={ROOT};Query=a=b=c;Sampled=0"), false);
    assert_eq!(carried.rest, ["Query=a=b=c"]);
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let world = World::ruled(NEVER);
    check_inherited(
        &world,
        &format!("Root={OTHER_ROOT};Root={ROOT};Parent=0123456789abcdef;Parent={PARENT};Sampled=0;Sampled=1"),
    );
}

#[test]
fn hex_of_either_case_is_read_and_written_low() {
    let world = World::ruled(NEVER);
    let (root, parent) = (ROOT.to_uppercase(), PARENT.to_uppercase());
    check_inherited(&world, &format!("Root={root};Parent={parent};Sampled=1"));
}

#[test]
fn an_inherited_no_is_final_even_where_the_rules_say_always() {
    let world = World::ruled(ALWAYS);
    check_continued(&world, &format!("Root={ROOT};Parent={PARENT};Sampled=0"), false);
    assert_eq!(world.scrape().decisions("inherited_dropped"), 1.0);
}

#[test]
fn without_parent_the_trace_is_continued_at_its_top() {
    let world = World::ruled(ALWAYS);
    let document = world.record(&Request::get("/").trace(format!("Root={ROOT};Sampled=1")));
    assert_eq!(document["trace_id"], ROOT);
    assert_eq!(document.get("parent_id"), None);
}

#[test]
fn an_illegible_decision_is_no_decision() {
    let always = World::ruled(ALWAYS);
    let never = World::ruled(NEVER);
    for text in ["true", "yes", "2", "01", "", "?"] {
        let header = format!("Root={ROOT};Parent={PARENT};Sampled={text}");
        check_continued(&always, &header, true);
        check_continued(&never, &header, false);
    }
}

#[test]
fn self_is_dropped_and_lineage_and_unknown_keys_are_kept_in_order() {
    let world = World::ruled(NEVER);
    let carried = check_continued(
        &world,
        &format!(
            "Self={OTHER_ROOT};Zeta=1;Root={ROOT};Lineage=1:ab12cd34:0;Parent={PARENT};CalledFrom=app;Sampled=0"
        ),
        false,
    );
    assert_eq!(carried.rest, ["Zeta=1", "Lineage=1:ab12cd34:0", "CalledFrom=app"]);
}

#[test]
fn a_flood_of_unknown_keys_is_cut_and_the_trace_stays_whole() {
    let world = World::ruled(NEVER);
    let flood = "Filler=0123456789;".repeat(300);
    check_continued(&world, &format!("{flood}Root={ROOT};Parent={PARENT};Sampled=0"), false);
    let written = world.upstream.last().header("x-amzn-trace-id").unwrap();
    assert!(written.len() <= 1024, "{} bytes were written", written.len());
}

#[test]
fn a_malformed_root_gives_a_new_trace_without_the_old_parent() {
    let world = World::ruled(NEVER);
    let roots = [
        "",
        "1",
        "1-5759e988",
        "2-5759e988-bd862e3fe1be46a994272793",
        "1-5759e98-bd862e3fe1be46a994272793",
        "1-5759e988-bd862e3fe1be46a99427279",
        "1-5759e988-bd862e3fe1be46a9942727934",
        "1-5759e988-bd862e3fe1be46a99427279g",
        "1-5759e988bd862e3fe1be46a994272793",
        "<script>alert(1)</script>",
    ];
    for root in roots {
        let request = Request::get("/").trace(format!("Root={root};Parent={PARENT};Sampled=1"));
        let document = world.record(&request);
        let carried = Carried::by(&world.upstream.last());
        assert!(is_root(&carried.root) && carried.root != ROOT, "after {root:?}: {carried:?}");
        assert_eq!(document["trace_id"], carried.root.as_str(), "after {root:?}");
        assert_eq!(document.get("parent_id"), None, "a parent without its trace is nobody's child");
    }
}

#[test]
fn a_legible_decision_beside_a_malformed_root_is_honoured() {
    let request = |sampled| Request::get("/").trace(format!("Root=bad;Parent={PARENT};Sampled={sampled}"));
    check_new_trace(&World::ruled(ALWAYS), &request(0), false);
    check_new_trace(&World::ruled(NEVER), &request(1), true);
}

#[test]
fn a_decision_without_any_root_is_honoured() {
    check_new_trace(&World::ruled(ALWAYS), &Request::get("/").trace("Sampled=0"), false);
    check_new_trace(&World::ruled(NEVER), &Request::get("/").trace("Sampled=1"), true);
}

#[test]
fn a_root_of_zeros_is_no_root() {
    let world = World::ruled(ALWAYS);
    let zeros = "1-00000000-000000000000000000000000";
    check_new_trace(&world, &Request::get("/").trace(format!("Root={zeros}")), true);
}

#[test]
fn two_trace_headers_become_exactly_one() {
    let world = World::ruled(NEVER);
    let request = Request::get("/").trace(format!("Root={ROOT};Sampled=0")).trace("Root=nonsense");
    let seen = world.forward(&request);
    assert_eq!(seen.values("x-amzn-trace-id").len(), 1);
    assert_eq!(seen.values("traceparent").len(), 1);
}

#[test]
fn the_connection_header_cannot_strip_the_trace_headers() {
    let world = World::ruled(NEVER);
    let request = Request::get("/")
        .header("Connection", "x-amzn-trace-id, traceparent")
        .trace(format!("Root={ROOT};Parent={PARENT};Sampled=0"));
    assert_eq!(world.carry(&request).root, ROOT);
}

#[test]
fn tracestate_baggage_and_request_id_pass_untouched() {
    let world = World::ruled(ALWAYS);
    let sent = [
        ("tracestate", "xrsr=0123456789abcdef, vendor=a:b;c"),
        ("baggage", "user=j%20d;secret, k=v"),
        ("X-Request-Id", "Not-A-Uuid  2"),
    ];
    let mut request = Request::get("/").header("traceparent", traceparent(ROOT, PARENT, "01"));
    for (name, value) in sent {
        request = request.header(name, value);
    }
    let seen = world.forward(&request);
    for (name, value) in sent {
        assert_eq!(seen.header(name).as_deref(), Some(value));
    }
}

#[test]
fn nothing_is_added_for_tracestate_baggage_and_request_id() {
    let seen = World::ruled(ALWAYS).forward(&Request::get("/"));
    for name in ["tracestate", "baggage", "x-request-id"] {
        assert_eq!(seen.header(name), None);
    }
}

#[test]
fn bytes_that_are_not_utf8_in_the_trace_header_do_not_lose_the_request() {
    let world = World::ruled(NEVER);
    let mut header = format!("Root={ROOT};Parent={PARENT};Sampled=1;Odd=").into_bytes();
    header.extend_from_slice(&[0xff, 0xfe, 0x80]);
    world.carry(&Request::get("/").trace(&header));
    world.carry(&Request::get("/").trace([0xc3, 0x28, 0xff]));
    world.carry(&Request::get("/").header("traceparent", [0xff, b'-', 0x80]));
}

#[test]
fn any_bytes_in_the_trace_headers_are_answered_and_repaired() {
    // One sidecar for all cases: what one header leaves behind must not trouble the next request either.
    let world = World::ruled(NEVER);
    let byte = prop_oneof![4 => b' '..=b'~', 1 => Just(b'\t'), 2 => 0x80..=0xffu8];
    let soup = proptest::collection::vec(byte, 0..300);
    let part = prop_oneof![
        Just(format!("Root={ROOT}")),
        Just(format!("Parent={PARENT}")),
        "Sampled=[01?x]?",
        "(Root|Parent|Self|Lineage|Other)=[0-9a-f;=: -]{0,40}",
        "[ ;=]{0,5}",
    ];
    let sentence = proptest::collection::vec(part, 0..8).prop_map(|parts| parts.join(";").into_bytes());
    let header = prop_oneof![soup, sentence];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&(header.clone(), header), |(xray, w3c)| {
            let seen = world.forward(&Request::get("/").trace(&xray).header("traceparent", &w3c));
            Carried::by(&seen);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_traceparent_alone_is_continued_with_its_flag() {
    let world = World::ruled(NEVER);
    for (flags, sampled) in [("01", true), ("03", true), ("00", false), ("02", false)] {
        let request = Request::get("/").header("traceparent", traceparent(ROOT, PARENT, flags));
        let carried = world.carry(&request);
        assert_eq!((carried.root.as_str(), carried.sampled), (ROOT, sampled), "flags {flags}");
    }
    let documents = world.sink.wait_for(2);
    assert!(documents.iter().all(|document| document["parent_id"] == PARENT), "{documents:?}");
}

#[test]
fn a_traceparent_of_a_later_version_is_read_by_its_first_fields() {
    let world = World::ruled(NEVER);
    let later = format!("cc{}-what-the-future-adds", &traceparent(ROOT, PARENT, "01")[2..]);
    let carried = world.carry(&Request::get("/").header("traceparent", later));
    assert_eq!((carried.root.as_str(), carried.sampled), (ROOT, true));
}

#[test]
fn an_invalid_traceparent_starts_a_new_trace() {
    let world = World::ruled(ALWAYS);
    let good = traceparent(ROOT, PARENT, "00");
    let invalid = [
        format!("ff{}", &good[2..]),
        format!("{good}-more"),
        good.to_uppercase(),
        good[..good.len() - 1].to_owned(),
        good.replace(PARENT, "0000000000000000"),
        format!("00-{}-{PARENT}-00", "0".repeat(32)),
        good.replace('-', "_"),
        String::new(),
    ];
    for text in invalid {
        let carried = world.carry(&Request::get("/").header("traceparent", &text));
        assert_ne!(carried.root, ROOT, "after {text:?}");
        assert!(carried.sampled, "the rules decide after {text:?}");
    }
}

#[test]
fn when_both_headers_carry_a_parent_x_ray_wins() {
    let world = World::ruled(NEVER);
    let request = Request::get("/")
        .header("traceparent", traceparent(OTHER_ROOT, "00f067aa0ba902b7", "00"))
        .trace(format!("Root={ROOT};Parent={PARENT};Sampled=1"));
    let document = world.record(&request);
    assert_eq!((&document["trace_id"], &document["parent_id"]), (&ROOT.into(), &PARENT.into()));
    assert_eq!(Carried::by(&world.upstream.last()).root, ROOT);
}

#[test]
fn when_only_traceparent_carries_a_parent_it_wins() {
    let world = World::ruled(NEVER);
    for without_parent in [format!("Root={OTHER_ROOT}"), format!("Root=bad;Parent={PARENT}")] {
        let request =
            Request::get("/").header("traceparent", traceparent(ROOT, PARENT, "01")).trace(without_parent);
        let document = world.record(&request);
        assert_eq!((&document["trace_id"], &document["parent_id"]), (&ROOT.into(), &PARENT.into()));
    }
}

#[test]
fn when_neither_header_carries_a_parent_the_x_ray_root_is_kept() {
    let world = World::ruled(NEVER);
    let request = Request::get("/").header("traceparent", "00-nonsense").trace(format!("Root={ROOT}"));
    assert_eq!(world.carry(&request).root, ROOT);
}

#[test]
fn a_question_is_answered_with_the_decision() {
    let asked = Request::get("/").trace(format!("Root={ROOT};Sampled=?"));
    for (rules, decision) in [(ALWAYS, "Sampled=1"), (NEVER, "Sampled=0")] {
        let response = World::ruled(rules).send(&asked);
        let parts = answered(&response);
        assert!(parts.contains(&format!("Root={ROOT}")), "{parts:?}");
        assert!(parts.contains(&decision.to_owned()), "{parts:?}");
    }
}

#[test]
fn without_a_question_no_trace_header_is_answered() {
    let world = World::ruled(ALWAYS);
    for header in ["", "Sampled=1", "Sampled=0", "Sampled=x"] {
        let response = world.send(&Request::get("/").trace(format!("Root={ROOT};{header}")));
        assert!(answered(&response).is_empty(), "after {header:?}: {:?}", answered(&response));
    }
}

#[test]
fn response_header_names_the_trace_on_every_response_but_the_decision_only_to_a_question() {
    let world = World::start(|options| options.rules(ALWAYS).arg("--response-header"));
    let plain = answered(&world.send(&Request::get("/").trace(format!("Root={ROOT};Sampled=1"))));
    assert!(plain.contains(&format!("Root={ROOT}")), "{plain:?}");
    assert!(!plain.iter().any(|part| part.starts_with("Sampled=")), "{plain:?}");
    let started = answered(&world.send(&Request::get("/")));
    let root = Carried::by(&world.upstream.last()).root;
    assert!(started.contains(&format!("Root={root}")), "{started:?}");
    let asked = answered(&world.send(&Request::get("/").trace(format!("Root={ROOT};Sampled=?"))));
    assert!(asked.contains(&"Sampled=1".to_owned()), "{asked:?}");
    let mut client = world.sidecar.client();
    let doubtful = format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Amzn-Trace-Id: Root={ROOT}\r\n\r\n");
    client.say(doubtful.as_bytes()).unwrap();
    let refused = client.read("GET").unwrap();
    assert_eq!((refused.status, answered(&refused)), (400, vec![format!("Root={ROOT}")]));
}

#[test]
fn a_question_is_answered_once_even_where_the_application_names_the_trace_too() {
    let upstream =
        Upstream::start(|_| Answer::with(200, &[("X-Amzn-Trace-Id", &format!("Root={ROOT}"))], "ok"));
    let world = World::with(upstream, |options: Options| options.rules(ALWAYS));
    let asked = answered(&world.send(&Request::get("/").trace(format!("Root={ROOT};Sampled=?"))));
    assert!(asked.contains(&"Sampled=1".to_owned()), "{asked:?}");
    let plain = answered(&world.send(&Request::get("/").trace(format!("Root={ROOT};Sampled=1"))));
    assert_eq!(plain, [format!("Root={ROOT}")], "the application's own header passes");
}
