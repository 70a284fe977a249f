//! Requests that two readers could read differently: refused, or handed on as exactly one that all read alike.

use crate::support::client::{Client, Request};
use crate::support::scrape::Scrape;
use crate::support::world::{ALWAYS, World};

const REFUSED: &[(&str, &str)] = &[
    ("no Host", "GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a Host with a user", "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n"),
    ("a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    ("a Host with a word for a port", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"),
    ("several lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx"),
    ("a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
    ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx"),
    ("a length in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx"),
    ("an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
    ("a huge length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx"),
    ("chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked on two lines",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "identity and chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked and identity",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    ("gzip and chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "a coding that only looks like chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    ("quoted chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("a coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    ("a line folded by a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"),
    ("a fold on the first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"),
    ("a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n"),
    ("a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n"),
    ("line feeds alone", "GET / HTTP/1.1\nHost: a\nX: 1\n\n"),
    ("a line feed alone", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"),
    ("a line feed alone at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ("a line feed before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"),
    ("a control byte in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x072\r\n\r\n"),
    ("a control byte in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x07: 1\r\n\r\n"),
    ("a NUL in the target", "GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("`*` with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an authority for a target", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a user in the target", "GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no version", "GET /\r\nHost: a\r\n\r\n"),
    ("a version that does not exist", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("version 2 by name", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("a version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("a method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method without end", "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no request at all", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
];

#[test]
fn ambiguous_requests_are_refused_and_end_their_connection() {
    let world = World::ruled(ALWAYS);
    for (what, bytes) in REFUSED {
        let mut client = Client::connect(world.sidecar.listen);
        client.say(format!("{bytes}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let answer = client.read("GET").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(client.ends_silently(), "{what}: the connection goes on");
    }
    assert_eq!(world.upstream.n_seen(), 0, "{:?}", world.upstream.seen());
    // The last connection may be counted a moment after its client has seen it end.
    let refused =
        |scrape: &Scrape| scrape.sum("collimator_connections_refused_total", &[("reason", "malformed")]);
    let all = REFUSED.len() as f64;
    let scrape = world.sidecar.scrape_until("all are counted", |scrape| refused(scrape) >= all);
    assert_eq!(refused(&scrape), all, "each once");
}

#[test]
fn what_is_read_generously_goes_on_as_one_clean_request() {
    // The request, and the body that the application must see.
    const CLEAN: &[(&str, &str, &str)] = &[
        ("empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        (
            "the same length twice",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
        ),
        (
            "length and chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
        (
            "chunked and length",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
        ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("an absolute target", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        (
            "a chunk extension",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
    ];
    for (what, bytes, body) in CLEAN {
        let world = World::ruled(ALWAYS);
        let mut client = Client::connect(world.sidecar.listen);
        client.say(bytes.as_bytes()).unwrap();
        assert_eq!(client.read("GET").unwrap().status, 200, "{what}");
        let seen = world.upstream.last();
        assert_eq!(seen.body, body.as_bytes(), "{what}");
        assert_eq!(world.upstream.n_seen(), 1, "{what}");
        let head = String::from_utf8(seen.head.clone()).unwrap();
        assert_eq!(head.matches('\n').count(), head.matches("\r\n").count(), "{what}: {head}");
        let framings = seen.values("content-length").len() + seen.values("transfer-encoding").len();
        assert_eq!(framings, usize::from(!body.is_empty()), "{what}: {head}");
        assert_eq!(seen.values("host").len(), 1, "{what}");
        let host = if what.contains("absolute") { "b" } else { "a" };
        assert_eq!(seen.header("host").as_deref(), Some(host), "{what}");
    }
}

#[test]
fn after_length_and_chunked_the_connection_ends() {
    let world = World::ruled(ALWAYS);
    let mut client = Client::connect(world.sidecar.listen);
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.say(format!("{request}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(client.read("POST").unwrap().status, 200);
    assert!(client.ends_silently(), "a second request was read");
    assert_eq!(world.upstream.n_seen(), 1);
}

#[test]
fn bad_chunks_are_never_handed_on_as_a_whole_body() {
    for (what, chunks) in [
        ("no number", "zz\r\nhi\r\n0\r\n\r\n"),
        ("a minus", "-2\r\nhi\r\n0\r\n\r\n"),
        ("a prefix", "0x2\r\nhi\r\n0\r\n\r\n"),
        ("too large", "ffffffffffffffffff\r\nhi\r\n0\r\n\r\n"),
        ("no CRLF after the data", "2\r\nhiXX0\r\n\r\n"),
        ("LF alone after the size", "2\nhi\r\n0\r\n\r\n"),
    ] {
        let mut world = World::ruled(ALWAYS);
        let mut client = Client::connect(world.sidecar.listen);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.say(format!("{head}{chunks}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let answer = client.read("POST").unwrap_or_else(|error| panic!("{what}: {error}"));
        let error = answer.header("collimator-error");
        assert_eq!((answer.status, error.as_deref()), (400, Some("bad-request")), "{what}");
        assert!(client.ends_silently(), "{what}");
        // The application may have seen the head, but never the end of the message.
        assert_eq!(world.upstream.n_seen(), 0, "{what}");
        let scrape = world.scrape();
        assert_eq!(
            scrape.sum("collimator_connections_refused_total", &[("reason", "malformed")]),
            1.0,
            "{what}"
        );
        assert_eq!(scrape.sum("collimator_upstream_errors_total", &[]), 0.0, "{what}");
        let documents = world.stop_and_read();
        assert_eq!((&documents[0]["error"], documents[0].get("fault")), (&true.into(), None), "{what}");
    }
}

#[test]
fn a_nomination_strips_no_header_that_frames_routes_or_traces() {
    let world = World::ruled(ALWAYS);
    let request = Request::post("/", "hi")
        .header(
            "Connection",
            "X-Amzn-Trace-Id, traceparent, tracestate, host, content-length, x-forwarded-for, x-mine",
        )
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("tracestate", "a=1")
        .header("X-Mine", "1");
    let seen = world.forward(&request);
    assert_eq!(seen.body, b"hi");
    for name in ["x-amzn-trace-id", "traceparent", "tracestate", "host", "content-length", "x-forwarded-for"]
    {
        assert!(seen.header(name).is_some(), "{name}");
    }
    assert_eq!(seen.header("x-mine"), None);
}

#[test]
fn names_in_a_responses_connection_are_dropped_too() {
    let world = World::scripted(|_| {
        let headers = [("Connection", "X-Secret"), ("X-Secret", "1"), ("X-Kept", "1")];
        crate::support::upstream::Answer::with(200, &headers, "ok")
    });
    let answer = world.send(&Request::get("/"));
    assert_eq!((answer.header("x-secret"), answer.header("x-kept").as_deref()), (None, Some("1")));
}
