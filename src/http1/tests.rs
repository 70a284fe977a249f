//! Connections of both kinds, on pipes in memory.

use super::client::{self, Call};
use super::server::{self, Body, Options};
use super::{Error, Spelling};
use crate::clock::Clock;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

/// Bytes at once, in both directions.
#[derive(Debug)]
struct Text(Bytes);

impl HttpBody for Text {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let text = std::mem::take(&mut self.0);
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl server::Outgoing for Text {
    fn spelling(&self) -> Option<&Spelling> {
        None
    }
}

impl client::Outgoing for Text {}

fn ok(text: String) -> Response<Text> {
    Response::new(Text(text.into()))
}

fn options() -> Options<DuplexStream, Text> {
    Options {
        preserve_header_case: false,
        clock: Clock::start(),
        refusal: |error| ok(format!("refused: {error}")),
        begins: |_, _| (),
        cut: |_| (),
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let ends = async { timeout(Duration::from_secs(86_400), test).await };
    LocalSet::new().block_on(&runtime, ends).expect("nobody waits for nothing")
}

/// What a client gets that says this and then only listens; heads without their `date`.
async fn heard<F>(said: &str, service: impl FnMut(Request<Body<DuplexStream>>) -> F + 'static) -> String
where
    F: Future<Output = Result<Response<Text>, Infallible>> + 'static,
{
    let (mut client, ours) = duplex(1 << 16);
    let serving = spawn_local(server::Connection::new(ours, options(), service));
    client.write_all(said.as_bytes()).await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    let _ = serving.await.unwrap();
    heard.lines().filter(|line| !line.starts_with("date: ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let said = "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n\r\n\r\nPOST /c HTTP/1.1\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n";
    let heard = run(heard(said, |request| async {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok(ok(format!("{path} {}\n", body.escape_ascii())))
    }));
    let expected = "HTTP/1.1 200 OK\ncontent-length: 6\n\n/a hi\nHTTP/1.1 200 OK\ncontent-length: 4\n\n/b \n\
                    HTTP/1.1 200 OK\ncontent-length: 5\nconnection: close\n\n/c x\n";
    assert_eq!(heard, expected, "and nothing after the last");
}

#[test]
fn empty_lines_before_a_request_are_passed_over_however_many_there_are() {
    let said = format!("{}GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", "\r\n".repeat(60_000));
    let heard = run(async {
        let (mut client, ours) = duplex(1 << 10);
        let service =
            |request: Request<Body<DuplexStream>>| async move { Ok(ok(request.uri().path().to_owned())) };
        let serving = spawn_local(server::Connection::new(ours, options(), service));
        client.write_all(said.as_bytes()).await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        serving.await.unwrap().unwrap();
        heard
    });
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("\r\n\r\n/a"), "{heard}");
}

#[test]
fn what_is_no_request_is_refused_and_the_rest_is_not_read() {
    let heard = run(heard("GET / HTTP/1.1\r\n\r\nGET /\r\n\r\nGET / HTTP/1.1\r\n\r\n", |_| async {
        Ok(ok("1\n".into()))
    }));
    let expected = "HTTP/1.1 200 OK\ncontent-length: 2\n\n1\nHTTP/1.1 200 OK\ncontent-length: 34\n\
                    connection: close\n\nrefused: a first line that is none\n";
    assert_eq!(heard, expected);
}

#[test]
fn a_body_has_no_part_in_the_next_request() {
    let said = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiPOST / HTTP/1.1\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret";
    let kept = Rc::new(RefCell::new(None::<Body<DuplexStream>>));
    let heard = run(heard(said, move |mut request| {
        let kept = Rc::clone(&kept);
        async move {
            let before = kept.borrow_mut().take();
            let stolen = match before {
                Some(before) => before.collect().await.unwrap().to_bytes().len(),
                None => 0,
            };
            let mut length = 0;
            while let Some(frame) = request.body_mut().frame().await {
                length += frame.unwrap().into_data().unwrap().len();
            }
            *kept.borrow_mut() = Some(request.into_body());
            Ok(ok(format!("{stolen} {length}\n")))
        }
    }));
    assert!(heard.contains("\n0 2\n") && heard.ends_with("\n0 6\n"), "{heard}");
}

#[test]
fn a_client_that_expects_is_asked_when_its_body_is_wanted_and_not_before() {
    let said = "PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let unwanted = run(heard(said, |request| async move {
        drop(request);
        Ok(ok("no\n".into()))
    }));
    // Whether the body comes is not known, and so the connection ends.
    assert_eq!(unwanted, "HTTP/1.1 200 OK\ncontent-length: 3\nconnection: close\n\nno\n");
    let wanted = run(heard(
        &said.replace("Expect", "Connection: close\r\nExpect").replace("\r\n\r\n", "\r\n\r\nhi"),
        |request| async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes());
            Ok(ok(format!("{}\n", body.map_or(0, |body| body.len()))))
        },
    ));
    let answer = "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close\n\n2\n";
    assert_eq!(wanted, format!("HTTP/1.1 100 Continue\n\n{answer}"));
}

#[test]
fn a_connection_that_is_to_finish_answers_what_has_begun_and_says_so() {
    run(async {
        let (mut client, ours) = duplex(1 << 16);
        let service = |_| async { Ok::<_, Infallible>(ok("1\n".into())) };
        let mut connection = pin!(server::Connection::new(ours, options(), service));
        client.write_all(b"GET / HTT").await.unwrap();
        assert!(poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await.is_pending());
        connection.as_mut().finish();
        assert!(poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx))).await.is_pending(), "half a head");
        client.write_all(b"P/1.1\r\n\r\n").await.unwrap();
        connection.await.unwrap();
        let mut heard = [0; 512];
        let n = client.read(&mut heard).await.unwrap();
        assert!(String::from_utf8_lossy(&heard[..n]).contains("\r\nconnection: close\r\n"));
        let (_client, ours) = duplex(64);
        let mut idle = pin!(server::Connection::new(ours, options(), service));
        assert!(poll_fn(|cx| Poll::Ready(idle.as_mut().poll(cx))).await.is_pending());
        idle.as_mut().finish();
        idle.await.unwrap();
    });
}

/// A request to an application that hangs up when it has read so much of it, and why it failed.
async fn hung_up(request: Request<Text>, after: usize) -> (Call<DuplexStream, Text>, Error) {
    let (mut application, ours) = duplex(16);
    let mut call = client::Connection::new(ours).send(request, None);
    if after > 0 {
        spawn_local(async move { application.read_exact(&mut vec![0; after]).await.map(drop) });
    } else {
        drop(application);
    }
    let error = poll_fn(|cx| Pin::new(&mut call).poll(cx)).await.err().unwrap();
    (call, error)
}

fn request(method: &str, body: &'static str) -> Request<Text> {
    Request::builder().method(method).body(Text(Bytes::from_static(body.as_bytes()))).unwrap()
}

#[test]
fn a_request_is_sent_again_only_if_that_does_no_harm() {
    run(async {
        for (method, body, after, again) in [
            ("GET", "", 10, true),
            ("DELETE", "", 10, true),
            ("POST", "", 10, false),
            ("PUT", "text", 10, false),
            // Nothing of it was written.
            ("POST", "", 0, true),
            ("PUT", "text", 0, true),
        ] {
            let (call, error) = hung_up(request(method, body), after).await;
            assert_eq!(call.can_be_repeated(), again, "{method} {body} {after}: {error}");
            if !again {
                continue;
            }
            let (mut application, ours) = duplex(1 << 16);
            let answered = spawn_local(call.repeat(client::Connection::new(ours)));
            application.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            assert_eq!(answered.await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
            let mut seen = [0; 256];
            let n = application.read(&mut seen).await.unwrap();
            let seen = String::from_utf8_lossy(&seen[..n]);
            assert!(seen.starts_with(method) && seen.ends_with(&format!("\r\n\r\n{body}")), "whole: {seen}");
        }
    });
}

#[test]
fn a_connection_is_used_again_if_all_that_came_was_asked_for() {
    run(async {
        for (answer, alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                true,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
        ] {
            let (mut application, ours) = duplex(1 << 16);
            application.write_all(answer.as_bytes()).await.unwrap();
            let response = client::Connection::new(ours).send(request("GET", ""), None).await.unwrap();
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                frame.unwrap();
            }
            let left = body.leave();
            assert_eq!(left.is_some(), alive, "{answer}");
            let Some(left) = left else { continue };
            assert!(left.is_alive());
            application.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
            assert!(!left.is_alive(), "nobody asked");
        }
    });
}

#[test]
fn nothing_of_a_request_is_said_before_the_next_one() {
    run(async {
        // Sent with the head, and sent while the answer is on its way.
        for body in ["ten bytes.", "GET /smuggled HTTP/1.1\r\n\r\n GET /smuggled HTTP/1.1\r\n\r\n"] {
            let (mut application, ours) = duplex(32);
            let call = spawn_local(client::Connection::new(ours).send(request("POST", body), None));
            application.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await.unwrap();
            let response = call.await.unwrap().unwrap();
            let said = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let mut seen = vec![0; said.len()];
            application.read_exact(&mut seen).await.unwrap();
            assert_eq!(seen, said.as_bytes());
            application.write_all(b"ok").await.unwrap();
            let mut answer = response.into_body();
            while let Some(frame) = answer.frame().await {
                frame.unwrap();
            }
            let left = answer.leave().expect("both sides are through with it");
            spawn_local(left.send(request("GET", ""), None));
            let mut seen = [0; 32];
            let n = application.read(&mut seen).await.unwrap();
            assert_eq!(&seen[..n], b"GET / HTTP/1.1\r\n\r\n");
        }
    });
}

#[test]
fn dead_connections_are_told_from_living_ones_however_many_there_are() {
    run(async {
        let pipes: Vec<_> = (0..1000).map(|_| duplex(16)).collect();
        let (others, connections): (Vec<_>, Vec<_>) =
            pipes.into_iter().map(|(other, ours)| (other, client::Connection::<_, Text>::new(ours))).unzip();
        assert!(connections.iter().all(client::Connection::is_alive));
        drop(others);
        assert!(!connections.iter().any(client::Connection::is_alive));
    });
}

#[test]
fn a_body_goes_on_during_an_answer_that_is_the_last() {
    run(async {
        for head in ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
            let (mut application, ours) = duplex(16);
            let said = "POST / HTTP/1.1\r\ncontent-length: 40\r\n\r\n";
            let body = "0123456789012345678901234567890123456789";
            let call = spawn_local(client::Connection::new(ours).send(request("POST", body), None));
            application.read_exact(&mut vec![0; said.len()]).await.unwrap();
            application.write_all(head.as_bytes()).await.unwrap();
            let answer = call.await.unwrap().unwrap().into_body();
            let reading = spawn_local(answer.collect());
            let mut seen = vec![0; body.len()];
            application.read_exact(&mut seen).await.unwrap();
            assert_eq!(seen, body.as_bytes());
            application.write_all(&seen).await.unwrap();
            drop(application);
            assert_eq!(reading.await.unwrap().unwrap().to_bytes(), body);
        }
    });
}

#[test]
fn an_application_that_has_answered_takes_the_rest_of_a_body_or_loses_it() {
    run(async {
        for (pause, taken) in [(20, 40), (31, 20)] {
            let (mut application, ours) = duplex(16);
            let said = "POST / HTTP/1.1\r\ncontent-length: 40\r\n\r\n";
            let body = "0123456789012345678901234567890123456789";
            let call = spawn_local(client::Connection::new(ours).send(request("POST", body), None));
            application.read_exact(&mut vec![0; said.len()]).await.unwrap();
            application.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            let response = call.await.unwrap().unwrap();
            assert!(response.into_body().leave().is_none(), "the rest is under way");
            let mut seen = vec![0; 10];
            application.read_exact(&mut seen).await.unwrap();
            sleep(Duration::from_secs(pause)).await;
            let mut more = vec![0; 10];
            application.read_exact(&mut more).await.unwrap();
            seen.append(&mut more);
            sleep(Duration::from_secs(pause)).await;
            // What had been written to the pipe by then stands.
            let _ = application.read_to_end(&mut seen).await;
            assert!(body.as_bytes().starts_with(&seen), "{}", seen.escape_ascii());
            assert!(seen.len() >= taken && (seen.len() < body.len()) == (pause > 30), "{}", seen.len());
        }
    });
}
