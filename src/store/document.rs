//! What is kept of one document.
//!
//! A document is a segment with the subsegments inside it, or a subsegment that was sent on its own. Every text has
//! been cut to a limit and made printable and every time checked by `read`, so the rest of the store need not doubt
//! them; but names, URLs and annotations still say whatever a stranger wrote.

use crate::trace::{SegmentId, TraceId};
use serde::Serialize;
use std::mem::size_of;

/// One document, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// The segment or subsegment that called it, if it names one.
    pub parent: Option<SegmentId>,
    /// The segment or subsegment itself.
    pub entity: Entity,
}

/// A segment or a subsegment.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Unique in its trace, if the sender is honest.
    pub id: SegmentId,
    /// At most 200 characters; never empty.
    pub name: Box<str>,
    /// Microseconds since 1970.
    pub start_micros: u64,
    /// Microseconds since 1970, not before the start; `None` while in progress.
    pub end_micros: Option<u64>,
    /// Segment or subsegment, and of what sort.
    pub kind: EntityKind,
    /// How it ended.
    pub class: Class,
    /// What was asked and answered.
    pub http: Option<Box<Http>>,
    /// The sampling rule that decided, in the segment that was decided by one.
    pub rule: Option<Box<str>>,
    /// The first exception, in words.
    pub cause: Option<Box<str>>,
    /// Key and value, at most 50.
    pub annotations: Box<[(Box<str>, Box<str>)]>,
    /// The subsegments inside it, in the order written.
    pub children: Box<[Entity]>,
}

/// What an entity stands for on the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityKind {
    /// A service's own record; `origin` is empty if unknown.
    Segment {
        /// Such as `AWS::ECS::Container`.
        origin: Box<str>,
    },
    /// Work inside a service.
    Internal,
    /// A call to another party.
    Call(Box<Callee>),
}

/// Whom a call went to, as the caller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    /// The node's name if nobody answers for it.
    pub name: Box<str>,
    /// The node's type then, such as `AWS::DynamoDB::Table` or `remote`.
    pub node_type: Box<str>,
    /// Its shape.
    pub sort: Sort,
    /// The caller says that the callee reports for itself.
    pub traced: bool,
}

/// What sort of party a node is; decides its shape and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Callers of whom nothing is recorded.
    Client,
    /// Reports for itself.
    Service,
    /// An AWS resource.
    Aws,
    /// Anything else that answers HTTP.
    Remote,
    /// Answers SQL.
    Database,
}

/// How it ended; the first that applies, so that the classes of several calls sum to their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// 5xx, or no answer.
    Fault,
    /// 429.
    Throttle,
    /// Another 4xx.
    Error,
    /// Anything else.
    Ok,
}

/// What was asked and answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The method; empty if unknown.
    pub method: Box<str>,
    /// Without query and user information; empty if unknown.
    pub url: Box<str>,
    /// The status, 100 to 999.
    pub status: Option<u16>,
}

impl Entity {
    /// Whether it is a segment.
    pub fn is_segment(&self) -> bool {
        matches!(self.kind, EntityKind::Segment { .. })
    }

    /// How long it took in microseconds; `None` while in progress.
    pub fn duration_micros(&self) -> Option<u64> {
        Some(self.end_micros?.saturating_sub(self.start_micros))
    }

    /// Its end, or its start if it has not ended.
    pub fn end_or_start_micros(&self) -> u64 {
        self.end_micros.unwrap_or(self.start_micros)
    }

    /// About how many bytes of memory it and everything inside it take.
    fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let kind = match &self.kind {
            EntityKind::Segment { origin } => origin.len(),
            EntityKind::Internal => 0,
            EntityKind::Call(callee) => size_of::<Callee>() + callee.name.len() + callee.node_type.len(),
        };
        let http = self.http.as_ref().map_or(0, |h| size_of::<Http>() + h.method.len() + h.url.len());
        let annotations: usize =
            self.annotations.iter().map(|(key, value)| 32 + key.len() + value.len()).sum();
        let children: usize = self.children.iter().map(Entity::bytes).sum();
        size_of::<Entity>()
            + self.name.len()
            + kind
            + http
            + text(&self.rule)
            + text(&self.cause)
            + annotations
            + children
    }
}

impl Document {
    /// About how many bytes of memory it takes, with its share of the tables that point to it.
    pub fn bytes(&self) -> usize {
        192 + size_of::<Document>() - size_of::<Entity>() + self.entity.bytes()
    }
}

impl Class {
    /// From the flags of a document and the status, whichever says worse.
    pub(super) fn new(fault: bool, throttle: bool, error: bool, status: Option<u16>) -> Class {
        match status {
            _ if fault => Class::Fault,
            Some(500..) => Class::Fault,
            _ if throttle => Class::Throttle,
            Some(429) => Class::Throttle,
            _ if error => Class::Error,
            Some(400..) => Class::Error,
            _ => Class::Ok,
        }
    }
}
