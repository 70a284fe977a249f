//! From bytes to a head.

use super::{
    MOST_ADDED, Reason, RequestHead, ResponseHead, Spelling, chunks_before_the_end, ends_chunked,
    has_lone_feed, has_no_body, length, lists,
};
use crate::http1::decode::Decoder;
use crate::http1::{Error, MAX_FIELDS, MAX_HEAD};
use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use httparse::Status;
use std::mem::MaybeUninit;

/// A head that may not have come as a whole.
#[derive(Debug, Default)]
pub(in crate::http1) struct Section {
    /// So many bytes have been looked at and have no end of a head among them.
    seen: usize,
}

impl Section {
    /// Whether these bytes, to which some were added, may hold a whole head. A sender that is slow would otherwise have
    /// all of it read again with each byte.
    ///
    /// # Errors
    /// It is too long.
    pub(in crate::http1) fn may_be_whole(&mut self, ahead: &Bytes) -> Result<bool, Error> {
        // The first look is the parser's own.
        let is_new = self.seen == 0;
        let from = self.seen.saturating_sub(3);
        self.seen = ahead.len();
        let ends = |at: usize| ahead[at + 1..].starts_with(b"\n") || ahead[at + 1..].starts_with(b"\r\n");
        if is_new || (from..ahead.len()).any(|at| ahead[at] == b'\n' && ends(at)) {
            return Ok(true);
        }
        if ahead.len() >= MAX_HEAD { Err(Error::TooLarge) } else { Ok(false) }
    }
}

fn malformed(error: httparse::Error) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::TooLarge,
        httparse::Error::HeaderName => Error::Malformed("a field's name that is none"),
        httparse::Error::HeaderValue => Error::Malformed("a field's value that is none"),
        httparse::Error::NewLine => Error::Malformed("a line that does not end as lines do"),
        httparse::Error::Status => Error::Malformed("a status that is none"),
        httparse::Error::Token => Error::Malformed("a first line that is none"),
        httparse::Error::Version => Error::Malformed("a version that is neither HTTP/1.1 nor HTTP/1.0"),
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 }
}

/// Reads a request's head and takes it off what has come, if it has come as a whole.
pub(in crate::http1) fn request(ahead: &mut Bytes, spells: bool) -> Result<Option<RequestHead>, Error> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let bytes = &*ahead;
    let Status::Complete(end) = parsed.parse_with_uninit_headers(bytes, &mut room).map_err(malformed)? else {
        return if bytes.len() >= MAX_HEAD { Err(Error::TooLarge) } else { Ok(None) };
    };
    if end > MAX_HEAD {
        return Err(Error::TooLarge);
    }
    if has_lone_feed(&bytes[..end]) {
        return Err(Error::Malformed("a line that does not end as lines do"));
    }
    const BAD: Error = Error::Malformed("a first line that is none");
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(BAD) };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| BAD)?;
    *request.uri_mut() = self::target(bytes, target, request.method())?;
    *request.version_mut() = version(parsed.version);
    let is_11 = parsed.version == Some(1);
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + MOST_ADDED);
    let mut framing =
        RequestFraming { is_11, connection: Persistence::of(is_11), ..RequestFraming::default() };
    for field in &*parsed.headers {
        let (name, value) = self::field(bytes, field)?;
        if framing.takes(&name, &value, &mut headers)? {
            headers.append(name, value);
        }
    }
    let body = framing.body()?;
    *request.headers_mut() = headers;
    let spelling = spells.then(|| Spelling::of(bytes, parsed.headers.iter().map(|field| field.name)));
    ahead.advance(end);
    let keeps = framing.connection.keeps && !(framing.coded && framing.sized);
    Ok(Some(RequestHead { request, body, keeps, expects: framing.expects, spelling }))
}

/// A request's target.
fn target(bytes: &Bytes, target: &str, method: &Method) -> Result<Uri, Error> {
    const BAD: Error = Error::Malformed("a target that is none");
    let uri = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| BAD)?;
    let is_all = *method == Method::OPTIONS
        && uri.authority().is_some_and(|authority| target.ends_with(&format!("://{authority}")));
    if !is_all {
        return Ok(uri);
    }
    // RFC 9112 3.2.4: without a path it asks about the server, which `http` does not tell from one of `/`.
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("*"));
    Uri::from_parts(parts).map_err(|_| BAD)
}

/// What a message says of its connection (RFC 9112 9.3).
#[derive(Default)]
struct Persistence {
    /// It goes on after the message.
    keeps: bool,
    closes: bool,
}

impl Persistence {
    fn of(is_11: bool) -> Persistence {
        Persistence { keeps: is_11, closes: false }
    }

    /// Looks at a `Connection`; where they differ, `close` wins.
    fn takes(&mut self, value: &HeaderValue) {
        self.closes |= lists(value, "close");
        self.keeps = !self.closes && (self.keeps || lists(value, "keep-alive"));
    }
}

/// What a request's fields say of its body and its connection.
#[derive(Default)]
struct RequestFraming {
    is_11: bool,
    /// There is a `Transfer-Encoding`, and how the last one ends.
    coded: bool,
    ends_chunked: bool,
    /// There is a `Content-Length`, and what it says.
    sized: bool,
    length: Option<u64>,
    connection: Persistence,
    expects: bool,
}

impl RequestFraming {
    /// Looks at a field; whether it is one to be kept.
    fn takes(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
        headers: &mut HeaderMap,
    ) -> Result<bool, Error> {
        match *name {
            header::TRANSFER_ENCODING => {
                if !self.is_11 {
                    return Err(Error::Malformed("a Transfer-Encoding in HTTP/1.0"));
                }
                self.coded = true;
                self.ends_chunked = ends_chunked(value);
                // RFC 9112 6.1: the coding overrides the length, which is not handed on.
                if self.length.take().is_some() {
                    headers.remove(header::CONTENT_LENGTH);
                }
            }
            header::CONTENT_LENGTH => {
                self.sized = true;
                if self.coded {
                    return Ok(false);
                }
                let length =
                    length(value.as_bytes()).ok_or(Error::Malformed("a Content-Length that is no number"))?;
                return match self.length.replace(length) {
                    None => Ok(true),
                    Some(before) if before == length => Ok(false),
                    Some(_) => Err(Error::Malformed("several Content-Lengths that differ")),
                };
            }
            header::CONNECTION => self.connection.takes(value),
            header::EXPECT => {
                self.expects |= self.is_11 && value.as_bytes().eq_ignore_ascii_case(b"100-continue")
            }
            _ => {}
        }
        Ok(true)
    }

    fn body(&self) -> Result<Decoder, Error> {
        match (self.coded, self.length) {
            (true, _) if self.ends_chunked => Ok(Decoder::chunked()),
            (true, _) => Err(Error::Malformed("a Transfer-Encoding that does not end in chunked")),
            (false, length) => Ok(Decoder::Length(length.unwrap_or_default())),
        }
    }
}

/// Reads the head of an answer to a request with this method and takes it off what has come, if it has come as a whole.
pub(in crate::http1) fn response(
    ahead: &mut Bytes,
    method: &Method,
    spells: bool,
) -> Result<Option<ResponseHead>, Error> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let bytes = &*ahead;
    let parser = httparse::ParserConfig::default();
    let Status::Complete(end) =
        parser.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room).map_err(malformed)?
    else {
        return if bytes.len() >= MAX_HEAD { Err(Error::TooLarge) } else { Ok(None) };
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Error::Malformed("a status that is none"))?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + MOST_ADDED);
    let connection = Persistence::of(parsed.version == Some(1));
    let mut framing = ResponseFraming { connection, ..ResponseFraming::default() };
    for field in &*parsed.headers {
        let (name, value) = self::field(bytes, field)?;
        if framing.takes(&name, &value, &mut headers) {
            headers.append(name, value);
        }
    }
    let version = version(parsed.version);
    let body = framing.body(version, status, method)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason()) {
        response.extensions_mut().insert(Reason(bytes.slice_ref(reason.as_bytes())));
    }
    let spelling = spells.then(|| Spelling::of(bytes, parsed.headers.iter().map(|field| field.name)));
    ahead.advance(end);
    let keeps = framing.connection.keeps && !(framing.coded && framing.sized);
    Ok(Some(ResponseHead { response, body, keeps, spelling }))
}

/// What the fields of an answer say of its body and its connection.
#[derive(Default)]
struct ResponseFraming {
    coded: bool,
    ends_chunked: bool,
    /// There is a `Content-Length`, and what it says.
    sized: bool,
    length: Option<u64>,
    /// Something stands after `chunked`.
    bad_coding: bool,
    /// There is a length that is none, or that another contradicts.
    bad_length: bool,
    connection: Persistence,
}

impl ResponseFraming {
    /// Looks at a field; whether it is one to be kept.
    fn takes(&mut self, name: &HeaderName, value: &HeaderValue, headers: &mut HeaderMap) -> bool {
        match *name {
            header::TRANSFER_ENCODING => {
                self.coded = true;
                // RFC 9112 6.1: it is the last, and applied once.
                self.bad_coding |= self.ends_chunked || chunks_before_the_end(value);
                self.ends_chunked = ends_chunked(value);
                // RFC 9112 6.3: the coding overrides the length. Handed on together they would be read by two readers.
                if self.sized {
                    headers.remove(header::CONTENT_LENGTH);
                }
            }
            header::CONTENT_LENGTH => {
                let is_first = !std::mem::replace(&mut self.sized, true);
                // RFC 9112 6.3: lengths that are all the same are one.
                for one in value.as_bytes().split(|&byte| byte == b',') {
                    let length = length(one.trim_ascii());
                    self.bad_length |=
                        length.is_none() || self.length.is_some_and(|before| Some(before) != length);
                    self.length = length;
                }
                if let Some(length) = self.length
                    && is_first
                    && !self.coded
                    && !self.bad_length
                    && value.as_bytes().contains(&b',')
                {
                    // RFC 9110 8.6: of a list one goes on.
                    headers.append(name, HeaderValue::from(length));
                    return false;
                }
                return is_first && !self.coded;
            }
            header::CONNECTION => self.connection.takes(value),
            _ => {}
        }
        true
    }

    /// RFC 9112 6.3.
    fn body(&self, version: Version, status: StatusCode, method: &Method) -> Result<Decoder, Error> {
        match self.length {
            _ if has_no_body(method, status) => Ok(Decoder::NOTHING),
            _ if self.coded && version == Version::HTTP_10 => {
                Err(Error::Malformed("a Transfer-Encoding in HTTP/1.0"))
            }
            _ if self.bad_coding => Err(Error::Malformed("a Transfer-Encoding with something after chunked")),
            _ if self.coded && self.ends_chunked => Ok(Decoder::chunked()),
            _ if self.coded => Ok(Decoder::UntilEnd),
            _ if self.bad_length => Err(Error::Malformed("a Content-Length that is no number, or several")),
            Some(length) => Ok(Decoder::Length(length)),
            None => Ok(Decoder::UntilEnd),
        }
    }
}

/// A field that httparse has read. The value shares the head's bytes.
fn field(bytes: &Bytes, field: &httparse::Header<'_>) -> Result<(HeaderName, HeaderValue), Error> {
    let name = HeaderName::from_bytes(field.name.as_bytes())
        .map_err(|_| Error::Malformed("a field's name that is none"))?;
    let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
        .map_err(|_| Error::Malformed("a field's value that is none"))?;
    Ok((name, value))
}
