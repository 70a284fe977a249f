//! Finds the few rules that can match, without asking each.
//!
//! ```text
//!   rules ─► each is filed under one text that every request it takes must have
//!              head  `/api/cart/*`   a tree of heads, walked once along the request's path
//!              tail  `*/checkout`    the same, read backwards
//!              run   `*/admin/*`     a table of four bytes of each, passed over once
//!   request ─► marks the rules whose text it has ─► these are asked, in their order, whether they match
//! ```
//!
//! A rule is filed under the part of it that tells it best from the others: its path in most sets, its host or a header
//! in sets of one rule for each tenant. What has no such text (`*`, `?*`) is asked every time. Marks are a hint and never a
//! verdict: a rule marked in vain is asked and says no. None that matches may be left unmarked, which a property test holds
//! against asking every rule.
//!
//! Filing happens when a set is made, off the workers. Looking up takes no lock and allocates nothing.

mod grams;
mod tree;

use super::pattern::{Pattern, fold};
use super::rule::{Attributes, Facts, Rule, without_port};
use grams::{GRAM, Grams};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use tree::{Ends, OneByOne, Steps, Tree};

/// Larger sets are asked rule by rule. Rule files hold fewer.
const MAX_INDEXED: usize = 64 * WORDS;
const WORDS: usize = 16;
/// Texts up to so many bytes are folded at once, on the stack; longer ones byte by byte.
const SHORT: usize = 4 * CHUNK;
const CHUNK: usize = 32;
/// Up to so many rules, asking each is quicker than looking up.
const FEW: usize = 3;

/// One bit for each rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    words: [u64; WORDS],
    /// One bit for each word that is not zero.
    used: u16,
}

impl Marks {
    #[inline]
    fn mark(&mut self, rule: u16) {
        if let Some(word) = self.words.get_mut(usize::from(rule) / 64) {
            *word |= 1 << (rule % 64);
            self.used |= 1 << (rule / 64);
        }
    }

    fn mark_all(&mut self, others: &Marks) {
        self.used |= others.used;
        self.words.iter_mut().zip(&others.words).for_each(|(word, others)| *word |= others);
    }

    /// The first mark, taken away.
    #[inline]
    fn pop(&mut self) -> Option<usize> {
        if self.used == 0 {
            return None;
        }
        let at = self.used.trailing_zeros() as usize;
        let word = self.words.get_mut(at)?;
        let bit = word.trailing_zeros() as usize;
        *word &= word.wrapping_sub(1);
        if *word == 0 {
            self.used &= self.used - 1;
        }
        Some(at * 64 + bit)
    }
}

/// What of a request a rule is filed under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Subject {
    Path,
    /// For patterns without a colon.
    BareHost,
    /// For patterns with one.
    HostAndPort,
    Attribute(Box<str>),
    ServiceName,
    Method,
    ServiceType,
}

/// How a text must have the rule's: the three that cost least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Whole,
    Head,
    Tail,
    Run,
}

/// A text under which a rule may be filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key<'a> {
    part: Part,
    text: &'a str,
}

/// All rules of a set, filed.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    /// Rules that are asked every time.
    always: Marks,
    files: Vec<File>,
}

/// The rules filed under one subject.
#[derive(Clone, Debug)]
struct File {
    subject: Subject,
    /// All of them: marked where the subject is unknown, which matches any pattern.
    members: Marks,
    heads: Tree,
    tails: Tree,
    runs: Grams,
}

impl Compiled {
    /// Files `rules`, which are in their order. `None` where it is not worth while.
    pub(super) fn new(rules: &[Rule]) -> Option<Compiled> {
        if rules.len() <= FEW || rules.len() > MAX_INDEXED {
            return None;
        }
        let mut counts = HashMap::new();
        for rule in rules {
            for (subject, patterns) in subjects(rule) {
                for key in patterns.iter().flat_map(keys) {
                    *counts.entry((subject.clone(), key)).or_insert(0_usize) += 1;
                }
            }
        }
        let mut always = Marks::default();
        let mut filed: Vec<(Subject, Vec<(Key<'_>, u16)>)> = Vec::new();
        for (rule, number) in rules.iter().zip(0_u16..) {
            let Some((subject, keys)) = best(rule, &counts) else {
                always.mark(number);
                continue;
            };
            let keys = keys.into_iter().map(|key| (key, number));
            match filed.iter_mut().find(|(other, _)| *other == subject) {
                Some((_, file)) => file.extend(keys),
                None => filed.push((subject, keys.collect())),
            }
        }
        let files = filed.into_iter().map(|(subject, keys)| File::new(subject, &keys)).collect();
        Some(Compiled { always, files })
    }

    /// Numbers of the rules that may match, in their order; all that match are among them.
    #[inline]
    pub(super) fn candidates<A: Attributes>(&self, facts: &Facts<'_, A>) -> Candidates {
        let mut marks = self.always.clone();
        for file in &self.files {
            file.mark(facts, &mut marks);
        }
        Candidates::Marked(marks)
    }
}

/// Numbers of rules to be asked, in their order.
pub(super) enum Candidates {
    /// So many, from the first.
    All(Range<usize>),
    /// These.
    Marked(Marks),
}

impl Iterator for Candidates {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        match self {
            Candidates::All(numbers) => numbers.next(),
            Candidates::Marked(marks) => marks.pop(),
        }
    }
}

impl File {
    fn new(subject: Subject, keys: &[(Key<'_>, u16)]) -> File {
        let mut members = Marks::default();
        let (mut heads, mut tails, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        for &(key, rule) in keys {
            members.mark(rule);
            match key.part {
                Part::Whole => heads.push((key.text.bytes().collect(), Ends::Here, rule)),
                Part::Head => heads.push((key.text.bytes().collect(), Ends::Anywhere, rule)),
                Part::Tail => tails.push((key.text.bytes().rev().collect(), Ends::Anywhere, rule)),
                Part::Run => runs.push((key.text, rule)),
            }
        }
        File { subject, members, heads: Tree::new(heads), tails: Tree::new(tails), runs: Grams::new(&runs) }
    }

    #[inline]
    fn mark<A: Attributes>(&self, facts: &Facts<'_, A>, marks: &mut Marks) {
        let known = |text| if str::is_empty(text) { None } else { Some(text) };
        let text = match &self.subject {
            Subject::Path => Some(facts.path),
            Subject::BareHost => known(facts.host).map(without_port),
            Subject::HostAndPort => known(facts.host),
            Subject::Attribute(name) => match facts.attributes.attribute(name) {
                Some(value) => Some(value),
                // A header that is not there matches nothing.
                None => return,
            },
            Subject::ServiceName => Some(facts.service_name),
            Subject::Method => Some(facts.method),
            Subject::ServiceType => facts.service_type,
        };
        let Some(text) = text else { return marks.mark_all(&self.members) };
        let bytes = text.as_bytes();
        if !text.is_ascii() {
            let bytes = |character: char| Encoded::new(fold(character));
            let folded = || text.chars().flat_map(bytes);
            let backwards = text.chars().rev().flat_map(move |character| bytes(character).rev());
            self.look_up(OneByOne(folded()), OneByOne(backwards), || grams::rolling(folded()), marks);
        } else if let Some(folded) = folded(bytes, &mut [0; SHORT]) {
            let backwards = OneByOne(folded.iter().rev().copied());
            self.look_up(folded, backwards, || grams::windows(folded), marks);
        } else {
            let folded = || bytes.iter().map(u8::to_ascii_lowercase);
            let backwards = OneByOne(folded().rev());
            self.look_up(OneByOne(folded()), backwards, || grams::rolling(folded()), marks);
        }
    }

    /// `folded` gives the text's bytes in lower case, `backwards` the same from the end.
    #[inline]
    fn look_up<G: Iterator<Item = u32>>(
        &self,
        folded: impl Steps,
        backwards: impl Steps,
        grams: impl Fn() -> G,
        marks: &mut Marks,
    ) {
        if !self.heads.is_empty() {
            self.heads.walk(folded, |rule| marks.mark(rule));
        }
        if !self.tails.is_empty() {
            self.tails.walk(backwards, |rule| marks.mark(rule));
        }
        if !self.runs.is_empty() && !self.runs.walk(grams(), |rule| marks.mark(rule)) {
            marks.mark_all(&self.members);
        }
    }
}

/// `bytes` in lower case, if there is room for them.
#[inline]
fn folded<'a>(bytes: &[u8], room: &'a mut [u8; SHORT]) -> Option<&'a [u8]> {
    room.get_mut(..bytes.len())?.copy_from_slice(bytes);
    // Whole chunks, also beyond the end: each is one instruction or two, and a rest would be a loop.
    for chunk in room.chunks_exact_mut(CHUNK).take(bytes.len().div_ceil(CHUNK)) {
        chunk.make_ascii_lowercase();
    }
    room.get(..bytes.len())
}

/// The bytes of one character, from either end.
struct Encoded {
    bytes: [u8; 4],
    from: usize,
    to: usize,
}

impl Encoded {
    fn new(character: char) -> Encoded {
        let mut bytes = [0; 4];
        let to = character.encode_utf8(&mut bytes).len();
        Encoded { bytes, from: 0, to }
    }
}

impl Iterator for Encoded {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes[..self.to].get(self.from)?;
        self.from += 1;
        Some(byte)
    }
}

impl DoubleEndedIterator for Encoded {
    fn next_back(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.from..self.to)?.last()?;
        self.to -= 1;
        Some(byte)
    }
}

type Counts<'a> = HashMap<(Subject, Key<'a>), usize>;

/// Where to file a rule: under the subject whose texts the fewest rules share, the longer texts where that is equal.
/// `None` if it has no text that every request it takes must have.
fn best<'a>(rule: &'a Rule, counts: &Counts<'a>) -> Option<(Subject, Vec<Key<'a>>)> {
    let filed = subjects(rule).into_iter().filter_map(|(subject, patterns)| {
        let (mut most_shared, mut shortest) = (0, usize::MAX);
        let mut chosen = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let cost = |key: &Key<'a>| {
                let shared = counts.get(&(subject.clone(), *key)).copied().unwrap_or(0);
                (shared, Reverse(key.text.len()), key.part)
            };
            let key = keys(pattern).into_iter().min_by_key(cost)?;
            most_shared = most_shared.max(cost(&key).0);
            shortest = shortest.min(key.text.len());
            chosen.push(key);
        }
        Some(((most_shared, Reverse(shortest)), subject, chosen))
    });
    filed.min_by(|(a, x, _), (b, y, _)| (a, x).cmp(&(b, y))).map(|(_, subject, keys)| (subject, keys))
}

/// What a rule asks for, by what it asks it of. What anything matches is left out, and so are hosts of which some are
/// meant with their port and some without.
fn subjects(rule: &Rule) -> Vec<(Subject, &[Pattern])> {
    let matchers = &rule.matchers;
    let with_port = matchers.host.patterns().iter().filter(|host| host.as_str().contains(':')).count();
    let host = match with_port {
        0 => Some(Subject::BareHost),
        n if n == matchers.host.patterns().len() => Some(Subject::HostAndPort),
        _ => None,
    };
    let globs = [
        (Some(Subject::Path), &matchers.url_path),
        (host, &matchers.host),
        (Some(Subject::ServiceName), &matchers.service_name),
        (Some(Subject::Method), &matchers.http_method),
        (Some(Subject::ServiceType), &matchers.service_type),
    ];
    let globs = globs.into_iter().filter(|(_, globs)| !globs.is_anything());
    let attributes = matchers
        .attributes
        .iter()
        .map(|(name, pattern)| (Subject::Attribute(name.clone()), std::slice::from_ref(pattern)));
    globs.filter_map(|(subject, globs)| Some((subject?, globs.patterns()))).chain(attributes).collect()
}

/// Texts of which a value that matches `pattern` has each.
fn keys(pattern: &Pattern) -> Vec<Key<'_>> {
    if pattern.is_literal() {
        return vec![Key { part: Part::Whole, text: pattern.head() }];
    }
    let (head, tail, run) = (pattern.head(), pattern.tail(), pattern.longest_run());
    let run = if run.len() >= GRAM && run.len() > head.len().max(tail.len()) { run } else { "" };
    [(Part::Head, head), (Part::Tail, tail), (Part::Run, run)]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(part, text)| Key { part, text })
        .collect()
}

#[cfg(test)]
mod tests;
