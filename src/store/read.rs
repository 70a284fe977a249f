//! Reads one X-Ray document into what is kept of it.
//!
//! What makes a document a document is strict: id, name, trace and start. Everything else is lenient, because SDKs
//! differ: a field of an unexpected type counts as absent. Nothing is trusted: the size, the depth and the number of
//! subsegments are bounded, texts are cut and made printable, and the query and the user information of URLs are not kept.

use super::document::{Callee, Class, Document, Entity, EntityKind, Http, Sort};
use crate::trace::{SegmentId, TraceId};
use lenient::{Cause, Object, Pairs, Present, Scalar};
use serde::Deserialize;
use std::borrow::Cow;

mod lenient;

/// X-Ray's limit for one document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// How deep subsegments may nest.
pub const MAX_DEPTH: usize = 32;
/// How many subsegments a document may hold, at all depths.
pub const MAX_SUBSEGMENTS: usize = 1_000;

const MAX_NAME: usize = 200;
const MAX_TEXT: usize = 250;
const MAX_URL: usize = 1_000;
const MAX_ANNOTATIONS: usize = 50;
/// The year 2286; later is a mistake of unit, and sums of durations below it cannot overflow soon.
const MAX_EPOCH_SECONDS: f64 = 1e10;

/// Why a document is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Over 64 KiB.
    TooLarge,
    /// Not JSON, or nested deeper than any document is.
    NotJson,
    /// No segment: an id, the name, the trace or the start is missing or wrong.
    NotASegment,
    /// Subsegments nest deeper than 32.
    TooDeep,
    /// Over 1,000 subsegments.
    TooManySubsegments,
    /// Its trace already holds as much as one trace may.
    TraceFull,
}

impl Refusal {
    /// The reason as metrics and logs spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::TooLarge => "too_large",
            Refusal::NotJson => "not_json",
            Refusal::NotASegment => "not_a_segment",
            Refusal::TooDeep => "too_deep",
            Refusal::TooManySubsegments => "too_many_subsegments",
            Refusal::TraceFull => "trace_full",
        }
    }
}

#[derive(Deserialize)]
struct RawEntity<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    start_time: f64,
    #[serde(default, borrow)]
    end_time: Scalar<'a>,
    #[serde(default, borrow)]
    in_progress: Scalar<'a>,
    #[serde(default, borrow)]
    trace_id: Scalar<'a>,
    #[serde(default, borrow)]
    parent_id: Scalar<'a>,
    #[serde(default, rename = "type", borrow)]
    document_type: Scalar<'a>,
    #[serde(default, borrow)]
    namespace: Scalar<'a>,
    #[serde(default, borrow)]
    origin: Scalar<'a>,
    #[serde(default, borrow)]
    error: Scalar<'a>,
    #[serde(default, borrow)]
    throttle: Scalar<'a>,
    #[serde(default, borrow)]
    fault: Scalar<'a>,
    #[serde(default, borrow)]
    http: Object<RawHttp<'a>>,
    #[serde(default, borrow)]
    aws: Object<RawAws<'a>>,
    #[serde(default)]
    sql: Present,
    #[serde(default, borrow)]
    cause: Cause<'a>,
    #[serde(default, borrow)]
    annotations: Pairs<'a>,
    #[serde(default, borrow)]
    subsegments: Option<Vec<RawEntity<'a>>>,
}

#[derive(Default, Deserialize)]
struct RawHttp<'a> {
    #[serde(default, borrow)]
    request: Object<RawRequest<'a>>,
    #[serde(default, borrow)]
    response: Object<RawResponse<'a>>,
}

#[derive(Default, Deserialize)]
struct RawRequest<'a> {
    #[serde(default, borrow)]
    method: Scalar<'a>,
    #[serde(default, borrow)]
    url: Scalar<'a>,
    #[serde(default, borrow)]
    traced: Scalar<'a>,
}

#[derive(Default, Deserialize)]
struct RawResponse<'a> {
    #[serde(default, borrow)]
    status: Scalar<'a>,
}

#[derive(Default, Deserialize)]
struct RawAws<'a> {
    #[serde(default, borrow)]
    table_name: Scalar<'a>,
    #[serde(default, borrow)]
    queue_url: Scalar<'a>,
    #[serde(default, borrow)]
    xray: Object<RawXray<'a>>,
}

#[derive(Default, Deserialize)]
struct RawXray<'a> {
    #[serde(default, borrow)]
    sampling_rule_name: Scalar<'a>,
    #[serde(default, borrow)]
    rule_name: Scalar<'a>,
}

/// Reads one document.
pub(super) fn document(json: &[u8]) -> Result<Document, Refusal> {
    if json.len() > MAX_DOCUMENT_BYTES {
        return Err(Refusal::TooLarge);
    }
    let raw: RawEntity<'_> = serde_json::from_slice(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::NotASegment,
        _ => Refusal::NotJson,
    })?;
    let trace = raw.trace_id.text().and_then(|id| TraceId::from_xray(id.as_bytes()));
    let parent = raw.parent_id.text().and_then(|id| SegmentId::parse(id.as_bytes()));
    let nested = raw.document_type.text() == Some("subsegment");
    let mut left = MAX_SUBSEGMENTS + 1;
    let entity = entity(raw, nested, MAX_DEPTH, &mut left)?;
    Ok(Document { trace: trace.ok_or(Refusal::NotASegment)?, parent, entity })
}

fn entity(raw: RawEntity<'_>, nested: bool, depth_left: usize, left: &mut usize) -> Result<Entity, Refusal> {
    *left = left.checked_sub(1).ok_or(Refusal::TooManySubsegments)?;
    let id = SegmentId::parse(raw.id.as_bytes()).ok_or(Refusal::NotASegment)?;
    let start_micros = micros(raw.start_time).ok_or(Refusal::NotASegment)?;
    let end_micros = match raw.in_progress.is_true() {
        true => None,
        false => raw.end_time.number().and_then(micros).map(|end| end.max(start_micros)),
    };
    if raw.name.trim().is_empty() {
        return Err(Refusal::NotASegment);
    }
    let status = raw.http.0.response.0.status.number();
    let status = status.filter(|status| (100.0..1000.0).contains(status)).map(|status| status as u16);
    let class = Class::new(raw.fault.is_true(), raw.throttle.is_true(), raw.error.is_true(), status);
    let kind = kind(&raw, nested);
    let request = &raw.http.0.request.0;
    let http = Http {
        method: cut(request.method.text().unwrap_or_default(), MAX_TEXT),
        url: cut(&without_secrets(request.url.text().unwrap_or_default()), MAX_URL),
        status,
    };
    let xray = &raw.aws.0.xray.0;
    let children = raw.subsegments.unwrap_or_default();
    if depth_left == 0 && !children.is_empty() {
        return Err(Refusal::TooDeep);
    }
    let annotations = raw.annotations.0.iter().take(MAX_ANNOTATIONS);
    Ok(Entity {
        id,
        name: cut(raw.name.trim(), MAX_NAME),
        start_micros,
        end_micros,
        kind,
        class,
        http: (http != Http::default()).then(|| Box::new(http)),
        rule: xray.sampling_rule_name.text().or(xray.rule_name.text()).map(|rule| cut(rule, MAX_TEXT)),
        cause: raw.cause.0.map(|cause| cut(&cause, MAX_TEXT)),
        annotations: annotations.map(|(key, value)| (cut(key, MAX_TEXT), cut(value, MAX_TEXT))).collect(),
        children: children
            .into_iter()
            .map(|child| entity(child, true, depth_left.saturating_sub(1), left))
            .collect::<Result<_, _>>()?,
    })
}

/// What the entity stands for. The names and types of inferred nodes are those of X-Ray, except `Database::SQL`: its
/// guide names no type for a database.
fn kind(raw: &RawEntity<'_>, nested: bool) -> EntityKind {
    if !nested {
        return EntityKind::Segment { origin: cut(raw.origin.text().unwrap_or_default(), MAX_TEXT) };
    }
    let aws = &raw.aws.0;
    let own = cut(raw.name.trim(), MAX_NAME);
    let (name, node_type, sort) = match raw.namespace.text() {
        Some("aws") => match (aws.table_name.text(), aws.queue_url.text().and_then(last_part)) {
            (Some(table), _) => (cut(table, MAX_NAME), "AWS::DynamoDB::Table".into(), Sort::Aws),
            (None, Some(queue)) => (cut(queue, MAX_NAME), "AWS::SQS::Queue".into(), Sort::Aws),
            (None, None) => {
                let node_type = format!("AWS::{own}").into_boxed_str();
                (own, node_type, Sort::Aws)
            }
        },
        Some("remote") if raw.sql.0 => (own, "Database::SQL".into(), Sort::Database),
        Some("remote") => (own, "remote".into(), Sort::Remote),
        _ => return EntityKind::Internal,
    };
    let traced = raw.http.0.request.0.traced.is_true();
    EntityKind::Call(Box::new(Callee { name, node_type, sort, traced }))
}

/// `https://sqs.eu-west-1.amazonaws.com/123456789012/orders` → `orders`.
fn last_part(url: &str) -> Option<&str> {
    url.rsplit('/').next().filter(|part| !part.is_empty())
}

/// Epoch seconds to microseconds; `None` for what is no time of a trace.
fn micros(seconds: f64) -> Option<u64> {
    (0.0..MAX_EPOCH_SECONDS).contains(&seconds).then(|| (seconds * 1e6).round() as u64)
}

/// The first `limit` characters, each as what it looks like: control characters could command a terminal, and those
/// that are invisible or turn the direction of writing make a text look like another.
fn cut(text: &str, limit: usize) -> Box<str> {
    let first = text.char_indices().nth(limit).map_or(text, |(end, _)| &text[..end]);
    match first.contains(is_treacherous) {
        true => {
            first.chars().map(|c| if is_treacherous(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
        }
        false => first.into(),
    }
}

fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A URL without what may be private: the query, the fragment and the user information.
fn without_secrets(url: &str) -> Cow<'_, str> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://{}", &rest[at + 1..])),
        None => Cow::Borrowed(url),
    }
}

#[cfg(test)]
mod tests;
