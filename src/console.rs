//! The page: its files and its JSON, as answers to a path.
//!
//! Owns: nothing. It is asked with a [`View`] of the store and the sidecars, and answers from that.
//! May not: know sockets, hyper, clocks or the environment; change anything. Whoever serves it checks the method and
//! `Host`, and sends [`SECURITY_HEADERS`] with every answer.
//!
//! Everything in a segment is hostile. The JSON is data, the page puts it on screen with `createElement` and
//! `textContent` only, and a test holds its files to that.

mod answers;
mod map_text;

use crate::status::SidecarStatus;
use crate::store::Store;
use crate::trace::TraceId;
use bytes::Bytes;
use http::StatusCode;
pub use map_text::map_as_text;
use serde::Serialize;

/// To be sent with every answer, including refusals.
pub const SECURITY_HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// Traces in one answer, unless fewer are asked for.
pub const MAX_TRACES: usize = 200;

/// What the page is a picture of.
pub trait View {
    /// The segments.
    fn store(&self) -> &Store;
    /// What the sidecars say of themselves, in the order in which they are shown.
    fn sidecars(&self) -> Vec<SidecarStatus>;
}

/// An answer to a GET.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 400 or 404.
    pub status: StatusCode,
    /// With its charset.
    pub content_type: &'static str,
    /// Whole.
    pub body: Bytes,
    /// Quoted; the same for the same body.
    pub etag: String,
    /// `no-store` for data, `no-cache` (ask again with the ETag) for files.
    pub cache_control: &'static str,
}

impl Answer {
    /// Whether the asker has this body already, by its `If-None-Match`: then 304 without a body will do.
    pub fn is_known(&self, if_none_match: Option<&str>) -> bool {
        let known = if_none_match.unwrap_or_default().split(',');
        let mut known = known.map(|tag| tag.trim().trim_start_matches("W/"));
        self.status == StatusCode::OK && known.any(|tag| tag == self.etag)
    }

    fn file(content_type: &'static str, body: &'static str) -> Answer {
        let etag = etag(body.as_bytes());
        let body = Bytes::from_static(body.as_bytes());
        Answer { status: StatusCode::OK, content_type, body, etag, cache_control: "no-cache" }
    }

    fn json(status: StatusCode, value: &impl Serialize) -> Answer {
        // Values without maps of odd keys always serialize.
        let body = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        let etag = etag(&body);
        Answer { status, content_type: "application/json", body, etag, cache_control: "no-store" }
    }

    fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> Answer {
        Answer::json(status, &serde_json::json!({"error": {"code": code, "message": message}}))
    }
}

/// Answers `GET path?query`; `None` if the path is none of the page's.
pub fn answer(path: &str, query: Option<&str>, view: &dyn View) -> Option<Answer> {
    let Some(resource) = path.strip_prefix("/api/v1/") else {
        return file(path);
    };
    let ok = StatusCode::OK;
    Some(match resource {
        "status" => Answer::json(ok, &answers::status(view)),
        "graph" => Answer::json(ok, &answers::graph(&view.store().graph(), &view.sidecars())),
        "traces" => match limit(query) {
            Some(limit) => Answer::json(ok, &answers::traces(view.store(), limit)),
            None => Answer::refusal(StatusCode::BAD_REQUEST, "bad_limit", "limit is a number from 1 to 200"),
        },
        _ => {
            let id = TraceId::from_xray(resource.strip_prefix("traces/")?.as_bytes());
            match id.and_then(|id| view.store().trace(id)).and_then(|trace| answers::waterfall(&trace)) {
                Some(waterfall) => Answer::json(ok, &waterfall),
                None => {
                    Answer::refusal(StatusCode::NOT_FOUND, "no_trace", "this trace is not kept, or no longer")
                }
            }
        }
    })
}

fn limit(query: Option<&str>) -> Option<usize> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    match pairs.into_iter().find(|(key, _)| *key == "limit") {
        Some((_, value)) => value.parse().ok().filter(|limit| (1..=MAX_TRACES).contains(limit)),
        None => Some(MAX_TRACES),
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, type and text of everything the page consists of.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("console/assets/index.html")),
    ("/assets/console.css", CSS, include_str!("console/assets/console.css")),
    ("/assets/app.js", SCRIPT, include_str!("console/assets/app.js")),
    ("/assets/dom.js", SCRIPT, include_str!("console/assets/dom.js")),
    ("/assets/map.js", SCRIPT, include_str!("console/assets/map.js")),
    ("/assets/traces.js", SCRIPT, include_str!("console/assets/traces.js")),
    ("/assets/sidecars.js", SCRIPT, include_str!("console/assets/sidecars.js")),
    ("/assets/icon.svg", SVG, include_str!("console/assets/icon.svg")),
];

fn file(path: &str) -> Option<Answer> {
    let (_, content_type, text) = FILES.iter().find(|(known, ..)| *known == path)?;
    Some(Answer::file(content_type, text))
}

/// FNV-1a over the body: nobody gains anything by making two bodies look alike here.
fn etag(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}

#[cfg(test)]
mod tests;
