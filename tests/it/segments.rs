//! The documents: what is in one, what is never in one, and that there is exactly one per hop.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::sidecar::Options;
use crate::support::sink::{Datagram, HEADER_LINE};
use crate::support::trace::{Carried, PARENT, ROOT, is_hex};
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};

/// The application's part of a segment.
#[track_caller]
pub(crate) fn application_part(document: &Value) -> &Value {
    let parts = document["subsegments"].as_array().unwrap_or_else(|| panic!("no subsegments: {document}"));
    assert_eq!(parts.len(), 1, "{document}");
    &parts[0]
}

/// `error`, `throttle` and `fault` of a document, where absent means false.
pub(crate) fn flags(document: &Value) -> [bool; 3] {
    ["error", "throttle", "fault"].map(|flag| document.get(flag).is_some_and(|value| value == true))
}

/// A fault must be there, with a cause whose exceptions have ids.
#[track_caller]
pub(crate) fn check_fault_with_cause(document: &Value) {
    assert!(flags(document)[2], "no fault: {document}");
    let places = [document, application_part(document)];
    let exceptions = places.iter().find_map(|place| place["cause"]["exceptions"].as_array());
    let exceptions = exceptions.unwrap_or_else(|| panic!("no cause: {document}"));
    assert!(!exceptions.is_empty(), "{document}");
    for exception in exceptions {
        assert!(exception["id"].as_str().is_some_and(|id| is_hex(id, 16)), "{document}");
        assert!(exception["message"].as_str().is_some_and(|text| !text.is_empty()), "{document}");
    }
}

/// The flags that the application's status must set, on the segment and on the application's part.
#[track_caller]
pub(crate) fn check_flags(status: u16, expected: [bool; 3]) {
    let world = World::scripted(move |_| Answer::status(status));
    let document = world.record(&Request::get("/"));
    assert_eq!(document["http"]["response"]["status"], status, "{document}");
    assert_eq!(flags(&document), expected, "segment after {status}: {document}");
    assert_eq!(flags(application_part(&document)), expected, "application's part after {status}: {document}");
}

#[test]
fn a_segment_says_what_was_asked_and_what_was_answered() {
    let world = World::start(|options| options.rules(ALWAYS).args(&["--service-name", "orders"]));
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let before = now();
    let request = Request::new("PUT", "/cart/7?coupon=x").header("User-Agent", "curl/8");
    let document = world.record(&request.header("Host", "shop.example"));
    let carried = Carried::by(&world.upstream.last());

    assert_eq!(document["name"], "orders");
    assert_eq!(document["trace_id"], carried.root.as_str());
    assert!(document["id"].as_str().is_some_and(|id| is_hex(id, 16)), "{document}");
    assert_eq!(document.get("parent_id"), None);
    assert_eq!(document.get("type"), None, "a segment has no type");
    assert_eq!(document.get("in_progress"), None);
    let (start, end) = (document["start_time"].as_f64().unwrap(), document["end_time"].as_f64().unwrap());
    // A millisecond of grace: the wall clock may be read once and the rest measured monotonically.
    assert!(before - 0.001 <= start && start <= end && end <= now() + 0.001, "{document}");
    let http = &document["http"];
    assert_eq!(http["request"]["method"], "PUT");
    assert_eq!(http["request"]["url"], "http://shop.example/cart/7");
    assert_eq!(http["request"]["user_agent"], "curl/8");
    assert_eq!(http["request"]["client_ip"], "127.0.0.1");
    assert_ne!(http["request"]["x_forwarded_for"], true);
    assert_eq!(http["response"]["status"], 200);
    assert_eq!(http["response"]["content_length"], 2);
    assert_eq!(document["aws"]["xray"]["sampling_rule_name"], "Default");
    assert_eq!(flags(&document), [false; 3]);
    assert_eq!(document.get("cause"), None);
}

#[test]
fn the_application_s_part_is_a_subsegment_whose_id_the_application_saw() {
    let world = World::ruled(ALWAYS);
    let document = world.record(&Request::get("/"));
    let carried = Carried::by(&world.upstream.last());
    let part = application_part(&document);
    assert_eq!(part["id"], carried.parent.as_str());
    assert_ne!(part["id"], document["id"]);
    assert_eq!(part.get("namespace"), None, "with a namespace it would be a node of its own on the map");
    assert!(part["name"].as_str().is_some_and(|name| !name.is_empty()), "{document}");
    let time = |value: &Value, key: &str| value[key].as_f64().unwrap();
    assert!(time(&document, "start_time") <= time(part, "start_time"), "{document}");
    assert!(time(part, "start_time") <= time(part, "end_time"), "{document}");
    assert!(time(part, "end_time") <= time(&document, "end_time"), "{document}");
}

#[test]
fn the_caller_s_parent_is_the_segment_s_parent() {
    let world = World::ruled(NEVER);
    let document = world.record(&Request::get("/").trace(format!("Root={ROOT};Parent={PARENT};Sampled=1")));
    assert_eq!((&document["trace_id"], &document["parent_id"]), (&ROOT.into(), &PARENT.into()));
    assert_eq!(document["aws"]["xray"].get("sampling_rule_name"), None, "no rule decided");
}

#[test]
fn a_datagram_is_the_header_line_and_compact_json_with_the_own_id_first() {
    let world = World::ruled(ALWAYS);
    let document = world.record(&Request::get("/"));
    let datagram = &world.sink.datagrams()[0];
    assert!(datagram.0.starts_with(HEADER_LINE.as_bytes()));
    let text = datagram.text();
    // The X-Ray daemon takes the first `"id":"` for the segment's own.
    assert!(text.starts_with(&format!("{{\"id\":{}", document["id"])), "{text}");
    let mut inside_string = false;
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => inside_string = !inside_string,
            _ => assert!(inside_string || !character.is_whitespace(), "not compact: {text}"),
        }
    }
}

#[test]
fn statuses_set_the_flags_that_x_ray_expects() {
    for status in [200, 204, 301, 304] {
        check_flags(status, [false, false, false]);
    }
    for status in [400, 404, 418, 499] {
        check_flags(status, [true, false, false]);
    }
    check_flags(429, [true, true, false]);
    for status in [500, 503, 599] {
        check_flags(status, [false, false, true]);
    }
}

#[test]
fn content_length_is_the_bytes_of_the_body() {
    let world = World::scripted(|seen| match seen.target().as_str() {
        "/counted" => Answer::with(200, &[], vec![b'x'; 100_000]),
        "/chunks" => Answer::chunked(&[], &["one", "two", "three"]),
        _ => Answer::status(204),
    });
    let length = |path: &str| {
        world.record(&Request::get(path))["http"]["response"].get("content_length").and_then(Value::as_i64)
    };
    assert_eq!(length("/counted"), Some(100_000));
    assert_eq!(length("/chunks"), Some(11));
    assert!(matches!(length("/none"), None | Some(0)));
}

/// Starts with this name; the segments must carry that one.
#[track_caller]
fn check_name(given: &str, expected: &str) {
    let world = World::start(|options| options.rules(ALWAYS).args(&["--service-name", given]));
    assert_eq!(world.record(&Request::get("/"))["name"], expected);
}

#[test]
fn names_are_repaired_by_leaving_out_what_x_ray_forbids() {
    check_name("a?b*c", "abc");
    check_name("shop (blue)!;", "shop blue");
    check_name("Läden_.:/%&#=+\\-@9", "Läden_.:/%&#=+\\-@9");
    check_name(&"ä".repeat(250), &"ä".repeat(200));
}

/// The client's address that a segment must give for this `X-Forwarded-For`, and whether it came from there.
#[track_caller]
fn check_client_ip(forwarded_for: &str, client_ip: &str, forwarded: bool) {
    let world = World::ruled(ALWAYS);
    let document = world.record(&Request::get("/").header("X-Forwarded-For", forwarded_for));
    let request = &document["http"]["request"];
    assert_eq!(request["client_ip"], client_ip, "after {forwarded_for:?}");
    assert_eq!(request["x_forwarded_for"] == true, forwarded, "after {forwarded_for:?}");
}

#[test]
fn behind_a_private_peer_the_nearest_public_address_is_the_client() {
    check_client_ip("8.8.8.8", "8.8.8.8", true);
    check_client_ip("8.8.8.8, 10.0.0.5", "8.8.8.8", true);
    check_client_ip("1.1.1.1, 8.8.8.8,192.168.1.1", "8.8.8.8", true);
    check_client_ip("2001:4860:4860::8888", "2001:4860:4860::8888", true);
}

#[test]
fn an_illegible_forwarded_for_leaves_the_peer() {
    check_client_ip("unknown, _hidden, 999.1.1.1", "127.0.0.1", false);
}

#[test]
fn no_secret_reaches_any_sink_log_or_metric() {
    const CANARY: &str = "c4n4ry";
    let answer = Answer::with(500, &[("Set-Cookie", "sid=c4n4ry"), ("X-Reply", "c4n4ry")], "body c4n4ry");
    let upstream = Upstream::start(move |seen| match seen.target().starts_with("/reset") {
        true => Answer::reset_at_once(),
        false => answer.clone(),
    });
    let mut world = World::with(upstream, |options: Options| {
        options.rules(ALWAYS).args(&["--sink", "stdout", "--sink", "store"])
    });
    for path in ["/login", "/reset"] {
        let request = Request::post(&format!("{path}?token={CANARY}"), format!("password={CANARY}"));
        let request = request
            .header("Authorization", format!("Bearer {CANARY}"))
            .header("Cookie", format!("sid={CANARY}"))
            .header("Referer", format!("http://app.test/?t={CANARY}"))
            .header("X-Api-Key", CANARY);
        world.send(&request);
    }
    world.sink.wait_for(2);
    for path in ["/status", "/rules", "/config", "/metrics", "/"] {
        let text = world.sidecar.admin("GET", path).text();
        assert!(!text.contains(CANARY), "{path} tells: {text}");
    }
    let metrics = world.scrape().text;
    let exit = world.sidecar.stop();
    let datagrams: String = world.sink.settle().iter().map(Datagram::text).collect();
    for (place, text) in
        [("metrics", metrics), ("log", exit.stderr), ("stdout", exit.stdout), ("UDP", datagrams)]
    {
        assert!(!text.contains(CANARY), "{place} tells: {text}");
    }
}

#[test]
fn a_body_that_breaks_off_is_a_fault_with_a_cause() {
    let world = World::scripted(|seen| match seen.target().as_str() {
        "/length" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").then_reset(),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").then_close(),
    });
    for path in ["/length", "/chunks"] {
        let before = world.sink.len();
        let whole = world.sidecar.client().try_send(&Request::get(path));
        assert!(whole.is_err(), "{path} looked complete: {whole:?}");
        check_fault_with_cause(&world.sink.wait_for(before + 1)[before]);
    }
}

/// A client that left: recorded once, noted, and nobody's fault.
#[track_caller]
fn check_client_closed(mut world: World, gate: &Gate) {
    let document = world.sink.wait_for(1).swap_remove(0);
    assert_eq!(document["annotations"]["client_closed"], true, "{document}");
    assert!(!flags(&document)[2], "{document}");
    // What the application says afterwards must not close the hop a second time.
    gate.open();
    assert_eq!(world.stop_and_read().len(), 1);
}

#[test]
fn a_client_that_leaves_before_the_answer_is_noted_once_and_no_fault() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::ok().held_by(&held));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    world.upstream.wait_for(1);
    drop(client);
    check_client_closed(world, &gate);
}

#[test]
fn a_client_that_leaves_within_its_body_is_noted_once_and_no_fault() {
    const BODIES: [&str; 2] =
        ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"];
    for head in BODIES {
        for reset in [false, true] {
            let world = World::ruled(ALWAYS);
            let mut client = TcpStream::connect(world.sidecar.listen).unwrap();
            client.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}").as_bytes()).unwrap();
            eventually("the application has a connection", || world.upstream.n_connections() == 1);
            if reset {
                socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            world.sink.wait_for(1);
            assert_eq!(world.scrape().sum("collimator_upstream_errors_total", &[]), 0.0, "{head:?} {reset}");
            check_client_closed(world, &Gate::default());
        }
    }
}

#[test]
fn a_client_that_leaves_within_the_answer_is_noted_once_and_no_fault() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| {
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").then_after(&held, vec![b'x'; 96])
    });
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    client.read_head().unwrap();
    drop(client);
    check_client_closed(world, &gate);
}

#[test]
fn every_hop_is_closed_exactly_once() {
    let mut world = World::scripted(|seen| match seen.turn % 3 {
        0 => Answer::ok(),
        1 => Answer::chunked(&[], &["a", "b"]),
        _ => Answer::status(404),
    });
    world.burst_any(60, &Request::get("/"));
    let documents = world.stop_and_read();
    assert_eq!(documents.len(), 60);
    let ids: std::collections::BTreeSet<&str> = documents.iter().filter_map(|d| d["id"].as_str()).collect();
    assert_eq!(ids.len(), 60, "ids are unique");
}
