//! A YAML or JSON text as a tree in which every key and value knows where it stands.

use super::super::problem::{Problem, Problems, Severity};
use crate::sampling::Place;
use std::sync::Arc;

/// Where something stands in a text, and how much of its first line it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In characters; never 0.
    pub width: usize,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Of a mapping or list: its first character.
    pub span: Span,
    /// The value.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// One value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order written. A repeated key is there once, with its first value.
    Mapping(Vec<(Key, Node)>),
}

/// One value: as it was written, and as what YAML understands it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// Without quotes, escapes resolved.
    pub text: String,
    /// Whether it was written with quotes or as a block, and so can only be text.
    pub quoted: bool,
    /// What it is.
    pub typed: Typed,
}

/// The types of YAML's core schema, which are JSON's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Typed {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`; not `yes` or `off`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Everything else: see [`Scalar::text`].
    Text,
}

/// The name before a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Without quotes.
    pub text: String,
    /// Where it is.
    pub span: Span,
}

impl Node {
    /// For messages: `a number`.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Scalar(scalar) => match scalar.typed {
                Typed::Null => "empty",
                Typed::Bool(_) => "true or false",
                Typed::Integer(_) | Typed::Float(_) => "a number",
                Typed::Text => "text",
            },
        }
    }

    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            _ => None,
        }
    }
}

/// The codes under which problems of the notation itself are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// It is not YAML, or YAML that we refuse.
    pub syntax: &'static str,
    /// A key is there twice.
    pub repeated: &'static str,
}

impl Codes {
    /// For rule files.
    pub const RULES: Codes = Codes { syntax: "R001", repeated: "R005" };
    /// For the settings file.
    pub const SETTINGS: Codes = Codes { syntax: "S001", repeated: "S005" };
}

/// A parsed file. Its keys may still be repeated: see [`Document::repeated`].
#[derive(Clone, Debug)]
pub struct Document {
    /// What the file is called in messages.
    pub file: Arc<str>,
    /// The whole of it.
    pub root: Node,
    /// Each key that was there before. They are errors, but the rest of the file can still be judged.
    pub repeated: Problems,
    pub(super) lines: Lines,
}

impl Document {
    /// `file:line:column` of `span`.
    pub fn place(&self, span: Span) -> Place {
        Place { file: Arc::clone(&self.file), line: span.line, column: span.column }
    }

    /// An error at `span`, with the line it stands in.
    pub fn problem(&self, code: &'static str, span: Span, message: impl Into<String>) -> Problem {
        self.lines.problem(&self.file, code, span, message)
    }
}

/// A text by lines, as YAML 1.2 counts them: after LF, CR LF or CR.
#[derive(Clone, Debug)]
pub(super) struct Lines(Vec<Arc<str>>);

impl Lines {
    pub(super) fn new(text: &str) -> Lines {
        let mut lines = Vec::new();
        let mut rest = text;
        while let Some(end) = rest.find(['\n', '\r']) {
            lines.push(rest[..end].into());
            rest = if rest[end..].starts_with("\r\n") { &rest[end + 2..] } else { &rest[end + 1..] };
        }
        lines.push(rest.into());
        Lines(lines)
    }

    /// How many there are; at least one.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// By number, from 1; empty outside the text.
    pub(super) fn get(&self, line: usize) -> &str {
        line.checked_sub(1).and_then(|index| self.0.get(index)).map_or("", |line| line)
    }

    /// The last line at or before `line` that holds more than white space.
    pub(super) fn last_written(&self, line: usize) -> usize {
        (1..=line.min(self.0.len())).rev().find(|&line| !self.get(line).trim().is_empty()).unwrap_or(1)
    }

    /// The character at `line` and `column`, both from 1.
    pub(super) fn character(&self, line: usize, column: usize) -> Option<char> {
        column.checked_sub(1).and_then(|index| self.get(line).chars().nth(index))
    }

    pub(super) fn problem(
        &self,
        file: &Arc<str>,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Problem {
        Problem {
            severity: Severity::Error,
            code,
            place: Place { file: Arc::clone(file), line: span.line, column: span.column },
            message: message.into(),
            hint: None,
            source_line: Some(self.0.get(span.line.wrapping_sub(1)).map_or_else(|| "".into(), Arc::clone)),
            caret_width: span.width,
        }
    }
}
