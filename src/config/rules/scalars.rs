//! Texts, numbers and truth values of a rule, each refused with a remedy.

use super::super::problem::{Problems, shown};
use super::super::yaml::{Document, Key, Kind, Node, Scalar, Span, Typed};

/// Lowers what one file says.
pub(super) struct Lowering<'a> {
    pub(super) document: &'a Document,
    pub(super) problems: Problems,
    pub(super) n_errors: usize,
    /// Whether the file is in a notation of others, which knows neither lists of patterns nor parts of a trace.
    pub(super) is_foreign: bool,
}

impl<'d> Lowering<'d> {
    /// Adds to `problems` what it finds.
    pub(super) fn new(document: &'d Document, problems: Problems) -> Lowering<'d> {
        Lowering { document, problems, n_errors: 0, is_foreign: false }
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = self.document.problem(code, span, message).hint(hint);
        self.problems.push(problem);
        self.n_errors += 1;
    }

    pub(super) fn flag(&mut self, key: &Key, node: &Node) -> Option<bool> {
        // What another YAML reader would take for a truth value is ambiguous, anything else is of the wrong type.
        let (code, hint) = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Bool(flag), .. }) => return Some(*flag),
            Kind::Scalar(scalar) => match scalar.text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" | "y" => ("R112", "write `true`"),
                "no" | "off" | "false" | "n" => ("R112", "write `false`"),
                _ => ("R003", "write `true` or `false`"),
            },
            _ => ("R003", "write `true` or `false`"),
        };
        let message = self.not_a(key, node, "true or false");
        self.error(code, node.span, message, hint);
        None
    }

    /// A text of 1 to `max_bytes` bytes. What YAML takes for something else must be quoted, so that nobody has to
    /// know which spelling of a number or a truth value is text.
    pub(super) fn text<'a>(&mut self, key: &Key, node: &'a Node, max_bytes: usize) -> Option<&'a str> {
        let (message, hint) = match &node.kind {
            Kind::Scalar(Scalar { typed: Typed::Text, text, .. }) => {
                if (1..=max_bytes).contains(&text.len()) {
                    return Some(text);
                }
                match text.len() {
                    0 => (format!("`{}` is empty", shown(&key.text)), EMPTY.to_owned()),
                    n => (
                        format!("`{}` has {n} bytes, more than {max_bytes}", shown(&key.text)),
                        "shorten it".to_owned(),
                    ),
                }
            }
            Kind::Scalar(Scalar { typed: Typed::Null, .. }) => {
                (format!("`{}` is empty", shown(&key.text)), EMPTY.to_owned())
            }
            Kind::Scalar(scalar) => (
                self.not_a(key, node, "text"),
                format!("write {}: \"{}\"", shown(&key.text), shown(&scalar.text)),
            ),
            _ => (self.not_a(key, node, "text"), "write one text here".to_owned()),
        };
        self.error("R003", node.span, message, hint);
        None
    }

    /// A number that was not put into quotes.
    pub(super) fn number<'a>(&mut self, key: &Key, node: &'a Node) -> Option<&'a Scalar> {
        let (code, message, hint) = match &node.kind {
            Kind::Scalar(scalar) if matches!(scalar.typed, Typed::Integer(_) | Typed::Float(_)) => {
                return Some(scalar);
            }
            Kind::Scalar(scalar) if !scalar.quoted && is_octal_to_some(&scalar.text) => (
                "R112",
                format!("`{}` is octal to some YAML readers and decimal to others", shown(&scalar.text)),
                format!("write {}: {}", key.text, shown(scalar.text.trim_start_matches('0'))),
            ),
            Kind::Scalar(scalar) if scalar.typed == Typed::Text => {
                let bare = scalar.text.trim().trim_end_matches("/s");
                let hint = match bare.parse::<f64>().is_ok_and(f64::is_finite) {
                    true => format!("write {}: {}", key.text, shown(bare)),
                    false => "write a number".to_owned(),
                };
                let is_number = scalar.quoted && scalar.text.trim().parse::<f64>().is_ok_and(f64::is_finite);
                (if is_number { "R112" } else { "R003" }, self.not_a(key, node, "a number"), hint)
            }
            _ => ("R003", self.not_a(key, node, "a number"), "write a number".to_owned()),
        };
        self.error(code, node.span, message, hint);
        None
    }

    pub(super) fn not_a(&self, key: &Key, node: &Node, wanted: &str) -> String {
        match node.type_name() {
            "empty" => format!("`{}` is empty", shown(&key.text)),
            found => format!("`{}` must be {wanted}, not {found}", shown(&key.text)),
        }
    }
}

const EMPTY: &str = "give it a value, or remove the key";

fn is_octal_to_some(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b != b'0')
}
