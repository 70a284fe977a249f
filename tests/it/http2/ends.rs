//! Where answers of HTTP/2 end: some applications say it only after the head.

use http::{Method, Response, StatusCode};
use tokio::time::sleep;

use super::to_h2c;
use crate::support::PATIENCE;
use crate::support::client::Request;
use crate::support::h2c;
use crate::support::sink::Sink;

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
