//! The documents of one trace as a tree: who called whom.
//!
//! Rows stand in pre-order, siblings by their start, so that the same documents give the same rows in whatever order
//! they came. A stranger may send the same id twice, or parents in a circle: the first of the same id counts, and a
//! circle is cut at its earliest member. Nothing here recurses, because a chain may be thousands of calls long.

use super::Trace;
use super::document::Entity;
use crate::trace::SegmentId;
use std::collections::HashMap;

/// One segment or subsegment in its place.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// What is recorded of it.
    pub(super) entity: &'a Entity,
    /// The row that called it.
    pub(super) parent: Option<usize>,
    /// The row of the segment that contains it; its own for a segment. `None` if that segment is not here.
    pub(super) owner: Option<usize>,
    /// How many rows are above it.
    pub(super) depth: usize,
    /// The first row after it that is not below it.
    pub(super) end: usize,
    /// It names a parent that is not here.
    pub(super) lost_parent: bool,
    /// Someone who is here says it is its parent, and is a segment.
    pub(super) answered: bool,
    /// The latest end of it and everything below it, in microseconds since 1970.
    pub(super) latest_micros: u64,
}

/// Rows in pre-order.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) rows: Vec<Row<'a>>,
}

struct Loose<'a> {
    entity: &'a Entity,
    parent: Option<SegmentId>,
    children: Vec<usize>,
    placed: bool,
}

impl<'a> Tree<'a> {
    pub(super) fn new(trace: &'a Trace) -> Tree<'a> {
        let (mut loose, by_id) = gather(trace);
        let mut roots = Vec::new();
        for index in 0..loose.len() {
            let parent = loose[index].parent.and_then(|id| by_id.get(&id)).filter(|parent| **parent != index);
            match parent {
                Some(&parent) => loose[parent].children.push(index),
                None => roots.push(index),
            }
        }
        let starts: Vec<(u64, [u8; 16])> = loose.iter().map(|one| order(one.entity)).collect();
        for one in &mut loose {
            one.children.sort_unstable_by_key(|child| starts[*child]);
        }
        roots.sort_unstable_by_key(|root| starts[*root]);
        let mut tree = Tree { rows: Vec::with_capacity(loose.len()) };
        for root in roots {
            tree.place(root, &mut loose);
        }
        let mut circular: Vec<usize> = (0..loose.len()).filter(|index| !loose[*index].placed).collect();
        circular.sort_unstable_by_key(|index| starts[*index]);
        for index in circular {
            tree.place(index, &mut loose);
        }
        tree.close();
        tree
    }

    /// Places `root` and everything below it that has no place yet.
    fn place(&mut self, root: usize, loose: &mut [Loose<'a>]) {
        let mut waiting = vec![(root, None)];
        while let Some((index, parent)) = waiting.pop() {
            let one = &mut loose[index];
            if std::mem::replace(&mut one.placed, true) {
                continue;
            }
            let row = self.rows.len();
            let entity = one.entity;
            let above: Option<&mut Row<'a>> = parent.map(|parent: usize| &mut self.rows[parent]);
            let (mut owner, mut depth) = (None, 0);
            if let Some(above) = above {
                above.answered |= entity.is_segment();
                (owner, depth) = (above.owner, above.depth + 1);
            }
            if entity.is_segment() {
                owner = Some(row);
            }
            self.rows.push(Row {
                entity,
                parent,
                owner,
                depth,
                end: row + 1,
                lost_parent: parent.is_none() && one.parent.is_some(),
                answered: false,
                latest_micros: entity.end_or_start_micros(),
            });
            let children = std::mem::take(&mut one.children);
            waiting.extend(children.into_iter().rev().map(|child| (child, Some(row))));
        }
    }

    /// Carries ends from the leaves up.
    fn close(&mut self) {
        for index in (0..self.rows.len()).rev() {
            let (end, latest) = (self.rows[index].end, self.rows[index].latest_micros);
            if let Some(parent) = self.rows[index].parent {
                let above = &mut self.rows[parent];
                above.end = above.end.max(end);
                above.latest_micros = above.latest_micros.max(latest);
            }
        }
    }

    /// The row directly called by `row`, in order.
    pub(super) fn children(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let end = self.rows[row].end;
        let first = (row + 1 < end).then_some(row + 1);
        std::iter::successors(first, move |child| Some(self.rows[*child].end).filter(|next| *next < end))
    }
}

/// Earlier first; of equals, by id.
fn order(entity: &Entity) -> (u64, [u8; 16]) {
    (entity.start_micros, entity.id.to_hex())
}

/// All segments and subsegments of a trace, each id once: segments win over subsegments sent alone, those over nothing.
fn gather(trace: &Trace) -> (Vec<Loose<'_>>, HashMap<SegmentId, usize>) {
    let mut documents: Vec<_> = trace.documents().collect();
    documents.sort_unstable_by_key(|document| (!document.entity.is_segment(), order(&document.entity)));
    let mut loose = Vec::new();
    let mut by_id = HashMap::with_capacity(documents.len() * 2);
    let mut waiting = Vec::new();
    for document in documents {
        waiting.push((&document.entity, document.parent));
        while let Some((entity, parent)) = waiting.pop() {
            by_id.entry(entity.id).or_insert_with(|| {
                loose.push(Loose { entity, parent, children: Vec::new(), placed: false });
                loose.len() - 1
            });
            waiting.extend(entity.children.iter().rev().map(|child| (child, Some(entity.id))));
        }
    }
    (loose, by_id)
}
