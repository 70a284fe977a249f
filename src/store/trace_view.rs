//! Traces for people: one line each in a list, and one as a waterfall.
//!
//! The critical path walks back from the entry's end: the child that ended last at or before the cursor, clipped to
//! its parent; gaps belong to the parent. So every instant of the response belongs to exactly one row, and the parts
//! sum to the response time. It is a chain by timing; siblings may still depend on each other.

use super::Trace;
use super::document::{Class, Entity, EntityKind};
use super::tree::Tree;
use crate::trace::TraceId;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Rows of a waterfall; the rest is counted.
pub const MAX_ROWS: usize = 20_000;
/// Different services named in the line of a trace.
const MAX_SERVICES: usize = 12;

/// One trace in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSummary {
    /// Its id.
    pub id: TraceId,
    /// Start of the entry in microseconds since 1970.
    pub start_micros: u64,
    /// How long the entry took to answer, in microseconds; `None` while in progress.
    pub response_micros: Option<u64>,
    /// From the entry's start to the latest end of anything, in microseconds.
    pub whole_micros: u64,
    /// How the entry ended.
    pub class: Class,
    /// Something is in progress, or names a parent that is not here.
    pub partial: bool,
    /// The entry's name.
    pub entry: Box<str>,
    /// Of the entry; empty if unknown.
    pub method: Box<str>,
    /// Of the entry; empty if unknown.
    pub url: Box<str>,
    /// Of the entry.
    pub status: Option<u16>,
    /// Names of segments in the order they were called, at most 12, each once.
    pub services: Vec<Box<str>>,
    /// Segments in all.
    pub segments: usize,
    /// The first sampling rule found.
    pub rule: Option<Box<str>>,
}

/// One trace as a waterfall.
#[derive(Clone, Debug, PartialEq)]
pub struct Waterfall {
    /// The same as in a list.
    pub summary: TraceSummary,
    /// In pre-order, at most [`MAX_ROWS`].
    pub rows: Vec<WaterfallRow>,
    /// Rows left out.
    pub truncated: usize,
    /// Row of the entry.
    pub entry_row: usize,
    /// The critical path, from its end to its start.
    pub path: Vec<PathPart>,
}

/// A stretch of the response that belongs to one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathPart {
    /// The row.
    pub row: usize,
    /// From the trace's first start, in microseconds.
    pub from_micros: u64,
    /// The same; never before `from_micros`.
    pub to_micros: u64,
}

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct WaterfallRow {
    /// Index of the row above it.
    pub parent: Option<usize>,
    /// From 0.
    pub depth: usize,
    /// Whatever the document says.
    pub name: Box<str>,
    /// What it stands for.
    pub kind: RowKind,
    /// From the trace's first start, in microseconds, moved by `skew_micros`.
    pub start_micros: u64,
    /// `None` while in progress.
    pub duration_micros: Option<u64>,
    /// Of the duration, what no row below it covers.
    pub self_micros: u64,
    /// Of the response, what this row alone accounts for.
    pub critical_micros: u64,
    /// How it ended.
    pub class: Class,
    /// What was asked.
    pub method: Box<str>,
    /// Of whom.
    pub url: Box<str>,
    /// What was answered.
    pub status: Option<u16>,
    /// Why it failed, in words.
    pub cause: Option<Box<str>>,
    /// Which rule decided.
    pub rule: Option<Box<str>>,
    /// Key and value.
    pub annotations: Box<[(Box<str>, Box<str>)]>,
    /// Its clock differs from the caller's: it was moved by this many microseconds to lie within the call.
    pub skew_micros: i64,
    /// It lasted longer than the call it answers.
    pub outlives_call: bool,
    /// It names a parent that is not here.
    pub lost_parent: bool,
    /// The caller says that the callee reports for itself, and it has not.
    pub waiting: bool,
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// A service's own record.
    Segment,
    /// Work inside a service.
    Internal,
    /// The caller's record of a call.
    Call,
}

impl TraceSummary {
    /// `None` for a trace without documents.
    pub fn new(trace: &Trace) -> Option<TraceSummary> {
        let tree = Tree::new(trace);
        summary(trace, &tree, entry_row(&tree)?)
    }
}

impl Waterfall {
    /// `None` for a trace without documents.
    pub fn new(trace: &Trace) -> Option<Waterfall> {
        let tree = Tree::new(trace);
        let entry_row = entry_row(&tree)?;
        let spans = spans(&tree);
        let first = spans.iter().map(|span| span.start).min().unwrap_or_default();
        let path = critical_path(&tree, &spans, entry_row, first);
        let mut critical = vec![0_u64; tree.rows.len()];
        path.iter().for_each(|part| critical[part.row] += part.to_micros - part.from_micros);
        let rows = tree.rows.iter().enumerate().take(MAX_ROWS).map(|(index, row)| {
            let entity = row.entity;
            let http = entity.http.as_deref().cloned().unwrap_or_default();
            let kind = match entity.kind {
                EntityKind::Segment { .. } => RowKind::Segment,
                EntityKind::Internal => RowKind::Internal,
                EntityKind::Call(_) => RowKind::Call,
            };
            WaterfallRow {
                parent: row.parent,
                depth: row.depth,
                name: entity.name.clone(),
                kind,
                start_micros: spans[index].start.saturating_sub(first).max(0) as u64,
                duration_micros: entity.duration_micros(),
                self_micros: self_time(&tree, &spans, index),
                critical_micros: critical[index],
                class: entity.class,
                method: http.method,
                url: http.url,
                status: http.status,
                cause: entity.cause.clone(),
                rule: entity.rule.clone(),
                annotations: entity.annotations.clone(),
                skew_micros: spans[index].skew,
                outlives_call: spans[index].outlives_call,
                lost_parent: row.lost_parent,
                waiting: !row.answered && matches!(&entity.kind, EntityKind::Call(callee) if callee.traced),
            }
        });
        Some(Waterfall {
            summary: summary(trace, &tree, entry_row)?,
            rows: rows.collect(),
            truncated: tree.rows.len().saturating_sub(MAX_ROWS),
            entry_row,
            path,
        })
    }
}

/// The first segment without a parent; without one, the first segment; without that, the first row.
fn entry_row(tree: &Tree<'_>) -> Option<usize> {
    let find = |wanted: fn(&super::tree::Row<'_>) -> bool| tree.rows.iter().position(wanted);
    find(|row| row.entity.is_segment() && row.parent.is_none() && !row.lost_parent)
        .or_else(|| find(|row| row.entity.is_segment()))
        .or(if tree.rows.is_empty() { None } else { Some(0) })
}

fn summary(trace: &Trace, tree: &Tree<'_>, entry_row: usize) -> Option<TraceSummary> {
    let entry = tree.rows.get(entry_row)?.entity;
    let http = entry.http.as_deref().cloned().unwrap_or_default();
    let segments = || tree.rows.iter().map(|row| row.entity).filter(|entity| entity.is_segment());
    let mut seen = BTreeSet::new();
    let services =
        segments().filter(|segment| seen.insert(&*segment.name)).map(|segment| segment.name.clone());
    let latest = tree.rows.iter().map(|row| row.latest_micros).max().unwrap_or_default();
    Some(TraceSummary {
        id: trace.id,
        start_micros: entry.start_micros,
        response_micros: entry.duration_micros(),
        whole_micros: latest.saturating_sub(entry.start_micros),
        class: entry.class,
        partial: tree.rows.iter().any(|row| row.entity.end_micros.is_none() || row.lost_parent),
        entry: entry.name.clone(),
        method: http.method,
        url: http.url,
        status: http.status,
        services: services.take(MAX_SERVICES).collect(),
        segments: segments().count(),
        rule: entry.rule.clone().or_else(|| tree.rows.iter().find_map(|row| row.entity.rule.clone())),
    })
}

/// Where a row lies in time after clocks were brought together. Microseconds since 1970.
#[derive(Clone, Copy, Default)]
struct Span {
    start: i64,
    end: i64,
    skew: i64,
    outlives_call: bool,
}

/// A segment that sticks out of the call it answers comes from another clock: it is moved inside, with all below it.
/// One that lasted longer than the call cannot be moved inside and stays. Saturates: a stranger may nest wrong clocks
/// so deep that the moves add up beyond any time.
fn spans(tree: &Tree<'_>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(tree.rows.len());
    for row in &tree.rows {
        let above = row.parent.map(|parent| (spans[parent], tree.rows[parent].entity));
        let moved = above.map_or(0, |(span, _)| span.skew);
        let (start, end) = bounds(row.entity);
        let (start, end) = (start.saturating_add(moved), end.saturating_add(moved));
        let call = above.filter(|(_, caller)| {
            row.entity.is_segment()
                && matches!(caller.kind, EntityKind::Call(_))
                && caller.end_micros.is_some()
        });
        let (skew, outlives_call) = match call {
            Some((call, _)) if end.saturating_sub(start) > call.end.saturating_sub(call.start) => (0, true),
            Some((call, _)) if start < call.start => (call.start.saturating_sub(start), false),
            Some((call, _)) if end > call.end => (call.end.saturating_sub(end), false),
            _ => (0, false),
        };
        spans.push(Span {
            start: start.saturating_add(skew),
            end: end.saturating_add(skew),
            skew: moved.saturating_add(skew),
            outlives_call,
        });
    }
    spans
}

/// Times were checked when the document was read: they are below 2^54.
fn bounds(entity: &Entity) -> (i64, i64) {
    (entity.start_micros as i64, entity.end_or_start_micros() as i64)
}

/// What no child covers.
fn self_time(tree: &Tree<'_>, spans: &[Span], row: usize) -> u64 {
    let own = spans[row];
    let mut children: Vec<(i64, i64)> =
        tree.children(row).map(|child| (spans[child].start, spans[child].end)).collect();
    children.sort_unstable();
    let (mut covered, mut until) = (0, own.start);
    for (start, end) in children {
        let (start, end) = (start.max(until), end.min(own.end));
        if end > start {
            covered = end.saturating_sub(start).saturating_add(covered);
            until = end;
        }
    }
    own.end.saturating_sub(own.start).saturating_sub(covered).max(0) as u64
}

/// The stretches of the entry's time, each with the row it belongs to; together they are the entry's duration.
fn critical_path(tree: &Tree<'_>, spans: &[Span], entry: usize, first: i64) -> Vec<PathPart> {
    let mut path = Vec::new();
    let mut take = |row: usize, from: i64, to: i64| {
        if from < to {
            let since = |at: i64| at.saturating_sub(first).max(0) as u64;
            path.push(PathPart { row, from_micros: since(from), to_micros: since(to) });
        }
    };
    let mut waiting = vec![(entry, spans[entry].start, spans[entry].end)];
    while let Some((row, low, high)) = waiting.pop() {
        let mut children: Vec<(i64, i64, usize)> = tree
            .children(row)
            .map(|child| (spans[child].end.min(high), spans[child].start.max(low), child))
            .filter(|(end, start, _)| start < end)
            .collect();
        // Latest end first; of equals the longer one.
        children.sort_unstable_by_key(|(end, start, child)| (Reverse(*end), *start, *child));
        let mut cursor = high;
        for (end, start, child) in children {
            if end <= cursor {
                take(row, end, cursor);
                waiting.push((child, start, end));
                cursor = start;
            }
        }
        take(row, low, cursor);
    }
    path.sort_unstable_by_key(|part| Reverse(part.from_micros));
    path
}

#[cfg(test)]
mod tests;
