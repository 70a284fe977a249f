//! Which of the names that matter to a proxy a head holds, and the values that nearly every message is asked for.
//!
//! One walk over the head instead of a search for each: nearly all of them are absent from nearly every message, and a
//! search hashes its name each time.

use http::header::{HeaderMap, HeaderValue};

/// A set of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present(u32);

impl Present {
    pub(super) const CONNECTION: Present = Present(1);
    pub(super) const CONTENT_TYPE: Present = Present(1 << 1);
    pub(super) const COOKIE: Present = Present(1 << 2);
    pub(super) const EXPECT: Present = Present(1 << 3);
    pub(super) const HOST: Present = Present(1 << 4);
    pub(super) const TE: Present = Present(1 << 5);
    pub(super) const TRACEPARENT: Present = Present(1 << 6);
    pub(super) const TRACESTATE: Present = Present(1 << 7);
    pub(super) const TRANSFER_ENCODING: Present = Present(1 << 8);
    pub(super) const UPGRADE: Present = Present(1 << 9);
    pub(super) const USER_AGENT: Present = Present(1 << 10);
    pub(super) const X_AMZN_TRACE_ID: Present = Present(1 << 11);
    pub(super) const X_FORWARDED_FOR: Present = Present(1 << 12);
    pub(super) const X_FORWARDED_HOST: Present = Present(1 << 13);
    pub(super) const X_FORWARDED_PROTO: Present = Present(1 << 14);
    /// Those that speak of one connection only and are never handed on, whatever `Connection` names.
    const OTHER_HOP_BY_HOP: Present = Present(1 << 15);
    /// More than one `Host`.
    pub(super) const SECOND_HOST: Present = Present(1 << 16);
    /// Everything that ends at the next hop.
    pub(super) const HOP_BY_HOP: Present =
        Present(Present::CONNECTION.0 | Present::TE.0 | Present::UPGRADE.0 | Present::OTHER_HOP_BY_HOP.0);

    /// Whether any of these is there.
    pub(super) fn has(self, names: Present) -> bool {
        self.0 & names.0 != 0
    }

    /// The name's place in a set, if it has one.
    pub(super) fn named(name: &str) -> Present {
        match name.as_bytes() {
            b"connection" => Present::CONNECTION,
            b"content-type" => Present::CONTENT_TYPE,
            b"cookie" => Present::COOKIE,
            b"expect" => Present::EXPECT,
            b"host" => Present::HOST,
            b"te" => Present::TE,
            b"traceparent" => Present::TRACEPARENT,
            b"tracestate" => Present::TRACESTATE,
            b"transfer-encoding" => Present::TRANSFER_ENCODING,
            b"upgrade" => Present::UPGRADE,
            b"user-agent" => Present::USER_AGENT,
            b"x-amzn-trace-id" => Present::X_AMZN_TRACE_ID,
            b"x-forwarded-for" => Present::X_FORWARDED_FOR,
            b"x-forwarded-host" => Present::X_FORWARDED_HOST,
            b"x-forwarded-proto" => Present::X_FORWARDED_PROTO,
            b"http2-settings" | b"keep-alive" | b"proxy-connection" => Present::OTHER_HOP_BY_HOP,
            _ => Present::default(),
        }
    }
}

/// What a walk over a head finds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found<'h> {
    pub(super) present: Present,
    /// The first `Host`.
    pub(super) host: Option<&'h HeaderValue>,
    /// The first `User-Agent`.
    pub(super) user_agent: Option<&'h HeaderValue>,
    /// The first `Content-Type`.
    pub(super) content_type: Option<&'h HeaderValue>,
}

impl<'h> Found<'h> {
    /// Walks over a head.
    pub(super) fn of(headers: &'h HeaderMap) -> Found<'h> {
        let mut found = Found::default();
        for (name, value) in headers {
            let mut name = Present::named(name.as_str());
            match name {
                Present::HOST if found.host.is_some() => name = Present::SECOND_HOST,
                Present::HOST => found.host = Some(value),
                Present::USER_AGENT => found.user_agent = found.user_agent.or(Some(value)),
                Present::CONTENT_TYPE => found.content_type = found.content_type.or(Some(value)),
                _ => {}
            }
            found.present.0 |= name.0;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn names_are_found_in_any_case_and_others_are_not() {
        let mut headers = HeaderMap::new();
        for name in ["X-Forwarded-For", "HOST", "x-hosts", "Keep-Alive"] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap());
        }
        let Found { present, host, user_agent, .. } = Found::of(&headers);
        assert_eq!((host.map(HeaderValue::as_bytes), user_agent), (Some(&b"1"[..]), None));
        assert!(present.has(Present::HOST) && present.has(Present::X_FORWARDED_FOR));
        assert!(present.has(Present::HOP_BY_HOP) && !present.has(Present::CONNECTION));
        assert!(!present.has(Present::X_FORWARDED_HOST) && !present.has(Present::TE));
        assert!(!present.has(Present::SECOND_HOST));
    }

    #[test]
    fn the_first_value_counts_and_a_second_host_is_noted() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "a"), ("content-type", "b"), ("host", "c"), ("content-type", "d")] {
            headers.append(name, value.parse().unwrap());
        }
        let Found { present, host, content_type, .. } = Found::of(&headers);
        assert_eq!((host.unwrap().as_bytes(), content_type.unwrap().as_bytes()), (&b"a"[..], &b"b"[..]));
        assert!(present.has(Present::SECOND_HOST));
    }
}
