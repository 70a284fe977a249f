//! The traps YAML lays, told in words that help.
//!
//! Both parsers speak of tokens and simple keys. Whoever wrote `host: *.example.com` should read that the value must
//! be quoted, and how.

use super::super::problem::shown;
use super::document::{Lines, Span};

/// A parser's complaint, moved to where the mistake is and put into words.
pub(super) struct Trap {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: String,
}

/// `said` is what the parser said about `line` and `column`, both from 1.
pub(super) fn explain(lines: &Lines, line: usize, column: usize, said: &str) -> Trap {
    tab(lines, line).or_else(|| unquoted(lines, line, column)).unwrap_or_else(|| {
        let known = KNOWN.iter().find(|(words, ..)| said.contains(words));
        let (mut line, mut column) = (line.max(1), column.max(1));
        let before_here = matches!(known, Some((_, Whereabouts::LineBefore, ..)));
        if before_here || lines.get(line).trim().is_empty() {
            let written = lines.last_written(line - usize::from(before_here && line > 1));
            if before_here || written < line {
                line = written;
                let text = lines.get(line);
                let length = text.trim_end().chars().count();
                column = if before_here { length - text.trim().chars().count() + 1 } else { length + 1 };
            }
        }
        let span = Span { line, column, width: 1 };
        match known {
            Some((_, _, message, hint)) => {
                Trap { span, message: (*message).to_owned(), hint: (*hint).to_owned() }
            }
            None => Trap {
                span,
                message: format!("this is not YAML: {}", shown(said)),
                hint: "check indentation and quotes".to_owned(),
            },
        }
    })
}

/// Where the mistake is, seen from where a parser stumbled.
enum Whereabouts {
    Here,
    LineBefore,
}

/// What a parser may say, what it means, and what to do.
const KNOWN: &[(&str, Whereabouts, &str, &str)] = &[
    (
        "mapping values are not allowed",
        Whereabouts::Here,
        "a `:` is not expected here",
        "check the indentation, and quote a value that contains `: `",
    ),
    (
        "simple key expect",
        Whereabouts::LineBefore,
        "this line is no `key: value`",
        "put a colon and a space after the key",
    ),
    (
        "expected ':'",
        Whereabouts::LineBefore,
        "this line is no `key: value`",
        "put a colon and a space after the key",
    ),
    ("expected ',' or ']'", Whereabouts::Here, "the list does not end", "close it with `]`"),
    ("expected ',' or '}'", Whereabouts::Here, "the mapping does not end", "close it with `}`"),
    (
        "expected '-' indicator",
        Whereabouts::Here,
        "this line belongs neither to the list item above nor begins a new one",
        "indent it like the keys of the item, or begin it with `- `",
    ),
    (
        "did not find expected key",
        Whereabouts::Here,
        "this line is indented differently from the keys above",
        "begin it in the column of the other keys",
    ),
    (
        "quoted scalar, found unexpected end of stream",
        Whereabouts::Here,
        "the quote that begins here never ends",
        "close it, or put the whole text into the other kind of quotes",
    ),
    (
        "unknown escape character",
        Whereabouts::Here,
        "a `\\` in double quotes begins an escape, and this one is unknown",
        "use single quotes, in which `\\` is itself",
    ),
    (
        "invalid trailing content",
        Whereabouts::Here,
        "the value ended with its closing quote",
        "put the whole value into the quotes",
    ),
    (
        "<document start>",
        Whereabouts::Here,
        "this does not belong to what is above",
        "begin every top-level key in the first column, with a space after its colon",
    ),
    (
        "recursion limit exceeded",
        Whereabouts::Here,
        "nested deeper than 32 levels",
        "no rule or setting needs that many",
    ),
    (
        "block sequence entries are not allowed",
        Whereabouts::Here,
        "a list cannot begin here",
        "put `- ` on a line of its own, or quote the value",
    ),
    (
        "block scalar",
        Whereabouts::Here,
        "`|` and `>` begin a text of several lines",
        "put the text on the next lines, indented, or quote the value",
    ),
    (
        "invalid indentation",
        Whereabouts::Here,
        "this line is not indented far enough",
        "indent it more than the line its value begins in",
    ),
];

/// A tab where the indentation belongs, in this line or the next.
fn tab(lines: &Lines, line: usize) -> Option<Trap> {
    [line, line + 1].into_iter().find_map(|line| {
        let text = lines.get(line);
        let indentation = &text[..text.len() - text.trim_start().len()];
        let column = indentation.chars().position(|c| c == '\t')? + 1;
        Some(Trap {
            span: Span { line, column, width: 1 },
            message: "a tab cannot indent".to_owned(),
            hint: "use spaces".to_owned(),
        })
    })
}

/// A value that begins with a character to which YAML gives a meaning.
fn unquoted(lines: &Lines, line: usize, column: usize) -> Option<Trap> {
    let first = lines.character(line, column)?;
    if !matches!(first, '*' | '&' | '!' | '%' | '@' | '`' | '}' | ']' | ',') {
        return None;
    }
    let text = lines.get(line);
    let before: String = text.chars().take(column - 1).collect();
    let rest: String = text.chars().skip(column - 1).collect();
    if !before.trim().is_empty() && !before.ends_with([' ', '[', '{', ',', '(', '\t']) {
        return None;
    }
    let end = rest.find(" #").unwrap_or(rest.len());
    let in_flow = before.contains(['[', '{']);
    let end = if in_flow { rest[..end].find([',', ']', '}']).unwrap_or(end) } else { end };
    let value = rest[..end].trim_end();
    let value = if value.is_empty() { &rest[..first.len_utf8()] } else { value };
    if matches!(first, '}' | ']' | ',') && (in_flow || before.trim().is_empty()) {
        return None;
    }
    let key = before.trim_end().rsplit(['{', '[', ',', ' ']).next().filter(|word| word.ends_with(':'));
    let percent = value.strip_prefix('%').filter(|number| number.parse::<f64>().is_ok());
    let written = match percent {
        Some(number) => format!("{number}%"),
        None if value.contains('"') || value.contains('\\') => format!("'{}'", value.replace('\'', "''")),
        None => format!("\"{value}\""),
    };
    let hint = match key {
        Some(key) => format!("write {key} {written}"),
        None => format!("write {written}"),
    };
    let aside = if matches!(first, '&' | '!') { "; anchors and tags are not read" } else { "" };
    let message = match percent {
        Some(_) => "a percent sign stands after the number".to_owned(),
        None => format!("a value that starts with `{first}` must be quoted"),
    };
    Some(Trap { span: Span { line, column, width: 1 }, message, hint: shown(&hint) + aside })
}
