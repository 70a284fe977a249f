//! From a head to bytes.

use super::{Reason, Spelling, ends_chunked, has_no_body, length, lists};
use crate::http1::encode::Encoder;
use crate::http1::spelling::Speller;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;

/// A head's usual length, so that its room need not grow.
const USUAL: usize = 512;

/// Writes a request's head. Tells how its body is to be framed.
pub(in crate::http1) fn write_request<B: Body>(
    request: &Request<B>,
    spelling: Option<&Spelling>,
    out: &mut Vec<u8>,
) -> Encoder {
    let headers = request.headers();
    out.reserve(USUAL);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    // Of an authority alone the path is empty.
    let path = Some(request.uri().path()).filter(|path| !path.is_empty());
    out.extend_from_slice(path.unwrap_or("/").as_bytes());
    if let Some(query) = request.uri().query() {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut framing = None;
    write_fields(spelling, headers, out, |name, value| {
        match *name {
            header::TRANSFER_ENCODING => framing = Some(Encoder::Chunked),
            header::CONTENT_LENGTH if framing.is_none() => {
                framing = length(value.as_bytes()).map(Encoder::Length)
            }
            _ => {}
        }
        true
    });
    let encoder = match framing {
        Some(framing) => framing,
        None if request.body().is_end_stream() => Encoder::Length(0),
        None => write_framing(request.body().size_hint().exact(), true, out),
    };
    out.extend_from_slice(b"\r\n");
    encoder
}

/// What has to be known of a request to answer it.
#[derive(Clone, Debug)]
pub(in crate::http1) struct Answering {
    pub(in crate::http1) method: Method,
    pub(in crate::http1) version: Version,
    /// The connection goes on after the answer; it does not if the answer says so.
    pub(in crate::http1) keeps: bool,
}

/// Writes the head of an answer, but for the end of it: there is a `Date` to be added if this tells so. Tells how its
/// body is to be framed.
pub(in crate::http1) fn write_response<B: Body>(
    answering: &mut Answering,
    response: &Response<B>,
    spelling: Option<&Spelling>,
    out: &mut Vec<u8>,
) -> (Encoder, bool) {
    let status = response.status();
    let is_11 = answering.version != Version::HTTP_10;
    out.reserve(USUAL);
    out.extend_from_slice(if is_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let usual = status.canonical_reason().unwrap_or_default().as_bytes();
    let reason = response.extensions().get::<Reason>();
    out.extend_from_slice(reason.map_or(usual, |Reason(reason): &Reason| reason));
    out.extend_from_slice(b"\r\n");
    let (mut framing, mut coded, mut chunked, mut dated, mut closes) = (None, false, false, false, false);
    write_fields(spelling, response.headers(), out, |name, value| {
        match *name {
            header::TRANSFER_ENCODING if !is_11 => return false,
            header::TRANSFER_ENCODING => (coded, chunked) = (true, ends_chunked(value)),
            header::CONTENT_LENGTH => framing = length(value.as_bytes()).map(Encoder::Length),
            header::CONNECTION => closes |= lists(value, "close"),
            header::DATE => dated = true,
            _ => {}
        }
        true
    });
    let encoder = if has_no_body(&answering.method, status) {
        Encoder::Length(0)
    } else if coded {
        if !chunked {
            // It ended with the application's connection, and here it ends with a chunk.
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Encoder::Chunked
    } else {
        framing.unwrap_or_else(|| write_framing(response.body().size_hint().exact(), is_11, out))
    };
    answering.keeps &= !closes && encoder != Encoder::UntilEnd && status != StatusCode::SWITCHING_PROTOCOLS;
    match (is_11, answering.keeps) {
        (true, false) if !closes && status != StatusCode::SWITCHING_PROTOCOLS => {
            out.extend_from_slice(b"connection: close\r\n");
        }
        (false, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
    (encoder, !dated)
}

/// Frames a body whose head says nothing of it.
fn write_framing(exact: Option<u64>, can_chunk: bool, out: &mut Vec<u8>) -> Encoder {
    match exact {
        Some(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(HeaderValue::from(length).as_bytes());
            out.extend_from_slice(b"\r\n");
            Encoder::Length(length)
        }
        None if can_chunk => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Encoder::Chunked
        }
        None => Encoder::UntilEnd,
    }
}

/// Writes the fields that are wanted, with their names as they came.
pub(in crate::http1) fn write_fields(
    spelling: Option<&Spelling>,
    headers: &HeaderMap,
    out: &mut Vec<u8>,
    mut wants: impl FnMut(&HeaderName, &HeaderValue) -> bool,
) {
    let mut speller = Speller::new(spelling);
    let repeats = headers.keys_len() < headers.len();
    let mut before = None;
    for (name, value) in headers {
        let spelled = if repeats && before == Some(name) {
            speller.spell_again(name.as_str())
        } else {
            speller.spell(name.as_str())
        };
        before = Some(name);
        if wants(name, value) {
            out.extend_from_slice(spelled);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}
