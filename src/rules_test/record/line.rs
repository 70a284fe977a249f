//! One line of an access log, in whichever of the formats it is.
//!
//! ```text
//!   combined  10.0.0.1 - - [20/Nov/2026:14:00:00 +0000] "GET /cart HTTP/1.1" 200 12 "-" "curl/8"      perhaps "host" after it
//!   vhost     shop.example.com:443 10.0.0.1 - - [20/Nov/2026:14:00:00 +0000] "GET /cart HTTP/1.1" …
//!   ALB       https 2026-11-20T14:00:00.1Z app/lb/50dc … "GET https://shop.example.com:443/cart HTTP/2.0" "curl/8" …
//!   Envoy     [2026-11-20T14:00:00.123Z] "GET /cart HTTP/1.1" 200 - 0 12 3 2 "10.0.0.1" "curl/8" "6c…" "shop" "10.0.0.7:80"
//!   JSON      {"method":"GET","path":"/cart","authority":"shop.example.com","user_agent":"curl/8"}
//! ```
//!
//! JSON is what Envoy, Istio, nginx and this sidecar write when they are told to, by the names that each has for the same
//! things.

use crate::explain::Request;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Names of the parts in JSON, the first one that is there counts. The path before a rewrite is what the client asked for.
const METHOD: &[&str] = &["method", ":method", "request_method", "http.request.method"];
const PATH: &[&str] = &[
    "x_envoy_original_path",
    "x-envoy-original-path",
    "path",
    ":path",
    "request_uri",
    "uri",
    "url",
    "url.path",
];
const HOST: &[&str] = &["authority", ":authority", "host", "http_host", "server.address"];
const AGENT: &[&str] = &["user_agent", "user-agent", "http_user_agent", "user_agent.original"];

/// The request that a line tells of.
pub(super) fn read(line: &str) -> Option<Request> {
    match line.trim_start().starts_with('{') {
        true => from_json(line),
        false => from_text(line),
    }
}

fn from_json(line: &str) -> Option<Request> {
    let object: Map<String, Value> = serde_json::from_str(line).ok()?;
    // A sidecar's own log has lines of other kinds, and lines of nested objects are not known.
    let said = |names: &[&str]| {
        names.iter().find_map(|name| object.get(*name)?.as_str()).filter(|text| !matches!(*text, "" | "-"))
    };
    let url = without_usual_port(said(PATH)?);
    build(said(METHOD)?, &url, said(HOST), said(AGENT))
}

fn from_text(line: &str) -> Option<Request> {
    let fields: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    // The first field in quotes that looks like `GET /cart HTTP/1.1`, or with the whole address at ALB.
    let (at, method, url) = fields.iter().enumerate().find_map(|(at, field)| {
        let mut words = field.split(' ');
        let (method, url) = (words.next()?, words.next()?);
        words.next().filter(|version| version.starts_with("HTTP/"))?;
        let is_method = method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        (words.next().is_none() && is_method).then_some((at, method, url))
    })?;
    let before = line.split('"').next().unwrap_or_default();
    let field = |n: usize| fields.get(at + n).copied().filter(|text| !matches!(*text, "" | "-"));
    // Envoy's line begins with the time; after the request come X-Forwarded-For, agent, request id, authority, upstream.
    let (host, agent) = if before.starts_with('[') {
        (field(4), field(2))
    } else if url.contains("://") {
        (None, field(1))
    } else {
        (virtual_host(before).or_else(|| field(3).filter(|text| is_host_name(text))), field(2))
    };
    build(method, &without_usual_port(url), host, agent)
}

/// Apache's `vhost_combined` puts the host before the three words that are there anyway.
fn virtual_host(before: &str) -> Option<&str> {
    let words: Vec<&str> = before.split('[').next()?.split_whitespace().collect();
    match words[..] {
        [host, _, _, _] => Some(host.trim_end_matches(":443").trim_end_matches(":80")),
        _ => None,
    }
}

/// A name, and not one of the other things that people append: addresses, times, ids, lists.
fn is_host_name(text: &str) -> bool {
    let name = text.split(':').next().unwrap_or_default();
    name.contains('.')
        && name.bytes().any(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && name.parse::<IpAddr>().is_err()
}

/// ALB writes the port even where it is the usual one.
fn without_usual_port(url: &str) -> String {
    match url.split_once("://") {
        Some(("https", _)) => url.replacen(":443/", "/", 1),
        Some(("http", _)) => url.replacen(":80/", "/", 1),
        _ => url.to_owned(),
    }
}

fn build(method: &str, url: &str, host: Option<&str>, agent: Option<&str>) -> Option<Request> {
    let headers = [("host", host), ("user-agent", agent)];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    Request::new(method, url, headers).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Attributes;

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, &str, &str, Option<&str>)>) {
        let request = read(line);
        let found = request.as_ref().map(|request| {
            let agent = request.attribute("user-agent");
            (request.method.as_str(), request.host.as_str(), request.path.as_str(), agent)
        });
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn each_format_is_told_by_its_look() {
        let time = "[20/Nov/2026:14:00:00 +0000]";
        let curl = Some("curl/8");
        check(
            &format!("10.0.0.1 - - {time} \"GET /cart?x=1 HTTP/1.1\" 200 12 \"-\" \"curl/8\""),
            Some(("GET", "", "/cart", curl)),
        );
        check(
            &format!(
                "10.0.0.1 - bob {time} \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl/8\" \"shop.example.com\" 0.012"
            ),
            Some(("GET", "shop.example.com", "/a", curl)),
        );
        // What nginx's own example appends is where the request comes from.
        check(
            &format!("10.0.0.1 - - {time} \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl/8\" \"10.1.2.3\""),
            Some(("GET", "", "/a", curl)),
        );
        check(
            &format!("shop.example.com:443 10.0.0.1 - - {time} \"PUT /a HTTP/2.0\" 200 1 \"-\" \"-\""),
            Some(("PUT", "shop.example.com", "/a", None)),
        );
        check(
            "https 2026-11-20T14:00:00.1Z app/lb/50dc 10.0.0.1:2817 10.0.0.7:80 0.0 0.048 0.0 200 200 0 57 \"POST https://shop.example.com:443/pay HTTP/2.0\" \"curl/8\" ECDHE TLSv1.2 arn:aws:x \"Root=1-58337262-36d228ad5d99923122bbe354\" \"shop.example.com\"",
            Some(("POST", "shop.example.com", "/pay", curl)),
        );
        check(
            "[2026-11-20T14:00:00.123Z] \"GET /cart/42?q HTTP/2\" 200 - 0 12 3 2 \"10.0.0.1,10.0.0.2\" \"curl/8\" \"6c0b4f5e-0000-4000-8000-000000000000\" \"shop.example.com:8443\" \"10.0.0.7:80\"",
            Some(("GET", "shop.example.com:8443", "/cart/42", curl)),
        );
        check(
            "{\"start_time\":\"2026-11-20T14:00:00.123Z\",\"method\":\"GET\",\"path\":\"/cart?q\",\"authority\":\"shop\",\"user_agent\":\"curl/8\",\"response_code\":200,\"x_envoy_original_path\":null}",
            Some(("GET", "shop", "/cart", curl)),
        );
        check(
            "{\":method\":\"GET\",\":path\":\"/new\",\"x-envoy-original-path\":\"/old\",\":authority\":\"-\"}",
            Some(("GET", "", "/old", None)),
        );
        check(
            "{\"request_method\":\"GET\",\"request_uri\":\"/a?b\",\"http_host\":\"shop\",\"http_user_agent\":\"\"}",
            Some(("GET", "shop", "/a", None)),
        );
    }

    #[test]
    fn everything_else_is_not_understood() {
        for line in [
            "nonsense",
            "{}",
            "{\"message\":\"listening\"}",
            "{\"method\":1,\"path\":\"/\"}",
            "{\"method\":\"GET\",\"path\":\"/\"",
            "10.0.0.1 - - [x] \"\\x16\\x03\\x01\" 400 157 \"-\" \"-\"",
            "10.0.0.1 - - [x] \"GET /\" 400 157",
            "[2026-11-20T14:00:00.123Z] \"- - -\" 400 DPE 0 11 0 - \"-\" \"-\" \"-\" \"-\" \"-\"",
        ] {
            check(line, None);
        }
    }
}
