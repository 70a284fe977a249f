//! A secret in every place that is not ours to tell, and a look into everything that we tell.

mod streams;

use crate::support::client::{Client, Request};
use crate::support::eventually;
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Gate, Seen, Upstream};
use crate::support::world::{ALWAYS, World};

const CANARY: &str = "CANARY7f3a9c";

/// The application tells secrets too, and breaks off with one on its lips.
fn application(gate: &Gate) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    let gate = gate.clone();
    let secret = CANARY.to_owned();
    move |seen| {
        let headers = [
            ("Set-Cookie", format!("session={secret}")),
            ("Location", format!("https://user:{secret}@app.test/?token={secret}")),
            ("X-Api-Key", secret.clone()),
            ("WWW-Authenticate", format!("Bearer {secret}")),
        ];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let target = seen.target();
        match target.split('?').next().unwrap_or_default() {
            "/error" => Answer::with(500, &headers, format!("password {secret}")),
            "/reset" => Answer::reset_at_once(),
            "/garbage" => {
                Answer::raw(format!("{secret} {secret}\r\n{secret}: {secret}\r\n\r\n")).then_close()
            }
            "/garbage-header" => {
                Answer::raw(format!("HTTP/1.1 200 OK\r\nX-\x01{secret}: {secret}\r\n\r\n")).then_close()
            }
            "/half" => {
                Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{secret}")).then_close()
            }
            "/slow" => Answer::ok().held_by(&gate),
            "/tunnel" => Answer::raw(format!(
                "HTTP/1.1 101 {secret}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Api-Key: {secret}\r\n\
                 Sec-WebSocket-Accept: {secret}\r\nSec-WebSocket-Protocol: {secret}\r\n\r\n{secret}"
            )),
            _ => Answer::with(200, &headers, format!("password {secret}")),
        }
    }
}

/// A request that carries the secret wherever a request can carry one, but for what is recorded on purpose: path, host
/// and user agent.
fn loaded(method: &str, path: &str) -> Request {
    let target = format!("{path}?token={CANARY}&{CANARY}=1#{CANARY}");
    let request = match method {
        "POST" => Request::post(&target, format!("card={CANARY}")),
        _ => Request::new(method, &target),
    };
    request
        .header("Authorization", format!("Bearer {CANARY}"))
        .header("Proxy-Authorization", format!("Basic {CANARY}"))
        .header("Cookie", format!("session={CANARY}"))
        .header("Referer", format!("https://app.test/?token={CANARY}"))
        .header("X-Api-Key", CANARY)
        .header(&format!("X-{CANARY}"), "1")
        .header("X-Amzn-Trace-Id", format!("Root={CANARY};Parent={CANARY};Sampled=1;Token={CANARY}"))
        .header("traceparent", format!("00-{CANARY}"))
        .header("tracestate", format!("vendor={CANARY}"))
        .header("baggage", format!("user={CANARY}"))
        .header("X-Request-Id", CANARY)
        .header("X-Forwarded-For", CANARY)
        .header("X-Forwarded-Host", CANARY)
        .header("Forwarded", format!("for={CANARY}"))
}

/// What the application answers in different ways.
const PATHS: [&str; 6] = ["/ok", "/error", "/reset", "/garbage", "/garbage-header", "/half"];

/// Everything that leads a request through another part of the code; gives the number of hops.
fn send_all(world: &World, gate: &Gate) -> usize {
    let mut n_hops = 0;
    for path in PATHS {
        for method in ["GET", "POST", "DELETE"] {
            drop(world.sidecar.client().try_send(&loaded(method, path)));
            n_hops += 1;
        }
    }
    // An absolute target with a name and a password in it.
    let mut client = world.sidecar.client();
    let absolute =
        format!("GET http://user:{CANARY}@app.test/absolute?{CANARY} HTTP/1.1\r\nHost: app.test\r\n\r\n");
    client.say(absolute.as_bytes()).unwrap();
    drop(client.read("GET"));
    send_nonsense(world);
    n_hops += 1 + tunnel(world);
    n_hops += streams::send_all(world, &PATHS);
    // A client that leaves.
    let before = world.upstream.n_seen();
    let mut leaving: Client = world.sidecar.client();
    leaving.say(&loaded("GET", "/slow").to_bytes()).unwrap();
    world.upstream.wait_for(before + 1);
    drop(leaving);
    world.sidecar.scrape_until("nothing is in flight", |scrape| {
        scrape.sum("collimator_requests_in_flight", &[]) == 0.0
    });
    gate.open();
    n_hops + 1
}

/// Not one of ours: too large, not HTTP, two hosts, or a body of which nobody can say where it ends.
fn send_nonsense(world: &World) {
    let before = world.upstream.n_seen();
    let framed = |framing: &str| {
        format!("POST /?{CANARY} HTTP/1.1\r\nHost: a\r\nX-Api-Key: {CANARY}\r\n{framing}\r\n\r\n{CANARY}")
    };
    for (nonsense, status) in [
        (format!("GET /{CANARY} HTTP/1.1\r\nHost: a\r\nHost: {CANARY}\r\n\r\n"), 400),
        (format!("{CANARY} {CANARY} {CANARY}\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", CANARY.repeat(8000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{CANARY}\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX-Folded: a\r\n {CANARY}\r\n\r\n"), 400),
        (framed(&format!("Content-Length: {CANARY}")), 400),
        (framed("Content-Length: 12\r\nContent-Length: 13"), 400),
        (framed("Content-Length: 12\r\nTransfer-Encoding: chunked"), 400),
        (framed(&format!("Transfer-Encoding: {CANARY}")), 400),
        (framed(&format!("Transfer-Encoding: chunked, {CANARY}")), 400),
    ] {
        let mut client = world.sidecar.client();
        client.say(nonsense.as_bytes()).unwrap();
        let answer = client.read("GET").unwrap();
        assert_eq!(answer.status, status, "{}", &nonsense[..nonsense.len().min(200)]);
        check_clean("an answer of our own", &String::from_utf8_lossy(&[answer.head, answer.body].concat()));
    }
    assert_eq!(world.upstream.n_seen(), before, "some of it was let through");
}

/// The secret before, in and after a switch of protocols; and a switch to what nobody knows. Gives the number of hops.
fn tunnel(world: &World) -> usize {
    let switch = |protocol: &str| {
        loaded("GET", "/tunnel")
            .header("Connection", "Upgrade")
            .header("Upgrade", protocol)
            .header("Sec-WebSocket-Key", CANARY)
            .header("Sec-WebSocket-Protocol", CANARY)
    };
    let mut client = world.sidecar.client();
    client.say(&switch("websocket").to_bytes()).unwrap();
    let (status, _) = client.read_head().unwrap();
    assert_eq!(status, 101);
    client.say(CANARY.as_bytes()).unwrap();
    assert_eq!(client.exactly(CANARY.len()).unwrap(), CANARY.as_bytes(), "what came through the tunnel");
    drop(client);
    world.sidecar.scrape_until("the tunnel is gone", |scrape| scrape.sum("collimator_tunnels", &[]) == 0.0);
    let mut client = world.sidecar.client();
    client.say(&switch(CANARY).to_bytes()).unwrap();
    drop(client.read_head());
    2
}

#[track_caller]
fn check_clean(place: &str, text: &str) {
    assert!(!text.is_empty(), "{place} says nothing: nothing was tested");
    let hit = text.lines().find(|line| line.to_lowercase().contains(&CANARY.to_lowercase()));
    assert!(hit.is_none(), "{place} tells the secret: {hit:?}");
}

/// A sidecar that records everything and tells all it can, in every place it has.
fn recording(options: Options, arguments: &[&str]) -> Options {
    options
        .rules(ALWAYS)
        .args(&["--sink", "store", "--sink", "stdout", "--access-log", "all", "--log-level", "trace"])
        .args(arguments)
}

/// Sends everything through a sidecar set up like this, and looks everywhere.
#[track_caller]
fn check_secret_stays(arguments: &[&str]) {
    let gate = Gate::default();
    let upstream = Upstream::start(application(&gate));
    let mut world = World::with(upstream, |options| recording(options, arguments));
    let n_hops = send_all(&world, &gate);
    look_everywhere(&mut world.sidecar, &world.sink, n_hops);
}

/// Looks at everything that a sidecar tells, after so many hops at least, and stops it.
#[track_caller]
fn look_everywhere(sidecar: &mut Sidecar, sink: &Sink, n_hops: usize) {
    sink.wait_for(n_hops);
    sidecar.scrape_until("the store has them", |scrape| scrape.sink("store").emitted >= n_hops as f64);
    for path in [
        "/",
        "/status",
        "/config",
        "/rules",
        "/metrics",
        "/api/v1/status",
        "/api/v1/graph",
        "/api/v1/traces",
        "/api/v1/traces?limit=200",
    ] {
        let response = sidecar.admin("GET", path);
        assert_eq!(response.status, 200, "{path}");
        check_clean(path, &response.text());
        check_clean(path, &String::from_utf8_lossy(&response.head));
    }
    let mut n_traces = 0;
    for document in sink.documents() {
        let trace = document["trace_id"].as_str().unwrap();
        let response = sidecar.admin("GET", &format!("/api/v1/traces/{trace}"));
        n_traces += usize::from(response.status == 200);
        check_clean("a trace of the page", &response.text());
    }
    assert!(n_traces > 0, "the page knows none of them");
    check_clean("/metrics", &sidecar.side("GET", "/metrics").text());
    let exit = sidecar.stop();
    exit.check(0);
    assert!(exit.stderr.lines().count() > n_hops, "the log has a line for each");
    check_clean("the log", &exit.stderr);
    check_clean("stdout", &exit.stdout);
    let datagrams = sink.settle();
    assert!(datagrams.len() >= n_hops, "{} documents of {n_hops}", datagrams.len());
    for datagram in datagrams {
        check_clean("UDP", &datagram.text());
    }
}

#[test]
fn a_secret_in_a_request_or_an_answer_is_told_nowhere() {
    check_secret_stays(&[]);
}

#[test]
fn a_secret_is_told_nowhere_in_text_logs_either() {
    check_secret_stays(&["--log-format", "text", "--response-header"]);
}

#[test]
fn a_secret_is_told_nowhere_where_nobody_is_trusted() {
    check_secret_stays(&["--trust", "none"]);
}

#[test]
fn a_password_in_a_setting_is_not_repeated() {
    let urls = [format!("http://user:{CANARY}@127.0.0.1:9"), format!("http://127.0.0.1:9/?token={CANARY}")];
    for url in urls {
        let file = format!("upstream: {url}\nsinks: ['udp://user:{CANARY}@127.0.0.1:1']\n");
        let exit = Options::bare(&["check", "--config", "c.yaml"]).file("c.yaml", file).output();
        exit.check(1);
        assert!(exit.stderr.contains("c.yaml:2:") || exit.stdout.contains("c.yaml:2:"), "{exit:?}");
        assert!(!exit.stderr.contains(CANARY) && !exit.stdout.contains(CANARY), "{exit:?}");
        let exit = Options::run().args(&["--upstream", &url]).output();
        exit.check(2);
        assert!(!exit.stderr.contains(CANARY), "{}", exit.stderr);
    }
    let sink = format!("udp://user:{CANARY}@127.0.0.1:2000");
    let exit = Options::run().args(&["--upstream", "http://127.0.0.1:9", "--sink", &sink]).output();
    exit.check(2);
    assert!(!exit.stderr.contains(CANARY), "{}", exit.stderr);
}

#[test]
fn the_canary_itself_sings() {
    // What is recorded on purpose is found by the same look: the path.
    let world = World::ruled(ALWAYS);
    world.record(&Request::get(&format!("/{CANARY}")));
    eventually("it is in the document", || world.sink.datagrams()[0].text().contains(CANARY));
}
