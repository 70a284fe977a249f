//! HTTP/1 beyond the plain request: upgrades, expectations, trailers, and what must not be touched.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::support::client::{Client, Request, Response};
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{ALWAYS, World};
use crate::support::{PATIENCE, eventually, read_head};

/// An application written out by hand: one connection, in a thread of its own.
struct ByHand {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl ByHand {
    fn start(serve: impl FnOnce(TcpStream) + Send + 'static) -> ByHand {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            serve(stream);
        });
        ByHand { address, thread }
    }

    #[track_caller]
    fn join(self) {
        self.thread.join().expect("the application saw something else");
    }
}

#[track_caller]
fn sidecar(upstream: SocketAddr) -> Sidecar {
    Options::run().rules(ALWAYS).upstream(upstream).arg("--sink=none").start()
}

fn read_exactly(stream: &mut TcpStream, n: usize) -> String {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn an_upgrade_becomes_a_tunnel_and_each_side_may_end_first() {
    let app = ByHand::start(|mut stream| {
        let head = read_head(&mut stream).to_lowercase();
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"), "{head}");
        assert!(head.contains("x-amzn-trace-id: root="), "{head}");
        // The first message comes with the 101, as servers do that speak first.
        let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
        stream.write_all(switch.as_bytes()).unwrap();
        assert_eq!(read_exactly(&mut stream, 4), "ping");
        stream.write_all(b"pong").unwrap();
        // The client has said its last; we have not.
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        stream.write_all(b"last words").unwrap();
    });
    let sink = Sink::start();
    let sidecar = Options::run().rules(ALWAYS).upstream(app.address).args(&["--sink", &sink.url()]).start();
    let mut client = connect(sidecar.listen);
    client.write_all(WEBSOCKET.as_bytes()).unwrap();
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(
        head.contains("\r\nUpgrade: WebSocket\r\n") && head.contains("\r\nConnection: upgrade\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert_eq!(read_exactly(&mut client, 5), "hello");
    // The hop is recorded although its connection lives.
    let documents = sink.wait_for(1);
    assert_eq!(documents[0]["http"]["response"]["status"], 101);
    eventually("the tunnel is counted", || sidecar.scrape().sum("collimator_tunnels", &[]) == 1.0);
    client.write_all(b"ping").unwrap();
    assert_eq!(read_exactly(&mut client, 4), "pong");
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last words");
    app.join();
    eventually("nothing is left of it", || {
        let scrape = sidecar.scrape();
        scrape.sum("collimator_tunnels", &[]) == 0.0 && scrape.sum("collimator_connections", &[]) == 0.0
    });
    let scrape = sidecar.scrape();
    let bytes = |direction| scrape.sum("collimator_tunnel_bytes_total", &[("direction", direction)]);
    assert_eq!((bytes("to_application"), bytes("to_client")), (4.0, 19.0));
}

#[test]
fn a_tunnel_whose_reader_is_slow_stops_its_writer() {
    const MOST: usize = 64 * 1024 * 1024;
    let app = ByHand::start(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").unwrap();
        stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let mut written = 0;
        while let Ok(n) = stream.write(&[7; 65_536]) {
            written += n;
            assert!(written < MOST, "nobody reads, and yet everything is taken");
        }
    });
    let sidecar = sidecar(app.address);
    let mut client = connect(sidecar.listen);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").unwrap();
    read_head(&mut client);
    app.join();
}

#[test]
fn tunnels_are_cut_at_the_end_of_the_drain_and_not_before() {
    let app = ByHand::start(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert_eq!(all, b"while draining");
    });
    let options = Options::run().rules(ALWAYS).upstream(app.address).arg("--sink=none");
    let mut sidecar = options.args(&["--drain-timeout", "2s"]).start();
    let mut client = connect(sidecar.listen);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").unwrap();
    read_head(&mut client);
    sidecar.terminate();
    eventually("it refuses new connections", || TcpStream::connect(sidecar.listen).is_err());
    client.write_all(b"while draining").unwrap();
    sidecar.wait().check(0);
    app.join();
}

#[test]
fn what_follows_a_refused_upgrade_is_no_request() {
    let upstream = Upstream::start(|_| Answer::with(403, &[], "no"));
    let sidecar = sidecar(upstream.address());
    let mut client = Client::connect(sidecar.listen);
    client.say(format!("{WEBSOCKET}GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n").as_bytes()).unwrap();
    let answer = client.read("GET").unwrap();
    assert_eq!((answer.status, answer.closes()), (403, true));
    assert!(client.ends_silently());
    assert_eq!(upstream.n_seen(), 1);
}

#[test]
fn an_upgrade_that_no_proxy_can_hand_on_is_passed_over() {
    let world = World::ruled(ALWAYS);
    let h2c = Request::get("/")
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
    let seen = world.forward(&h2c);
    for name in ["connection", "upgrade", "http2-settings"] {
        assert_eq!(seen.header(name), None);
    }
    // One token of two is left.
    let both = Request::get("/").header("Connection", "upgrade").header("Upgrade", "h2c, websocket");
    assert_eq!(world.forward(&both).header("upgrade").as_deref(), Some("websocket"));
    // Not nominated, so not meant for us.
    assert_eq!(world.forward(&Request::get("/").header("Upgrade", "websocket")).header("upgrade"), None);
    let with_body = Request::post("/", "x").header("Connection", "upgrade").header("Upgrade", "websocket");
    assert_eq!(world.forward(&with_body).header("upgrade"), None);
}

#[test]
fn an_application_that_switches_to_something_else_is_not_believed() {
    let script = |_: &_| Answer::raw("HTTP/1.1 101 Go\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n");
    let world = World::scripted(script);
    let answer =
        world.send(&Request::get("/").header("Connection", "upgrade").header("Upgrade", "websocket"));
    assert_eq!(
        (answer.status, answer.header("collimator-error").as_deref()),
        (502, Some("upstream-protocol"))
    );
    let mut client = world.sidecar.client();
    let ahead = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /ahead HTTP/1.1\r\nHost: a\r\n\r\n";
    client.say(ahead.as_bytes()).unwrap();
    assert_eq!(client.read("GET").unwrap().status, 502);
    assert!(client.ends_silently(), "what was sent ahead of another protocol is read as a request");
}

#[test]
fn the_application_is_asked_before_the_client_sends_its_body() {
    let app = ByHand::start(|mut stream| {
        let head = read_head(&mut stream).to_lowercase();
        assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        assert!(stream.read(&mut [0; 1]).is_err(), "the body came unasked");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        assert_eq!(read_exactly(&mut stream, 4), "body");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let sidecar = sidecar(app.address);
    let mut client = connect(sidecar.listen);
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    app.join();
}

#[test]
fn an_early_answer_saves_the_client_its_body() {
    let app = ByHand::start(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"", "a body that was refused");
    });
    let sidecar = sidecar(app.address);
    let mut client = Client::connect(sidecar.listen);
    client.say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let (status, head) = client.read_head().unwrap();
    assert_eq!(status, 413, "{}", String::from_utf8_lossy(&head));
    assert_eq!(client.read_body("PUT", status, &head).unwrap().1, b"no");
    // Neither side can tell any more whether a body comes: both connections end.
    assert!(client.ends_silently());
    app.join();
}

#[test]
fn a_body_that_is_sent_unasked_goes_on_beside_the_answer() {
    let app = ByHand::start(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let body = read_exactly(&mut stream, 4);
        write!(stream, "4\r\n{body}\r\n0\r\n\r\n").unwrap();
    });
    let sidecar = sidecar(app.address);
    let mut client = connect(sidecar.listen);
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    client.write_all(b"body").unwrap();
    assert_eq!(read_exactly(&mut client, 14), "4\r\nbody\r\n0\r\n\r\n"[..14]);
    app.join();
}

#[test]
fn a_client_that_leaves_without_the_body_that_it_was_not_asked_for_is_seen_to_leave() {
    let app = ByHand::start(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    });
    let sidecar = sidecar(app.address);
    let mut client = connect(sidecar.listen);
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    drop(client);
    app.join();
}

#[test]
fn an_application_that_knows_no_expectation_gets_the_body_all_the_same() {
    let upstream = Upstream::plain();
    let sidecar = sidecar(upstream.address());
    let mut client = Client::connect(sidecar.listen);
    client
        .say(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
        .unwrap();
    assert_eq!(client.read("PUT").unwrap().status, 200);
    assert_eq!(upstream.last().body, b"body");
}

#[test]
fn trailers_pass_both_ways() {
    let app = ByHand::start(|mut stream| {
        let head = read_head(&mut stream).to_lowercase();
        assert!(head.contains("\r\nte: trailers\r\n") && head.contains("\r\nconnection: te\r\n"), "{head}");
        assert!(head.contains("\r\ntrailer: x-sum\r\n"), "{head}");
        assert_eq!(read_exactly(&mut stream, 8), "2\r\nhi\r\n0");
        assert_eq!(read_head(&mut stream).to_lowercase(), "\r\nx-sum: 7\r\n\r\n");
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n\
            2\r\nok\r\n0\r\nX-Check: 9\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let sidecar = sidecar(app.address);
    let mut client = connect(sidecar.listen);
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\
        Connection: TE\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-Amzn-Trace-Id: Root=evil\r\nTraceparent: x\r\nX-Forwarded-For: 6.6.6.6\r\n\
        Expect: 100-continue\r\nUpgrade: ws\r\nKeep-Alive: 5\r\nIf-Match: x\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let head = read_head(&mut client);
    assert!(head.contains("\r\nTrailer: X-Check\r\n"), "{head}");
    let end = read_head(&mut client).to_lowercase();
    assert_eq!(end, "2\r\nok\r\n0\r\nx-check: 9\r\n\r\n");
    app.join();
}

#[test]
fn trailers_that_nobody_announced_pass_both_ways() {
    let app = ByHand::start(|mut stream| {
        let head = read_head(&mut stream);
        assert!(!head.to_lowercase().contains("trailer"), "{head}");
        let body = "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n";
        assert_eq!(read_exactly(&mut stream, body.len()), body);
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Check: 9\r\nHost: a\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let sidecar = sidecar(app.address);
    let mut client = connect(sidecar.listen);
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
    // But for one that would route the message anew.
    let expected = "2\r\nok\r\n0\r\nx-check: 9\r\n\r\n";
    assert_eq!(read_exactly(&mut client, expected.len()), expected);
    app.join();
}

#[test]
fn interim_answers_that_cannot_pass_are_dropped_without_harm() {
    let world = World::scripted(|_| {
        Answer::raw(
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
    });
    let mut client = Client::connect(world.sidecar.listen);
    for _ in 0..3 {
        let answer = client.send(&Request::get("/"));
        assert_eq!((answer.status, answer.text().as_str(), answer.header("link")), (200, "ok", None));
    }
    assert_eq!(world.upstream.n_connections(), 1, "and the connection serves on");
}

#[test]
fn names_keep_their_case_and_their_order() {
    let world = World::scripted(|_| {
        let headers =
            [("X-b", "1"), ("Connection", "keep-alive"), ("eTag", "\"x\""), ("KEEP-ALIVE", "timeout=5")];
        Answer::with(200, &headers, "ok")
    });
    let request = Request::get("/")
        .header("X-oNe", "1")
        .header("Connection", "X-Gone")
        .header("ACCEPT", "*/*")
        .header("X-Gone", "x")
        .header("b", "2")
        .header("a", "3");
    let seen = world.forward(&request);
    let names: Vec<String> = seen.fields().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..5], ["Host", "X-oNe", "ACCEPT", "b", "a"]);
    let answer = world.send(&request);
    let names: Vec<String> = answer.fields().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["X-b", "eTag", "Content-Length", "date"]);
}

type Fields = Vec<(String, Vec<u8>)>;

/// The answer to a request sent to the application itself, and to the same sent through the sidecar.
fn both(world: &World, request: &Request) -> [(Response, Fields); 2] {
    [world.upstream.address(), world.sidecar.listen].map(|address| {
        let response = Client::once(address, request);
        let fields = response.fields();
        (response, fields)
    })
}

#[test]
fn answers_are_those_of_the_application_byte_for_byte() {
    let world = World::scripted(|seen| {
        let target = seen.target();
        let path = target.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let status: u16 = parts[0].parse().unwrap();
        let body = "x".repeat(parts[2].parse().unwrap());
        let headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nSet-Cookie: a=1\r\nX-Odd:  two  spaces \r\n\
            Set-Cookie: b=2\r\nServer: it\r\nVia: 1.1 other\r\nX-Latin: caf\u{e9}\r\n";
        let bodyless = status == 204 || status == 304;
        let (framing, body) = match parts[1] {
            _ if bodyless && status == 204 => (String::new(), String::new()),
            "length" => (format!("Content-Length: {}\r\n", body.len()), body),
            "chunked" => {
                let chunk = if body.is_empty() { body } else { format!("{:x}\r\n{body}\r\n", body.len()) };
                ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{chunk}0\r\n\r\n"))
            }
            _ => (String::new(), body),
        };
        let body = if bodyless || seen.method() == "HEAD" { String::new() } else { body };
        let answer = Answer::raw(format!("HTTP/1.1 {status} Its Own Reason\r\n{headers}{framing}\r\n{body}"));
        if parts[1] == "close" { answer.then_close() } else { answer }
    });
    let mut n = 0;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        for status in [200, 201, 204, 206, 299, 301, 304, 400, 401, 404, 418, 429, 500, 503, 599] {
            for framing in ["length", "chunked", "close"] {
                for size in [0, 1, 70_000] {
                    let target = format!("/{status}/{framing}/{size}?q=%2F");
                    let request = match method {
                        "POST" | "PUT" | "PATCH" => {
                            Request::new(method, &target).header("Content-Length", "0")
                        }
                        _ => Request::new(method, &target),
                    };
                    let [(direct, direct_fields), (proxied, proxied_fields)] = both(&world, &request);
                    let what = format!("{method} {target}");
                    let line = |response: &Response| {
                        let head = String::from_utf8_lossy(&response.head).into_owned();
                        head.lines().next().unwrap_or_default().to_owned()
                    };
                    assert_eq!(line(&proxied), line(&direct), "{what}");
                    assert!(proxied.body == direct.body, "{what}");
                    // Without a length, the end of the connection becomes the end of the last chunk.
                    let added = framing == "close" && proxied.framing != direct.framing;
                    let proxied_fields = without(proxied_fields, added, "transfer-encoding", "chunked");
                    assert_eq!(sorted_by_first(proxied_fields), sorted_by_first(direct_fields), "{what}");
                    n += 1;
                }
            }
        }
    }
    assert_eq!(n, 8 * 15 * 3 * 3);
}

/// Fields without one of them, if the difference is a documented one.
fn without(mut fields: Fields, is_documented: bool, name: &str, value: &str) -> Fields {
    fields.retain(|(n, v)| !(is_documented && n.eq_ignore_ascii_case(name) && v == value.as_bytes()));
    fields
}

/// Fields in the order of each name's first appearance: fields of one name may be sent together.
fn sorted_by_first(fields: Fields) -> Fields {
    let first = |name: &str| fields.iter().position(|(other, _)| other == name);
    let mut sorted = fields.clone();
    sorted.sort_by_key(|(name, _)| first(name));
    sorted
}
