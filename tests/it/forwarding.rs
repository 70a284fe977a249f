//! Everything but the trace: header fields, forwarded-for, bodies and framing pass as HTTP says they must.

use std::collections::BTreeSet;

use crate::support::client::{Client, Framing, Request};
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};

fn world_with(answer: Answer) -> World {
    World::with(Upstream::start(move |_| answer.clone()), |options| options.rules(NEVER))
}

fn names(fields: Vec<(String, Vec<u8>)>) -> BTreeSet<String> {
    fields.into_iter().map(|(name, _)| name.to_lowercase()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn nothing_but_the_promised_headers_is_added_to_a_request() {
    let seen = World::ruled(NEVER).forward(&Request::get("/").header("Accept", "*/*"));
    let expected = [
        "host",
        "accept",
        "x-amzn-trace-id",
        "traceparent",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    assert_eq!(names(seen.fields()), set(&expected));
}

#[test]
fn nothing_but_a_date_is_added_to_an_answer() {
    let world = world_with(Answer::with(200, &[("X-App", "1")], "ok"));
    let response = world.send(&Request::get("/"));
    assert_eq!(names(response.fields()), set(&["x-app", "content-length", "date"]));
}

#[test]
fn the_application_s_own_date_and_server_stand() {
    let date = "Thu, 01 Jan 1998 00:00:00 GMT";
    let world = world_with(Answer::with(200, &[("Date", date), ("Server", "app/1")], "ok"));
    let response = world.send(&Request::get("/"));
    assert_eq!(response.header("date").as_deref(), Some(date));
    assert_eq!(response.header("server").as_deref(), Some("app/1"));
}

#[test]
fn method_target_and_host_arrive_as_they_were_sent() {
    let world = World::ruled(NEVER);
    let request = Request::new("DELETE", "/a%20b/../c//?q=1&r=%2F").header("Host", "Shop.Example:8443");
    let seen = world.forward(&request);
    assert_eq!(seen.request_line(), "DELETE /a%20b/../c//?q=1&r=%2F HTTP/1.1");
    assert_eq!(seen.header("host").as_deref(), Some("Shop.Example:8443"));
}

#[test]
fn header_case_is_kept_both_ways() {
    let world = world_with(Answer::with(200, &[("X-RePlY-CaSe", "1"), ("ETag", "\"x\"")], "ok"));
    let response = world.send(&Request::get("/").header("X-CuStOm-CaSe", "1").header("DNT", "1"));
    let said: Vec<String> = world.upstream.last().fields().into_iter().map(|(name, _)| name).collect();
    assert!(said.contains(&"X-CuStOm-CaSe".to_owned()) && said.contains(&"DNT".to_owned()), "{said:?}");
    let heard: Vec<String> = response.fields().into_iter().map(|(name, _)| name).collect();
    assert!(heard.contains(&"X-RePlY-CaSe".to_owned()) && heard.contains(&"ETag".to_owned()), "{heard:?}");
}

#[test]
fn repeated_headers_stay_apart_and_in_order() {
    let world = world_with(Answer::with(200, &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "ok"));
    let response = world.send(&Request::get("/").header("X-Many", "1").header("X-Many", "2"));
    assert_eq!(response.values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(world.upstream.last().values("x-many"), ["1", "2"]);
}

#[test]
fn hop_by_hop_headers_of_a_request_end_at_the_sidecar() {
    let world = World::ruled(NEVER);
    let seen = world.forward(
        &Request::get("/")
            .header("Connection", "keep-alive, X-Only-This-Hop")
            .header("X-Only-This-Hop", "1")
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Connection", "keep-alive")
            .header("TE", "gzip"),
    );
    for name in ["x-only-this-hop", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.header(name), None, "{name} is hop by hop");
    }
    let connection = seen.header("connection").unwrap_or_default();
    assert!(!connection.to_lowercase().contains("x-only-this-hop"), "{connection}");
}

#[test]
fn hop_by_hop_headers_of_an_answer_end_at_the_sidecar() {
    let hop = [("Connection", "X-Only-This-Hop"), ("X-Only-This-Hop", "1"), ("Keep-Alive", "timeout=5")];
    let world = world_with(Answer::with(200, &hop, "ok"));
    let response = world.send(&Request::get("/"));
    for name in ["x-only-this-hop", "keep-alive"] {
        assert_eq!(response.header(name), None, "{name} is hop by hop");
    }
}

#[test]
fn forwarded_headers_are_written_where_there_are_none() {
    let seen = World::ruled(NEVER).forward(&Request::get("/").header("Host", "shop.example"));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("shop.example"));
}

#[test]
fn a_client_that_names_no_host_is_not_said_to_have_named_one() {
    let world = World::ruled(ALWAYS);
    let mut client = world.sidecar.client();
    client.say(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.read("GET").unwrap().status, 200);
    let seen = world.upstream.last();
    let application = world.upstream.address().to_string();
    assert_eq!(seen.header("host"), Some(application.clone()), "HTTP/1.1 has to name one");
    assert_eq!(seen.header("x-forwarded-host"), None);
    let document = world.sink.wait_for(1).remove(0);
    assert_eq!(document["http"]["request"]["url"], format!("http://{application}/x"));
}

#[test]
fn the_peer_is_appended_to_forwarded_for_and_the_rest_stands() {
    let seen = World::ruled(NEVER).forward(
        &Request::get("/")
            .header("X-Forwarded-For", "8.8.8.8, 10.0.0.1")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "outside.example"),
    );
    assert_eq!(seen.values("x-forwarded-for").join(", "), "8.8.8.8, 10.0.0.1, 127.0.0.1");
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("outside.example"));
}

#[test]
fn bodies_pass_both_ways_byte_for_byte() {
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let world = world_with(Answer::with(200, &[], &bytes));
    let response = world.send(&Request::post("/", &bytes));
    assert!(response.body == bytes, "the answer's body was changed");
    assert!(world.upstream.last().body == bytes, "the request's body was changed");
}

#[test]
fn a_length_stays_a_length_and_chunks_stay_chunks() {
    let upstream = Upstream::start(|seen| match seen.target().as_str() {
        "/chunks" => Answer::chunked(&[], &["one", "two", "three"]),
        _ => Answer::with(200, &[], "counted"),
    });
    let world = World::with(upstream, |options| options.rules(NEVER));
    let counted = world.send(&Request::get("/"));
    assert_eq!((counted.framing, counted.text().as_str()), (Framing::Length, "counted"));
    let chunks = world.send(&Request::get("/chunks"));
    assert_eq!((chunks.framing, chunks.text().as_str()), (Framing::Chunked, "onetwothree"));
}

#[test]
fn a_chunked_request_body_arrives_whole() {
    let world = World::ruled(NEVER);
    let mut client = world.sidecar.client();
    client
        .say(b"POST /up HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(client.read("POST").unwrap().status, 200);
    assert_eq!(world.upstream.last().body, b"abcdefg");
}

#[test]
fn answers_without_body_keep_their_connection_usable() {
    let upstream = Upstream::start(|seen| match seen.target().as_str() {
        "/head" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        "/none" => Answer::status(204),
        "/same" => Answer::status(304),
        _ => Answer::ok(),
    });
    let world = World::with(upstream, |options| options.rules(NEVER));
    let mut client = world.sidecar.client();
    let head = client.send(&Request::new("HEAD", "/head"));
    assert_eq!(head.header("content-length").as_deref(), Some("5000"));
    assert_eq!(client.send(&Request::get("/none")).status, 204);
    assert_eq!(client.send(&Request::get("/same")).status, 304);
    assert_eq!(client.send(&Request::get("/")).text(), "ok");
}

#[test]
fn an_answer_streams_while_the_application_is_still_talking() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| {
        let first = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        Answer::raw(first).then_after(&held, "4\r\nlast\r\n0\r\n\r\n")
    });
    let world = World::with(upstream, |options| options.rules(NEVER));
    let mut client = world.sidecar.client();
    client.say(&Request::get("/").to_bytes()).unwrap();
    // The head arrives although the gate is shut: nothing was gathered.
    let (status, _) = client.read_head().unwrap();
    assert_eq!(status, 200);
    gate.open();
}

#[test]
fn requests_of_one_connection_are_answered_in_turn_and_upstream_connections_are_reused() {
    let world = World::ruled(NEVER);
    let mut client = world.sidecar.client();
    for turn in 0..20 {
        assert_eq!(client.send(&Request::get(&format!("/{turn}"))).status, 200);
        assert_eq!(world.upstream.last().target(), format!("/{turn}"));
    }
    assert_eq!(world.upstream.n_connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|seen| Answer::with(200, &[], seen.target()));
    let world = World::with(upstream, |options| options.rules(NEVER));
    let mut client = world.sidecar.client();
    let both = [Request::get("/first").to_bytes(), Request::get("/second").to_bytes()].concat();
    client.say(&both).unwrap();
    assert_eq!(client.read("GET").unwrap().text(), "/first");
    assert_eq!(client.read("GET").unwrap().text(), "/second");
}

#[test]
fn ambiguous_framing_is_refused_and_never_forwarded() {
    let world = World::ruled(NEVER);
    let smuggled = [
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "Content-Length: 5\r\nContent-Length: 5, 6\r\n\r\nhello!",
        "Content-Length: -1\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: gzip\r\n\r\nhello",
    ];
    for rest in smuggled {
        let mut client = Client::connect(world.sidecar.listen);
        client.say(format!("POST / HTTP/1.1\r\nHost: app.test\r\n{rest}").as_bytes()).unwrap();
        // A refusal, or an end without one: anything but an answer of the application.
        let answered = client.read("POST").is_ok_and(|response| response.status < 400);
        assert!(!answered, "after {rest:?}");
    }
    assert_eq!(world.upstream.n_seen(), 0);
}

#[test]
fn a_head_over_64_kib_is_refused_and_the_sidecar_lives() {
    let world = World::ruled(NEVER);
    let mut client = world.sidecar.client();
    let request = Request::get("/").header("X-Large", "x".repeat(80 * 1024));
    // The refusal may come, and the connection end, before the whole head is said.
    let response = client.try_send(&request);
    assert!(response.is_err() || response.is_ok_and(|response| response.status == 431));
    assert_eq!(world.upstream.n_seen(), 0);
    world.forward(&Request::get("/"));
}

#[test]
fn a_head_under_the_limit_passes_with_200_headers() {
    let world = World::ruled(NEVER);
    let mut request = Request::get("/").header("X-Large", "x".repeat(32 * 1024));
    for index in 0..150 {
        request = request.header(&format!("X-Header-{index}"), "1");
    }
    let seen = world.forward(&request);
    assert_eq!(seen.header("x-header-149").as_deref(), Some("1"));
}

#[test]
fn a_request_without_one_host_is_refused_and_its_connection_closed() {
    let world = World::start(|options| options);
    for head in ["", "Host: a\r\nHost: b\r\n"] {
        let mut client = world.sidecar.client();
        client.say(format!("GET / HTTP/1.1\r\n{head}\r\n").as_bytes()).unwrap();
        let response = client.read("GET").unwrap();
        assert_eq!(response.status, 400, "{head:?}");
        assert!(response.closes() && client.ends_silently(), "{head:?}");
    }
    assert_eq!(world.upstream.n_seen(), 0, "none of it reached the application");
}
