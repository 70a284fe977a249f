//! Keeps recent segment documents, bounded by number and by bytes.
//!
//! Owns: the documents of the traces it keeps, and the count of everything it refused or threw out.
//! May not: read a clock, do I/O, or hold its lock while anything is computed from the documents. A reader takes a
//! snapshot (one pointer for each trace) and works on that.
//! Runs: on the emitter's thread for each kept request, and on the console's for each question.
//!
//! When it is full, the victim is the oldest trace of the entry point that holds the most traces, so that a health
//! check cannot push out a checkout. An entry point is a service, a method and a path whose parts with digits are
//! left out; strangers choose paths, so beyond 256 entry points all others count as one.

pub mod document;
pub mod graph;
pub mod histogram;
mod layout;
mod read;
pub mod trace_view;
mod tree;

use crate::trace::{SegmentId, TraceId};
use document::Document;
pub use read::{MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_SUBSEGMENTS, Refusal};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many entry points are told apart when a victim is chosen.
const MAX_ENTRY_POINTS: usize = 256;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Traces; at least one is always kept.
    pub max_traces: usize,
    /// Bytes of memory, estimated. One trace may hold an eighth of it.
    pub max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_traces: 10_000, max_bytes: 64 * 1024 * 1024 }
    }
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is new.
    Stored,
    /// It took the place of the one that said "in progress".
    Replaced,
    /// It was there already; nothing changed.
    Repeated,
    /// It is not kept, and counted.
    Refused(Refusal),
}

/// What the store holds and has lost, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Traces kept.
    pub traces: usize,
    /// Documents kept.
    pub documents: usize,
    /// Bytes of memory, estimated.
    pub bytes: usize,
    /// Traces thrown out to make room.
    pub evicted: u64,
    /// Documents refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Grows with every change.
    pub revision: u64,
}

impl StoreStats {
    /// Documents refused for any reason.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The documents of one trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    documents: HashMap<SegmentId, Arc<Document>>,
}

impl Trace {
    /// Its documents, in no order.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.documents.values().map(Arc::as_ref)
    }
}

/// Recent segment documents. Shared by reference; every method may be called from any thread.
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    inner: Mutex<Inner>,
    graph: Mutex<Option<Arc<graph::Graph>>>,
}

#[derive(Debug, Default)]
struct Inner {
    traces: HashMap<TraceId, Slot>,
    /// For each entry point its traces by age.
    entry_points: HashMap<Arc<str>, BTreeMap<u64, TraceId>>,
    arrivals: u64,
    stats: StoreStats,
}

#[derive(Debug)]
struct Slot {
    trace: Arc<Trace>,
    entry_point: Arc<str>,
    arrival: u64,
    bytes: usize,
    has_entry: bool,
}

impl Default for Store {
    fn default() -> Store {
        Store::new(Limits::default())
    }
}

impl Store {
    /// An empty store.
    pub fn new(limits: Limits) -> Store {
        Store { limits, inner: Mutex::default(), graph: Mutex::default() }
    }

    /// How much it may keep.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Reads one document, without the daemon's header line, and keeps it.
    pub fn insert(&self, json: &[u8]) -> Inserted {
        let inserted = match read::document(json) {
            Ok(document) => self.locked().insert(document, self.limits),
            Err(refusal) => Inserted::Refused(refusal),
        };
        if let Inserted::Refused(refusal) = inserted {
            *self.locked().stats.refused.entry(refusal).or_default() += 1;
        }
        inserted
    }

    /// What it holds and has lost.
    pub fn stats(&self) -> StoreStats {
        self.locked().stats.clone()
    }

    /// All traces, in no order.
    pub fn snapshot(&self) -> Vec<Arc<Trace>> {
        self.locked().traces.values().map(|slot| slot.trace.clone()).collect()
    }

    /// The traces of which something arrived last to first, by when they were first heard of; at most `limit`.
    pub fn newest(&self, limit: usize) -> Vec<Arc<Trace>> {
        let mut newest: Vec<(u64, Arc<Trace>)> = {
            let inner = self.locked();
            inner.traces.values().map(|slot| (slot.arrival, slot.trace.clone())).collect()
        };
        newest.sort_unstable_by_key(|(arrival, _)| std::cmp::Reverse(*arrival));
        newest.truncate(limit);
        newest.into_iter().map(|(_, trace)| trace).collect()
    }

    /// One trace.
    pub fn trace(&self, id: TraceId) -> Option<Arc<Trace>> {
        self.locked().traces.get(&id).map(|slot| slot.trace.clone())
    }

    /// The service graph of everything kept; computed when asked for, and once for each revision.
    pub fn graph(&self) -> Arc<graph::Graph> {
        let revision = self.locked().stats.revision;
        // Held while computing, so that a second asker waits for the first one's answer; inserting does not need it.
        let mut cached = self.graph.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref() {
            Some(graph) if graph.revision >= revision => graph.clone(),
            _ => {
                let graph = Arc::new(graph::Graph::new(&self.snapshot(), revision));
                cached.insert(graph).clone()
            }
        }
    }

    /// A panic while the lock was held cannot leave the tables worse than a missing trace, so it is not inherited.
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, document: Document, limits: Limits) -> Inserted {
        let (trace, id, size) = (document.trace, document.entity.id, document.bytes());
        let is_entry = document.parent.is_none() && document.entity.is_segment();
        let known = self.traces.get(&trace);
        let before = known.and_then(|slot| slot.trace.documents.get(&id));
        let replaced = match before {
            Some(before) if before.entity.end_micros.is_some() || document.entity.end_micros.is_none() => {
                return Inserted::Repeated;
            }
            Some(before) => before.bytes(),
            None => 0,
        };
        let held = known.map_or(0, |slot| slot.bytes);
        if held + size > replaced + limits.max_bytes / 8 {
            return Inserted::Refused(Refusal::TraceFull);
        }
        // The entry decides what the trace counts as; until it comes, whatever came first does.
        if known.is_none_or(|slot| is_entry && !slot.has_entry) {
            let entry_point = self.entry_point(&document);
            self.file_under(trace, entry_point, is_entry);
        }
        let Some(slot) = self.traces.get_mut(&trace) else { return Inserted::Repeated };
        Arc::make_mut(&mut slot.trace).documents.insert(id, Arc::new(document));
        slot.bytes = slot.bytes + size - replaced;
        self.stats.bytes = self.stats.bytes + size - replaced;
        self.stats.revision += 1;
        if replaced > 0 {
            return Inserted::Replaced;
        }
        self.stats.documents += 1;
        while self.traces.len() > 1
            && (self.traces.len() > limits.max_traces || self.stats.bytes > limits.max_bytes)
        {
            self.evict_one();
        }
        Inserted::Stored
    }

    /// Puts the trace, new or known, under an entry point.
    fn file_under(&mut self, trace: TraceId, entry_point: Arc<str>, has_entry: bool) {
        let arrival = match self.traces.get_mut(&trace) {
            Some(slot) => {
                let before = std::mem::replace(&mut slot.entry_point, entry_point.clone());
                slot.has_entry = has_entry;
                let arrival = slot.arrival;
                self.leave(&before, arrival);
                arrival
            }
            None => {
                self.arrivals += 1;
                let slot = Slot {
                    trace: Arc::new(Trace { id: trace, documents: HashMap::new() }),
                    entry_point: entry_point.clone(),
                    arrival: self.arrivals,
                    bytes: 0,
                    has_entry,
                };
                self.traces.insert(trace, slot);
                self.stats.traces = self.traces.len();
                self.arrivals
            }
        };
        self.entry_points.entry(entry_point).or_default().insert(arrival, trace);
    }

    fn leave(&mut self, entry_point: &Arc<str>, arrival: u64) {
        if let Some(traces) = self.entry_points.get_mut(entry_point) {
            traces.remove(&arrival);
            if traces.is_empty() {
                self.entry_points.remove(entry_point);
            }
        }
    }

    /// Throws out the oldest trace of the entry point with the most traces; of equals, the one with the oldest trace.
    fn evict_one(&mut self) {
        let most = self.entry_points.values().filter_map(|traces| {
            let (arrival, trace) = traces.first_key_value()?;
            Some((traces.len(), std::cmp::Reverse(*arrival), *trace))
        });
        let Some((_, _, victim)) = most.max_by_key(|(n, oldest, _)| (*n, *oldest)) else { return };
        if let Some(slot) = self.traces.remove(&victim) {
            self.leave(&slot.entry_point, slot.arrival);
            self.stats.traces = self.traces.len();
            self.stats.documents -= slot.trace.documents.len();
            self.stats.bytes -= slot.bytes;
            self.stats.evicted += 1;
        }
    }

    fn entry_point(&self, document: &Document) -> Arc<str> {
        let http = document.entity.http.as_deref();
        let (method, url) = http.map_or(("", ""), |http| (&http.method, &http.url));
        let path = url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let mut name = format!("{} {method} ", document.entity.name);
        for part in path.split('/').skip(1) {
            name.push('/');
            name.push_str(if part.bytes().any(|byte| byte.is_ascii_digit()) { ":id" } else { part });
        }
        match self.entry_points.get_key_value(name.as_str()) {
            Some((known, _)) => known.clone(),
            None if self.entry_points.len() < MAX_ENTRY_POINTS => name.into(),
            None => "".into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
