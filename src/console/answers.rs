//! The JSON of the page. Times are milliseconds since 1970, durations microseconds unless the key says otherwise.

use super::View;
use crate::status::SidecarStatus;
use crate::store::document::{Class, Sort};
use crate::store::graph::{Graph, Stats, View as Measured};
use crate::store::histogram::Histogram;
use crate::store::trace_view::{RowKind, TraceSummary, Waterfall, WaterfallRow};
use crate::store::{Store, Trace};
use serde::Serialize;
use std::cmp::Reverse;

#[derive(Serialize)]
pub(super) struct StatusAnswer {
    version: &'static str,
    store: StoreAnswer,
    sidecars: Vec<SidecarStatus>,
}

#[derive(Serialize)]
struct StoreAnswer {
    rev: u64,
    traces: usize,
    max_traces: usize,
    documents: usize,
    bytes: usize,
    max_bytes: usize,
    evicted: u64,
    refused: u64,
}

#[derive(Serialize)]
pub(super) struct GraphAnswer<'a> {
    rev: u64,
    traces: usize,
    from: Option<f64>,
    to: Option<f64>,
    detached: u64,
    pending: u64,
    nodes: Vec<NodeAnswer<'a>>,
    edges: Vec<EdgeAnswer<'a>>,
}

#[derive(Serialize)]
struct NodeAnswer<'a> {
    id: usize,
    name: &'a str,
    #[serde(rename = "type")]
    node_type: &'a str,
    kind: Sort,
    state: &'static str,
    root: bool,
    waiting: u64,
    layer: usize,
    order: usize,
    stats: StatsAnswer,
    hist: Vec<(u64, u64, u64)>,
    seen: Option<SeenAnswer>,
}

#[derive(Serialize)]
struct SeenAnswer {
    n: u64,
    sampled: u64,
    rps: f64,
}

#[derive(Serialize)]
struct EdgeAnswer<'a> {
    from: usize,
    to: usize,
    view: &'static str,
    #[serde(rename = "async")]
    asynchronous: bool,
    internal: bool,
    stats: StatsAnswer,
    gap_us: Option<u64>,
    via: &'a [(usize, usize)],
}

#[derive(Serialize)]
struct StatsAnswer {
    n: u64,
    ok: u64,
    error: u64,
    throttle: u64,
    fault: u64,
    in_progress: u64,
    total_s: f64,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct TracesAnswer {
    rev: u64,
    matched: usize,
    items: Vec<SummaryAnswer>,
}

#[derive(Serialize)]
struct SummaryAnswer {
    id: String,
    start: f64,
    rt: Option<u64>,
    dur: u64,
    class: Class,
    partial: bool,
    entry: Box<str>,
    method: Box<str>,
    url: Box<str>,
    status: Option<u16>,
    services: Vec<Box<str>>,
    segments: usize,
    rule: Option<Box<str>>,
}

#[derive(Serialize)]
pub(super) struct WaterfallAnswer {
    summary: SummaryAnswer,
    entry: usize,
    truncated: usize,
    rows: Vec<RowAnswer>,
    path: Vec<PathAnswer>,
}

#[derive(Serialize)]
struct PathAnswer {
    row: usize,
    from: u64,
    to: u64,
}

#[derive(Serialize)]
struct RowAnswer {
    parent: Option<usize>,
    depth: usize,
    name: Box<str>,
    kind: &'static str,
    start: u64,
    dur: Option<u64>,
    #[serde(rename = "self")]
    own: u64,
    cp: u64,
    class: Class,
    method: Box<str>,
    url: Box<str>,
    status: Option<u16>,
    cause: Option<Box<str>>,
    rule: Option<Box<str>>,
    annotations: Box<[(Box<str>, Box<str>)]>,
    flags: Vec<String>,
}

pub(super) fn status(view: &dyn View) -> StatusAnswer {
    let (limits, stats) = (view.store().limits(), view.store().stats());
    StatusAnswer {
        version: env!("CARGO_PKG_VERSION"),
        store: StoreAnswer {
            rev: stats.revision,
            traces: stats.traces,
            max_traces: limits.max_traces,
            documents: stats.documents,
            bytes: stats.bytes,
            max_bytes: limits.max_bytes,
            evicted: stats.evicted,
            refused: stats.refused_total(),
        },
        sidecars: view.sidecars(),
    }
}

pub(super) fn graph<'a>(graph: &'a Graph, sidecars: &[SidecarStatus]) -> GraphAnswer<'a> {
    let nodes = graph.nodes.iter().enumerate().map(|(id, node)| NodeAnswer {
        id,
        name: &node.name,
        node_type: &node.node_type,
        kind: node.sort,
        state: if node.active { "active" } else { "unknown" },
        root: node.root,
        waiting: node.waiting,
        layer: node.layer,
        order: node.order,
        stats: StatsAnswer::new(&node.stats),
        hist: buckets(&node.stats.durations),
        seen: (node.sort == Sort::Service).then(|| seen(&node.name, sidecars)).flatten(),
    });
    let edges = graph.edges.iter().map(|edge| EdgeAnswer {
        from: edge.from,
        to: edge.to,
        view: match edge.view {
            Measured::Caller => "client",
            Measured::Server => "server",
        },
        asynchronous: edge.asynchronous,
        internal: edge.from == edge.to,
        stats: StatsAnswer::new(&edge.stats),
        gap_us: edge.gap_micros,
        via: &edge.via,
    });
    GraphAnswer {
        rev: graph.revision,
        traces: graph.traces,
        from: graph.span_micros.map(|(from, _)| millis(from)),
        to: graph.span_micros.map(|(_, to)| millis(to)),
        detached: graph.detached,
        pending: graph.pending,
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
}

/// All requests that the sidecars before a service have seen, traced or not.
fn seen(name: &str, sidecars: &[SidecarStatus]) -> Option<SeenAnswer> {
    let before = || sidecars.iter().filter(|sidecar| sidecar.service == name);
    let rate = |sidecar: &SidecarStatus| sidecar.requests.total as f64 / sidecar.uptime_seconds.max(1) as f64;
    before().next()?;
    Some(SeenAnswer {
        n: before().map(|sidecar| sidecar.requests.total).sum(),
        sampled: before().map(|sidecar| sidecar.requests.sampled).sum(),
        rps: before().map(rate).sum(),
    })
}

pub(super) fn traces(store: &Store, limit: usize) -> TracesAnswer {
    let stats = store.stats();
    let mut summaries: Vec<TraceSummary> =
        store.newest(limit).iter().filter_map(|trace| TraceSummary::new(trace)).collect();
    summaries.sort_by_key(|summary| (Reverse(summary.start_micros), summary.id.to_xray()));
    TracesAnswer {
        rev: stats.revision,
        matched: stats.traces,
        items: summaries.into_iter().map(SummaryAnswer::new).collect(),
    }
}

pub(super) fn waterfall(trace: &Trace) -> Option<WaterfallAnswer> {
    let waterfall = Waterfall::new(trace)?;
    let shown = waterfall.path.iter().filter(|part| part.row < waterfall.rows.len());
    let path =
        shown.map(|part| PathAnswer { row: part.row, from: part.from_micros, to: part.to_micros }).collect();
    Some(WaterfallAnswer {
        summary: SummaryAnswer::new(waterfall.summary),
        entry: waterfall.entry_row,
        truncated: waterfall.truncated,
        rows: waterfall.rows.into_iter().map(RowAnswer::new).collect(),
        path,
    })
}

impl StatsAnswer {
    fn new(stats: &Stats) -> StatsAnswer {
        StatsAnswer {
            n: stats.n(),
            ok: stats.ok,
            error: stats.error,
            throttle: stats.throttle,
            fault: stats.fault,
            in_progress: stats.in_progress,
            total_s: stats.durations.sum_micros() as f64 / 1e6,
            p50: stats.durations.quantile(0.5),
            p90: stats.durations.quantile(0.9),
            p99: stats.durations.quantile(0.99),
        }
    }
}

impl SummaryAnswer {
    fn new(summary: TraceSummary) -> SummaryAnswer {
        SummaryAnswer {
            id: summary.id.to_string(),
            start: millis(summary.start_micros),
            rt: summary.response_micros,
            dur: summary.whole_micros,
            class: summary.class,
            partial: summary.partial,
            entry: summary.entry,
            method: summary.method,
            url: summary.url,
            status: summary.status,
            services: summary.services,
            segments: summary.segments,
            rule: summary.rule,
        }
    }
}

impl RowAnswer {
    fn new(row: WaterfallRow) -> RowAnswer {
        let mut flags = Vec::new();
        let mut flag = |set: bool, words: &str| {
            if set {
                flags.push(words.to_owned());
            }
        };
        flag(row.duration_micros.is_none(), "in progress");
        flag(row.lost_parent, "caller not captured");
        flag(row.waiting, "waiting for the callee's segment");
        flag(row.outlives_call, "longer than its call");
        if row.skew_micros != 0 {
            flags.push(format!("clock skew {:+.1} ms", row.skew_micros as f64 / 1e3));
        }
        RowAnswer {
            parent: row.parent,
            depth: row.depth,
            name: row.name,
            kind: match row.kind {
                RowKind::Segment => "segment",
                RowKind::Internal => "internal",
                RowKind::Call => "call",
            },
            start: row.start_micros,
            dur: row.duration_micros,
            own: row.self_micros,
            cp: row.critical_micros,
            class: row.class,
            method: row.method,
            url: row.url,
            status: row.status,
            cause: row.cause,
            rule: row.rule,
            annotations: row.annotations,
            flags,
        }
    }
}

fn buckets(histogram: &Histogram) -> Vec<(u64, u64, u64)> {
    histogram.buckets().collect()
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}
