//! Heads, read and written.

mod read;
mod write;

use super::decode::Decoder;
use super::spelling::Spelling;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};

pub(super) use read::{Section, request, response};
pub(super) use write::{Answering, write_fields, write_request, write_response};

/// Room for the fields that a proxy adds, so that a head's table need not grow.
const MOST_ADDED: usize = 6;

/// A request's head.
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    /// How its body is framed.
    pub(super) body: Decoder,
    /// Its sender goes on with the connection after the answer.
    pub(super) keeps: bool,
    /// Its sender waits to be asked for the body.
    pub(super) expects: bool,
    pub(super) spelling: Option<Spelling>,
}

/// The head of an answer.
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    pub(super) body: Decoder,
    pub(super) keeps: bool,
    pub(super) spelling: Option<Spelling>,
}

/// What an answer says of its status, if it is not the usual.
#[derive(Clone, Debug)]
struct Reason(Bytes);

/// Whether an answer has no body, whatever its fields say of one: that is about another answer then (RFC 9110 6.4.1).
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether a field's list has this element.
fn lists(value: &HeaderValue, element: &str) -> bool {
    value
        .as_bytes()
        .split(|&byte| byte == b',')
        .any(|one| one.trim_ascii().eq_ignore_ascii_case(element.as_bytes()))
}

/// Whether the last coding of a `Transfer-Encoding` is `chunked`.
fn ends_chunked(value: &HeaderValue) -> bool {
    let last = value.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Whether a `Transfer-Encoding` has `chunked` before its last coding.
fn chunks_before_the_end(value: &HeaderValue) -> bool {
    let mut codings = value.as_bytes().rsplit(|&byte| byte == b',').skip(1);
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Whether a line ends with a line feed alone. RFC 9112 2.2 allows to take that for an end, and httparse does; but two
/// readers that differ over it differ over where a message ends.
pub(super) fn has_lone_feed(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r')
}

/// A length as `Content-Length` says it: digits and nothing else.
fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
