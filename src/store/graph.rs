//! The service graph: who talked to whom, how long it took and how it ended.
//!
//! Computed from the stored traces when asked for, so there is nothing to repair when a part of a trace comes late.
//!
//! - A segment is part of the node (name, origin). Nodes count complete segments: the server's view.
//! - A call (`namespace` `remote` or `aws`) is an edge with the caller's view. If no segment names it as its parent,
//!   the callee is inferred: a node with the caller's numbers.
//! - A segment below another segment, or below work inside one, is an edge too, with the server's view: so it is when
//!   a sidecar in front of an application records what that application calls.
//! - A segment with no parent, or whose parent is not here, is called by a client.
//!
//! A call without the segment that made it has no place on the map; such calls are counted as detached. The segments
//! of a trace come as their hops end, the entry last: a parent that is not here is given a while before its place is
//! taken by a client.

use super::Trace;
use super::document::{Callee, Class, Entity, EntityKind, Sort};
use super::histogram::Histogram;
use super::layout;
use super::tree::{Row, Tree};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// How long a segment waits for its caller's, counted from its end to the latest end of anything; in microseconds.
const PATIENCE_MICROS: u64 = 10_000_000;

/// The map of everything stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The store's revision it was computed from, or an earlier one.
    pub revision: u64,
    /// Traces looked at.
    pub traces: usize,
    /// Earliest start and latest end in microseconds since 1970.
    pub span_micros: Option<(u64, u64)>,
    /// By earliest start, then name, then type; a node's index is its reference in edges.
    pub nodes: Vec<Node>,
    /// By caller, then callee.
    pub edges: Vec<Edge>,
    /// Calls whose caller's segment is not here.
    pub detached: u64,
    /// Segments whose caller's is not here yet; counted in their node, without an edge.
    pub pending: u64,
}

/// One party.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Whatever its documents say.
    pub name: Arc<str>,
    /// Such as `AWS::ECS::Container`, `remote` or `client`; empty if unknown.
    pub node_type: Arc<str>,
    /// Decides its shape.
    pub sort: Sort,
    /// Called by a client.
    pub root: bool,
    /// It sent segments itself.
    pub active: bool,
    /// Of a client: calls whose caller exists but is not here. Of an inferred node: calls it has yet to report.
    pub waiting: u64,
    /// Of complete segments, or of calls if it is inferred. Empty for a client.
    pub stats: Stats,
    /// From start to the latest end of anything below, so with work that outlives the response.
    pub whole: Histogram,
    /// Column from the left, from 0.
    pub layer: usize,
    /// Place in its column from the top, from 0.
    pub order: usize,
}

/// Calls from one party to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Index of the caller's node.
    pub from: usize,
    /// Index of the callee's node; the same as `from` for a hop within one service.
    pub to: usize,
    /// Whose clock the numbers are from.
    pub view: View,
    /// More than half of the calls ended after their caller had answered.
    pub asynchronous: bool,
    /// Of complete calls.
    pub stats: Stats,
    /// What lies between caller and callee in microseconds: network, proxy, queueing. `None` if it cannot be told.
    pub gap_micros: Option<u64>,
    /// Places (layer, order) it passes between two far columns.
    pub via: Vec<(usize, usize)>,
}

/// Who measured an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// The callee: no call was recorded by the caller.
    Server,
    /// The caller.
    Caller,
}

/// Numbers of complete segments or calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Ended well.
    pub ok: u64,
    /// 4xx except 429.
    pub error: u64,
    /// 429.
    pub throttle: u64,
    /// 5xx or no answer.
    pub fault: u64,
    /// Not complete, and in no other number.
    pub in_progress: u64,
    /// From start to end.
    pub durations: Histogram,
}

impl Stats {
    /// Complete ones; the sum of the four classes.
    pub fn n(&self) -> u64 {
        self.durations.count()
    }

    fn add(&mut self, entity: &Entity) {
        let Some(duration) = entity.duration_micros() else {
            self.in_progress += 1;
            return;
        };
        self.durations.add(duration);
        *match entity.class {
            Class::Ok => &mut self.ok,
            Class::Error => &mut self.error,
            Class::Throttle => &mut self.throttle,
            Class::Fault => &mut self.fault,
        } += 1;
    }
}

/// The type of the node that stands for callers of whom nothing is recorded.
pub const CLIENT: &str = "client";

type Key<'a> = (&'a str, &'a str);

struct NodeDraft {
    sort: Sort,
    first_micros: u64,
    root: bool,
    active: bool,
    waiting: u64,
    stats: Stats,
    whole: Histogram,
}

#[derive(Default)]
struct EdgeDraft {
    by_caller: bool,
    asynchronous: u64,
    stats: Stats,
    matched: Histogram,
    answered: Histogram,
}

/// Sums while traces are read.
#[derive(Default)]
struct Draft<'a> {
    nodes: HashMap<Key<'a>, NodeDraft>,
    edges: HashMap<(Key<'a>, Key<'a>), EdgeDraft>,
    detached: u64,
    pending: u64,
    span: Option<(u64, u64)>,
    /// The latest end of any document.
    latest_micros: u64,
}

impl Graph {
    /// Reads all `traces`; the answer does not depend on their order.
    pub fn new(traces: &[Arc<Trace>], revision: u64) -> Graph {
        let documents = traces.iter().flat_map(|trace| trace.documents());
        let latest_micros =
            documents.map(|document| document.entity.end_or_start_micros()).max().unwrap_or_default();
        let mut draft = Draft { latest_micros, ..Draft::default() };
        for trace in traces {
            draft.read(&Tree::new(trace));
        }
        draft.finish(traces.len(), revision)
    }
}

impl<'a> Draft<'a> {
    fn read(&mut self, tree: &Tree<'a>) {
        for (index, row) in tree.rows.iter().enumerate() {
            let (start, end) = (row.entity.start_micros, row.entity.end_or_start_micros());
            let (first, last) = self.span.unwrap_or((start, end));
            self.span = Some((first.min(start), last.max(end)));
            match &row.entity.kind {
                EntityKind::Segment { origin } => self.segment(tree, row, (&row.entity.name, origin)),
                EntityKind::Call(callee) => self.call(tree, index, callee),
                EntityKind::Internal => {}
            }
        }
    }

    fn segment(&mut self, tree: &Tree<'a>, row: &Row<'a>, key: Key<'a>) {
        let entity = row.entity;
        let caller = row.parent.map(|parent| &tree.rows[parent]);
        let from = caller.and_then(|caller| node_of(&tree.rows[caller.owner?]));
        let lost = from.is_none() && (row.parent.is_some() || row.lost_parent);
        let waits = lost && entity.end_or_start_micros().saturating_add(PATIENCE_MICROS) > self.latest_micros;
        let node = self.node(key, Sort::Service, entity.start_micros);
        node.active = true;
        node.root |= from.is_none() && !waits;
        node.stats.add(entity);
        if entity.end_micros.is_some() {
            node.whole.add(row.latest_micros.saturating_sub(entity.start_micros));
        }
        if waits {
            self.pending += 1;
            return;
        }
        let Some(from) = from else {
            let client = (key.0, CLIENT);
            self.node(client, Sort::Client, entity.start_micros).waiting += u64::from(lost);
            self.edges.entry((client, key)).or_default().stats.add(entity);
            return;
        };
        let Some(caller) = caller else { return };
        // The caller's own record of the call, if there is one, has been or will be read as a call.
        if !matches!(caller.entity.kind, EntityKind::Call(_)) {
            let edge = self.edges.entry((from, key)).or_default();
            edge.stats.add(entity);
            let owner_end = caller.owner.and_then(|owner| tree.rows[owner].entity.end_micros);
            if owner_end.zip(entity.end_micros).is_some_and(|(owner, own)| own > owner) {
                edge.asynchronous += 1;
            }
        }
    }

    fn call(&mut self, tree: &Tree<'a>, index: usize, callee: &'a Callee) {
        let row = &tree.rows[index];
        let Some(from) = row.owner.and_then(|owner| node_of(&tree.rows[owner])) else {
            self.detached += 1;
            return;
        };
        if !row.answered {
            let key = (&*callee.name, &*callee.node_type);
            let node = self.node(key, callee.sort, row.entity.start_micros);
            node.waiting += u64::from(callee.traced);
            node.stats.add(row.entity);
            if let Some(duration) = row.entity.duration_micros() {
                node.whole.add(duration);
            }
            let edge = self.edges.entry((from, key)).or_default();
            edge.by_caller = true;
            edge.stats.add(row.entity);
            return;
        }
        // A retry may bring two segments below one call: the call counts once for each callee.
        let mut counted = BTreeSet::new();
        for child in tree.children(index).filter(|child| tree.rows[*child].entity.is_segment()) {
            let answer = tree.rows[child].entity;
            let Some(to) = node_of(&tree.rows[child]).filter(|to| counted.insert(*to)) else { continue };
            let edge = self.edges.entry((from, to)).or_default();
            edge.by_caller = true;
            edge.stats.add(row.entity);
            if let Some((call, answer)) = row.entity.duration_micros().zip(answer.duration_micros()) {
                edge.matched.add(call);
                edge.answered.add(answer);
            }
            if row.entity.end_micros.zip(answer.end_micros).is_some_and(|(call, answer)| answer > call) {
                edge.asynchronous += 1;
            }
        }
    }

    fn node(&mut self, key: Key<'a>, sort: Sort, start: u64) -> &mut NodeDraft {
        let node = self.nodes.entry(key).or_insert_with(|| NodeDraft {
            sort,
            first_micros: start,
            root: false,
            active: false,
            waiting: 0,
            stats: Stats::default(),
            whole: Histogram::default(),
        });
        node.first_micros = node.first_micros.min(start);
        // A segment outweighs what others said of the node, in whatever order they are read.
        let weight = |sort| (sort == Sort::Service, sort);
        if weight(sort) > weight(node.sort) {
            node.sort = sort;
        }
        node
    }

    fn finish(self, traces: usize, revision: u64) -> Graph {
        let mut drafts: Vec<_> = self.nodes.into_iter().collect();
        drafts.sort_unstable_by_key(|(key, node)| (node.first_micros, *key));
        let index: HashMap<Key<'_>, usize> =
            drafts.iter().enumerate().map(|(n, (key, _))| (*key, n)).collect();
        let edges: BTreeMap<(usize, usize), EdgeDraft> =
            self.edges.into_iter().map(|((from, to), edge)| ((index[&from], index[&to]), edge)).collect();
        let labels: Vec<Key<'_>> = drafts.iter().map(|(key, _)| *key).collect();
        let pairs: Vec<(usize, usize)> = edges.keys().copied().collect();
        let places = layout::place(&labels, &pairs);
        let nodes = drafts.into_iter().zip(&places.nodes).map(|(((name, node_type), node), place)| Node {
            name: name.into(),
            node_type: node_type.into(),
            sort: node.sort,
            root: node.root,
            active: node.active,
            waiting: node.waiting,
            stats: node.stats,
            whole: node.whole,
            layer: place.0,
            order: place.1,
        });
        let edges = edges.into_iter().zip(places.via).map(|(((from, to), edge), via)| Edge {
            from,
            to,
            view: if edge.by_caller { View::Caller } else { View::Server },
            asynchronous: edge.asynchronous * 2 > edge.stats.n(),
            gap_micros: gap(&edge.matched, &edge.answered),
            stats: edge.stats,
            via,
        });
        Graph {
            revision,
            traces,
            span_micros: self.span,
            nodes: nodes.collect(),
            edges: edges.collect(),
            detached: self.detached,
            pending: self.pending,
        }
    }
}

/// The node of a row that is a segment.
fn node_of<'a>(row: &Row<'a>) -> Option<Key<'a>> {
    match &row.entity.kind {
        EntityKind::Segment { origin } => Some((&row.entity.name, origin)),
        _ => None,
    }
}

/// Median of the callers less median of the callees, over the same calls. Never negative: that would be a wrong clock.
fn gap(calls: &Histogram, answers: &Histogram) -> Option<u64> {
    calls.quantile(0.5)?.checked_sub(answers.quantile(0.5)?)
}

#[cfg(test)]
mod tests;
