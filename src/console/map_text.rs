//! The map for a terminal: who calls whom as a tree, one line for each edge.
//!
//! A callee that was drawn before is named again but not unfolded again, so circles end. Names are whatever a
//! stranger wrote, but the store has made them printable, so nothing in them commands the terminal.

use crate::store::document::Sort;
use crate::store::graph::{Graph, Stats};
use std::fmt::Write;

/// Characters shown of a name or a type.
const MAX_NAME: usize = 40;

struct Line {
    tree: String,
    stats: Option<Stats>,
    again: bool,
}

/// The map as lines of text, each ending with a newline; empty for an empty graph.
pub fn map_as_text(graph: &Graph) -> String {
    let mut lines = Vec::new();
    let mut drawn = vec![false; graph.nodes.len()];
    // Clients first, then what only a circle leads to.
    let mut starts: Vec<usize> = (0..graph.nodes.len()).collect();
    starts.sort_by_key(|node| graph.nodes[*node].sort != Sort::Client);
    for start in starts {
        if drawn[start] {
            continue;
        }
        drawn[start] = true;
        lines.push(Line { tree: label(graph, start), stats: None, again: false });
        unfold(graph, start, &mut drawn, &mut lines);
    }
    print(&lines)
}

/// Draws everything below `start`, depth first, without recursion.
fn unfold(graph: &Graph, start: usize, drawn: &mut [bool], lines: &mut Vec<Line>) {
    let callees = |node: usize| -> Vec<usize> {
        let edges = graph.edges.iter().enumerate();
        edges.filter(|(_, edge)| edge.from == node && edge.to != node).map(|(index, _)| index).collect()
    };
    let mut ways = vec![(callees(start), 0, String::new())];
    while let Some((edges, next, indent)) = ways.last_mut() {
        let Some(&index) = edges.get(*next) else {
            ways.pop();
            continue;
        };
        *next += 1;
        let last = *next == edges.len();
        let edge = &graph.edges[index];
        let again = std::mem::replace(&mut drawn[edge.to], true);
        let tree = format!("{indent}{}─▶ {}", if last { " └" } else { " ├" }, label(graph, edge.to));
        let below = format!("{indent}{}", if last { "     " } else { " │   " });
        lines.push(Line { tree, stats: Some(edge.stats.clone()), again });
        if !again {
            ways.push((callees(edge.to), 0, below));
        }
    }
}

fn label(graph: &Graph, index: usize) -> String {
    let node = &graph.nodes[index];
    let kind = match node.sort {
        Sort::Client => return format!("clients of {}", short(&node.name)),
        Sort::Service if node.node_type.is_empty() => return short(&node.name),
        Sort::Service | Sort::Aws | Sort::Database | Sort::Remote => short(&node.node_type),
    };
    format!("{} ({kind})", short(&node.name))
}

fn print(lines: &[Line]) -> String {
    let width = lines.iter().filter(|line| line.stats.is_some()).map(|line| line.tree.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for line in lines {
        let Some(stats) = &line.stats else {
            let _ = writeln!(text, "{}", line.tree);
            continue;
        };
        let quantile = |q: f64| stats.durations.quantile(q).map_or("–".to_owned(), duration);
        let (n, p50, p99) = (stats.n(), quantile(0.5), quantile(0.99));
        let _ = write!(
            text,
            "{:width$}  {n:>6} traced  p50 {p50:>7}  p99 {p99:>7}  {}",
            line.tree,
            outcome(stats)
        );
        let _ = writeln!(text, "{}", if line.again { "  (shown above)" } else { "" });
    }
    text
}

/// The shares of the classes that occurred, in words.
fn outcome(stats: &Stats) -> String {
    let classes = [("ok", stats.ok), ("4xx", stats.error), ("429", stats.throttle), ("5xx", stats.fault)];
    let n = stats.n().max(1) as f64;
    let shares = classes.iter().filter(|(_, count)| *count > 0);
    let shares: Vec<String> =
        shares.map(|(name, count)| format!("{name} {:.1} %", *count as f64 / n * 100.0)).collect();
    shares.join("  ")
}

/// Three significant digits with a unit.
fn duration(micros: u64) -> String {
    let (value, unit) = match micros {
        0..1_000 => return format!("{micros} µs"),
        1_000..1_000_000 => (micros as f64 / 1e3, "ms"),
        _ => (micros as f64 / 1e6, "s"),
    };
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// At most 40 characters.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
