//! Where the nodes of the map stand.
//!
//! Columns from left to right by the longest way from a client; edges that would run back are left out of that. An
//! edge over several columns gets a place in each, so that it does not run through a node. Four sweeps order each column by
//! its neighbors. Names decide between equals, so the same nodes and edges stand in the same places on every refresh.

use std::collections::HashMap;

/// Sweeps over all columns, forth and back in turn.
const SWEEPS: usize = 4;
/// Above this many nodes, edges over several columns run straight: the map is then read as a table.
const MAX_ROUTED: usize = 200;

pub(super) struct Places {
    /// Layer and order of each node.
    pub(super) nodes: Vec<(usize, usize)>,
    /// For each edge the places between its ends.
    pub(super) via: Vec<Vec<(usize, usize)>>,
}

/// `labels` are names and types; `edges` are indices into them.
pub(super) fn place(labels: &[(&str, &str)], edges: &[(usize, usize)]) -> Places {
    let layers = layers(labels, edges);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); layers.iter().max().map_or(0, |last| last + 1)];
    let mut by_label: Vec<usize> = (0..labels.len()).collect();
    by_label.sort_unstable_by_key(|node| labels[*node]);
    for node in by_label {
        columns[layers[node]].push(node);
    }
    // Points on long edges are nodes too, numbered after the real ones.
    let mut points = labels.len();
    let mut links = Vec::new();
    let mut via: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (edge, &(from, to)) in edges.iter().enumerate() {
        let (left, right) = if layers[from] <= layers[to] { (from, to) } else { (to, from) };
        let mut before = left;
        if labels.len() <= MAX_ROUTED {
            for column in &mut columns[(layers[left] + 1).min(layers[right])..layers[right]] {
                column.push(points);
                via[edge].push(points);
                links.push((before, points));
                before = points;
                points += 1;
            }
        }
        if layers[left] < layers[right] {
            links.push((before, right));
        }
        if left != from {
            via[edge].reverse();
        }
    }
    order(&mut columns, &links, points);
    let mut places = vec![(0, 0); points];
    for (layer, column) in columns.iter().enumerate() {
        for (order, node) in column.iter().enumerate() {
            places[*node] = (layer, order);
        }
    }
    let via = via.iter().map(|points| points.iter().map(|point| places[*point]).collect()).collect();
    places.truncate(labels.len());
    Places { nodes: places, via }
}

/// The longest way to each node from one that nobody calls, leaving out edges that close a circle.
fn layers(labels: &[(&str, &str)], edges: &[(usize, usize)]) -> Vec<usize> {
    let mut callees: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
    let mut callers = vec![0_usize; labels.len()];
    for &(from, to) in edges.iter().filter(|(from, to)| from != to) {
        callees[from].push(to);
        callers[to] += 1;
    }
    for row in &mut callees {
        row.sort_unstable_by_key(|node| labels[*node]);
    }
    let mut starts: Vec<usize> = (0..labels.len()).collect();
    starts.sort_unstable_by_key(|node| (callers[*node] > 0, labels[*node]));
    // Depth first: an edge to a node still on the way is one that runs back. What is left has an order.
    let mut finished = Vec::with_capacity(labels.len());
    let (mut seen, mut on_way) = (vec![false; labels.len()], vec![false; labels.len()]);
    let mut forward = Vec::new();
    for start in starts {
        if seen[start] {
            continue;
        }
        let mut way = vec![(start, 0)];
        (seen[start], on_way[start]) = (true, true);
        while let Some((node, next)) = way.last_mut() {
            let node = *node;
            let Some(&callee) = callees[node].get(*next) else {
                on_way[node] = false;
                finished.push(node);
                way.pop();
                continue;
            };
            *next += 1;
            if on_way[callee] {
                continue;
            }
            forward.push((node, callee));
            if !std::mem::replace(&mut seen[callee], true) {
                on_way[callee] = true;
                way.push((callee, 0));
            }
        }
    }
    let mut layers = vec![0; labels.len()];
    let mut forward_from: HashMap<usize, Vec<usize>> = HashMap::new();
    for (from, to) in forward {
        forward_from.entry(from).or_default().push(to);
    }
    for node in finished.into_iter().rev() {
        for &callee in forward_from.get(&node).map_or(&[][..], Vec::as_slice) {
            layers[callee] = layers[callee].max(layers[node] + 1);
        }
    }
    layers
}

/// Orders each column by the mean place of its neighbors in the column before it, then after it, in turn.
fn order(columns: &mut [Vec<usize>], links: &[(usize, usize)], points: usize) {
    let mut place = vec![0.0_f64; points];
    let mut neighbors: [Vec<Vec<usize>>; 2] = [vec![Vec::new(); points], vec![Vec::new(); points]];
    for &(left, right) in links {
        neighbors[0][right].push(left);
        neighbors[1][left].push(right);
    }
    let settle = |column: &[usize], place: &mut Vec<f64>| {
        let middle = (column.len() as f64 - 1.0) / 2.0;
        column.iter().enumerate().for_each(|(order, node)| place[*node] = order as f64 - middle);
    };
    columns.iter().for_each(|column| settle(column, &mut place));
    for sweep in 0..SWEEPS {
        let side = &neighbors[sweep % 2];
        let forth: Vec<usize> = (0..columns.len()).collect();
        let back: Vec<usize> = forth.iter().rev().copied().collect();
        for layer in if sweep % 2 == 0 { forth } else { back } {
            let column = &mut columns[layer];
            let mean = |node: &usize| match side[*node].as_slice() {
                [] => place[*node],
                near => near.iter().map(|other| place[*other]).sum::<f64>() / near.len() as f64,
            };
            // Stable, so equals keep the order of their names.
            column.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
            settle(column, &mut place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nodes: &str, edges: &str, expected: &str) {
        let names: Vec<&str> = nodes.split(' ').collect();
        let labels: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
        let find = |name: &str| names.iter().position(|other| *other == name).unwrap();
        let edges: Vec<(usize, usize)> = edges
            .split_whitespace()
            .filter_map(|edge| edge.split_once('>'))
            .map(|(a, b)| (find(a), find(b)))
            .collect();
        let places = place(&labels, &edges);
        let mut got: Vec<String> = names
            .iter()
            .zip(&places.nodes)
            .map(|(name, (layer, order))| format!("{name}{layer}.{order}"))
            .collect();
        got.extend(
            edges
                .iter()
                .zip(&places.via)
                .filter(|(_, via)| !via.is_empty())
                .map(|((from, to), via)| format!("{}>{} by {via:?}", names[*from], names[*to])),
        );
        assert_eq!(got.join(" "), expected);
    }

    #[test]
    fn a_node_stands_right_of_all_its_callers() {
        check("c s p i", "c>s s>p s>i p>i", "c0.0 s1.0 p2.0 i3.0 s>i by [(2, 1)]");
    }

    #[test]
    fn a_circle_still_has_columns() {
        check("c a b", "c>a a>b b>a", "c0.0 a1.0 b2.0");
        check("a b", "a>b b>a", "a0.0 b1.0");
        check("a", "a>a", "a0.0");
    }

    #[test]
    fn columns_are_ordered_by_their_neighbors() {
        check("a b x y", "a>y b>x", "a0.0 b0.1 x1.1 y1.0");
    }
}
