//! `LiveRules`: the rules in force, and how they change while the sidecar runs.
//!
//! ```text
//!   poll ─► read files ── as at the last poll ─────────────► Unchanged
//!                │ other content
//!                └─► parse ── wrong ─► Kept: the old set stays, told once for each content
//!                        └── right ─► states of the same names carried over ─► Swapped: one pointer store
//! ```
//!
//! Content is compared, not times: a ConfigMap's `..data` link, an editor's rename and a bind mount all change the
//! bytes, and nothing else is common to them. A file caught half-written is a failure like any other, and heals at the
//! next poll. Everything here blocks on files: call it from a thread that may.
//!
//! States of rules that left the set are kept, up to [`MAX_STATES`], so that totals never fall and a rule taken out
//! and put back gets no second burst.

mod change;

use super::problem::{Problem, Problems};
use super::rules::{self, Fingerprint, Source};
use super::settled::read_settled;
use crate::moment::Moment;
use crate::sampling::rule::RuleState;
use crate::sampling::{Rate, RuleName, RuleSet};
use arc_swap::ArcSwap;
pub use change::Change;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many rules' states are remembered, those in force counted.
pub const MAX_STATES: usize = 2_000;

/// Where the rules come from.
#[derive(Clone, Debug, PartialEq)]
pub enum RulesSource {
    /// No rules were given: one a second and 5 % of the rest.
    BuiltIn,
    /// Every request is kept, for development.
    SampleAll,
    /// A file, or a directory of them.
    Path(PathBuf),
    /// The text of a rule file, which stood in a variable.
    Inline(Arc<[u8]>),
    /// One a second and this share of the rest, as App Mesh's variable says it.
    Rate(Rate),
}

impl fmt::Display for RulesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RulesSource::BuiltIn => f.write_str("built-in"),
            RulesSource::SampleAll => f.write_str("sample-all"),
            RulesSource::Path(path) => write!(f, "{}", path.display()),
            RulesSource::Inline(text) => write!(f, "inline, {} bytes", text.len()),
            RulesSource::Rate(rate) => write!(f, "1/s, then {}", rules::rate::percent(*rate)),
        }
    }
}

/// What came of looking for changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Reloaded {
    /// The files say what they said before, or are wrong in the way already told.
    Unchanged,
    /// A new set is in force.
    Swapped(Change),
    /// The files are wrong; the set in force stays.
    Kept(Problems),
}

/// How reloads went so far. The load at start counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloads {
    /// How many brought a set into force, or confirmed it.
    pub successes: u64,
    /// How many found the files wrong.
    pub failures: u64,
    /// Whether the files were right when last read.
    pub last_succeeded: bool,
    /// When they were, in seconds since 1970.
    pub last_success_epoch: u64,
    /// What was wrong with them when last read; one line.
    pub last_error: Option<String>,
    /// What the last set that was swapped in changed, and when, in seconds since 1970.
    pub last_change: Option<(Change, u64)>,
}

/// The rules in force. Workers read them through [`LiveRules::shared`]; one poll at a time changes them.
#[derive(Debug)]
pub struct LiveRules {
    source: RulesSource,
    rules: Arc<ArcSwap<RuleSet>>,
    successes: AtomicU64,
    failures: AtomicU64,
    last_success_epoch: AtomicU64,
    /// What was last read. Held while files are read, which may take as long as whatever they lie on likes.
    seen: Mutex<Fingerprint>,
    files: Mutex<Files>,
    states: Mutex<States>,
}

/// What came of it. Held for a moment only: probes and scrapes ask.
#[derive(Debug)]
struct Files {
    n_files: usize,
    error: Option<String>,
    change: Option<(Change, u64)>,
}

impl LiveRules {
    /// Loads the rules for the first time.
    ///
    /// # Errors
    /// Everything that is wrong with the files: without good rules the sidecar does not start.
    pub fn start(source: RulesSource, now: Moment) -> Result<Arc<LiveRules>, Problems> {
        let (rules, n_files, fingerprint) = match &source {
            RulesSource::BuiltIn => (RuleSet::built_in(), 0, Fingerprint::of(&())),
            RulesSource::SampleAll => (RuleSet::sample_all(), 0, Fingerprint::of(&())),
            RulesSource::Inline(text) => {
                let loaded = rules::from_inline(text)?;
                (loaded.rules, 0, loaded.fingerprint)
            }
            RulesSource::Rate(rate) => (rules::of_rate(*rate), 0, Fingerprint::of(&())),
            RulesSource::Path(path) => {
                let loaded = rules::load(path)?;
                (loaded.rules, loaded.files.len(), loaded.fingerprint)
            }
        };
        let mut states = States::default();
        states.remember(&rules);
        Ok(Arc::new(LiveRules {
            source,
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_success_epoch: AtomicU64::new(now.epoch_seconds().into()),
            seen: Mutex::new(fingerprint),
            files: Mutex::new(Files { n_files, error: None, change: None }),
            states: Mutex::new(states),
        }))
    }

    /// As [`LiveRules::start`], but wrong rules do not stop it: the built-in ones are in force until they are mended, and
    /// what is wrong is the second value.
    pub fn start_anyway(source: RulesSource, now: Moment) -> (Arc<LiveRules>, Option<Problems>) {
        let problems = match LiveRules::start(source.clone(), now) {
            Ok(rules) => return (rules, None),
            Err(problems) => problems,
        };
        // What was read counts as told, so that the first poll does not tell it again.
        let fingerprint = match &source {
            RulesSource::Path(path) => {
                read_settled(|| rules::read(path), fingerprint, &Fingerprint::of(&())).1
            }
            _ => Fingerprint::of(&()),
        };
        let error = Some(problems.first_line());
        let rules = RuleSet::built_in();
        let mut states = States::default();
        states.remember(&rules);
        let live = LiveRules {
            source,
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_success_epoch: AtomicU64::new(0),
            seen: Mutex::new(fingerprint),
            files: Mutex::new(Files { n_files: 0, error, change: None }),
            states: Mutex::new(states),
        };
        (Arc::new(live), Some(problems))
    }

    /// The set in force now. One request uses one set from beginning to end.
    pub fn current(&self) -> Arc<RuleSet> {
        self.rules.load_full()
    }

    /// For a worker's own `arc_swap::Cache`, which sees a swap without taking a lock.
    pub fn shared(&self) -> Arc<ArcSwap<RuleSet>> {
        Arc::clone(&self.rules)
    }

    /// Eight hex digits over what the rules in force say.
    pub fn hash(&self) -> String {
        self.rules.load().hash()
    }

    /// Where the rules in force come from: `built-in`, `sample-all`, the path, or what a variable said.
    pub fn source(&self) -> String {
        // Until the given ones have been right once.
        let stands_in = self.last_success_epoch.load(Ordering::Relaxed) == 0;
        if stands_in { RulesSource::BuiltIn.to_string() } else { self.source.to_string() }
    }

    /// How many files the set in force was read from.
    pub fn files(&self) -> usize {
        lock(&self.files).n_files
    }

    /// How reloads went so far.
    pub fn reloads(&self) -> Reloads {
        let (last_error, last_change) = {
            let files = lock(&self.files);
            (files.error.clone(), files.change.clone())
        };
        Reloads {
            successes: self.successes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            last_succeeded: last_error.is_none(),
            last_success_epoch: self.last_success_epoch.load(Ordering::Relaxed),
            last_error,
            last_change,
        }
    }

    /// Every rule whose counts are remembered: those in force in their order, the default last of them, then those that
    /// left, the last to leave first.
    pub fn states(&self) -> Vec<(RuleName, Arc<RuleState>)> {
        lock(&self.states).all(&self.rules.load())
    }

    /// Reads the files and takes over what changed. Blocks on files.
    pub fn poll(&self, now: Moment) -> Reloaded {
        self.look(now, false)
    }

    /// As [`LiveRules::poll`], but wrong files are told again, as whoever asked wants to know.
    pub fn reload(&self, now: Moment) -> Reloaded {
        self.look(now, true)
    }

    fn look(&self, now: Moment, asked: bool) -> Reloaded {
        // Held throughout, so that two who look at once cannot overtake one another.
        let mut seen = lock(&self.seen);
        let RulesSource::Path(path) = &self.source else {
            if asked {
                self.succeed(now);
            }
            return Reloaded::Unchanged;
        };
        let (sources, fingerprint) = read_settled(|| rules::read(path), fingerprint, &seen);
        if fingerprint == *seen && !asked {
            return Reloaded::Unchanged;
        }
        let unchanged = fingerprint == *seen && lock(&self.files).error.is_none();
        *seen = fingerprint;
        let loaded = sources.and_then(|sources| rules::from_files(&sources));
        let mut files = lock(&self.files);
        match loaded {
            Ok(_) if unchanged => {
                self.succeed(now);
                Reloaded::Unchanged
            }
            Ok(mut loaded) => {
                files.error = None;
                files.n_files = loaded.files.len();
                let mut states = lock(&self.states);
                loaded.rules.adopt(|name| states.find(name));
                states.remember(&loaded.rules);
                let change = Change::between(&self.rules.load(), &loaded.rules);
                self.rules.store(Arc::new(loaded.rules));
                self.succeed(now);
                files.change = Some((change.clone(), now.epoch_seconds().into()));
                Reloaded::Swapped(change)
            }
            Err(problems) => {
                files.error = Some(problems.first_line());
                self.failures.fetch_add(1, Ordering::Relaxed);
                Reloaded::Kept(problems)
            }
        }
    }

    fn succeed(&self, now: Moment) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.last_success_epoch.store(now.epoch_seconds().into(), Ordering::Relaxed);
    }
}

fn fingerprint(reading: &Result<Vec<Source>, Problems>) -> Fingerprint {
    match reading {
        Ok(sources) => Fingerprint::of(sources.as_slice()),
        Err(problems) => Fingerprint::of(&problems.iter().map(Problem::one_line).collect::<Vec<_>>()),
    }
}

/// A panic while the lock was held leaves whole values behind: they are only ever replaced at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What rules have given and counted, by name, also of rules that left.
#[derive(Debug, Default)]
struct States {
    by_name: HashMap<RuleName, Remembered>,
    generation: u64,
}

#[derive(Debug)]
struct Remembered {
    state: Arc<RuleState>,
    /// The last set that had the rule.
    generation: u64,
}

impl States {
    fn find(&self, name: &RuleName) -> Option<Arc<RuleState>> {
        self.by_name.get(name).map(|remembered| Arc::clone(&remembered.state))
    }

    /// Takes in the states of a new set, and forgets those that left longest ago, if there are too many.
    fn remember(&mut self, rules: &RuleSet) {
        self.generation += 1;
        for rule in rules.iter() {
            let remembered = Remembered { state: Arc::clone(&rule.state), generation: self.generation };
            self.by_name.insert(rule.name.clone(), remembered);
        }
        let n_excess = self.by_name.len().saturating_sub(MAX_STATES);
        if n_excess > 0 {
            let mut oldest: Vec<(u64, RuleName)> =
                self.by_name.iter().map(|(name, remembered)| (remembered.generation, name.clone())).collect();
            oldest.sort();
            for (_, name) in oldest.into_iter().take(n_excess) {
                self.by_name.remove(&name);
            }
        }
    }

    fn all(&self, current: &RuleSet) -> Vec<(RuleName, Arc<RuleState>)> {
        let mut all: Vec<_> =
            current.iter().map(|rule| (rule.name.clone(), Arc::clone(&rule.state))).collect();
        let mut left: Vec<_> =
            self.by_name.iter().filter(|(_, remembered)| remembered.generation < self.generation).collect();
        left.sort_by(|(a, x), (b, y)| (y.generation, a).cmp(&(x.generation, b)));
        all.extend(left.into_iter().map(|(name, remembered)| (name.clone(), Arc::clone(&remembered.state))));
        all
    }
}

#[cfg(test)]
mod tests;
