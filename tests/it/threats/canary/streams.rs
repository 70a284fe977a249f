//! The secret over HTTP/2: in streams to an application of HTTP/1, in gRPC's trailers, and in what HTTP/2 itself may tell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use super::{CANARY, look_everywhere, recording};
use crate::support::PATIENCE;
use crate::support::h2c;
use crate::support::secure::block_on;
use crate::support::sidecar::Options;
use crate::support::sink::Sink;
use crate::support::world::World;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// The secret wherever a stream can carry one, but for what is recorded on purpose.
fn loaded(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://app.test{path}?token={CANARY}&{CANARY}=1"))
        .header("authorization", format!("Bearer {CANARY}"))
        .header("cookie", format!("session={CANARY}"))
        .header("cookie", format!("{CANARY}=1"))
        .header("referer", format!("https://app.test/?token={CANARY}"))
        .header(format!("x-{}", CANARY.to_lowercase()), "1")
        .header("x-amzn-trace-id", format!("Root={CANARY};Token={CANARY}"))
        .header("traceparent", format!("00-{CANARY}"))
        .header("tracestate", format!("vendor={CANARY}"))
        .header("x-forwarded-for", CANARY)
        .header("grpc-timeout", CANARY)
        .header("te", "trailers")
        .body(())
        .unwrap()
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Sends a request, with a body and trailers unless it is a GET, and gives the answer's head and trailers, if it has them.
async fn send(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(Response<()>, Option<HeaderMap>), h2::Error> {
    let is_get = request.method() == "GET";
    let (response, mut stream) = sender.clone().ready().await?.send_request(request, is_get)?;
    if !is_get {
        stream.send_data(Bytes::from(format!("card={CANARY}")), false)?;
        stream.send_trailers(trailers(&[("x-checksum", CANARY)]))?;
    }
    let (head, mut body) = response.await?.into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let trailers = body.trailers().await?;
    Ok((Response::from_parts(head, ()), trailers))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A last word that has the secret for its debug data.
fn goaway(last_stream: u32) -> Vec<u8> {
    const INTERNAL_ERROR: u32 = 2;
    let payload = [&last_stream.to_be_bytes(), &INTERNAL_ERROR.to_be_bytes(), CANARY.as_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// `GET /` with one more field, neither compressed nor indexed.
fn block_with(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84];
    for (name, value) in [(":authority", "app.test"), (name, value)] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Says bytes on a connection of its own until the sidecar ends it, and gives what it answers.
fn say_and_listen(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    drop(stream.read_to_end(&mut answer));
    answer
}

/// Streams of all kinds to the application of HTTP/1, and connections that are not HTTP/2 after all; gives the number of
/// hops.
pub(super) fn send_all(world: &World, paths: &[&str]) -> usize {
    let mut n_hops = 0;
    block_on(async {
        let sender = connect(world.sidecar.listen).await;
        for path in paths {
            for method in ["GET", "POST", "DELETE"] {
                let before = world.upstream.n_seen();
                drop(send(&sender, loaded(method, path)).await);
                assert!(world.upstream.n_seen() > before, "{method} {path} did not arrive");
                assert_eq!(world.upstream.last().header("authorization"), Some(format!("Bearer {CANARY}")));
                n_hops += 1;
            }
        }
    });
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    const END_STREAM_AND_HEADERS: u8 = 5;
    for bad in [
        // No names in capitals, none of HTTP/1's own, no line breaks in values, no second path.
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block_with(&format!("X-{CANARY}"), CANARY)),
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block_with("connection", CANARY)),
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block_with("transfer-encoding", CANARY)),
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block_with("content-length", CANARY)),
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block_with("x-api-key", &format!("a\r\n{CANARY}"))),
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, &block_with(":path", CANARY)),
        frame(
            HEADERS,
            END_STREAM_AND_HEADERS,
            1,
            &block_with(&format!(":{}", CANARY.to_lowercase()), CANARY),
        ),
        // Text in the place of a block, and of a frame.
        frame(HEADERS, END_STREAM_AND_HEADERS, 1, CANARY.as_bytes()),
        CANARY.repeat(8).into_bytes(),
        Vec::new(),
    ] {
        let before = world.upstream.n_seen();
        say_and_listen(world.sidecar.listen, &[&hello, &bad[..], &goaway(0)].concat());
        assert_eq!(world.upstream.n_seen(), before, "it was let through: {bad:x?}");
    }
    n_hops
}

/// An application of gRPC that tells secrets in every way an answer has.
async fn answer(mut request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let body = request.body_mut();
    while let Some(Ok(data)) = body.data().await {
        drop(body.flow_control().release_capacity(data.len()));
    }
    drop(body.trailers().await);
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .header("set-cookie", format!("session={CANARY}"))
        .header("x-api-key", CANARY);
    match request.uri().path() {
        // Without a body, an answer has its trailers in its head.
        "/cart.Cart/Only" => {
            let head = head.header("grpc-status", "13").header("grpc-message", CANARY);
            drop(respond.send_response(head.body(()).unwrap(), true));
        }
        "/cart.Cart/Reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        path => {
            let status = if path == "/cart.Cart/Status" { CANARY } else { "13" };
            let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
            drop(stream.send_data(Bytes::from(format!("password {CANARY}")), false));
            if path == "/cart.Cart/Half" {
                stream.send_reset(h2::Reason::CANCEL);
                return;
            }
            let last =
                [("grpc-status", status), ("grpc-message", CANARY), ("grpc-status-details-bin", CANARY)];
            drop(stream.send_trailers(trailers(&last)));
        }
    }
}

#[test]
fn a_secret_in_a_grpc_call_is_told_nowhere() {
    let sink = Sink::start();
    let options = recording(Options::run(), &[]);
    let upstream = format!("h2c://{}", h2c::start(answer, || ()));
    let mut sidecar = options.args(&["--upstream", &upstream, "--sink", &sink.url()]).start();
    let mut n_hops = 0;
    block_on(async {
        let sender = connect(sidecar.listen).await;
        for name in ["Add", "Only", "Status", "Reset", "Half"] {
            let mut request = loaded("POST", &format!("/cart.Cart/{name}"));
            request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            let answer = send(&sender, request).await;
            n_hops += 1;
            match name {
                "Add" | "Status" => assert_eq!(answer.unwrap().1.unwrap()["grpc-message"], CANARY),
                "Only" => assert_eq!(answer.unwrap().0.headers()["grpc-message"], CANARY),
                _ => {}
            }
        }
    });
    look_everywhere(&mut sidecar, &sink, n_hops);
}

/// An application that shakes hands and, at the first request, leaves with the secret for its last word.
fn start_leaving() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || drop(leave(stream)));
        }
    });
    address
}

fn leave(mut stream: StdStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; PREFACE.len()])?;
    stream.write_all(&frame(SETTINGS, 0, 0, b""))?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length])?;
        match head[3] {
            SETTINGS if head[4] == 0 => stream.write_all(&frame(SETTINGS, 1, 0, b""))?,
            HEADERS => return stream.write_all(&goaway(1)),
            _ => {}
        }
    }
}

#[test]
fn a_secret_that_an_application_leaves_with_is_told_nowhere() {
    let sink = Sink::start();
    let options = recording(Options::run(), &[]);
    let upstream = format!("h2c://{}", start_leaving());
    let mut sidecar = options.args(&["--upstream", &upstream, "--sink", &sink.url()]).start();
    block_on(async {
        let sender = connect(sidecar.listen).await;
        for method in ["GET", "POST"] {
            let status = send(&sender, loaded(method, "/")).await.unwrap().0.status();
            assert_eq!(status, 502, "{method}");
        }
    });
    look_everywhere(&mut sidecar, &sink, 2);
}
