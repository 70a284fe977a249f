//! Any bytes from a client, and any from an application, through both of their connections.

use bytes::Bytes;
use collimator::clock::Clock;
use collimator::http1::server::{Connection, Options};
use collimator::http1::{Error, Spelling, client, server};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

/// More than any input.
const ROOM: usize = 1 << 20;
/// Nothing happens any more: time passes by itself once everybody waits.
const QUIET: Duration = Duration::from_secs(1);
/// Between what the client says and what the application does.
const SEPARATOR: &[u8] = b"\xff\xff";

/// A length, what a client says, the separator, and what an application says to each request, all of it in pieces of that
/// length. Whatever the application gets is one request, and whatever the client gets are answers, that nobody can take
/// for anything else.
pub(crate) fn http1(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let at = bytes.windows(2).position(|pair| pair == SEPARATOR).unwrap_or(bytes.len());
    let (asked, answered) = (&bytes[..at], bytes.get(at + 2..).unwrap_or_default());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (seen, got) = LocalSet::new().block_on(&runtime, carry(asked, answered, usize::from(piece)));
    for bytes in &seen {
        check_request(bytes);
    }
    check_answers(&got);
}

/// What each connection to the application saw, and what the client got.
async fn carry(asked: &[u8], answered: &[u8], piece: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (client, ours) = duplex(ROOM);
    let (mut from, to) = tokio::io::split(client);
    let said = spawn_local(say(to, asked.to_vec(), piece));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (answered, applications) = (answered.to_vec(), Rc::clone(&seen));
    let service = move |request: Request<server::Body<DuplexStream>>| {
        let (application, ours) = duplex(ROOM);
        let seen = Rc::new(RefCell::new(Vec::new()));
        applications.borrow_mut().push(Rc::clone(&seen));
        let (mut from, to) = tokio::io::split(application);
        spawn_local(say(to, answered.clone(), piece));
        spawn_local(async move {
            let mut bytes = [0; 512];
            while let Ok(n @ 1..) = from.read(&mut bytes).await {
                seen.borrow_mut().extend_from_slice(&bytes[..n]);
            }
        });
        async move {
            let spelling = request.body().take_spelling();
            let call = client::Connection::new(ours).send(request.map(Going), spelling.as_ref());
            Ok::<_, Infallible>(match call.await {
                Ok(mut response) => {
                    let spelling = response.body_mut().take_spelling();
                    response.map(|answer| Coming(Some(answer), spelling))
                }
                Err(_) => Response::builder().status(502).body(Coming(None, None)).unwrap(),
            })
        }
    };
    let refusal = |error: &Error| {
        let status = if matches!(error, Error::TooLarge) { 431 } else { 400 };
        Response::builder().status(status).body(Coming(None, None)).unwrap()
    };
    let options = Options {
        preserve_header_case: piece.is_multiple_of(2),
        clock: Clock::start(),
        refusal,
        begins: |_, _| (),
        cut: |_: &DuplexStream| (),
    };
    let serving = spawn_local(timeout(QUIET, Connection::new(ours, options, service)));
    let mut got = Vec::new();
    // Ended or cut, the client's reading ends with it.
    let _ = serving.await.unwrap();
    let _ = timeout(QUIET, from.read_to_end(&mut got)).await;
    said.abort();
    let seen = seen.borrow().iter().map(|seen| seen.borrow().clone()).collect();
    (seen, got)
}

/// Says it in pieces, and stays.
async fn say(mut to: tokio::io::WriteHalf<DuplexStream>, bytes: Vec<u8>, piece: usize) {
    for piece in bytes.chunks(piece.max(1)) {
        let _ = to.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    std::future::pending().await
}

/// A request's body on its way to the application.
#[derive(Debug)]
struct Going(server::Body<DuplexStream>);

/// An answer's on its way to the client; nothing in place of one that did not come.
struct Coming(Option<client::Answer<DuplexStream, Going>>, Option<Spelling>);

impl client::Outgoing for Going {}

impl server::Outgoing for Coming {
    fn spelling(&self) -> Option<&Spelling> {
        self.1.as_ref()
    }
}

impl Body for Going {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |answer| Pin::new(answer).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// One request, whole or broken off, and nothing after it.
fn check_request(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", show(bytes)));
    // The connection may have been cut while it was written.
    let httparse::Status::Complete(end) = parsed else { return };
    let rest = body(request.headers, bytes, end, false).unwrap_or(&[]);
    assert!(rest.is_empty(), "something follows: {}", show(bytes));
}

/// Answers, the last of them whole or broken off.
fn check_answers(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut answer = httparse::Response::new(&mut fields);
        let parsed = answer.parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", show(bytes)));
        let httparse::Status::Complete(end) = parsed else { return };
        let code = answer.code.unwrap();
        if code == 101 {
            return;
        }
        // An answer to HEAD speaks of a body that is not there; who asked is not known here.
        let is_empty = code < 200 || code == 204 || code == 304;
        if is_empty {
            bytes = &bytes[end..];
            continue;
        }
        match body(answer.headers, bytes, end, true) {
            Some(rest) if rest.starts_with(b"HTTP/1.") || rest.is_empty() => bytes = rest,
            _ => return,
        }
    }
}

/// What follows the body that these fields frame; nothing if it is not complete.
fn body<'b>(
    fields: &[httparse::Header<'_>],
    bytes: &'b [u8],
    start: usize,
    to_end: bool,
) -> Option<&'b [u8]> {
    let named = |name: &str| {
        let values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        values.map(|field| String::from_utf8_lossy(field.value).to_lowercase()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    let is_framed_once = lengths.len() + usize::from(!codings.is_empty()) <= 1;
    assert!(is_framed_once, "framed more than once: {}", show(bytes));
    let mut rest = &bytes[start..];
    if let [length] = &lengths[..] {
        return rest.get(length.parse::<usize>().ok()?..);
    }
    if codings.is_empty() {
        return if to_end { None } else { Some(rest) };
    }
    assert!(codings.last().is_some_and(|coding| coding.ends_with("chunked")), "{}", show(bytes));
    loop {
        let line = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        // As we write them: nothing but digits.
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("{size:?}: {}", show(bytes)));
        rest = &rest[line + 2..];
        if size > 0 {
            let after = rest.get(size..size + 2)?;
            assert_eq!(after, b"\r\n", "{}", show(bytes));
            rest = &rest[size + 2..];
            continue;
        }
        let mut fields = [httparse::EMPTY_HEADER; 256];
        return match httparse::parse_headers(rest, &mut fields).unwrap() {
            httparse::Status::Complete((end, _)) => Some(&rest[end..]),
            httparse::Status::Partial => None,
        };
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
