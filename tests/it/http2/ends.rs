//! Where messages of HTTP/2 end, and what says so.

use http::{Method, Request as HttpRequest, Response, StatusCode};
use tokio::time::sleep;

use super::{block_on, connect, get, send, to_h2c};
use crate::support::PATIENCE;
use crate::support::client::Request;
use crate::support::h2c;
use crate::support::sink::Sink;
use crate::support::upstream::Answer;
use crate::support::world::World;

#[test]
fn a_client_that_has_its_whole_answer_has_not_left() {
    // It says nothing after the head, for long.
    let application = h2c::start(
        |request, mut respond| async move {
            let head = match request.uri().path() {
                "/204" => Response::builder().status(StatusCode::NO_CONTENT),
                "/304" => Response::builder().status(StatusCode::NOT_MODIFIED),
                "/length" => Response::builder().header("content-length", "0"),
                _ => Response::builder().header("content-length", "7"),
            };
            let _open = respond.send_response(head.body(()).unwrap(), false).unwrap();
            sleep(PATIENCE).await;
        },
        || (),
    );
    let sink = Sink::start();
    let sidecar = to_h2c(application, &sink);
    let mut client = sidecar.client();
    for (method, path, status) in [
        (Method::GET, "/204", 204),
        (Method::GET, "/304", 304),
        (Method::GET, "/length", 200),
        (Method::HEAD, "/head", 200),
    ] {
        assert_eq!(client.send(&Request::new(method.as_str(), path)).status, status, "{path}");
    }
    for document in sink.wait_for(4) {
        assert_eq!(document["annotations"].get("client_closed"), None, "{document}");
        assert_eq!(document["http"]["response"].get("content_length"), Some(&0.into()), "{document}");
    }
}

#[test]
fn what_an_applications_trailers_say_of_its_connection_ends_no_answer() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n\
                0\r\nConnection: x\r\nX-Sum: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: gzip\r\n\r\n";
    let world = World::scripted(move |_| Answer::raw(said));
    let answer =
        block_on(async { send(&mut connect(world.sidecar.listen).await, get("http://a/"), "").await });
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    let trailers = answer.trailers.unwrap();
    assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (1, &b"1"[..]));
}

#[test]
fn a_length_that_is_said_twice_goes_on_once() {
    let world = World::scripted(|_| Answer::ok());
    let request = HttpRequest::post("http://a/").header("content-length", "4").header("content-length", "4");
    let request = request.body(()).unwrap();
    let answer = block_on(async { send(&mut connect(world.sidecar.listen).await, request, "four").await });
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(world.upstream.last().values("content-length"), ["4"]);
}
