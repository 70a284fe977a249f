//! What several files say together, each in its own notation: names are unique, and there is one default.

use super::super::problem::{Problem, Problems, counted, shown};
use super::super::yaml::{Kind, Node, Scalar, Span, Typed};
use super::dialect::{Dialect, dialect};
use super::foreign::{FromApi, SDK_DEFAULT_REQUIRED};
use super::include::{self, Link, Wanted};
use super::keys::{self, ApiTop, SdkTop, Top};
use super::limits::{MAX_INCLUDES, MAX_REPLICAS, MAX_RULES};
use super::lower::{DEFAULT_REQUIRED, Lowered};
use super::scalars::Lowering;
use super::{INLINE, Source};
use crate::sampling::{Kept, Place, Priority, Rate, ReservoirSize, Rule, RuleSet};
use std::collections::HashMap;
use std::path::Path;

const BEGIN: &str = "begin the file with `rules_version: 1`";

/// What the files read so far have said.
pub(super) struct Gathered<'s> {
    sources: &'s [Source],
    /// The file being read, by its number.
    current: usize,
    rules: Vec<Rule>,
    pub(super) disabled: Vec<Rule>,
    default: Option<Rule>,
    default_at: Option<Place>,
    replicas: Option<u32>,
    replicas_at: Option<Place>,
    names: HashMap<String, Place>,
    links: Vec<Link>,
    /// Defaults not counted.
    pub(super) n_rules: usize,
}

impl<'s> Gathered<'s> {
    pub(super) fn new(sources: &'s [Source]) -> Gathered<'s> {
        Gathered {
            sources,
            current: 0,
            rules: Vec::new(),
            disabled: Vec::new(),
            default: None,
            default_at: None,
            replicas: None,
            replicas_at: None,
            names: HashMap::new(),
            links: Vec::new(),
            n_rules: 0,
        }
    }

    /// Takes in the file of this number.
    pub(super) fn file(&mut self, number: usize, lowering: &mut Lowering<'_>) {
        self.current = number;
        let root = &lowering.document.root;
        let (message, hint) = match dialect(root) {
            Dialect::Ours => return self.ours(lowering),
            Dialect::XrayApi => return self.api(lowering),
            Dialect::SdkLocal(span) => return self.sdk(lowering, span),
            Dialect::Undeclared => {
                lowering.error("R008", root.span, "`rules_version` is missing", BEGIN);
                return self.ours(lowering);
            }
            Dialect::Empty => ("the file is empty", BEGIN),
            Dialect::Unknown => ("this is not a rule file", BEGIN),
        };
        lowering.error("R008", root.span, message, hint);
    }

    /// What only the files together can tell.
    pub(super) fn cycles(&self) -> Problems {
        include::cycles(&self.links, self.sources)
    }

    /// The set, if nothing was wrong, and those of its rules that are switched off.
    pub(super) fn finish(self) -> (RuleSet, Vec<Rule>) {
        let built_in =
            || Rule::default_rule(ReservoirSize::per_second(1), Rate::FIVE_PERCENT, Place::built_in());
        let (mut rules, mut disabled) = (self.rules, self.disabled);
        let mut default = self.default.unwrap_or_else(built_in);
        if let Some(replicas) = self.replicas {
            rules
                .iter_mut()
                .chain(&mut disabled)
                .chain([&mut default])
                .for_each(|rule| share(rule, replicas));
        }
        (RuleSet::new(rules, default), disabled)
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
                Top::Default => {
                    let default = lowering.default_rule(node, keys::RULE, DEFAULT_REQUIRED);
                    self.take_default(lowering, key.span, default);
                }
                Top::Rules => {
                    let items = list(lowering, node, "write `- name: …` below it, or rules: []");
                    for item in items {
                        self.take(lowering, item, |lowering| lowering.rule(item));
                    }
                }
                Top::Include => self.include(lowering, node),
                Top::Replicas => match &self.replicas_at {
                    Some(first) => {
                        let hint = format!("the first is at {first}; one set has one");
                        lowering.error("R005", key.span, "this is a second `replicas`", hint);
                    }
                    None => {
                        self.replicas_at = Some(document.place(key.span));
                        self.replicas = lowering.whole(key, node, 1..=MAX_REPLICAS);
                    }
                },
            }
        }
    }

    fn include(&mut self, lowering: &mut Lowering<'_>, node: &Node) {
        const FORM: &str = "write include: [team-a/*.yaml]";
        let items = match &node.kind {
            Kind::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() || items.len() > MAX_INCLUDES {
            let message = format!("`include` has {} entries, not 1 to {MAX_INCLUDES}", items.len());
            lowering.error("R003", node.span, message, FORM);
        }
        for item in items.iter().filter(|item| item.type_name() != "text") {
            let message = format!("`include` holds paths, not {}", item.type_name());
            lowering.error("R003", item.span, message, FORM);
        }
        let own = &self.sources[self.current].path;
        for (text, span) in include::entries(node) {
            let wanted = match Wanted::parse(text) {
                Ok(wanted) => wanted,
                Err((message, hint)) => {
                    lowering.error("R009", span, message, hint);
                    continue;
                }
            };
            let to: Vec<usize> = (0..self.sources.len())
                .filter(|&number| wanted.wants(own, &self.sources[number].path))
                .collect();
            if to.is_empty() {
                let message = format!("`{}` is not there", shown(text));
                let hint = "it is looked for from this file's directory on, and no link may lead out of that";
                lowering.error("R009", span, message, hint);
                continue;
            }
            let problem: Problem = lowering.document.problem("R009", span, "");
            self.links.push(Link { from: self.current, to, problem });
        }
    }

    fn api(&mut self, lowering: &mut Lowering<'_>) {
        lowering.is_foreign = true;
        let root = &lowering.document.root;
        let records = match &root.kind {
            Kind::Sequence(items) => items.as_slice(),
            Kind::Mapping(entries) if root.get("SamplingRuleRecords").is_some() => {
                let mut records: &[Node] = &[];
                for (field, _, node) in lowering.fields(entries, keys::API_TOP, "an answer of X-Ray's API") {
                    match field {
                        ApiTop::Records => {
                            records = list(lowering, node, "keep what `aws xray get-sampling-rules` printed");
                        }
                        ApiTop::NextToken if node.type_name() == "empty" => {}
                        ApiTop::NextToken => {
                            let message = "`NextToken` says that there are more rules than these";
                            let hint = "save the whole answer: leave out `--no-paginate` and `--max-items`";
                            lowering.error("R003", node.span, message, hint);
                        }
                    }
                }
                records
            }
            _ => std::slice::from_ref(root),
        };
        for record in records {
            let mut default = None;
            self.take(lowering, record, |lowering| match lowering.api_entry(record) {
                FromApi::Rule(lowered) => lowered,
                FromApi::Default(rule) => {
                    default = Some(rule);
                    Lowered { name: None, rule: None, enabled: true }
                }
            });
            if let Some(rule) = default {
                // It is not one of the rules, and does not count against their limit.
                self.n_rules -= 1;
                self.take_default(lowering, record.span, rule);
            }
        }
    }

    fn sdk(&mut self, lowering: &mut Lowering<'_>, version_at: Span) {
        lowering.is_foreign = true;
        let root = &lowering.document.root;
        let Kind::Mapping(entries) = &root.kind else { return };
        let version = root.get("version").map(|node| &node.kind);
        let is_v1 = match version {
            Some(Kind::Scalar(Scalar { typed: Typed::Integer(version @ 1..=2), .. })) => *version == 1,
            _ => {
                let message = "this `version` is not supported";
                let hint = "local rules of the X-Ray SDKs have version 1 or 2; our own begin with `rules_version: 1`";
                return lowering.error("R008", version_at, message, hint);
            }
        };
        let table = if is_v1 { keys::SDK_RULE_V1 } else { keys::SDK_RULE };
        for (field, key, node) in lowering.fields(entries, keys::SDK_TOP, "a file of local rules") {
            match field {
                SdkTop::Version => {}
                SdkTop::Default => {
                    let default = lowering.default_rule(node, table, SDK_DEFAULT_REQUIRED);
                    self.take_default(lowering, key.span, default);
                }
                SdkTop::Rules => {
                    let items = list(lowering, node, "write \"rules\": []");
                    let stem = stem(&self.sources[self.current].path);
                    // Order in the file is the order of trying; a hundred apart, so that others find room between.
                    let step = if items.len() < 100 { 100 } else { 9_999 / items.len().max(1) };
                    for (n, item) in items.iter().enumerate() {
                        let priority = i64::try_from(step * (n + 1)).ok().and_then(Priority::new);
                        let name = format!("{stem}-{}", n + 1);
                        self.take(lowering, item, |lowering| lowering.sdk_rule(item, is_v1, &name, priority));
                    }
                }
            }
        }
        if root.get("default").is_none() {
            let hint = "the SDKs refuse the file without it; add \"default\": { \"fixed_target\": 1, \"rate\": 0.05 }";
            lowering.error("R003", root.span, "`default` is missing", hint);
        }
    }

    fn take_default(&mut self, lowering: &mut Lowering<'_>, span: Span, default: Option<Rule>) {
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

    /// Counts a rule, reads it unless there are too many, and takes it in.
    fn take<'a>(
        &mut self,
        lowering: &mut Lowering<'a>,
        node: &Node,
        read: impl FnOnce(&mut Lowering<'a>) -> Lowered,
    ) {
        self.n_rules += 1;
        if self.n_rules == MAX_RULES + 1 {
            let message = format!("more than {}", counted(MAX_RULES, "rule"));
            lowering.error("R003", node.span, message, "use lists and wildcards to say the same in fewer");
        }
        if self.n_rules > MAX_RULES {
            return;
        }
        let lowered = read(lowering);
        if let Some((name, span)) = lowered.name {
            match self.names.get(&name) {
                Some(first) => {
                    let hint = format!("the first is at {first}; names are unique in the whole set");
                    let message = format!("two rules are called `{}`", shown(&name));
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

/// The elements of `rules`; none, with a problem, if it is no list.
fn list<'a>(lowering: &mut Lowering<'_>, node: &'a Node, hint: &str) -> &'a [Node] {
    match &node.kind {
        Kind::Sequence(items) => items,
        _ => {
            let message = format!("`rules` is a list, not {}", node.type_name());
            lowering.error("R003", node.span, message, hint);
            &[]
        }
    }
}

/// What the rules of an SDK's file are called after.
fn stem(path: &Path) -> String {
    if path == Path::new(INLINE) {
        return "inline".to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().map(|c| if c.is_control() { '-' } else { c }).take(30).collect()
}

/// Leaves a rule this instance's part of its reservoir.
fn share(rule: &mut Rule, replicas: u32) {
    let whole = rule.reservoir;
    let part = ReservoirSize::try_from(whole.get() / f64::from(replicas)).unwrap_or_default();
    // What is too small to be told from nothing is still something: the smallest part there is.
    let least = ReservoirSize::try_from(0.000_001).unwrap_or_default();
    rule.reservoir = if part == ReservoirSize::default() && whole != part { least } else { part };
    let kept = rule.kept.take().map(|kept| *kept).unwrap_or_default();
    rule.kept = Some(Box::new(Kept { whole_reservoir: Some(whole), ..kept }));
}
