//! What one connection of HTTP/2 may have and how long it may stand still.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as StdStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request as HttpRequest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PREFACE, block_on, connect, eventually_async, get, send};
use crate::support::PATIENCE;
use crate::support::sidecar::{Options, Sidecar};
use crate::support::sink::Sink;
use crate::support::upstream::{Answer, Gate, Upstream};
use crate::support::world::{ALWAYS, NEVER, World};

fn refused(sidecar: &Sidecar, reason: &str) -> f64 {
    sidecar.scrape().sum("collimator_connections_refused_total", &[("reason", reason)])
}

/// An application of HTTP/1 that begins to answer what comes to `/begun` at once and reads on to the end; gives the
/// bytes of each connection.
fn reader() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, bytes) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let told = told.clone();
            std::thread::spawn(move || {
                let (mut all, mut chunk, mut answered) = (Vec::new(), [0; 4096], false);
                while let Ok(n @ 1..) = stream.read(&mut chunk) {
                    all.extend_from_slice(&chunk[..n]);
                    let begun = all.starts_with(b"POST /begun") && all.windows(4).any(|w| w == b"\r\n\r\n");
                    if begun && !answered {
                        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
                        stream.write_all(head).unwrap();
                        answered = true;
                    }
                    if all.ends_with(b"0\r\n\r\n") {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                    }
                }
                let _ = told.send(all);
            });
        }
    });
    (url, bytes)
}

/// Opens a request, says half of its body, and lets it stand.
async fn open(
    sender: &h2::client::SendRequest<Bytes>,
    path: &str,
    kind: &str,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let request = HttpRequest::post(format!("http://a{path}")).header("content-type", kind).body(()).unwrap();
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    (response, stream)
}

/// The body of an answer whose head has come.
async fn begin(sender: &h2::client::SendRequest<Bytes>, request: HttpRequest<()>) -> h2::RecvStream {
    let (response, _) = sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
    response.await.unwrap().into_body()
}

/// The same as [`open`] on a connection of HTTP/1.
fn open_http1(sidecar: &Sidecar, path: &str) -> StdStream {
    let mut client = StdStream::connect(sidecar.listen).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    write!(client, "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        .unwrap();
    client
}

#[test]
#[ignore = "waits for more than half a minute; `.ci/run` asks for it"]
fn an_upload_that_stands_still_for_30_s_ends_and_a_stream_of_grpc_does_not() {
    let ((url, bytes), sink) = (reader(), Sink::start());
    let options = Options::run().rules(ALWAYS).args(&["--upstream", &url, "--sink", &sink.url()]);
    let sidecar = options.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = connect(sidecar.listen).await;
        let start = Instant::now();
        let [mut silent, mut begun_1] = ["/silent-1", "/begun-1"].map(|path| open_http1(&sidecar, path));
        let (response, _silent) = open(&sender, "/silent", "application/json").await;
        let (begun, _begun) = open(&sender, "/begun", "application/json").await;
        let (grpc, mut messages) = open(&sender, "/grpc", "application/grpc+proto").await;
        let (connect, mut calls) = open(&sender, "/connect", "application/connect+json").await;
        let begun = begun.await.unwrap();
        assert_eq!(begun.status(), 200);

        let response = tokio::time::timeout(Duration::from_secs(40), response).await.unwrap().unwrap();
        let took = start.elapsed();
        assert_eq!(response.status(), 408);
        assert_eq!(response.headers()["collimator-error"], "request-timeout");
        assert!(took >= Duration::from_secs(29) && took < Duration::from_secs(34), "408 after {took:?}");
        let mut body = begun.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "ok");
        assert!(body.data().await.is_none_or(|data| data.is_err()), "what had begun ends");
        assert!(body.trailers().await.is_err(), "and is not complete");

        messages.send_data(Bytes::from_static(b"rest"), true).unwrap();
        assert_eq!(grpc.await.unwrap().status(), 200, "a stream of gRPC may be silent");
        calls.send_data(Bytes::from_static(b"rest"), true).unwrap();
        assert_eq!(connect.await.unwrap().status(), 200, "and one of Connect");
        eprintln!("408 after {took:?}");

        // By now it is there, and the connection is closed but for what the client may still send.
        let mut answer = vec![0; 4096];
        let n = silent.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..n]);
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
        assert!(answer.contains("collimator-error: request-timeout"), "{answer}");
        let mut half = Vec::new();
        let _ = begun_1.read_to_end(&mut half);
        assert!(half.ends_with(b"2\r\nok\r\n"), "{}", half.escape_ascii());
    });
    assert_eq!(refused(&sidecar, "stalled"), 4.0);
    let mut broken: Vec<_> = (0..4).map(|_| bytes.recv_timeout(PATIENCE).unwrap()).collect();
    broken.sort();
    for (bytes, path) in broken.iter().zip(["/begun", "/begun-1", "/silent", "/silent-1"]) {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.starts_with(&format!("POST {path} ")), "{text}");
        assert!(text.ends_with("4\r\nhalf\r\n"), "the application takes it for complete: {text}");
    }
    let documents = sink.wait_for(6);
    let of = |path: &str| {
        let url = format!("http://a{path}");
        documents.iter().find(|document| document["http"]["request"]["url"] == url.as_str()).unwrap()
    };
    for http in ["", "-1"] {
        assert_eq!(of(&format!("/silent{http}"))["http"]["response"]["status"], 408);
        assert_eq!(of(&format!("/begun{http}"))["annotations"]["client_closed"], true);
    }
    assert!(documents.iter().all(|document| document.get("fault").is_none()), "{documents:?}");
    assert_eq!(sidecar.scrape().sum("collimator_upstream_errors_total", &[]), 0.0);
}

#[test]
#[ignore = "waits for half a minute; `.ci/run` asks for it"]
fn an_answer_that_its_client_does_not_take_is_given_up_and_nothing_else() {
    const LARGE: usize = 4 << 20;
    let sink = Sink::start();
    let upstream = Upstream::start(|seen| match seen.target().as_str() {
        "/small" => Answer::ok(),
        _ => Answer::with(200, &[], vec![b'x'; LARGE]),
    });
    // Two of four places are taken below: too many to wait for minutes.
    let options = Options::run().rules(ALWAYS).upstream(upstream.address());
    let sidecar = options.args(&["--sink", &sink.url(), "--max-connections", "4"]).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // With room for each stream: one that is not taken takes nothing from the others.
        let stream = TcpStream::connect(sidecar.listen).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 14).initial_connection_window_size(1 << 20);
        let (mut client, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let start = Instant::now();
        // Nobody gives these windows back.
        let mut untaken = begin(&client, get("http://a/large")).await;
        let call =
            HttpRequest::get("http://a/call").header("content-type", "application/grpc").body(()).unwrap();
        let mut stream = begin(&client, call).await;
        let is_refused = eventually_async(|| refused(&sidecar, "stalled") == 1.0);
        timeout(Duration::from_secs(40), is_refused).await.unwrap();
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(28) && took < Duration::from_secs(34), "after {took:?}");
        let small = timeout(PATIENCE, send(&mut client, get("http://a/small"), "")).await.unwrap().unwrap();
        assert_eq!(small.status, 200, "the connection goes on");

        let error = loop {
            match timeout(PATIENCE, untaken.data()).await.unwrap().expect("the answer does not look complete")
            {
                Ok(data) => _ = untaken.flow_control().release_capacity(data.len()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        let mut taken = 0;
        while let Some(data) = timeout(PATIENCE, stream.data()).await.unwrap() {
            let n = data.unwrap().len();
            stream.flow_control().release_capacity(n).unwrap();
            taken += n;
        }
        assert_eq!(taken, LARGE, "a stream of messages has its own time");
        eprintln!("given up after {took:?}");
    });
    let documents = sink.wait_for(3);
    let given_up =
        documents.iter().find(|document| document["http"]["request"]["url"] == "http://a/large").unwrap();
    assert_eq!(given_up["annotations"]["client_closed"], true, "{given_up}");
    assert!(documents.iter().all(|document| document.get("fault").is_none()), "{documents:?}");
    sidecar.scrape_until("nothing is left of them", |scrape| {
        scrape.sum("collimator_requests_in_flight", &[("direction", "inbound")]) == 0.0
    });
    assert_eq!(refused(&sidecar, "stalled"), 1.0);
}

#[test]
fn streams_beyond_a_hundred_are_refused_and_counted() {
    const MOST: usize = 100;
    const MORE: usize = 30;
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target().as_str() {
        "/held" => Answer::ok().held_by(&held),
        _ => Answer::ok(),
    });
    let world = World::with(upstream, |options| options.rules(NEVER));
    // Frames of our own: a client of h2 keeps to the limit that it is told.
    let mut stream = StdStream::connect(world.sidecar.listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(PREFACE).unwrap();
    // `:method GET`, `:scheme http`, `:path /held`, `:authority a`, none of it remembered.
    let head = b"\x82\x86\x04\x05/held\x01\x01a";
    for n in 0..MOST + MORE {
        let id = (2 * n as u32 + 1).to_be_bytes();
        stream.write_all(&[b"\0\0\x0c\x01\x05", &id[..], &head[..]].concat()).unwrap();
    }
    let (mut resets, mut answers) = (Vec::new(), 0);
    while resets.len() < MORE || answers < MOST {
        let (kind, id, payload) = frame(&mut stream);
        match kind {
            1 => answers += 1,
            3 => resets.push((id, payload)),
            7 => panic!("the connection was ended: {payload:?}"),
            _ => {}
        }
        if resets.len() == MORE && answers == 0 {
            world.upstream.wait_for(MOST);
            gate.open();
        }
    }
    resets.sort();
    let expected: Vec<_> = (MOST..MOST + MORE).map(|n| (2 * n as u32 + 1, vec![0, 0, 0, 7])).collect();
    assert_eq!(resets, expected, "REFUSED_STREAM for those beyond, and for no other");
    assert_eq!(refused(&world.sidecar, "streams"), MORE as f64);
    assert_eq!(world.upstream.n_seen(), MOST);
    // Room again, on the same connection.
    let id = (2 * (MOST + MORE) as u32 + 1).to_be_bytes();
    stream.write_all(&[b"\0\0\x0c\x01\x05", &id[..], &head[..]].concat()).unwrap();
    while frame(&mut stream).0 != 1 {}
    assert_eq!(refused(&world.sidecar, "streams"), MORE as f64);
}

/// The next frame: kind, stream and payload.
fn frame(stream: &mut StdStream) -> (u8, u32, Vec<u8>) {
    let mut header = [0; 9];
    stream.read_exact(&mut header).unwrap();
    let [high, middle, low, kind, _, id @ ..] = header;
    let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
    stream.read_exact(&mut payload).unwrap();
    (kind, u32::from_be_bytes(id), payload)
}

#[test]
fn streams_that_a_client_resets_are_no_refusals() {
    let gate = Gate::default();
    let held = gate.clone();
    let world = World::scripted(move |_| Answer::ok().held_by(&held));
    block_on(async {
        let client = connect(world.sidecar.listen).await;
        for n in 1..=5 {
            let mut client = client.clone().ready().await.unwrap();
            let (_response, mut stream) = client.send_request(get("http://a/"), true).unwrap();
            eventually_async(|| world.upstream.n_seen() == n).await;
            stream.send_reset(h2::Reason::REFUSED_STREAM);
            eventually_async(|| world.sink.len() == n).await;
        }
        gate.open();
        let mut client = client.clone();
        assert_eq!(send(&mut client, get("http://a/"), "").await.unwrap().status, 200);
    });
    assert_eq!(refused(&world.sidecar, "streams"), 0.0);
}

#[test]
fn requests_are_limited_in_all_workers_together() {
    const PLACES: usize = 10;
    const N_STREAMS: usize = 8;
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok().held_by(&held));
    let options = Options::run().rules(NEVER).upstream(upstream.address());
    let sidecar = options.args(&["--sink", "none", "--workers", "2", "--max-connections", "10"]).start();
    block_on(async {
        // One for each worker.
        let mut answers = Vec::new();
        for _ in 0..2 {
            let client = connect(sidecar.listen).await;
            for _ in 0..N_STREAMS {
                let mut ready = client.clone().ready().await.unwrap();
                let (response, _) = ready.send_request(get("http://a/"), true).unwrap();
                answers.push(response);
            }
            // They are under way, or refused, before the other worker is asked.
            eventually_async(|| {
                let scrape = sidecar.scrape();
                let under_way = scrape.sum("collimator_requests_in_flight", &[("direction", "inbound")]);
                let refused = scrape.sum("collimator_connections_refused_total", &[]);
                (under_way + refused) as usize == answers.len()
            })
            .await;
        }
        gate.open();
        let mut refused = 0;
        for answer in answers {
            let answer = answer.await.unwrap();
            refused += usize::from(answer.status() == 503);
            assert!(matches!(answer.status().as_u16(), 200 | 503), "{answer:?}");
        }
        assert_eq!(refused, 2 * N_STREAMS - PLACES);
    });
}
