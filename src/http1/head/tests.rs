//! Heads, read and written.

use super::*;
use crate::http1::encode::Encoder;
use crate::http1::{Error, MAX_HEAD};
use http::Method;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

fn read_request(text: &str) -> Result<Option<RequestHead>, String> {
    let mut ahead = Bytes::copy_from_slice(text.as_bytes());
    request(&mut ahead, true).map_err(|error| error.to_string())
}

#[track_caller]
fn read(text: &str) -> RequestHead {
    read_request(text).unwrap().unwrap()
}

fn read_response(text: &str, method: Method) -> Result<ResponseHead, String> {
    let mut ahead = Bytes::copy_from_slice(text.as_bytes());
    response(&mut ahead, &method, true).map(Option::unwrap).map_err(|error| error.to_string())
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_requests_body_is_framed_as_its_fields_say() {
    let post = |fields: &str| read_request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    for (fields, body, keeps) in [
        ("", Decoder::NOTHING, true),
        ("Content-Length: 0\r\n", Decoder::NOTHING, true),
        ("Content-Length: 18446744073709551615\r\n", Decoder::Length(u64::MAX), true),
        ("Content-Length: 7\r\nContent-Length: 07\r\n", Decoder::Length(7), true),
        ("Transfer-Encoding: CHUNKED\r\n", Decoder::chunked(), true),
        ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Decoder::chunked(), false),
        ("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", Decoder::chunked(), false),
        ("Connection: x, Close\r\nConnection: keep-alive\r\n", Decoder::NOTHING, false),
    ] {
        let head = post(fields).unwrap().unwrap();
        assert_eq!((&head.body, head.keeps), (&body, keeps), "{fields}");
        let lengths = head.request.headers().get_all("content-length").iter().count();
        assert_eq!(
            lengths,
            usize::from(fields.contains("Length") && !fields.contains("chunked")),
            "{fields}"
        );
    }
    for fields in [
        "Content-Length: 7\r\nContent-Length: 8\r\n",
        "Content-Length: 7, 7\r\n",
        "Content-Length: +7\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
    ] {
        assert!(post(fields).is_err(), "{fields}");
    }
    let old = |fields: &str| read_request(&format!("POST / HTTP/1.0\r\n{fields}\r\n"));
    assert!(!old("").unwrap().unwrap().keeps && old("Connection: Keep-Alive\r\n").unwrap().unwrap().keeps);
    assert!(old("Transfer-Encoding: chunked\r\n").is_err());
    assert!(!old("Expect: 100-continue\r\n").unwrap().unwrap().expects);
    assert!(post("Expect: 100-Continue\r\n").unwrap().unwrap().expects);
}

#[test]
fn a_target_without_a_path_asks_about_the_server() {
    for (method, target, path) in [
        ("OPTIONS", "*", "*"),
        ("OPTIONS", "http://a", "*"),
        ("OPTIONS", "http://a/", "/"),
        ("OPTIONS", "http://a?b", "/?b"),
        ("GET", "http://a", "/"),
        ("GET", "/http://a", "/http://a"),
        ("OPTIONS", "/http://a", "/http://a"),
    ] {
        let head = read(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let text = written(|out| {
            write_request(&head.request.map(|()| Empty::<Bytes>::new()), None, out);
        });
        assert!(text.starts_with(&format!("{method} {path} HTTP/1.1\r\n")), "{method} {target}: {text}");
    }
}

#[test]
fn a_head_has_a_length_and_a_number_of_fields() {
    let fields = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: 1\r\n".repeat(n));
    assert!(read_request(&fields(200)).unwrap().is_some());
    assert_eq!(read_request(&fields(201)).err(), Some(Error::TooLarge.to_string()));
    let long = |n: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(n));
    assert!(read_request(&long(60_000)).unwrap().is_some());
    assert_eq!(read_request(&long(65_536)).err(), Some(Error::TooLarge.to_string()));
    let unfinished = format!("GET /{}", "x".repeat(70_000));
    assert_eq!(read_request(&unfinished).err(), Some(Error::TooLarge.to_string()));
}

#[test]
fn a_head_that_comes_in_pieces_is_looked_at_when_it_may_be_whole() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut section = Section::default();
    let looks =
        (1..=text.len()).filter(|&n| section.may_be_whole(&Bytes::copy_from_slice(&text[..n])).unwrap());
    assert_eq!(looks.collect::<Vec<_>>(), [1, text.len()]);
    let mut section = Section::default();
    let endless = Bytes::from(vec![b'x'; MAX_HEAD]);
    assert!(section.may_be_whole(&endless.slice(..1)).unwrap());
    assert!(!section.may_be_whole(&endless.slice(..MAX_HEAD - 1)).unwrap());
    assert!(section.may_be_whole(&endless).is_err());
}

#[test]
fn the_body_of_an_answer_is_framed_as_the_standard_says() {
    let framed = |status: u16, fields: &str, method: Method| {
        read_response(&format!("HTTP/1.1 {status} Its\r\n{fields}\r\n"), method)
            .map(|head| (head.body, head.keeps))
    };
    for (status, fields, body, keeps) in [
        (200, "Content-Length: 7\r\n", Decoder::Length(7), true),
        (200, "Content-Length: 7, 7\r\nContent-Length: 7\r\n", Decoder::Length(7), true),
        (200, "Transfer-Encoding: gzip, chunked\r\n", Decoder::chunked(), true),
        (200, "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", Decoder::chunked(), false),
        (200, "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Decoder::chunked(), false),
        (200, "Transfer-Encoding: gzip\r\n", Decoder::UntilEnd, true),
        (200, "", Decoder::UntilEnd, true),
        (204, "Content-Length: 7\r\n", Decoder::NOTHING, true),
        (304, "Content-Length: 7\r\nConnection: close\r\n", Decoder::NOTHING, false),
        (101, "Transfer-Encoding: chunked\r\n", Decoder::NOTHING, true),
    ] {
        assert_eq!(framed(status, fields, Method::GET), Ok((body, keeps)), "{status} {fields}");
        assert_eq!(framed(status, fields, Method::HEAD).unwrap().0, Decoder::NOTHING);
    }
    for fields in [
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ] {
        assert!(framed(200, fields, Method::GET).is_err(), "{fields}");
    }
    for fields in
        ["Content-Length: 7, 8\r\n", "Content-Length: 7\r\nContent-Length: 8\r\n", "Content-Length: x\r\n"]
    {
        assert!(framed(200, fields, Method::GET).is_err(), "{fields}");
    }
    assert!(read_response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::GET).is_err());
    let both = read_response(
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        Method::GET,
    );
    assert!(
        !both.unwrap().response.headers().contains_key("content-length"),
        "one reader reads this, one that"
    );
    for fields in ["Content-Length: 7, 7\r\nContent-Length: 7\r\n", "Content-Length: 7,\t7\r\n"] {
        let listed = read_response(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), Method::HEAD).unwrap();
        let lengths: Vec<_> = listed.response.headers().get_all("content-length").iter().collect();
        assert_eq!(lengths, ["7"], "{fields}");
    }
}

#[test]
fn a_request_is_written_as_it_came() {
    let text = "PUT /a?b HTTP/1.1\r\nHOST: a\r\nx-Odd: \u{e9}\r\nContent-Length: 5\r\nX-Odd: 2\r\n\r\n";
    let head = read(text);
    let mut out = Vec::new();
    let put = head.request.map(|()| Full::new(Bytes::from_static(b"12345")));
    let encoder = write_request(&put, head.spelling.as_ref(), &mut out);
    // Fields of one name stand together.
    let expected = "PUT /a?b HTTP/1.1\r\nHOST: a\r\nx-Odd: \u{e9}\r\nX-Odd: 2\r\nContent-Length: 5\r\n\r\n";
    assert_eq!((String::from_utf8(out).unwrap().as_str(), encoder), (expected, Encoder::Length(5)));
}

#[test]
fn a_request_that_says_nothing_of_its_body_is_framed_here() {
    let framed = |body: BoxBody<Bytes, Infallible>| {
        let request = Request::post("/").body(body).unwrap();
        let mut encoder = None;
        let text = written(|out| encoder = Some(write_request(&request, None, out)));
        (text.trim_start_matches("POST / HTTP/1.1\r\n").to_owned(), encoder.unwrap())
    };
    assert_eq!(framed(Empty::new().boxed()), ("\r\n".to_owned(), Encoder::Length(0)));
    let five = Full::new(Bytes::from_static(b"12345")).boxed();
    assert_eq!(framed(five), ("content-length: 5\r\n\r\n".to_owned(), Encoder::Length(5)));
    let stream = Never.boxed();
    assert_eq!(framed(stream), ("transfer-encoding: chunked\r\n\r\n".to_owned(), Encoder::Chunked));
}

/// A body that does not say how long it is.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn answered(request: &str, answer: &str) -> (String, Encoder, bool) {
    let head = read(request);
    let mut answering = Answering {
        method: head.request.method().clone(),
        version: head.request.version(),
        keeps: head.keeps,
    };
    let answer = read_response(answer, answering.method.clone()).unwrap();
    let response = answer.response.map(|()| Never);
    let mut encoder = None;
    let text = written(|out| {
        encoder = Some(write_response(&mut answering, &response, answer.spelling.as_ref(), out).0);
    });
    (text, encoder.unwrap(), answering.keeps)
}

#[test]
fn an_answer_is_written_as_it_came() {
    const GET: &str = "GET / HTTP/1.1\r\n\r\n";
    let (chunked, nothing) = (Encoder::Chunked, Encoder::Length(0));
    for (request, answer, added, encoder, keeps) in [
        (GET, "HTTP/1.1 200 Fine\r\nX-oNe: 1\r\nContent-Length: 7\r\n", "", Encoder::Length(7), true),
        (GET, "HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\n", "", chunked.clone(), true),
        (
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
            "transfer-encoding: chunked\r\n",
            chunked.clone(),
            true,
        ),
        (GET, "HTTP/1.1 200 OK\r\n", "transfer-encoding: chunked\r\n", chunked, true),
        // What these say of a body is of one that is not there.
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n", "", nothing.clone(), true),
        (GET, "HTTP/1.1 204 No Content\r\n", "", nothing.clone(), true),
        (
            "HEAD / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            "",
            nothing.clone(),
            true,
        ),
        ("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", "", nothing.clone(), true),
        (GET, "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n", "", nothing.clone(), false),
        (
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n",
            "connection: close\r\n",
            nothing.clone(),
            false,
        ),
        (GET, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n", "", nothing, false),
    ] {
        let expected = (format!("{answer}{added}"), encoder, keeps);
        assert_eq!(answered(request, &format!("{answer}\r\n")), expected, "{request}{answer}");
    }
}

#[test]
fn an_answer_to_http_1_0_ends_with_its_connection_unless_it_has_a_length() {
    let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    let kept = "HTTP/1.0 200 OK\r\nContent-Length: 7\r\nconnection: keep-alive\r\n";
    assert_eq!(answered(old, answer), (kept.to_owned(), Encoder::Length(7), true));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(answered(old, chunked), ("HTTP/1.0 200 OK\r\n".to_owned(), Encoder::UntilEnd, false));
    let (closed, ..) = answered("GET / HTTP/1.0\r\n\r\n", answer);
    assert_eq!(closed, "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n");
}

proptest! {
    #[test]
    fn any_bytes_may_be_a_head(bytes in proptest::collection::vec(any::<u8>(), 0..200), with in any::<bool>()) {
        let mut start = if with { b"POST / HTTP/1.1\r\n".to_vec() } else { Vec::new() };
        start.extend(bytes);
        let _ = request(&mut Bytes::from(start.clone()), true);
        let _ = response(&mut Bytes::from(start), &Method::GET, true);
    }

    #[test]
    fn what_is_written_is_read_again_as_the_same(
        fields in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..20),
        path in "/[a-z0-9/%.]{0,30}(\\?[a-z=&]{0,10})?",
    ) {
        let own = ["content-length", "transfer-encoding"];
        let fields: String = fields
            .iter()
            .filter(|(name, _)| !own.contains(&name.to_lowercase().as_str()))
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let first = read(&format!("GET {path} HTTP/1.1\r\n{fields}\r\n"));
        let empty = first.request.map(|()| Empty::<Bytes>::new());
        let again = read(&written(|out| {
            write_request(&empty, first.spelling.as_ref(), out);
        }));
        prop_assert_eq!(again.request.headers(), empty.headers());
        prop_assert_eq!(again.request.uri(), empty.uri());
        // And to the letter, but for the order of fields of one name.
        let lines = |text: &str| { let mut lines: Vec<String> = text.lines().map(str::to_owned).collect(); lines.sort(); lines };
        let spelled = written(|out| { write_fields(first.spelling.as_ref(), empty.headers(), out, |_, _| true); });
        prop_assert_eq!(lines(&spelled), lines(&fields));
    }
}
