//! `Hop` opens, closes once, becomes a `Segment`.
//!
//! ```text
//!   Hop::open ─► (ids go into the headers) ─► Hop::close(self, …) ─► Segment ─► offered to the sinks
//! ```
//!
//! Closing takes the hop by value, so a hop is closed once. The document is one segment named for the service and,
//! inside it, one subsegment for the application's part; that subsegment's id is the `Parent` the application sees, so
//! what the application calls nests under it. It has no namespace: it is no node of its own on the map.
//!
//! Never recorded: query strings, cookies, authorization, bodies.

mod json;
mod name;

use crate::moment::Moment;
use crate::sampling::{Captured, RuleName, Standby, Verdict};
use crate::trace::{SegmentId, TraceId};
pub use json::MAX_DOCUMENT;
pub use name::SegmentName;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// X-Ray's limit for texts that have none of their own, in characters.
pub const MAX_TEXT: usize = 250;
/// Our limit for the text of an exception, in bytes.
pub const MAX_MESSAGE: usize = 1024;

/// Who speaks: the same in every segment of one sidecar.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The service's name, the node on the map.
    pub name: SegmentName,
    /// Where the application runs, such as `AWS::ECS::Container`.
    pub origin: Option<String>,
    /// Blocks of `aws` by name, such as `ecs`, without `xray`.
    pub aws: serde_json::Map<String, serde_json::Value>,
}

/// One request on its way through the sidecar.
#[derive(Debug)]
pub struct Hop {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// The id of the segment it may become.
    pub id: SegmentId,
    /// The caller's segment.
    pub parent: Option<SegmentId>,
    /// The id of the application's part, handed to the application as `Parent`.
    pub application: SegmentId,
    /// When its head had been read.
    pub opened: Moment,
    /// How it was decided.
    pub verdict: Verdict,
    /// By which rule.
    pub rule: Option<RuleName>,
    /// The Root of a caller that is not trusted with one.
    pub disowned: Option<TraceId>,
    /// What it may still be recorded for, if it is not kept.
    pub standby: Option<Arc<Standby>>,
}

/// What is recorded of a request. All texts are cut to X-Ray's limits when they are written.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `Host` or `:authority`.
    pub host: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// The method.
    pub method: &'a str,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The client.
    pub client: Client,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// The address comes from `X-Forwarded-For` and not from the connection.
    pub forwarded: bool,
}

/// How a hop ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the hop's opening to the last byte.
    pub elapsed: Duration,
    /// What we answered.
    pub status: Option<u16>,
    /// Bytes of body we handed to the client.
    pub content_length: Option<u64>,
    /// What went wrong in our hands or beyond them.
    pub failure: Option<Failure>,
    /// The client went away before the end.
    pub client_closed: bool,
    /// The application's part, if the request came that far.
    pub application: Option<ApplicationPart>,
    /// What it is recorded for, if it was not kept.
    pub captured: Option<Captured>,
    /// How a gRPC call went, whatever HTTP's status says.
    pub grpc_status: Option<GrpcStatus>,
}

impl Outcome {
    /// The status that says how it went: gRPC's own where there is one, in HTTP's terms.
    fn judged(&self, status: Option<u16>) -> Option<u16> {
        self.grpc_status.map(GrpcStatus::as_http).or(status)
    }
}

/// The status of a gRPC call, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(u16);

impl GrpcStatus {
    /// What a status that is no number means.
    pub const UNKNOWN: GrpcStatus = GrpcStatus(2);

    /// The status of HTTP that says the same, as Google's `rpc.Code` lists them; an unknown one is a fault.
    pub fn as_http(self) -> u16 {
        match self.0 {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        }
    }
}

impl std::str::FromStr for GrpcStatus {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<GrpcStatus, Self::Err> {
        text.parse().map(GrpcStatus)
    }
}

/// What the application did, as seen from here. Times count from the hop's opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationPart {
    /// The request was handed over.
    pub started: Duration,
    /// Its answer ended.
    pub ended: Duration,
    /// What it answered.
    pub status: Option<u16>,
}

/// An exception in X-Ray's sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Ids of the two descriptions, in the segment and in the application's part.
    pub ids: (SegmentId, SegmentId),
    /// The reason's name, as in `collimator-error`.
    pub kind: &'static str,
    /// For people; cut to [`MAX_MESSAGE`].
    pub message: String,
}

/// A value that X-Ray indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotation {
    /// True or false.
    Flag(bool),
    /// Text, cut to [`MAX_TEXT`].
    Text(String),
}

/// A closed hop: everything the document says, owned.
#[derive(Clone, Debug)]
pub struct Segment {
    identity: Arc<Identity>,
    trace: TraceId,
    id: SegmentId,
    parent: Option<SegmentId>,
    application_id: SegmentId,
    opened: Moment,
    rule: Option<RuleName>,
    url: String,
    method: String,
    user_agent: Option<String>,
    client: Client,
    outcome: Outcome,
    annotations: Vec<(&'static str, Annotation)>,
}

impl Hop {
    /// Ends the hop.
    pub fn close(self, identity: &Arc<Identity>, request: &RequestFacts<'_>, outcome: Outcome) -> Segment {
        let mut annotations = Vec::new();
        if outcome.client_closed {
            annotations.push(("client_closed", Annotation::Flag(true)));
        }
        if let Some(root) = self.disowned {
            annotations.push(("original_root", Annotation::Text(root.to_string())));
        }
        if let Some(captured) = outcome.captured {
            annotations.push(("captured", Annotation::Text(captured.as_str().to_owned())));
        }
        if let Some(GrpcStatus(status)) = outcome.grpc_status {
            annotations.push(("grpc_status", Annotation::Text(status.to_string())));
        }
        let mut url =
            String::with_capacity(request.scheme.len() + 3 + request.host.len() + request.path.len());
        url.push_str(request.scheme);
        url.push_str("://");
        url.push_str(request.host);
        url.push_str(request.path);
        cut(&mut url, MAX_TEXT);
        Segment {
            identity: Arc::clone(identity),
            trace: self.trace,
            id: self.id,
            parent: self.parent,
            application_id: self.application,
            opened: self.opened,
            rule: self.rule,
            url,
            method: owned(request.method),
            user_agent: request.user_agent.map(owned),
            client: request.client,
            outcome,
            annotations,
        }
    }
}

impl Segment {
    /// What it takes in memory, in bytes, so that what waits can be bounded; what it shares with others is left out.
    pub fn footprint(&self) -> usize {
        let texts = self.url.capacity()
            + self.method.capacity()
            + self.user_agent.as_ref().map_or(0, String::capacity)
            + self.outcome.failure.as_ref().map_or(0, |failure| failure.message.capacity());
        let annotations = self.annotations.iter().map(|(_, annotation)| match annotation {
            Annotation::Flag(_) => 0,
            Annotation::Text(text) => text.capacity(),
        });
        size_of::<Segment>()
            + texts
            + self.annotations.capacity() * size_of::<(&str, Annotation)>()
            + annotations.sum::<usize>()
    }

    /// Appends the document as compact JSON, its own `id` first: at most [`MAX_DOCUMENT`] bytes.
    ///
    /// Compact and in this order because the X-Ray daemon finds the id for its log by the first `"id":"` in the text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        json::write(self, out);
    }

    /// The trace it belongs to.
    pub fn trace(&self) -> TraceId {
        self.trace
    }
}

/// X-Ray's three flags, as they follow from a status. They are not exclusive: a 429 is an error and a throttle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The caller's fault: 4xx.
    pub error: bool,
    /// The caller asked too often: 429.
    pub throttle: bool,
    /// The callee's fault: 5xx, or no answer.
    pub fault: bool,
}

impl Flags {
    /// From what was answered and whether something broke on the way.
    pub fn new(status: Option<u16>, failed: bool) -> Flags {
        let status = status.unwrap_or(0);
        Flags {
            error: (400..500).contains(&status),
            throttle: status == 429,
            fault: (500..600).contains(&status) || failed,
        }
    }
}

fn owned(text: &str) -> String {
    let mut text = text.to_owned();
    cut(&mut text, MAX_TEXT);
    text
}

/// Shortens to `limit` characters.
fn cut(text: &mut String, limit: usize) {
    // Bytes are never fewer than characters, so most texts need no counting.
    if text.len() > limit
        && let Some((end, _)) = text.char_indices().nth(limit)
    {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests;
