//! Reads YAML, and JSON with it, into a tree that knows its places. No other file names a YAML crate.
//!
//! Two parsers see every text. `saphyr-parser` tells where each key and value stands, finds repeated keys and gives up
//! early on deep nesting; `serde_yaml` says what each value *is*. They must agree on the shape: a text that two
//! parsers read differently is refused instead of guessed at.
//!
//! Refused on purpose: anchors, aliases, merge keys and tags (they hide what a rule says from whoever reads the file),
//! a second document, nesting deeper than [`MAX_DEPTH`], and files above [`MAX_BYTES`].

mod document;
mod traps;

use super::problem::{Problem, Problems};
use document::Lines;
pub use document::{Codes, Document, Key, Kind, Node, Scalar, Span, Typed};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 32;
/// The most values in one file. A thousand rules with every field need a fifth of it.
const MAX_VALUES: usize = 100_000;

impl Document {
    /// Parses a file. Every problem has a line and a column.
    ///
    /// # Errors
    /// Whatever keeps the text from being a tree: one problem, for a parser cannot go on after the first.
    pub fn parse(file: &str, bytes: &[u8], codes: Codes) -> Result<Document, Problems> {
        let file: Arc<str> = file.into();
        let text = decode(&file, bytes, codes)?;
        let mut reader = Reader { lines: Lines::new(text), file, codes, repeated: Problems::new() };
        reader.refuse_control_characters(text)?;
        reader.be_strict_with_json(text)?;
        let mut root = reader.read(text)?;
        match serde_yaml::from_str::<Raw>(text) {
            Ok(raw) => reader.agree(&mut root, &raw)?,
            Err(error) => {
                let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
                return Err(reader.translate(line, column, &error.to_string()).into());
            }
        }
        Ok(Document { file: reader.file, root, repeated: reader.repeated, lines: reader.lines })
    }
}

/// The text of a file: UTF-8, without a byte order mark, and not too long.
fn decode<'a>(file: &Arc<str>, bytes: &'a [u8], codes: Codes) -> Result<&'a str, Problems> {
    let start = Span { line: 1, column: 1, width: 1 };
    let at_start = |message: &str| Lines::new("").problem(file, codes.syntax, start, message);
    if bytes.len() > MAX_BYTES {
        return Err(at_start("the file is larger than 1 MiB").hint("split it into several files").into());
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(at_start("the file is UTF-16").hint("save it as UTF-8").into());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let lines = Lines::new(&before);
        let line = lines.count();
        let column = lines.get(line).chars().count() + 1;
        lines
            .problem(
                file,
                codes.syntax,
                Span { line, column, width: 1 },
                "the text is not UTF-8 from here on",
            )
            .hint("save the file as UTF-8")
            .into()
    })
}

/// A list or mapping that has begun and not ended.
struct Open {
    span: Span,
    kind: OpenKind,
}

enum OpenKind {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, seen: HashMap<String, Span>, key: Option<Key> },
}

struct Reader {
    file: Arc<str>,
    lines: Lines,
    codes: Codes,
    repeated: Problems,
}

impl Reader {
    /// A `.json` file is JSON, and not only YAML: whoever else reads it would refuse a comma too many.
    fn be_strict_with_json(&self, text: &str) -> Result<(), Problems> {
        if !self.file.ends_with(".json") || text.trim().is_empty() {
            return Ok(());
        }
        let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) else { return Ok(()) };
        let told = error.to_string();
        // A column counts bytes there, and characters here.
        let line = self.lines.get(error.line());
        let column = line.char_indices().take_while(|(at, _)| at + 1 < error.column()).count() + 1;
        let ends = matches!(line.chars().nth(column - 1), Some(']' | '}'));
        let earlier: usize =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let before = text.get(..earlier + error.column().saturating_sub(1)).unwrap_or_default();
        let message = match ends && before.trim_end().ends_with(',') {
            true => "trailing comma",
            false => told.split(" at line ").next().unwrap_or(&told),
        };
        let hint = match message {
            // Deep nesting has its own message.
            _ if message.contains("recursion") => return Ok(()),
            "trailing comma" => "remove the comma before it",
            "trailing characters" => "remove what follows the end, or name the file .yaml",
            _ if message.starts_with("EOF") => "close every brace, bracket and quote",
            _ => "write JSON, or name the file .yaml",
        };
        let span = Span { line: error.line(), column, width: 1 };
        let message = format!("this is not JSON: {}", message.replacen("EOF", "the file ends", 1));
        self.refuse(span, message, hint)
    }

    fn problem(&self, span: Span, message: impl Into<String>) -> Problem {
        self.lines.problem(&self.file, self.codes.syntax, span, message)
    }

    fn refuse<T>(&self, span: Span, message: impl Into<String>, hint: &str) -> Result<T, Problems> {
        Err(self.problem(span, message).hint(hint).into())
    }

    /// What a parser said, in words that help.
    fn translate(&self, line: usize, column: usize, said: &str) -> Problem {
        let trap = traps::explain(&self.lines, line, column, said);
        self.problem(trap.span, trap.message).hint(trap.hint)
    }

    /// The parsers refuse them too, but without a place.
    fn refuse_control_characters(&self, text: &str) -> Result<(), Problems> {
        let forbidden = |c: char| match c {
            '\t' | '\n' | '\r' | '\u{85}' => false,
            '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
            _ => c.is_control(),
        };
        let Some((at, found)) = text.char_indices().find(|&(_, c)| forbidden(c)) else { return Ok(()) };
        let before = Lines::new(&text[..at]);
        let line = before.count();
        let span = Span { line, column: before.get(line).chars().count() + 1, width: 1 };
        let message = format!("the control character U+{:04X} is not allowed", u32::from(found));
        self.refuse(span, message, "remove it, or write it as an escape in double quotes")
    }

    /// The tree with its places; types are filled in later, by [`Reader::agree`].
    fn read(&mut self, text: &str) -> Result<Node, Problems> {
        let mut parser = Parser::new_from_str(text);
        let mut open: Vec<Open> = Vec::new();
        let mut root = None;
        let mut n_values = 0;
        while let Some(event) = parser.next_event() {
            let (event, extent) = event.map_err(|error| {
                self.translate(error.marker().line(), error.marker().col() + 1, error.info())
            })?;
            let mut span = Span { line: extent.start.line(), column: extent.start.col() + 1, width: 1 };
            let finished = match event {
                Event::Scalar(value, style, anchor, tag) => {
                    self.refuse_marks(text, extent.start, anchor, tag.is_some())?;
                    let quoted = style != ScalarStyle::Plain;
                    span.width = match extent.end.line() == span.line {
                        true => extent.end.col().saturating_sub(extent.start.col()).max(1),
                        false => {
                            let length = self.lines.get(span.line).trim_end().chars().count();
                            (length + 1).saturating_sub(span.column).max(1)
                        }
                    };
                    Node {
                        span,
                        kind: Kind::Scalar(Scalar { text: value.into(), quoted, typed: Typed::Text }),
                    }
                }
                Event::SequenceStart(anchor, ref tag) | Event::MappingStart(anchor, ref tag) => {
                    self.refuse_marks(text, extent.start, anchor, tag.is_some())?;
                    if let Some(Open { kind: OpenKind::Mapping { key: None, .. }, .. }) = open.last() {
                        return self.refuse(span, "a key must be one word", "write `key: value`");
                    }
                    if open.len() >= MAX_DEPTH {
                        let message = format!("nested deeper than {MAX_DEPTH} levels");
                        return self.refuse(span, message, "no rule or setting needs that many");
                    }
                    let kind = match event {
                        Event::SequenceStart(..) => OpenKind::Sequence(Vec::new()),
                        _ => OpenKind::Mapping { entries: Vec::new(), seen: HashMap::new(), key: None },
                    };
                    open.push(Open { span, kind });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(Open { span, kind: OpenKind::Sequence(items) }) => {
                        Node { span, kind: Kind::Sequence(items) }
                    }
                    Some(Open { span, kind: OpenKind::Mapping { entries, .. } }) => {
                        Node { span, kind: Kind::Mapping(entries) }
                    }
                    None => continue,
                },
                Event::Alias(_) => {
                    return Err(self.translate(span.line, span.column, "unknown anchor").into());
                }
                Event::DocumentStart(_) if root.is_some() => {
                    let message = "a second document begins here";
                    return self.refuse(span, message, "put it into a file of its own");
                }
                _ => continue,
            };
            n_values += 1;
            if n_values > MAX_VALUES {
                let message = format!("more than {MAX_VALUES} values");
                return self.refuse(span, message, "split the file");
            }
            match open.last_mut() {
                None => root = Some(finished),
                Some(Open { kind: OpenKind::Sequence(items), .. }) => items.push(finished),
                Some(Open { kind: OpenKind::Mapping { entries, seen, key }, .. }) => match key.take() {
                    Some(key) => {
                        if let Some(first) = seen.get(&key.text) {
                            let problem = self.repeated_key(&key, *first);
                            self.repeated.push(problem);
                        } else {
                            seen.insert(key.text.clone(), key.span);
                            entries.push((key, finished));
                        }
                    }
                    None => *key = Some(self.key(finished)?),
                },
            }
        }
        let nothing = Scalar { text: String::new(), quoted: false, typed: Typed::Null };
        let start = Span { line: 1, column: 1, width: 1 };
        Ok(root.unwrap_or(Node { span: start, kind: Kind::Scalar(nothing) }))
    }

    fn key(&self, node: Node) -> Result<Key, Problems> {
        match node.kind {
            Kind::Scalar(Scalar { text, quoted: false, .. }) if text == "<<" => {
                self.refuse(node.span, "merge keys (`<<`) are not read", "write the keys out")
            }
            Kind::Scalar(scalar) => Ok(Key { text: scalar.text, span: node.span }),
            _ => self.refuse(node.span, "a key must be one word", "write `key: value`"),
        }
    }

    fn repeated_key(&self, key: &Key, first: Span) -> Problem {
        let message = format!("`{}` is repeated", super::problem::shown(&key.text));
        let hint =
            format!("it is already set at {}:{}:{}; keep one of them", self.file, first.line, first.column);
        self.lines.problem(&self.file, self.codes.repeated, key.span, message).hint(hint)
    }

    /// Anchors and tags belong to a value but stand before it, perhaps on an earlier line.
    fn refuse_marks(&self, text: &str, start: Marker, anchor: usize, tagged: bool) -> Result<(), Problems> {
        let mark = match (anchor > 0, tagged) {
            (true, _) => '&',
            (false, true) => '!',
            (false, false) => return Ok(()),
        };
        let before: Vec<char> = text.chars().take(start.index() + 1).collect();
        let (mut line, mut column) = (start.line(), start.col() + 1);
        if let Some(index) = before.iter().rposition(|&c| c == mark) {
            let lines = Lines::new(&before[..index].iter().collect::<String>());
            line = lines.count();
            column = lines.get(line).chars().count() + 1;
        }
        Err(self.translate(line, column, "anchors, aliases and tags are not read").into())
    }

    /// Takes over the types, if both parsers saw the same keys and values.
    fn agree(&self, node: &mut Node, raw: &Raw) -> Result<(), Problems> {
        match (&mut node.kind, raw) {
            (Kind::Scalar(scalar), Raw::Scalar(typed, text))
                if *typed != Typed::Text || *text == scalar.text =>
            {
                scalar.typed = *typed;
                Ok(())
            }
            (Kind::Sequence(items), Raw::Sequence(raws)) if items.len() == raws.len() => {
                items.iter_mut().zip(raws).try_for_each(|(item, raw)| self.agree(item, raw))
            }
            (Kind::Mapping(entries), Raw::Mapping(raws)) => {
                // Repeated keys are left out of the tree, so the other parser's are passed over.
                let mut raws = raws.iter();
                for (key, value) in entries {
                    match raws.find(|(raw_key, _)| raw_key.is_key(&key.text)) {
                        Some((_, raw)) => self.agree(value, raw)?,
                        None => return self.unclear(key.span),
                    }
                }
                match raws.next() {
                    Some(_) if self.repeated.is_empty() => self.unclear(node.span),
                    _ => Ok(()),
                }
            }
            _ => self.unclear(node.span),
        }
    }

    fn unclear(&self, span: Span) -> Result<(), Problems> {
        self.refuse(span, "two YAML parsers read this differently", "put the text into double quotes")
    }
}

/// What `serde_yaml` makes of a text. Unlike its own `Value` this keeps repeated keys, which we tell with their places.
enum Raw {
    Scalar(Typed, String),
    Sequence(Vec<Raw>),
    Mapping(Vec<(Raw, Raw)>),
}

impl Raw {
    fn is_key(&self, key: &str) -> bool {
        match self {
            Raw::Scalar(Typed::Text, text) => text == key,
            Raw::Scalar(..) => true,
            Raw::Sequence(_) | Raw::Mapping(_) => false,
        }
    }

    fn typed(typed: Typed) -> Raw {
        Raw::Scalar(typed, String::new())
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Null))
    }

    /// What an empty document comes as.
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Integer(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::typed(i64::try_from(value).map_or(Typed::Float(value as f64), Typed::Integer)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Float(value as f64)))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Float(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::typed(Typed::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Typed::Text, value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Raw::Sequence(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Raw::Mapping(all))
    }
}

#[cfg(test)]
mod tests;
