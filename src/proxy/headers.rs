//! What a proxy does to headers, and nothing more.
//!
//! Hop-by-hop fields end here; trace headers are replaced by ours; `X-Forwarded-*` is appended. Everything else passes as
//! it came.

use super::present::Present;
use crate::sampling::Attributes;
use crate::trace::{Leaving, TraceId, state};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

pub(super) const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The length of `Root=1-…;Parent=…;Sampled=…`.
const ROOT_PARENT_SAMPLED: usize = 74;
/// How many headers are added to a request that brings none of them.
pub(super) const MOST_ADDED: usize = 5;

/// Fields that a `Connection` header cannot take away: without them a message would be framed, routed or traced
/// otherwise than its sender was told.
fn is_protected(name: &HeaderName) -> bool {
    [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        X_AMZN_TRACE_ID,
        TRACEPARENT,
        TRACESTATE,
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        X_FORWARDED_HOST,
    ]
    .contains(name)
}

/// Removes from a request's trailers what only the head says: there may be readers that take the two together.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    retain(trailers, |name| !is_protected(name) && !is_of_connection(name));
}

/// Removes from an answer's trailers what speaks of a connection: HTTP/2 would carry none of them then.
pub(super) fn pass_back_trailers(trailers: &mut HeaderMap) {
    let is_unfit = |name: &HeaderName| is_of_connection(name) || *name == header::TRANSFER_ENCODING;
    if trailers.keys().any(is_unfit) {
        retain(trailers, |name| !is_unfit(name));
    }
}

/// A field that speaks of one connection only.
fn is_of_connection(name: &HeaderName) -> bool {
    Present::named(name.as_str()).has(Present::HOP_BY_HOP)
}

/// Makes one line of a length that is said more than once; HTTP/2 has seen to it that it is one number.
pub(super) fn join_lengths(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(length), Some(_)) = (lengths.next().cloned(), lengths.next()) {
        headers.insert(header::CONTENT_LENGTH, length);
    }
}

/// Removes the fields that speak of one connection only, and those that `Connection` names. `Trailer` stays: it speaks
/// of the message.
pub(super) fn remove_hop_by_hop(present: Present, headers: &mut HeaderMap) {
    if !present.has(Present::HOP_BY_HOP) {
        return;
    }
    let nominated: Vec<HeaderName> = elements(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !is_protected(name))
        .collect();
    retain(headers, |name| !is_of_connection(name) && !nominated.contains(name));
}

/// Makes of the application's headers the client's.
pub(super) fn pass_back(present: Present, status: StatusCode, headers: &mut HeaderMap) {
    let wanted =
        if status == StatusCode::UPGRADE_REQUIRED { headers.get(header::UPGRADE).cloned() } else { None };
    remove_hop_by_hop(present, headers);
    if let Some(wanted) = wanted {
        // This answer is about nothing else.
        headers.insert(header::UPGRADE, wanted);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Keeps the order, which `HeaderMap::remove` does not.
fn retain(headers: &mut HeaderMap, keeps: impl Fn(&HeaderName) -> bool) {
    let all = std::mem::take(headers);
    headers.reserve(all.keys_len());
    let mut last = None;
    for (name, value) in all {
        // Further values of a name come without it.
        if name.is_some() {
            last = name.filter(&keeps);
        }
        if let Some(name) = &last {
            headers.append(name, value);
        }
    }
}

/// Whether the sender of a request takes trailers.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    elements(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// The elements of a list, in all fields of this name.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let fields = headers.get_all(name).into_iter();
    fields.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// Puts back what [`remove_hop_by_hop`] took of `TE`: we pass trailers, and whoever sends `TE` has to say so.
pub(super) fn write_takes_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.append(header::CONNECTION, HeaderValue::from_static("te"));
}

/// Joins the cookies that HTTP/2 lets a client send one by one (RFC 9113 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let crumbs: Vec<&[u8]> = fields(headers, &header::COOKIE).collect();
        if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(header::COOKIE, cookie);
        }
    }
}

/// Replaces both trace headers, so that they say the same thing and each is there exactly once. `tracestate` stays as it
/// came, or goes: with a trace that ends here, or because it is none.
pub(super) fn write_trace(present: Present, headers: &mut HeaderMap, leaving: &Leaving<'_>) {
    if present.has(Present::TRACESTATE) && !(leaving.state && state::is_valid(fields(headers, &TRACESTATE))) {
        retain(headers, |name| *name != TRACESTATE);
    }
    // As long as it is without further keys: a text that fills its room becomes a value without another allocation.
    let mut text = Vec::with_capacity(ROOT_PARENT_SAMPLED);
    leaving.write_xray(&mut text);
    // Both are printable ASCII by construction.
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        headers.insert(X_AMZN_TRACE_ID, value);
    }
    if let Ok(value) = HeaderValue::from_bytes(&leaving.traceparent()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// `Root=…`, and the decision if the caller asked for it.
pub(super) fn response_value(trace: TraceId, answer: Option<bool>) -> Option<HeaderValue> {
    let mut text = *b"Root=1-00000000-000000000000000000000000;Sampled=0";
    text[5..40].copy_from_slice(&trace.to_xray());
    text[49] = b'0' + u8::from(answer == Some(true));
    HeaderValue::from_bytes(if answer.is_some() { &text } else { &text[..40] }).ok()
}

/// What a connection's requests have in common.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The other end.
    pub(super) address: IpAddr,
    /// The same, as it goes into `X-Forwarded-For`.
    pub(super) text: HeaderValue,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
}

impl Peer {
    pub(super) fn new(address: IpAddr, scheme: &'static str) -> Peer {
        let address = address.to_canonical();
        let text = HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Peer { address, text, scheme }
    }
}

/// Appends the peer to `X-Forwarded-For`, and says scheme and host where no proxy before us did.
pub(super) fn append_forwarded(
    present: Present,
    headers: &mut HeaderMap,
    peer: &Peer,
    host: Option<HeaderValue>,
) {
    if !present.has(Present::X_FORWARDED_FOR) {
        headers.insert(X_FORWARDED_FOR, peer.text.clone());
    } else {
        let mut list = Vec::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            list.extend_from_slice(value.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(peer.text.as_bytes());
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
            headers.insert(X_FORWARDED_FOR, value);
        }
    }
    if !present.has(Present::X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(peer.scheme));
    }
    if !present.has(Present::X_FORWARDED_HOST)
        && let Some(host) = host
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

/// The addresses in `X-Forwarded-For`, nearest first; it stops at the first entry that is none, because nothing beyond
/// it can be placed.
pub(super) fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = IpAddr> {
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b','))
        .map_while(|entry| parse_address(std::str::from_utf8(entry.trim_ascii()).ok()?))
}

/// An address, with or without a port, as load balancers write it.
fn parse_address(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = entry.parse::<std::net::SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Request headers as rules see them.
pub(super) struct HeaderAttributes<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The first `User-Agent`, which every request is asked for.
    pub(super) user_agent: Option<&'a HeaderValue>,
}

impl Attributes for HeaderAttributes<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn user_agent(&self) -> &[u8] {
        self.user_agent.map_or(&[], HeaderValue::as_bytes)
    }
}

/// The fields of one name as bytes, in the order received.
pub(super) fn fields<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::present::Found;
    use proptest::prelude::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn forward(headers: &mut HeaderMap, peer: &Peer) {
        let Found { present, host, .. } = Found::of(headers);
        let host = host.cloned();
        append_forwarded(present, headers, peer, host);
    }

    #[test]
    fn hop_by_hop_fields_go_and_trace_headers_cannot_be_nominated_away() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-amzn-trace-id, host"),
            ("x-secret", "1"),
            ("x-amzn-trace-id", "Root=1"),
            ("host", "h"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("x-kept", "1"),
        ]);
        remove_hop_by_hop(Found::of(&headers).present, &mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-amzn-trace-id", "host", "x-kept"], "in the order in which they came");
    }

    #[test]
    fn trailers_are_asked_for_again_and_cookies_joined() {
        let mut headers =
            map(&[("te", "gzip;q=0.5, Trailers"), ("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")]);
        assert!(takes_trailers(&headers));
        remove_hop_by_hop(Found::of(&headers).present, &mut headers);
        assert!(!takes_trailers(&headers));
        write_takes_trailers(&mut headers);
        join_cookies(&mut headers);
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["connection"], "te");
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
    }

    #[test]
    fn forwarded_fields_are_appended_and_said_once() {
        let peer = Peer::new("::ffff:10.0.0.9".parse().unwrap(), "http");
        let mut headers = map(&[
            ("host", "shop"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "10.1.1.1"),
            ("x-forwarded-proto", "https"),
        ]);
        forward(&mut headers, &peer);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.9, 10.1.1.1, 10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "shop");
        let mut headers = HeaderMap::new();
        forward(&mut headers, &peer);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }

    #[test]
    fn forwarded_addresses_are_read_nearest_first_and_up_to_the_first_nonsense() {
        let read = |lines: &[(&'static str, &str)]| {
            forwarded_for(&map(lines)).map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read(&[]), "");
        assert_eq!(
            read(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")]),
            "3.3.3.3 2.2.2.2 1.1.1.1"
        );
        assert_eq!(read(&[("x-forwarded-for", "1.1.1.1, unknown, 2.2.2.2:80")]), "2.2.2.2");
        assert_eq!(read(&[("x-forwarded-for", "[2001:db8::1]:443, [::1]")]), "::1 2001:db8::1");
    }

    proptest! {
        #[test]
        fn any_forwarded_header_may_come(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let mut headers = HeaderMap::new();
            for value in &values {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(X_FORWARDED_FOR, value);
                }
            }
            let _ = forwarded_for(&headers).count();
            forward(&mut headers, &Peer::new("10.0.0.9".parse().unwrap(), "http"));
            prop_assert_eq!(headers.get_all(X_FORWARDED_FOR).iter().count(), 1);
        }
    }
}
