//! Wildcard patterns as finite automata: whether one holds all that another does, and a text that both match.
//!
//! A pattern's states are the places between its characters. A set of them says where in the patterns one may stand
//! after a text; two such sets, one for each side, are walked together over {letters in either} ∪ {one other}, shortest
//! text first. So an answer comes with its shortest example. `*` makes most places irrelevant: whoever has passed the
//! last star seen can do all that those before it could. What is left can still be exponential in the number of `?`
//! after a `*`; at [`MAX_STATES`] the walk gives up, and nothing is claimed.

use crate::sampling::Pattern;
use std::collections::HashSet;
use std::sync::Arc;

/// The most pairs of sets that one question may meet.
pub(super) const MAX_STATES: usize = 20_000;
/// The most places in all of these sets together, for a list of long patterns has large ones.
const MAX_PLACES: usize = 2_000_000;

/// The most that all questions about one set of rules may meet, so that `check` ends soon whatever the rules say.
const TOTAL_STATES: usize = 200_000;

/// What is left of [`TOTAL_STATES`].
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Budget {
        Budget(TOTAL_STATES)
    }

    fn spend(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

/// Which texts a field can hold, for examples that somebody could send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Domain {
    /// Any text.
    Any,
    /// A path as received: begins with `/`, no query.
    Path,
    /// A host without a port.
    Host,
    /// A method.
    Method,
    /// What a header holds, or a name: printable ASCII.
    Printable,
}

impl Domain {
    /// Whether `letter`, case folded, can occur. Wildcards are left to patterns.
    fn allows(self, letter: char) -> bool {
        match self {
            Domain::Any => true,
            Domain::Path => letter.is_ascii_graphic() && !"?#\"<>\\^`{|}*".contains(letter),
            Domain::Host => letter.is_ascii_alphanumeric() || "-.".contains(letter),
            Domain::Method => letter.is_ascii_alphanumeric() || "-_".contains(letter),
            Domain::Printable => letter.is_ascii_graphic() && !"*?".contains(letter),
        }
    }

    fn first(self) -> Option<char> {
        (self == Domain::Path).then_some('/')
    }

    /// A letter that is not in `letters`, for what no pattern names.
    fn other(self, letters: &[char]) -> Option<char> {
        let usual = "x1abcdefghijklmnopqrstuvwyz023456789-_".chars();
        let any = || ('\u{e0}'..='\u{2000}').filter(|letter| letter.is_lowercase());
        usual.chain(any()).find(|letter| !letters.contains(letter) && self.allows(*letter))
    }
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is such a text; this is the shortest.
    Found(String),
    /// There is none.
    None,
    /// It would take too long to tell.
    Unknown,
}

/// A text that `inner` matches and `outer` does not. [`Answer::None`] means that `outer` holds all of `inner`.
pub(super) fn outside(inner: &[&Pattern], outer: &[&Pattern], budget: &mut Budget) -> Answer {
    let (inner, outer) = (Automaton::new(inner), Automaton::new(outer));
    let hopeless = |a: &[u32], b: &[u32]| a.is_empty() || outer.is_universal(b);
    walk((&inner, &outer), Domain::Any, budget, hopeless, |a, b| a && !b)
}

/// A text in `domain` that both match.
pub(super) fn common(one: &[&Pattern], other: &[&Pattern], domain: Domain, budget: &mut Budget) -> Answer {
    let (one, other) = (Automaton::new(one), Automaton::new(other));
    walk((&one, &other), domain, budget, |a, b| a.is_empty() || b.is_empty(), |a, b| a && b)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Run,
    One,
    Letter(char),
    End,
}

/// One or several patterns, any of which will do, laid end to end.
struct Automaton {
    cells: Vec<Cell>,
    /// For each cell, the number of its pattern.
    owners: Vec<u32>,
    starts: Vec<u32>,
}

impl Automaton {
    fn new(patterns: &[&Pattern]) -> Automaton {
        let mut automaton = Automaton { cells: Vec::new(), owners: Vec::new(), starts: Vec::new() };
        for (owner, pattern) in (0u32..).zip(patterns) {
            automaton.starts.push(automaton.cells.len() as u32);
            let cells = pattern.folded().chars().map(|character| match character {
                '*' => Cell::Run,
                '?' => Cell::One,
                letter => Cell::Letter(letter),
            });
            automaton.cells.extend(cells.chain([Cell::End]));
            automaton.owners.resize(automaton.cells.len(), owner);
        }
        automaton
    }

    fn cell(&self, place: u32) -> Cell {
        self.cells.get(place as usize).copied().unwrap_or(Cell::End)
    }

    fn letters(&self) -> impl Iterator<Item = char> {
        self.cells.iter().filter_map(|cell| match cell {
            Cell::Letter(letter) => Some(*letter),
            _ => None,
        })
    }

    fn start(&self) -> Box<[u32]> {
        let mut set = Vec::new();
        self.starts.iter().for_each(|&start| self.enter(start, &mut set));
        self.settled(set)
    }

    /// Where `letter` leads; `None` is a letter that no pattern names.
    fn step(&self, set: &[u32], letter: Option<char>) -> Box<[u32]> {
        let mut next = Vec::with_capacity(set.len() + 1);
        for &place in set {
            match self.cell(place) {
                Cell::Run => self.enter(place, &mut next),
                Cell::One => self.enter(place + 1, &mut next),
                Cell::Letter(wanted) if Some(wanted) == letter => self.enter(place + 1, &mut next),
                Cell::Letter(_) | Cell::End => {}
            }
        }
        self.settled(next)
    }

    /// A star may be passed without a letter, so whoever stands before it stands behind it, too.
    fn enter(&self, place: u32, set: &mut Vec<u32>) {
        set.push(place);
        if self.cell(place) == Cell::Run {
            set.push(place + 1);
        }
    }

    /// In order, once each, and without what stands before the last star reached of the same pattern.
    fn settled(&self, mut set: Vec<u32>) -> Box<[u32]> {
        set.sort_unstable();
        set.dedup();
        let mut kept: Vec<u32> = Vec::with_capacity(set.len());
        let mut passed = None;
        for &place in set.iter().rev() {
            let owner = self.owners.get(place as usize);
            if passed.is_some() && passed == owner {
                continue;
            }
            kept.push(place);
            if self.cell(place) == Cell::Run {
                passed = owner;
            }
        }
        kept.reverse();
        kept.into()
    }

    fn accepts(&self, set: &[u32]) -> bool {
        set.iter().any(|&place| self.cell(place) == Cell::End)
    }

    /// Whether every text from here on is accepted: a pattern's last star has been reached, and it ends the pattern.
    fn is_universal(&self, set: &[u32]) -> bool {
        set.iter().any(|&place| self.cell(place) == Cell::Run && self.cell(place + 1) == Cell::End)
    }
}

/// A pair of sets that was reached, from which one and by which letter.
struct Reached {
    before: usize,
    letter: char,
}

type Pair = (Box<[u32]>, Box<[u32]>);

/// Walks both automata together, shortest text first, until `goal` holds of whether each accepts.
fn walk(
    (one, other): (&Automaton, &Automaton),
    domain: Domain,
    budget: &mut Budget,
    hopeless: impl Fn(&[u32], &[u32]) -> bool,
    goal: impl Fn(bool, bool) -> bool,
) -> Answer {
    let mut letters: Vec<char> = one.letters().chain(other.letters()).chain(domain.first()).collect();
    letters.sort_unstable();
    letters.dedup();
    let unnamed = domain.other(&letters).map(|letter| (None, letter));
    letters.retain(|&letter| domain.allows(letter));
    let alphabet: Vec<(Option<char>, char)> =
        letters.into_iter().map(|letter| (Some(letter), letter)).chain(unnamed).collect();

    let start = (one.start(), other.start());
    if domain == Domain::Any && goal(one.accepts(&start.0), other.accepts(&start.1)) {
        return Answer::Found(String::new());
    }
    let mut reached = vec![Reached { before: usize::MAX, letter: '\0' }];
    let mut queue: Vec<Arc<Pair>> = vec![Arc::new(start)];
    let mut known: HashSet<Arc<Pair>> = HashSet::new();
    let (mut n_places, mut next) = (0, 0);
    while let Some(pair) = queue.get(next).cloned() {
        let (a, b) = &*pair;
        for &(letter, shown) in &alphabet {
            // Only the beginning of a text is bound to a letter.
            if next == 0 && domain.first().is_some_and(|first| first != shown) {
                continue;
            }
            let pair = (one.step(a, letter), other.step(b, letter));
            if hopeless(&pair.0, &pair.1) || known.contains(&pair) {
                continue;
            }
            n_places += pair.0.len() + pair.1.len();
            if queue.len() >= MAX_STATES || n_places > MAX_PLACES || !budget.spend() {
                return Answer::Unknown;
            }
            let is_goal = goal(one.accepts(&pair.0), other.accepts(&pair.1));
            reached.push(Reached { before: next, letter: shown });
            if is_goal {
                return Answer::Found(spelled(&reached));
            }
            let pair = Arc::new(pair);
            known.insert(Arc::clone(&pair));
            queue.push(pair);
        }
        next += 1;
    }
    Answer::None
}

/// The text that led to what was reached last.
fn spelled(reached: &[Reached]) -> String {
    let mut letters = Vec::new();
    let mut at = reached.last();
    while let Some(Reached { before, letter }) = at.filter(|reached| reached.before != usize::MAX) {
        letters.push(*letter);
        at = reached.get(*before);
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text)).collect()
    }

    fn ask_outside(inner: &[&str], outer: &[&str]) -> Answer {
        let (inner, outer) = (patterns(inner), patterns(outer));
        outside(&inner.iter().collect::<Vec<_>>(), &outer.iter().collect::<Vec<_>>(), &mut Budget::new())
    }

    fn ask_common(one: &[&str], other: &[&str], domain: Domain) -> Answer {
        let (one, other) = (patterns(one), patterns(other));
        common(&one.iter().collect::<Vec<_>>(), &other.iter().collect::<Vec<_>>(), domain, &mut Budget::new())
    }

    fn found(text: &str) -> Answer {
        Answer::Found(text.to_owned())
    }

    #[test]
    fn containment_comes_with_the_shortest_text_that_is_left_over() {
        assert_eq!(ask_outside(&["/api/orders/*"], &["/api/*"]), Answer::None);
        assert_eq!(ask_outside(&["/API/*"], &["/api/*"]), Answer::None);
        assert_eq!(ask_outside(&["/api/*"], &["/api/orders/*"]), found("/api/"));
        assert_eq!(ask_outside(&["*"], &["?*"]), found(""));
        assert_eq!(ask_outside(&["??*"], &["?*", "x"]), Answer::None);
        assert_eq!(ask_outside(&["?"], &["a", "b"]), found("x"));
        assert_eq!(ask_outside(&["a*", "b"], &["a*c", "a*", "b"]), Answer::None);
        assert_eq!(ask_outside(&["*a*b*"], &["*a*", "x"]), Answer::None);
        assert_eq!(ask_outside(&["a*"], &["a?*", "a"]), Answer::None);
    }

    #[test]
    fn what_both_match_is_told_by_an_example_that_can_be_sent() {
        assert_eq!(ask_common(&["*.example.eu"], &["m.*"], Domain::Host), found("m.example.eu"));
        assert_eq!(ask_common(&["/a/*"], &["/b/*"], Domain::Path), Answer::None);
        assert_eq!(ask_common(&["*"], &["*"], Domain::Path), found("/"));
        assert_eq!(ask_common(&["*"], &["*x"], Domain::Path), found("/x"));
        assert_eq!(ask_common(&["a*"], &["*"], Domain::Path), Answer::None);
        assert_eq!(ask_common(&["/a?"], &["/*b"], Domain::Path), found("/ab"));
        assert_eq!(ask_common(&["a b"], &["*"], Domain::Host), Answer::None);
        assert_eq!(ask_common(&["*b??a"], &["aaaa*"], Domain::Host), found("aaaabaaa"));
    }

    #[test]
    fn a_pathological_pair_meets_the_cap_and_claims_nothing() {
        let hard = |first: &str| format!("*{first}{}", "?".repeat(20));
        let (a, b) = (Pattern::new(&hard("a")), Pattern::new("*b"));
        let mut budget = Budget::new();
        assert_eq!(outside(&[&a], &[&a], &mut budget), Answer::Unknown);
        assert!((1..=MAX_STATES).contains(&(TOTAL_STATES - budget.0)), "{budget:?}");
        let short = Pattern::new("*a??");
        assert_eq!(common(&[&short], &[&b], Domain::Host, &mut Budget::new()), found("aab"));
        assert_eq!(common(&[&a], &[&b], Domain::Host, &mut Budget(9)), Answer::Unknown);
    }

    /// Every text over `letters` up to `length`.
    fn texts(letters: &str, length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length {
            last = last.iter().flat_map(|text| letters.chars().map(move |c| format!("{text}{c}"))).collect();
            all.extend(last.clone());
        }
        all
    }

    fn any_matches(patterns: &[String], text: &str) -> bool {
        patterns.iter().any(|pattern| Pattern::new(pattern).matches(text))
    }

    fn lists() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[abA*?]{0,5}", 1..3)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn agrees_with_brute_force(one in lists(), other in lists()) {
            let refs = |list: &[String]| list.iter().map(|text| Pattern::new(text)).collect::<Vec<_>>();
            let (a, b) = (refs(&one), refs(&other));
            let (a, b): (Vec<_>, Vec<_>) = (a.iter().collect(), b.iter().collect());
            // Nearly all of these lists are told apart by as few letters, and by three different ones.
            const LONGEST: usize = 7;
            let all = texts("abx", LONGEST);
            // What is longer can only be asked whether it is right, and not whether it is the shortest.
            let shortest = |text: &str| (text.len() <= LONGEST).then_some(text.len());
            let left_over = all.iter().find(|text| any_matches(&one, text) && !any_matches(&other, text));
            match outside(&a, &b, &mut Budget::new()) {
                Answer::Found(text) => {
                    prop_assert!(any_matches(&one, &text) && !any_matches(&other, &text), "{text}");
                    prop_assert_eq!(left_over.map(|text| text.len()), shortest(&text));
                }
                Answer::None => prop_assert_eq!(left_over, None),
                Answer::Unknown => prop_assert!(false, "five characters do not need 20,000 states"),
            }
            let both = all.iter().skip(1).find(|text| any_matches(&one, text) && any_matches(&other, text));
            match common(&a, &b, Domain::Host, &mut Budget::new()) {
                Answer::Found(text) => {
                    prop_assert!(any_matches(&one, &text) && any_matches(&other, &text), "{text}");
                    prop_assert_eq!(both.map(|text| text.len()), shortest(&text));
                }
                Answer::None => prop_assert_eq!(both, None),
                Answer::Unknown => prop_assert!(false),
            }
        }
    }

    #[test]
    fn folding_twice_is_folding_once() {
        for character in '\0'..=char::MAX {
            let once = Pattern::new(&character.to_string());
            assert_eq!(Pattern::new(once.folded()).folded(), once.folded(), "{character:?}");
        }
    }
}
