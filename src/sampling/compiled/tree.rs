//! Texts in a tree, so that all those with which another text begins are found in one walk along it.
//!
//! ```text
//!   /api/cart, /api/orders, /assets        ─ /a ┬ pi/ ┬ cart
//!                                               │     └ orders
//!                                               └ ssets
//! ```
//!
//! Nodes stand in one array, the children of a node side by side, so that a walk touches little memory.

use std::collections::VecDeque;
use std::ops::Range;

/// Where the text that is looked up must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ends {
    /// Anywhere beyond the filed one.
    Anywhere,
    /// With the filed one.
    Here,
}

/// Rules by texts.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// The first byte of each node's label, for choosing among children.
    firsts: Vec<u8>,
    /// The labels' bytes.
    labels: Vec<u8>,
    /// Rules, those of a node side by side.
    rules: Vec<u16>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// In `labels`, without its first byte.
    label: Range<u32>,
    /// In `nodes`.
    children: Range<u32>,
    /// In `rules`: [`Ends::Anywhere`].
    anywhere: Range<u32>,
    /// In `rules`: [`Ends::Here`].
    here: Range<u32>,
}

impl Tree {
    /// From texts, where what begins with them must end, and the rule that asks for it.
    pub(super) fn new(mut keys: Vec<(Vec<u8>, Ends, u16)>) -> Tree {
        keys.sort();
        let mut tree =
            Tree { nodes: vec![Node::default()], firsts: vec![0], labels: Vec::new(), rules: Vec::new() };
        // A node, the keys below it, and how many of their bytes lead to it.
        let mut open = VecDeque::from([(0, keys.as_slice(), 0)]);
        while let Some((node, keys, depth)) = open.pop_front() {
            let ends_here = keys.partition_point(|(text, ..)| text.len() == depth);
            let (ending, mut longer) = keys.split_at(ends_here);
            let (anywhere, here) =
                ending.split_at(ending.partition_point(|(_, ends, _)| *ends == Ends::Anywhere));
            let anywhere = tree.file(anywhere);
            let here = tree.file(here);
            let first_child = tree.nodes.len() as u32;
            while let Some((text, ..)) = longer.first() {
                let first = text[depth];
                let (group, rest) =
                    longer.split_at(longer.partition_point(|(text, ..)| text[depth] == first));
                longer = rest;
                let last = group.last().map_or(text, |(last, ..)| last);
                let common = text.iter().zip(last).take_while(|(a, b)| a == b).count();
                let from = tree.labels.len() as u32;
                tree.labels.extend_from_slice(&text[depth + 1..common]);
                open.push_back((tree.nodes.len(), group, common));
                tree.nodes.push(Node { label: from..tree.labels.len() as u32, ..Node::default() });
                tree.firsts.push(first);
            }
            let children = first_child..tree.nodes.len() as u32;
            if let Some(node) = tree.nodes.get_mut(node) {
                *node = Node { label: node.label.clone(), children, anywhere, here };
            }
        }
        tree
    }

    fn file(&mut self, keys: &[(Vec<u8>, Ends, u16)]) -> Range<u32> {
        let from = self.rules.len() as u32;
        self.rules.extend(keys.iter().map(|(.., rule)| *rule));
        from..self.rules.len() as u32
    }

    /// Whether nothing is filed.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Gives the rules whose text is the beginning of `bytes`, or all of it where that is asked for.
    #[inline]
    pub(super) fn walk(&self, mut bytes: impl Steps, mut give: impl FnMut(u16)) {
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            if !node.anywhere.is_empty() {
                self.rules_in(&node.anywhere).iter().for_each(|&rule| give(rule));
            }
            let Some(byte) = bytes.next() else {
                return self.rules_in(&node.here).iter().for_each(|&rule| give(rule));
            };
            let children = node.children.start as usize..node.children.end as usize;
            let firsts = self.firsts.get(children).unwrap_or_default();
            let child = match firsts.len() {
                0..=4 => firsts.iter().position(|&first| first == byte),
                _ => firsts.binary_search(&byte).ok(),
            };
            let Some(child) = child else { return };
            at = node.children.start as usize + child;
            let Some(child) = self.nodes.get(at) else { return };
            let label = self.labels.get(child.label.start as usize..child.label.end as usize);
            if !bytes.skip_label(label.unwrap_or_default()) {
                return;
            }
        }
    }

    fn rules_in(&self, range: &Range<u32>) -> &[u16] {
        self.rules.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

/// A text on which a walk goes on.
pub(super) trait Steps {
    /// The next byte.
    fn next(&mut self) -> Option<u8>;
    /// Goes on by `label`, if that comes next.
    fn skip_label(&mut self, label: &[u8]) -> bool;
}

impl Steps for &[u8] {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.split_off_first().copied()
    }

    #[inline]
    fn skip_label(&mut self, label: &[u8]) -> bool {
        self.split_off(..label.len()).is_some_and(|bytes| bytes == label)
    }
}

/// Bytes that come from an iterator.
pub(super) struct OneByOne<I>(pub(super) I);

impl<I: Iterator<Item = u8>> Steps for OneByOne<I> {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.0.next()
    }

    #[inline]
    fn skip_label(&mut self, label: &[u8]) -> bool {
        label.iter().all(|&wanted| self.0.next() == Some(wanted))
    }
}
