//! Rule files: from bytes to a `RuleSet`, or to every problem in them.
//!
//! ```yaml
//! rules_version: 1
//! default: { reservoir: 1, rate: 5% }
//! rules:
//!   - { name: checkout, priority: 100, http_method: POST, url_path: /api/checkout/*, reservoir: 5, rate: 50% }
//! ```
//!
//! Several files make one set: names are unique in all of them, and one of them may have a `default`. All or
//! nothing: a set with one wrong rule is no set. Strict: a key that is not known, or that this version would not
//! obey, is an error and never ignored, for a rule that silently means something else costs money.

mod keys;
pub mod places;
pub mod rate;
mod scalars;
mod lower;
mod source;

use super::problem::{Problems, counted};
use super::yaml::{Codes, Document, Kind, Node, Scalar, Span, Typed};
use crate::sampling::{Place, Rate, ReservoirSize, Rule, RuleSet};
use keys::Top;
use scalars::Lowering;
pub use source::{Source, read};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The most rules in one set, disabled ones counted.
pub const MAX_RULES: usize = 1_000;

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
    let mut gathered = Gathered::default();
    let mut problems = Problems::new();
    for source in sources {
        let name = source.path.display().to_string();
        match Document::parse(&name, &source.bytes, Codes::RULES) {
            Ok(mut document) => {
                let repeated = std::mem::take(&mut document.repeated);
                let mut lowering = Lowering::new(&document, repeated);
                gathered.file(&mut lowering);
                lowering.problems.sort_by_line();
                lowering.problems.truncate(MAX_PROBLEMS);
                problems.append(lowering.problems);
            }
            Err(unreadable) => problems.append(unreadable),
        }
    }
    let n_rules = gathered.n_rules;
    let rules = RuleSet::new(gathered.rules, gathered.default.unwrap_or_else(built_in_default));
    let loaded = (!problems.has_errors()).then(|| Loaded {
        rules: rules.clone(),
        disabled: gathered.disabled,
        files: sources.iter().map(|source| source.path.clone()).collect(),
        fingerprint: Fingerprint::of(sources),
        warnings: problems.clone(),
    });
    Checked { problems, loaded, rules, n_files: sources.len(), n_rules }
}

/// X-Ray's own: one a second and 5 % of the rest.
fn built_in_default() -> Rule {
    Rule::default_rule(ReservoirSize::per_second(1), Rate::FIVE_PERCENT, Place::built_in())
}

/// What the files read so far have said.
#[derive(Default)]
struct Gathered {
    rules: Vec<Rule>,
    disabled: Vec<Rule>,
    default: Option<Rule>,
    default_at: Option<Place>,
    names: HashMap<String, Place>,
    n_rules: usize,
}

/// The notations of sampling rules, told apart by content.
enum Dialect {
    /// `rules_version`.
    Ours,
    /// Like ours, but it does not say so.
    Undeclared,
    /// What `aws xray get-sampling-rules` prints.
    XrayApi,
    /// The local rules of X-Ray's SDKs; where its `version` is.
    SdkLocal(Span),
    /// Nothing, or only comments.
    Empty,
    /// Not even a mapping.
    Unknown,
}

fn dialect(root: &Node) -> Dialect {
    let is_api = |node: &Node| {
        ["SamplingRuleRecords", "SamplingRule", "RuleName"].iter().any(|key| node.get(key).is_some())
    };
    match &root.kind {
        Kind::Scalar(Scalar { typed: Typed::Null, .. }) => Dialect::Empty,
        Kind::Mapping(_) if root.get("rules_version").is_some() => Dialect::Ours,
        Kind::Mapping(_) if is_api(root) => Dialect::XrayApi,
        Kind::Sequence(items) if items.iter().any(is_api) => Dialect::XrayApi,
        Kind::Mapping(entries) => match entries.iter().find(|(key, _)| key.text == "version") {
            Some((key, _)) => Dialect::SdkLocal(key.span),
            None => Dialect::Undeclared,
        },
        _ => Dialect::Unknown,
    }
}

impl Gathered {
    fn file(&mut self, lowering: &mut Lowering<'_>) {
        const BEGIN: &str = "begin the file with `rules_version: 1`";
        let root = &lowering.document.root;
        let (span, message, hint) = match dialect(root) {
            Dialect::Ours => return self.ours(lowering),
            Dialect::Undeclared => {
                lowering.error("R008", root.span, "`rules_version` is missing", BEGIN);
                return self.ours(lowering);
            }
            Dialect::Empty => (root.span, "the file is empty", BEGIN),
            Dialect::Unknown => (root.span, "this is not a rule file", BEGIN),
            Dialect::XrayApi => (
                root.span,
                "rules as X-Ray's API prints them are not read by this version",
                "write them below `rules_version: 1` and `rules:`; names such as `FixedRate` may stay",
            ),
            Dialect::SdkLocal(span) => (
                span,
                "local rules of the X-Ray SDKs are not read by this version",
                "write `rules_version: 1` instead and give each rule a `name` and a `priority`; `fixed_target` may stay",
            ),
        };
        lowering.error("R008", span, message, hint);
    }

    fn ours(&mut self, lowering: &mut Lowering<'_>) {
        let document = lowering.document;
        let Kind::Mapping(entries) = &document.root.kind else { return };
        for (field, key, node) in lowering.fields(entries, keys::TOP, "a rule file") {
            match field {
                Top::RulesVersion => {
                    if !matches!(&node.kind, Kind::Scalar(Scalar { typed: Typed::Integer(1), .. })) {
                        let message = "this `rules_version` is not supported";
                        lowering.error("R008", node.span, message, "write rules_version: 1");
                    }
                }
                Top::Default => self.default_entry(lowering, key.span, node),
                Top::Rules => match &node.kind {
                    Kind::Sequence(items) => items.iter().for_each(|item| self.rule(lowering, item)),
                    _ => {
                        let message = format!("`rules` is a list, not {}", node.type_name());
                        lowering.error(
                            "R003",
                            node.span,
                            message,
                            "write `- name: …` below it, or rules: []",
                        );
                    }
                },
                Top::Include | Top::Replicas => lowering.later(key),
            }
        }
    }

    fn default_entry(&mut self, lowering: &mut Lowering<'_>, span: Span, node: &Node) {
        let default = lowering.default_rule(node);
        match &self.default_at {
            Some(first) => {
                let hint = format!("the first is at {first}; one set has one");
                lowering.error("R006", span, "this is a second `default`", hint);
            }
            None => {
                self.default_at = Some(lowering.document.place(span));
                self.default = default;
            }
        }
    }

    fn rule(&mut self, lowering: &mut Lowering<'_>, node: &Node) {
        self.n_rules += 1;
        if self.n_rules == MAX_RULES + 1 {
            let message = format!("more than {}", counted(MAX_RULES, "rule"));
            lowering.error("R003", node.span, message, "use lists and wildcards to say the same in fewer");
        }
        if self.n_rules > MAX_RULES {
            return;
        }
        let lowered = lowering.rule(node);
        if let Some((name, span)) = lowered.name {
            match self.names.get(&name) {
                Some(first) => {
                    let hint = format!("the first is at {first}; names are unique in the whole set");
                    let message = format!("two rules are called `{}`", super::problem::shown(&name));
                    lowering.error("R004", span, message, hint);
                }
                None => {
                    self.names.insert(name, lowering.document.place(span));
                }
            }
        }
        match lowered.rule {
            Some(rule) if lowered.enabled => self.rules.push(rule),
            Some(rule) => self.disabled.push(rule),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
