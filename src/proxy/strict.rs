//! Refuses what cannot be handed on as exactly one unambiguous request, beyond what cannot be read as one at all.
//!
//! A doubt about one request is a doubt about everything that follows on its connection, so an HTTP/1 connection is
//! closed after the refusal. Nothing is repaired: a request that two readers could read differently is not made one
//! that they read alike, because one of the readers is before us.

use super::MAX_HEADERS;
use super::present::{Found, Present};
use crate::telemetry::Refusal;
use http::header::TRANSFER_ENCODING;
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri, Version};

/// The longest method, in bytes; the longest registered one has 17.
const MAX_METHOD: usize = 32;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) refusal: Refusal,
    pub(super) reason: &'static str,
}

const fn malformed(reason: &'static str) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, refusal: Refusal::Malformed, reason }
}

/// Looks at everything but the body.
pub(super) fn check<B>(found: &Found<'_>, request: &Request<B>) -> Result<(), Refused> {
    let headers = request.headers();
    if headers.len() > MAX_HEADERS {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refused { status, refusal: Refusal::HeadSize, reason: "more than 200 headers" });
    }
    if request.method() == Method::CONNECT {
        let reason = "this is a reverse proxy: CONNECT goes nowhere";
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, ..malformed(reason) });
    }
    if request.method().as_str().len() > MAX_METHOD {
        return Err(malformed("a method of more than 32 bytes"));
    }
    check_target(request)?;
    check_host(found, request)?;
    if !found.present.has(Present::TRANSFER_ENCODING) {
        return Ok(());
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(malformed("a Transfer-Encoding other than one `chunked`"));
    }
    Ok(())
}

fn check_target<B>(request: &Request<B>) -> Result<(), Refused> {
    let uri = request.uri();
    if uri.path() == "*" && request.method() != Method::OPTIONS {
        return Err(malformed("a target of `*` with a method other than OPTIONS"));
    }
    if request.version() == Version::HTTP_2 && !has_path(uri) {
        return Err(malformed("a request needs a :path that begins with a slash"));
    }
    match (uri.scheme_str(), uri.authority()) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(malformed("a target that is only an authority")),
        (Some("http" | "https"), Some(authority)) if is_authority(authority.as_str().as_bytes()) => Ok(()),
        (Some("http" | "https"), _) => Err(malformed("a target whose authority is not host or host:port")),
        (Some(_), _) => Err(malformed("a target of another scheme than http and https")),
    }
}

/// Whether there is a path as RFC 9113 8.3.1 wants it, and not only a query, or nothing at all: in HTTP/1 these are ways
/// to write a target that has an authority.
fn has_path(uri: &Uri) -> bool {
    const ROOT: PathAndQuery = PathAndQuery::from_static("/");
    uri.path_and_query().is_some_and(|path| {
        // Nothing reads as `/`, but is not equal to it.
        path.as_str().starts_with(['/', '*']) && (path.as_str() != "/" || *path == ROOT)
    })
}

fn check_host<B>(found: &Found<'_>, request: &Request<B>) -> Result<(), Refused> {
    let authority = request.uri().authority();
    match (found.host, request.version()) {
        (None, Version::HTTP_11) => return Err(malformed("a request of HTTP/1.1 needs a Host header")),
        (None, Version::HTTP_2) if authority.is_none() => {
            return Err(malformed("a request needs an :authority"));
        }
        (None, _) => {}
        (Some(host), version) => {
            if !host.is_empty() && !is_authority(host.as_bytes()) {
                return Err(malformed("a Host header that is not host or host:port"));
            }
            // RFC 9113 8.3.1. Of HTTP/1, RFC 9112 3.2.2 says that the target wins.
            if version == Version::HTTP_2
                && authority.is_some_and(|it| !it.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()))
            {
                return Err(malformed("a Host header that differs from :authority"));
            }
        }
    }
    if found.present.has(Present::SECOND_HOST) {
        return Err(malformed("more than one Host header"));
    }
    Ok(())
}

/// The bytes of a host's name. A table, because every request is asked for every byte of it.
static NAME: [bool; 256] = {
    let mut name = [false; 256];
    let others = b"-._~!$&'()*+,;=%";
    let mut byte = 0;
    while byte < name.len() {
        name[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut n = 0;
    while n < others.len() {
        name[others[n] as usize] = true;
        n += 1;
    }
    name
};

/// `host` or `host:port`, without a user, as RFC 3986 writes it.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|&byte| byte == b':') {
        // A colon inside brackets belongs to the address.
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, &b""[..]),
    };
    let is_host = match host.strip_prefix(b"[") {
        Some(rest) => rest.strip_suffix(b"]").is_some_and(|address| {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }),
        None => !host.is_empty() && host.iter().all(|&byte| NAME[usize::from(byte)]),
    };
    is_host && port.iter().all(u8::is_ascii_digit) && port.len() <= 5
}

#[cfg(test)]
mod tests {
    use super::{Found, MAX_HEADERS, Refused, is_authority};
    use http::uri::PathAndQuery;
    use http::{Method, Request, Uri, Version};
    use proptest::prelude::*;

    fn request(version: Version, method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn v11(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        request(Version::HTTP_11, method, target, headers)
    }

    fn check(request: &Request<()>) -> Result<(), Refused> {
        super::check(&Found::of(request.headers()), request)
    }

    #[track_caller]
    fn refused(request: Request<()>, status: u16, word: &str) {
        let refused = check(&request).unwrap_err();
        assert_eq!(refused.status, status);
        assert!(refused.reason.contains(word), "{}", refused.reason);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        refused(v11("GET", "/", &[]), 400, "Host");
        refused(v11("GET", "/", &[("host", "a"), ("host", "a")]), 400, "more than one Host");
        for host in ["a b", "a/b", "a@b", "a,b", "a:b", "[::1", "::1", "a:123456", "[::g]"] {
            let expected = host == "a,b";
            assert_eq!(check(&v11("GET", "/", &[("host", host)])).is_ok(), expected, "{host}");
        }
        for host in ["", "a", "a:80", "a:", "[::1]:80", "[::1]", "10.0.0.1:8080", "xn--x_y.example"] {
            assert_eq!(check(&v11("GET", "/", &[("host", host)])), Ok(()), "{host}");
        }
        refused(v11("GET", "*", &[("host", "a")]), 400, "`*`");
        assert_eq!(check(&v11("OPTIONS", "*", &[("host", "a")])), Ok(()));
        refused(v11("GET", "a:80", &[("host", "a")]), 400, "only an authority");
        refused(v11("GET", "ftp://a/", &[("host", "a")]), 400, "scheme");
        refused(v11("GET", "http://me@a/", &[("host", "a")]), 400, "authority");
        assert_eq!(check(&v11("GET", "http://b/", &[("host", "a")])), Ok(()));
        refused(v11("CONNECT", "a:80", &[("host", "a")]), 405, "CONNECT");
        refused(v11(&"M".repeat(33), "/", &[("host", "a")]), 400, "method");
        for coding in ["chunked, chunked", "identity, chunked", "gzip, chunked", "xchunked", ""] {
            refused(
                v11("POST", "/", &[("host", "a"), ("transfer-encoding", coding)]),
                400,
                "Transfer-Encoding",
            );
        }
        let twice = [("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        refused(v11("POST", "/", &twice), 400, "Transfer-Encoding");
        assert_eq!(check(&v11("POST", "/", &[("host", "a"), ("transfer-encoding", "Chunked")])), Ok(()));
        assert_eq!(check(&request(Version::HTTP_10, "GET", "/", &[])), Ok(()));
    }

    #[test]
    fn http_2_says_the_authority_once() {
        let v2 = |target: &str, headers: &[(&str, &str)]| request(Version::HTTP_2, "GET", target, headers);
        assert_eq!(check(&v2("http://a/", &[])), Ok(()));
        assert_eq!(check(&v2("http://a/", &[("host", "A")])), Ok(()));
        refused(v2("http://a/", &[("host", "b")]), 400, "differs");
        refused(v2("/", &[]), 400, ":authority");
    }

    #[test]
    fn http_2_says_a_path() {
        let v2 = |method: &str, target: &str| request(Version::HTTP_2, method, target, &[("host", "a")]);
        refused(v2("GET", "http://a?x"), 400, ":path");
        assert_eq!(check(&v11("GET", "http://a?x", &[("host", "a")])), Ok(()), "a target of HTTP/1");
        let mut nothing = v2("GET", "/");
        *nothing.uri_mut() = Uri::from_parts(http::uri::Parts::default()).unwrap();
        refused(nothing, 400, ":path");
        let mut all = v2("GET", "/");
        let mut parts = all.uri().clone().into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some("a".parse().unwrap());
        parts.path_and_query = Some(PathAndQuery::from_static("*"));
        *all.uri_mut() = Uri::from_parts(parts).unwrap();
        refused(all.clone(), 400, "`*`");
        *all.method_mut() = Method::OPTIONS;
        assert_eq!(check(&all), Ok(()));
    }

    #[test]
    fn headers_have_a_number() {
        let mut many = request(Version::HTTP_2, "GET", "http://a/", &[]);
        for n in 0..=MAX_HEADERS {
            assert_eq!(check(&many).is_ok(), n <= MAX_HEADERS);
            many.headers_mut().append("x-n", http::HeaderValue::from(n));
        }
        refused(many, 431, "200");
    }

    proptest! {
        #[test]
        fn an_accepted_host_is_an_authority_to_http_too(host in "[ -~]{0,12}") {
            if is_authority(host.as_bytes()) {
                let uri: Result<http::uri::Authority, _> = host.parse();
                prop_assert!(uri.is_ok() || host.contains('%'), "{host}");
            }
        }
    }
}
