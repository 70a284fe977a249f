//! Rule files: from bytes to a `RuleSet`, or to every problem in them.
//!
//! ```yaml
//! rules_version: 1
//! default: { reservoir: 1, rate: 5% }
//! rules:
//!   - { name: checkout, priority: 100, http_method: POST, url_path: /api/checkout/*, reservoir: 5, rate: 50% }
//! ```
//!
//! Four notations are read, told apart by content: ours, what X-Ray's API prints, and the local rules of X-Ray's SDKs
//! in both their versions. Several files make one set, each in its own notation: names are unique in all of them, and
//! one of them may have a `default`. All or nothing: a set with one wrong rule is no set. Strict: a key that is not
//! known is an error and never ignored, for a rule that silently means something else costs money.

pub(super) mod keys;
pub(super) mod limits;
pub mod xray;
pub mod places;
pub mod rate;
pub mod time;
mod scalars;
mod readers;
mod lower;
mod extras;
mod foreign;
mod dialect;
mod source;
mod include;
mod gathered;
pub mod inline;
pub mod export;

use super::problem::Problems;
use super::yaml::{Codes, Document};
use crate::sampling::{Place, Rate, ReservoirSize, Rule, RuleSet};
use gathered::Gathered;
pub use limits::MAX_RULES;
use scalars::Lowering;
pub use source::{Source, read};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The variable that holds rules instead of naming a file, and what problems call them.
pub const INLINE: &str = "COLLIMATOR_RULES_INLINE";

/// App Mesh's variable that holds the rate of the default.
pub const RATE_VARIABLE: &str = "XRAY_SAMPLING_RATE";

/// The most problems told of one file: whoever has more will mend these first.
const MAX_PROBLEMS: usize = 200;

/// Tells one content of the files from another, within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of anything that can be hashed; a hash that differs means content that differs.
    pub(super) fn of<T: Hash + ?Sized>(content: &T) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Fingerprint(hasher.finish())
    }
}

/// A set of rules, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Ready to decide.
    pub rules: RuleSet,
    /// Rules with `enabled: false`: checked, not used.
    pub disabled: Vec<Rule>,
    /// The files, in the order read.
    pub files: Vec<PathBuf>,
    /// Of the files' names and bytes.
    pub fingerprint: Fingerprint,
    /// What does not forbid loading. Never errors.
    pub warnings: Problems,
}

/// Everything there is to say about some files; what `check` prints.
#[derive(Clone, Debug)]
pub struct Checked {
    /// All that was found, by file and line.
    pub problems: Problems,
    /// Absent if one of the problems is an error.
    pub loaded: Option<Loaded>,
    /// The rules that are right, though others may be wrong: enough to judge them, not to decide by them.
    pub rules: RuleSet,
    /// How many files were read.
    pub n_files: usize,
    /// How many rules they hold, right or wrong, defaults not counted.
    pub n_rules: usize,
}

/// Reads and checks a file, or the rule files of a directory; see [`read`] for which ones.
///
/// # Errors
/// All problems of all files, if one of them is an error.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    from_files(&read(path)?)
}

/// As [`load`], from names and bytes.
///
/// # Errors
/// All problems of all sources, if one of them is an error.
pub fn from_sources(sources: Vec<(String, Vec<u8>)>) -> Result<Loaded, Problems> {
    let sources: Vec<Source> =
        sources.into_iter().map(|(name, bytes)| Source { path: PathBuf::from(name), bytes }).collect();
    from_files(&sources)
}

/// As [`load`], from the text of a variable, already unpacked. It includes nothing: there is no directory.
///
/// # Errors
/// All problems of the text, if one of them is an error.
pub fn from_inline(text: &[u8]) -> Result<Loaded, Problems> {
    from_files(&[inline_source(text)])
}

/// The text of a variable, already unpacked, as if it were a file of the variable's name.
pub fn inline_source(text: &[u8]) -> Source {
    Source { path: PathBuf::from(INLINE), bytes: text.to_vec() }
}

/// What App Mesh's Envoy makes of [`RATE_VARIABLE`]: one a second, and this share of the rest.
pub fn of_rate(rate: Rate) -> RuleSet {
    let place = Place { file: RATE_VARIABLE.into(), line: 0, column: 0 };
    RuleSet::new(Vec::new(), Rule::default_rule(ReservoirSize::per_second(1), rate, place))
}

/// As [`load`], from files already read.
///
/// # Errors
/// All problems of all files, if one of them is an error.
pub fn from_files(sources: &[Source]) -> Result<Loaded, Problems> {
    let checked = check(sources);
    checked.loaded.ok_or(checked.problems)
}

/// Checks files already read and builds the set, if there is no error in them.
pub fn check(sources: &[Source]) -> Checked {
    let mut gathered = Gathered::new(sources);
    let mut problems = Problems::new();
    for (number, source) in sources.iter().enumerate() {
        let name = source.path.display().to_string();
        match Document::parse(&name, &source.bytes, Codes::RULES) {
            Ok(mut document) => {
                let repeated = std::mem::take(&mut document.repeated);
                let mut lowering = Lowering::new(&document, repeated);
                gathered.file(number, &mut lowering);
                lowering.problems.sort_by_line();
                lowering.problems.truncate(MAX_PROBLEMS);
                problems.append(lowering.problems);
            }
            Err(unreadable) => problems.append(unreadable),
        }
    }
    problems.append(gathered.cycles());
    let n_rules = gathered.n_rules;
    let (rules, disabled) = gathered.finish();
    let loaded = (!problems.has_errors()).then(|| Loaded {
        rules: rules.clone(),
        disabled,
        files: sources.iter().map(|source| source.path.clone()).collect(),
        fingerprint: Fingerprint::of(sources),
        warnings: problems.clone(),
    });
    Checked { problems, loaded, rules, n_files: sources.len(), n_rules }
}

#[cfg(test)]
mod tests;
