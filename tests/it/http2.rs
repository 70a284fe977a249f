//! HTTP/2: from clients that know beforehand, to applications that speak nothing else, and what floods do.

mod applications;
mod ends;
mod limits;

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request as HttpRequest, Response as HttpResponse};
use tokio::net::TcpStream;

use crate::support::client::Request;
use crate::support::h2c;
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};
use crate::support::{PATIENCE, eventually};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it takes too long") })
}

/// A connection of HTTP/2 with prior knowledge.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// Status, headers, body and trailers of an answer.
#[derive(Debug)]
struct Whole {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

async fn send(
    sender: &mut SendRequest<Bytes>,
    request: HttpRequest<()>,
    body: &'static str,
) -> Result<Whole, h2::Error> {
    let mut ready = sender.clone().ready().await?;
    let (response, mut stream) = ready.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(Bytes::from_static(body.as_bytes()), true)?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = incoming.trailers().await?;
    Ok(Whole { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

fn get(uri: &str) -> HttpRequest<()> {
    HttpRequest::get(uri).body(()).unwrap()
}

/// An application that speaks nothing but HTTP/2, without TLS. It answers `application/grpc` with trailers.
struct Grpc {
    address: SocketAddr,
    heads: mpsc::Receiver<(HttpRequest<()>, Vec<u8>, Option<HeaderMap>)>,
    connections: mpsc::Receiver<()>,
}

impl Grpc {
    fn start(grpc_status: &'static str) -> Grpc {
        let (told, heads) = mpsc::channel();
        let (accepted, connections) = mpsc::channel();
        let address = h2c::start(
            move |request, respond| answer(request, respond, grpc_status, told.clone()),
            move || accepted.send(()).unwrap_or_default(),
        );
        Grpc { address, heads, connections }
    }
}

async fn answer(
    request: HttpRequest<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    grpc_status: &'static str,
    told: mpsc::Sender<(HttpRequest<()>, Vec<u8>, Option<HeaderMap>)>,
) {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = incoming.data().await {
        let _ = incoming.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let trailers = incoming.trailers().await.unwrap_or_default();
    let _ = told.send((HttpRequest::from_parts(head, ()), body, trailers));
    let head = HttpResponse::builder().header("content-type", "application/grpc+proto").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let _ = stream.send_data(Bytes::from_static(b"\0\0\0\0\x02ok"), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static(grpc_status));
    trailers.insert("grpc-message", http::HeaderValue::from_static("so it went"));
    let _ = stream.send_trailers(trailers);
}

fn to_h2c(address: SocketAddr, sink: &Sink) -> Sidecar {
    Options::run()
        .rules(ALWAYS)
        .args(&["--upstream", &format!("h2c://{address}"), "--sink", &sink.url()])
        .start()
}

#[test]
fn many_requests_of_one_connection_go_to_an_application_of_http_1() {
    let world = World::ruled(ALWAYS);
    block_on(async {
        let mut client = connect(world.sidecar.listen).await;
        let mut all = tokio::task::JoinSet::new();
        for n in 0..100 {
            let mut client = client.clone();
            all.spawn(async move { send(&mut client, get(&format!("http://shop.test/{n}?q=1")), "").await });
        }
        for answer in all.join_all().await {
            let answer = answer.unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
        }
        let request = HttpRequest::post("http://shop.test/with-body")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(())
            .unwrap();
        assert_eq!(send(&mut client, request, "the body").await.unwrap().status, 200);
    });
    let seen = world.upstream.last();
    assert_eq!(seen.request_line(), "POST /with-body HTTP/1.1");
    assert_eq!(seen.header("host").as_deref(), Some("shop.test"));
    assert_eq!(seen.header("cookie").as_deref(), Some("a=1; b=2"), "RFC 9113 8.2.3");
    assert_eq!(seen.header("te").as_deref(), Some("trailers"));
    assert_eq!(seen.body, b"the body");
    let documents = world.sink.wait_for(101);
    assert_eq!(documents[100]["http"]["request"]["url"], "http://shop.test/with-body");
    eventually("every request is over", || world.scrape().sum("collimator_requests_in_flight", &[]) == 0.0);
}

#[test]
fn a_grpc_call_passes_with_its_trailers_and_its_status_is_judged() {
    for (status, error, throttle, fault) in [
        ("0", false, false, false),
        ("5", true, false, false),
        ("8", true, true, false),
        ("13", false, false, true),
    ] {
        let (app, sink) = (Grpc::start(status), Sink::start());
        let sidecar = to_h2c(app.address, &sink);
        let answer = block_on(async {
            let mut client = connect(sidecar.listen).await;
            let request = HttpRequest::post("http://shop.test:8000/cart.Cart/Add")
                .header("content-type", "application/grpc+proto")
                .header("te", "trailers")
                .header("grpc-timeout", "1S")
                .body(())
                .unwrap();
            send(&mut client, request, "\0\0\0\0\x02hi").await.unwrap()
        });
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\0\0\0\0\x02ok"[..]));
        let trailers = answer.trailers.expect("no trailers");
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-message"]),
            (&status.parse().unwrap(), &"so it went".parse().unwrap())
        );
        assert_eq!(answer.headers["content-type"], "application/grpc+proto");
        let (head, body, _) = app.heads.recv_timeout(PATIENCE).unwrap();
        assert_eq!(head.uri(), "http://shop.test:8000/cart.Cart/Add");
        assert_eq!(
            (&head.headers()["te"], body.as_slice()),
            (&"trailers".parse().unwrap(), &b"\0\0\0\0\x02hi"[..])
        );
        assert!(head.headers()["x-amzn-trace-id"].to_str().unwrap().contains("Sampled=1"));
        assert!(!head.headers().contains_key("host") && !head.headers().contains_key("connection"));
        let document = sink.wait_for(1).remove(0);
        let flag = |name: &str| document.get(name).is_some_and(|flag| flag == true);
        assert_eq!((flag("error"), flag("throttle"), flag("fault")), (error, throttle, fault), "{document}");
        assert_eq!(document["annotations"]["grpc_status"], status);
        assert_eq!(document["http"]["response"]["status"], 200);
    }
}

#[test]
fn a_client_of_http_1_reaches_an_application_of_http_2() {
    let (app, sink) = (Grpc::start("0"), Sink::start());
    let sidecar = to_h2c(app.address, &sink);
    let mut client = sidecar.client();
    for _ in 0..3 {
        let request =
            Request::post("/x?y=1", "hello").header("Connection", "keep-alive").header("X-Case", "1");
        assert_eq!(client.send(&request).status, 200);
        let (head, body, _) = app.heads.recv_timeout(PATIENCE).unwrap();
        assert_eq!(
            (head.uri().to_string().as_str(), body.as_slice()),
            ("http://app.test/x?y=1", &b"hello"[..])
        );
        assert_eq!(head.headers()["x-case"], "1");
    }
    assert_eq!(app.connections.try_iter().count(), 1, "one connection carries them all");
}

#[test]
fn what_http_1_may_leave_out_is_said_to_an_application_of_http_2() {
    let (app, sink) = (Grpc::start("0"), Sink::start());
    let sidecar = to_h2c(app.address, &sink);
    let own = app.address.to_string();
    for (request, authority, path) in [
        ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", own.as_str(), "/x"),
        ("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", own.as_str(), "/x"),
        ("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", "b", "*"),
        ("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "b", "*"),
        ("OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "b", "/"),
    ] {
        let mut client = sidecar.client();
        client.say(request.as_bytes()).unwrap();
        assert_eq!(client.read("GET").unwrap().status, 200, "{request}");
        let (head, ..) = app.heads.recv_timeout(PATIENCE).unwrap();
        assert_eq!(
            (head.uri().authority().unwrap().as_str(), head.uri().path()),
            (authority, path),
            "{request}"
        );
    }
}

#[test]
fn a_client_of_http_1_that_leaves_within_its_body_is_no_fault_of_an_application_of_http_2() {
    let (app, sink) = (Grpc::start("0"), Sink::start());
    let sidecar = to_h2c(app.address, &sink);
    let mut client = StdStream::connect(sidecar.listen).unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    app.connections.recv_timeout(PATIENCE).unwrap();
    drop(client);
    let document = sink.wait_for(1).remove(0);
    assert_eq!(document["annotations"]["client_closed"], true, "{document}");
    assert_eq!(document.get("fault"), None, "{document}");
    assert_eq!(sidecar.scrape().sum("collimator_upstream_errors_total", &[]), 0.0);
}

#[test]
fn a_crowd_at_the_start_opens_one_connection_of_http_2() {
    let (app, sink) = (Grpc::start("0"), Sink::start());
    let sidecar = to_h2c(app.address, &sink);
    block_on(async {
        let client = connect(sidecar.listen).await;
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let mut client = client.clone();
            all.spawn(async move { send(&mut client, get("http://a/"), "").await.unwrap().status });
        }
        assert_eq!(all.join_all().await, [200; 50]);
    });
    assert_eq!(app.connections.try_iter().count(), 1);
}

#[test]
fn an_application_that_does_not_speak_http_2_is_told_apart() {
    let upstream = Upstream::start(|_| Answer::raw("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    let options = Options::run().rules(NEVER).args(&["--sink=none"]);
    let sidecar = options.args(&["--upstream", &format!("h2c://{}", upstream.address())]).start();
    let answer = sidecar.send(&Request::get("/"));
    assert_eq!(
        (answer.status, answer.header("collimator-error").as_deref()),
        (502, Some("upstream-protocol"))
    );
}

#[test]
fn an_upgrade_to_an_application_of_http_2_is_passed_over() {
    let (app, sink) = (Grpc::start("0"), Sink::start());
    let sidecar = to_h2c(app.address, &sink);
    let request = Request::get("/").header("Connection", "upgrade").header("Upgrade", "websocket");
    assert_eq!(sidecar.send(&request).status, 200);
    assert!(!app.heads.recv_timeout(PATIENCE).unwrap().0.headers().contains_key("upgrade"));
}

#[test]
fn malformed_requests_of_http_2_are_refused_and_their_neighbors_served() {
    let world = World::ruled(NEVER);
    block_on(async {
        let mut client = connect(world.sidecar.listen).await;
        let mismatch = HttpRequest::get("http://a/").header("host", "b").body(()).unwrap();
        let connect = HttpRequest::connect("a:80").body(()).unwrap();
        assert_eq!(send(&mut client, mismatch, "").await.unwrap().status, 400);
        assert_eq!(send(&mut client, connect, "").await.unwrap().status, 405);
        let mut many = HttpRequest::get("http://a/");
        for n in 0..201 {
            many = many.header("x-n", n);
        }
        assert_eq!(send(&mut client, many.body(()).unwrap(), "").await.unwrap().status, 431);
        assert_eq!(send(&mut client, get("http://a/"), "").await.unwrap().status, 200);
    });
    assert_eq!(world.upstream.n_seen(), 1);
}

#[test]
fn an_answer_that_breaks_off_resets_its_stream_and_no_other() {
    let world = World::scripted(|seen| match seen.target().as_str() {
        "/broken" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").then_reset(),
        _ => Answer::ok(),
    });
    block_on(async {
        let mut client = connect(world.sidecar.listen).await;
        let error = send(&mut client, get("http://a/broken"), "").await.unwrap_err();
        assert!(error.is_reset(), "{error}");
        assert_eq!(send(&mut client, get("http://a/"), "").await.unwrap().status, 200);
    });
    assert!(world.sink.wait_for(2).iter().any(|document| document["fault"] == true));
}

#[test]
fn a_client_that_resets_its_stream_is_no_fault() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::ok().held_by(&held));
    block_on(async {
        let mut client = connect(world.sidecar.listen).await.ready().await.unwrap();
        let (_response, mut stream) = client.send_request(get("http://a/"), true).unwrap();
        eventually_async(|| world.upstream.n_seen() == 1).await;
        stream.send_reset(h2::Reason::CANCEL);
        // The frame has to leave; the answer to a ping shows that it was read.
        eventually_async(|| world.sink.len() == 1).await;
    });
    let document = world.sink.wait_for(1).remove(0);
    assert_eq!(document["annotations"]["client_closed"], true);
    assert_eq!(document.get("fault"), None);
    gate.open();
}

async fn eventually_async(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_drain_ends_connections_by_goaway_and_loses_nothing() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target().as_str() {
        "/held" => Answer::ok().held_by(&held),
        _ => Answer::ok(),
    });
    let mut world = World::with(upstream, |options| options.rules(NEVER).args(&["--drain-delay", "300ms"]));
    block_on(async {
        let client = connect(world.sidecar.listen).await;
        let mut held = client.clone();
        let held = tokio::spawn(async move { send(&mut held, get("http://a/held"), "").await });
        eventually_async(|| world.upstream.n_seen() == 1).await;
        world.sidecar.terminate();
        // While it drains, a request gets its answer, and after it the connection takes no more.
        let mut last = client.clone();
        while let Ok(answer) = send(&mut last, get("http://a/"), "").await {
            assert_eq!(answer.status, 200);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.open();
        assert_eq!(held.await.unwrap().unwrap().status, 200);
    });
    world.sidecar.wait().check(0);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn floods_end_their_own_connection_and_nobody_elses() {
    // Opens a stream that stays open, so that frames of a stream have one.
    let open = b"\0\0\x03\x01\x04\0\0\0\x01\x83\x86\x84";
    let floods: &[(&str, Vec<u8>)] = &[
        ("pings", b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        ("settings", b"\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("priorities", b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x10".to_vec()),
        ("frames of no known kind", b"\0\0\x01\xee\0\0\0\0\0x".to_vec()),
        ("continuations", b"\0\0\0\x09\0\0\0\0\x01".to_vec()),
        ("empty data", b"\0\0\0\0\0\0\0\0\x01".to_vec()),
    ];
    let world = World::ruled(NEVER);
    let rss = |world: &World| world.scrape().sum("process_resident_memory_bytes", &[]);
    block_on(async {
        let mut neighbor = connect(world.sidecar.listen).await;
        assert_eq!(send(&mut neighbor, get("http://a/"), "").await.unwrap().status, 200);
        let before = rss(&world);
        for (what, bytes) in floods {
            let address = world.sidecar.listen;
            let (first, bytes) = match *what {
                "continuations" => (b"\0\0\x01\x01\0\0\0\0\x01\x82".to_vec(), bytes.clone()),
                _ => (open.to_vec(), bytes.clone()),
            };
            let ended = tokio::task::spawn_blocking(move || flood_after(address, &first, &bytes));
            assert!(ended.await.unwrap(), "{what} went on for ever");
            assert_eq!(send(&mut neighbor, get("http://a/"), "").await.unwrap().status, 200, "{what}");
        }
        assert!(rss(&world) < before + 16e6, "memory grew from {before} to {}", rss(&world));
    });
    assert!(world.scrape().sum("collimator_connections_refused_total", &[("reason", "flood")]) >= 1.0);
}

/// Says the preface and these bytes, then others for as long as they are taken; whether the connection was ended.
fn flood_after(address: SocketAddr, first: &[u8], bytes: &[u8]) -> bool {
    let mut stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(PREFACE).unwrap();
    if stream.write_all(first).is_err() {
        return true;
    }
    let many = bytes.repeat(64 * 1024 / bytes.len());
    let mut buffer = [0; 65_536];
    for _ in 0..2_000 {
        if stream.write_all(&many).is_err() {
            return true;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
            _ => {}
        }
    }
    false
}

#[test]
fn rapid_resets_end_their_connection() {
    let world = World::ruled(NEVER);
    let mut bytes = PREFACE.to_vec();
    for n in 0..20_000_u32 {
        let stream = (2 * n + 1).to_be_bytes();
        bytes.extend_from_slice(b"\0\0\x03\x01\x05");
        bytes.extend_from_slice(&stream);
        bytes.extend_from_slice(b"\x82\x86\x84");
        bytes.extend_from_slice(b"\0\0\x04\x03\0");
        bytes.extend_from_slice(&stream);
        bytes.extend_from_slice(b"\0\0\0\x08");
    }
    let mut stream = StdStream::connect(world.sidecar.listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(&bytes);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(world.send(&Request::get("/")).status, 200);
    assert!(world.upstream.n_seen() < 5_000, "{} requests of one flood got through", world.upstream.n_seen());
}
