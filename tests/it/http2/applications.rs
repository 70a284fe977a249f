//! Applications of HTTP/2 that go away, reset, or are asked for more than a client takes.

use std::io::Write;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::to_h2c;
use crate::support::client::Request;
use crate::support::h2c;
use crate::support::sink::Sink;
use crate::support::{PATIENCE, narrow};

/// An application whose first connection says that it goes away once it has a request, which is held until one has come
/// on another. Tells of each request which connection it came on and whom it was for.
fn leaving() -> (SocketAddr, mpsc::Receiver<(usize, String)>) {
    let (told, requests) = mpsc::channel();
    let second = Arc::new(tokio::sync::Notify::new());
    let address = h2c::serve(move |number, mut connection| {
        let (told, second) = (told.clone(), Arc::clone(&second));
        async move {
            let mut is_first = number == 0;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let is_held = std::mem::take(&mut is_first);
                if is_held {
                    connection.graceful_shutdown();
                } else if number > 0 {
                    second.notify_one();
                }
                told.send((number, request.uri().authority().unwrap().to_string())).unwrap();
                let second = Arc::clone(&second);
                tokio::spawn(async move {
                    if is_held {
                        second.notified().await;
                    }
                    respond.send_response(Response::new(()), true).unwrap();
                });
            }
        }
    });
    (address, requests)
}

#[test]
fn a_request_that_meets_an_application_on_its_way_out_keeps_its_host() {
    let (application, requests) = leaving();
    let sink = Sink::start();
    let sidecar = to_h2c(application, &sink);
    let mut first = sidecar.client();
    first.say(b"GET / HTTP/1.1\r\nHost: first.example\r\n\r\n").unwrap();
    assert_eq!(requests.recv_timeout(PATIENCE).unwrap(), (0, "first.example".to_owned()));
    // What comes before the news is answered on the old connection, what comes after it on a new one.
    loop {
        let post = Request::post("/", "hi").header("Host", "shop.example");
        assert_eq!(sidecar.send(&post).status, 200);
        let (connection, host) = requests.recv_timeout(PATIENCE).unwrap();
        assert_eq!(host, "shop.example");
        if connection > 0 {
            break;
        }
    }
    assert_eq!(first.read("GET").unwrap().status, 200);
}

#[test]
fn a_request_whose_stream_is_reset_is_asked_again_only_if_nothing_was_done() {
    for (reason, status, n_more) in
        [(h2::Reason::INTERNAL_ERROR, 502, 1), (h2::Reason::REFUSED_STREAM, 200, 2)]
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let application = h2c::start(
            move |_, mut respond| {
                let turn = count.fetch_add(1, Ordering::Relaxed);
                async move {
                    match turn {
                        1 => respond.send_reset(reason),
                        _ => _ = respond.send_response(Response::new(()), true).unwrap(),
                    }
                }
            },
            || (),
        );
        let sink = Sink::start();
        let sidecar = to_h2c(application, &sink);
        assert_eq!(sidecar.send(&Request::get("/")).status, 200);
        assert_eq!(sidecar.send(&Request::get("/")).status, status, "{reason:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1 + n_more, "{reason:?}");
    }
}

#[test]
fn answers_that_nobody_takes_leave_room_for_others() {
    const N_UNTAKEN: usize = 40;
    let application = h2c::start(
        |request, mut respond| async move {
            let body = if request.uri().path() == "/large" { vec![b'x'; 2 << 20] } else { b"ok".to_vec() };
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            // Taken over as a whole, whatever the windows are.
            let _ = stream.send_data(Bytes::from(body), true);
        },
        || (),
    );
    let sink = Sink::start();
    let sidecar = to_h2c(application, &sink);
    let untaken: Vec<StdStream> = (0..N_UNTAKEN)
        .map(|_| {
            let mut stream = narrow(sidecar.listen);
            stream.write_all(&Request::get("/large").to_bytes()).unwrap();
            stream.peek(&mut [0; 1]).unwrap();
            stream
        })
        .collect();
    for n in 0..50 {
        let answer = sidecar.send(&Request::get("/small"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "request {n}");
    }
    drop(untaken);
}

#[test]
fn what_trailers_say_of_a_connection_keeps_no_body_from_its_end() {
    let application = h2c::start(
        |request, mut respond| async move {
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                let n = data.unwrap().len();
                body.flow_control().release_capacity(n).unwrap();
            }
            let trailers = body.trailers().await.unwrap().unwrap_or_default();
            let status = if trailers.contains_key("x-sum") { StatusCode::OK } else { StatusCode::CONFLICT };
            let head = Response::builder().status(status).body(()).unwrap();
            respond.send_response(head, true).unwrap();
        },
        || (),
    );
    let sink = Sink::start();
    let sidecar = to_h2c(application, &sink);
    let mut client = sidecar.client();
    client
        .say(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
              2\r\nhi\r\n0\r\nConnection: x\r\nX-Sum: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\r\n",
        )
        .unwrap();
    assert_eq!(client.read("POST").unwrap().status, 200);
}
