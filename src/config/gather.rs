//! What was said about each setting: by flags, variables and the settings file.

use super::environment::Environment;
use super::flags::RunFlags;
use super::nearest::nearest;
use super::problem::{Problem, Problems, shown};
use super::table::{CONFIG_FLAG, Form, LATER_FLAGS, LATER_KEYS, PREFIX, SETTINGS, Setting, variable_of};
use super::values::{NOT_SUPPORTED, WRONG_VALUE, Wrong};
use super::yaml::{Document, Key, Kind, Node, Span, Typed};
use crate::sampling::Place;
use std::collections::HashMap;
use std::fmt;

const UNKNOWN_KEY: &str = "S002";
const UNKNOWN_VARIABLE: &str = "S101";

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag, without its dashes.
    Flag(&'static str),
    /// A variable of ours.
    Variable(String),
    /// A variable that is set for others, too.
    WellKnown(&'static str),
    /// The settings file.
    File(Place),
    /// The host, by its name.
    HostName,
    /// Nobody.
    Default,
}

impl fmt::Display for Source {
    /// `flag --listen`, `variable COLLIMATOR_LISTEN`, `collimator.yaml:3:5`, `host name`, `default`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "flag --{flag}"),
            Source::Variable(variable) => write!(f, "variable {variable}"),
            Source::WellKnown(variable) => write!(f, "variable {variable}"),
            Source::File(place) => place.fmt(f),
            Source::HostName => f.write_str("host name"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A value, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub source: Source,
}

/// One text that was given, and its span if it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) span: Option<Span>,
}

/// What one source says about one setting: one text, or several for a list. Never empty.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) source: Source,
    pub(super) given: Vec<Given>,
}

/// Collects what was said and what is wrong with it.
pub(super) struct Gather<'a> {
    flags: &'a RunFlags,
    environment: &'a Environment,
    document: Option<Document>,
    in_file: HashMap<&'static str, Vec<Given>>,
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
}

impl<'a> Gather<'a> {
    pub(super) fn new(
        flags: &'a RunFlags,
        environment: &'a Environment,
        document: Option<Document>,
    ) -> Gather<'a> {
        let (problems, warnings) = (Problems::new(), Problems::new());
        let mut gather =
            Gather { flags, environment, document: None, in_file: HashMap::new(), problems, warnings };
        if let Some(mut document) = document {
            gather.problems = std::mem::take(&mut document.repeated);
            let root = document.root.clone();
            gather.document = Some(document);
            gather.file(&root);
        }
        gather.variables();
        gather
    }

    /// A variable's value with the white space around it.
    pub(super) fn verbatim(&self, variable: &str) -> Option<&str> {
        self.environment.verbatim(variable)
    }

    pub(super) fn host_name(&self) -> Option<String> {
        self.environment.host_name().map(str::to_owned)
    }

    /// An error at what was said.
    pub(super) fn error(&mut self, said: &Said, index: usize, wrong: Wrong) {
        let span = said.given.get(index).and_then(|given| given.span);
        let problem = match (span, &self.document) {
            (Some(span), Some(document)) => document.problem(wrong.code, span, wrong.message),
            _ => Problem::at_name(wrong.code, &said.source.to_string(), wrong.message),
        };
        self.problems.push(problem.hint(wrong.hint));
    }

    /// An error about a value that was right in itself.
    pub(super) fn error_at(&mut self, source: &Source, wrong: Wrong) {
        let problem = match (source, &self.document) {
            (Source::File(place), Some(document)) => {
                let span = Span { line: place.line, column: place.column, width: 1 };
                document.problem(wrong.code, span, wrong.message)
            }
            _ => Problem::at_name(wrong.code, &source.to_string(), wrong.message),
        };
        self.problems.push(problem.hint(wrong.hint));
    }

    /// Everything said about a setting, the strongest first. Well-known variables are there only if nothing of ours is
    /// stronger: they are set for others, and what they hold need not concern us.
    pub(super) fn said(&mut self, setting: &'static Setting) -> Vec<Said> {
        let mut all = Vec::new();
        let flag = self.flags.get(setting.flag);
        if !flag.is_empty() {
            all.push(Said { source: Source::Flag(setting.flag), given: texts(setting, flag) });
        }
        let names = [Some(setting.variable()), setting.other_variable.map(str::to_owned)];
        let set: Vec<(String, String)> = names
            .into_iter()
            .flatten()
            .filter_map(|name| self.environment.get(&name).map(|value| (name.clone(), value.to_owned())))
            .collect();
        if let [(first, _), (second, _)] = set.as_slice() {
            let wrong = Wrong::new(format!("{first} is set too, for the same setting"), "keep one of them");
            self.error_at(&Source::Variable(second.clone()), wrong);
        }
        if let Some((name, value)) = set.into_iter().next() {
            all.push(Said { source: Source::Variable(name), given: texts(setting, &[value]) });
        }
        if all.is_empty() {
            let set = setting.well_known.iter().find_map(|name| Some((*name, self.environment.get(name)?)));
            if let Some((name, value)) = set {
                let given = vec![Given { text: value.to_owned(), span: None }];
                all.push(Said { source: Source::WellKnown(name), given });
            }
        }
        if let (Some(given), Some(document)) = (self.in_file.get(setting.key), &self.document) {
            let place = given.first().and_then(|given| given.span).map(|span| document.place(span));
            if let Some(place) = place {
                all.push(Said { source: Source::File(place), given: given.clone() });
            }
        }
        all
    }

    fn file(&mut self, root: &Node) {
        match &root.kind {
            Kind::Scalar(scalar) if scalar.typed == Typed::Null => {}
            Kind::Mapping(entries) => entries.iter().for_each(|(key, node)| self.top(key, node)),
            _ => self.in_file_error(
                WRONG_VALUE,
                root.span,
                "a settings file is a mapping",
                "write `listen: …` and the like",
            ),
        }
    }

    fn top(&mut self, key: &Key, node: &Node) {
        if let Some(setting) = find(&key.text).filter(|setting| !setting.key.contains('.')) {
            return self.value(setting, key, node);
        }
        if LATER_KEYS.contains(&key.text.as_str()) {
            let message = format!("`{}` is not supported by this version", key.text);
            return self.in_file_error(NOT_SUPPORTED, key.span, message, "remove it");
        }
        let group = format!("{}.", key.text);
        let in_group = || SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(&group));
        if in_group().next().is_none() {
            let tops = SETTINGS.iter().map(|setting| setting.key.split('.').next().unwrap_or_default());
            let hint = match find(&key.text).and_then(|setting| setting.key.split_once('.')) {
                Some((outer, inner)) => format!("write `{outer}:` and below it, indented, `{inner}:`"),
                None => match nearest(&key.text, tops) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`collimator run --help` tells the keys there are".to_owned(),
                },
            };
            return self.in_file_error(
                UNKNOWN_KEY,
                key.span,
                format!("unknown key `{}`", shown(&key.text)),
                hint,
            );
        }
        let Kind::Mapping(entries) = &node.kind else {
            let message = format!("`{}` is a mapping, not {}", key.text, node.type_name());
            let keys: Vec<&str> = in_group().collect();
            return self.in_file_error(
                WRONG_VALUE,
                node.span,
                message,
                format!("below it stand: {}", keys.join(", ")),
            );
        };
        for (inner, node) in entries {
            match find(&format!("{group}{}", inner.text)) {
                Some(setting) => self.value(setting, inner, node),
                None => {
                    let hint = match nearest(&inner.text, in_group()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("`{}` has {}", key.text, in_group().collect::<Vec<_>>().join(", ")),
                    };
                    let message = format!("unknown key `{group}{}`", shown(&inner.text));
                    self.in_file_error(UNKNOWN_KEY, inner.span, message, hint);
                }
            }
        }
    }

    fn value(&mut self, setting: &'static Setting, key: &Key, node: &Node) {
        let items = match (&node.kind, setting.form) {
            (Kind::Sequence(items), Form::List) if !items.is_empty() => items.as_slice(),
            (Kind::Scalar(_), _) => std::slice::from_ref(node),
            (_, Form::List) => {
                let message = format!("`{}` must be a list of texts", key.text);
                return self.in_file_error(
                    WRONG_VALUE,
                    node.span,
                    message,
                    "write one text or a list of them",
                );
            }
            _ => {
                let message = format!("`{}` must be one value, not {}", key.text, node.type_name());
                return self.in_file_error(WRONG_VALUE, node.span, message, "write one value");
            }
        };
        let mut given = Vec::new();
        for item in items {
            match &item.kind {
                Kind::Scalar(scalar) if scalar.typed != Typed::Null && !scalar.text.is_empty() => {
                    // A list in one text, as a variable would have it, is told element by element, too.
                    let parts = split(setting, &scalar.text);
                    given.extend(parts.map(|text| Given { text, span: Some(item.span) }));
                }
                Kind::Scalar(_) => {
                    let message = format!("`{}` is empty", key.text);
                    self.in_file_error(WRONG_VALUE, item.span, message, "give it a value, or remove the key");
                }
                _ => {
                    let message = format!("`{}` must be a list of texts", key.text);
                    self.in_file_error(WRONG_VALUE, item.span, message, "write one text or a list of them");
                }
            }
        }
        if !given.is_empty() {
            self.in_file.insert(setting.key, given);
        }
    }

    fn in_file_error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if let Some(document) = &self.document {
            self.problems.push(document.problem(code, span, message).hint(hint));
        }
    }

    /// Variables that look like ours and are not.
    fn variables(&mut self) {
        let mut known: Vec<String> = SETTINGS.iter().map(|setting| setting.variable()).collect();
        known.extend(SETTINGS.iter().filter_map(|setting| setting.other_variable.map(str::to_owned)));
        known.push(variable_of(CONFIG_FLAG));
        for name in self.environment.ours() {
            if known.iter().any(|known| known == name) {
                continue;
            }
            let place = format!("variable {name}");
            if LATER_FLAGS.iter().any(|flag| variable_of(flag) == name) {
                let message = "this setting is not supported by this version";
                self.problems.push(Problem::at_name(NOT_SUPPORTED, &place, message).hint("unset it"));
                continue;
            }
            // The common prefix would make everything look alike.
            let bare = |name: &'a str| name.strip_prefix(PREFIX).unwrap_or(name);
            let near =
                nearest(bare(name), known.iter().map(|known| known.strip_prefix(PREFIX).unwrap_or(known)));
            let hint = match near {
                Some(near) => format!("did you mean {PREFIX}{near}?"),
                None => "`collimator run --help` tells the variables there are".to_owned(),
            };
            let problem =
                Problem::at_name(UNKNOWN_VARIABLE, &place, "there is no such setting; it is ignored");
            self.warnings.push(problem.severity(super::problem::Severity::Warning).hint(hint));
        }
    }
}

fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key).copied()
}

/// The texts of a flag or a variable; those of a list are separated by commas.
fn texts(setting: &Setting, values: &[String]) -> Vec<Given> {
    values.iter().flat_map(|value| split(setting, value)).map(|text| Given { text, span: None }).collect()
}

fn split(setting: &Setting, text: &str) -> impl Iterator<Item = String> {
    let separator = if setting.form == Form::List { ',' } else { '\0' };
    text.split(separator).map(|part| part.trim().to_owned()).collect::<Vec<_>>().into_iter()
}
