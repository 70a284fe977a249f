//! `Problem`: what is wrong, where, and what to do; and its printer.
//!
//! ```text
//! error[R007] rules/41-mobile.yaml:12:11: rate 5 is above 1
//!   12 |     rate: 5
//!      |           ^ X-Ray's API takes 0–1, its console takes percent; did you mean 5% (0.05)?
//! ```
//!
//! Whatever was read from a file may hold escape sequences for a terminal, so every control character is replaced
//! on the way out. Nothing here prints: `cli` and the log do.

use crate::sampling::Place;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be loaded.
    Error,
    /// It can, but is likely not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word that begins a printed problem.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One thing wrong with a rule file or a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// `R…` for rules, `S…` for settings; stable, for scripts and searches.
    pub code: &'static str,
    /// File, line and column; for a flag or a variable its name, and line 0.
    pub place: Place,
    /// What is wrong: lower case, no final period, values in backticks.
    pub message: String,
    /// What to do about it, in one line or several.
    pub hint: Option<String>,
    /// The line of the file that `place` points into.
    pub source_line: Option<Arc<str>>,
    /// How many characters from `place` on are marked.
    pub caret_width: usize,
}

/// The longest part of a source line that is shown, in characters.
const LINE_WIDTH: usize = 96;
/// The longest value that a message quotes, in characters.
const VALUE_WIDTH: usize = 80;

impl Problem {
    /// An error about a whole file, a flag or a variable: there is no line to show.
    pub fn at_name(code: &'static str, name: &str, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            code,
            place: Place { file: name.into(), line: 0, column: 0 },
            message: message.into(),
            hint: None,
            source_line: None,
            caret_width: 1,
        }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same, less bad.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Problem {
        self.severity = severity;
        self
    }

    /// For logs: `rules/41-mobile.yaml:12:11: rate 5 is above 1; X-Ray's API takes 0–1, …`.
    pub fn one_line(&self) -> String {
        let mut line = format!("{}: {}", self.place, self.message);
        if let Some(hint) = &self.hint {
            let hint = hint.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let _ = write!(line, "; {hint}");
        }
        printable(&line)
    }
}

impl fmt::Display for Problem {
    /// The layout shown at the top of this file, with no line feed at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = format!("{}: {}", self.place, self.message);
        write!(f, "{}[{}] {}", self.severity.as_str(), self.code, printable(&head))?;
        match (&self.source_line, &self.hint) {
            (Some(line), hint) => {
                let shown = Excerpt::new(line, self.place.column, self.caret_width);
                write!(f, "\n{:>4} | {}", self.place.line, shown.text)?;
                write!(f, "\n     | {}{}", " ".repeat(shown.caret), "^".repeat(shown.width))?;
                let mut hint = hint.iter().flat_map(|hint| hint.lines());
                if let Some(first) = hint.next() {
                    write!(f, " {}", printable(first))?;
                }
                hint.try_for_each(|line| write!(f, "\n     | {}", printable(line.trim())))
            }
            (None, Some(hint)) => {
                hint.lines().try_for_each(|line| write!(f, "\n     {}", printable(line.trim())))
            }
            (None, None) => Ok(()),
        }
    }
}

/// The part of a line around its caret.
struct Excerpt {
    text: String,
    caret: usize,
    width: usize,
}

impl Excerpt {
    fn new(line: &str, column: usize, width: usize) -> Excerpt {
        let mut characters: Vec<char> = printable(line).trim_end().chars().collect();
        mask_secrets(&mut characters);
        let column = column.saturating_sub(1).min(characters.len());
        let from = if characters.len() <= LINE_WIDTH { 0 } else { column.saturating_sub(LINE_WIDTH / 2) };
        let to = characters.len().min(from + LINE_WIDTH);
        let mut text: String = characters[from..to].iter().collect();
        let mut caret = column - from;
        if from > 0 {
            text.insert(0, '…');
            caret += 1;
        }
        if to < characters.len() {
            text.push('…');
        }
        Excerpt { text, caret, width: width.min(to - column).max(1) }
    }
}

/// Tabs become one space and other control characters a mark, so that columns stay right and terminals are safe.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' => ' ',
            _ if character.is_control() => '\u{fffd}',
            _ => character,
        })
        .collect()
}

/// Stars over the user and the query of every URL in a line; its columns stay.
fn mask_secrets(line: &mut [char]) {
    let is_end = |c: &char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ']' | '}');
    let mut at = 0;
    while let Some(found) = line[at..].windows(3).position(|window| window == [':', '/', '/']) {
        let start = at + found + 3;
        let end = line[start..].iter().position(is_end).map_or(line.len(), |length| start + length);
        let url = &mut line[start..end];
        let authority = url.iter().position(|c| matches!(c, '/' | '?' | '#')).unwrap_or(url.len());
        if let Some(user) = url[..authority].iter().rposition(|&c| c == '@') {
            url[..user].fill('*');
        }
        if let Some(query) = url.iter().position(|c| matches!(c, '?' | '#')) {
            url[query + 1..].fill('*');
        }
        at = end;
    }
}

/// `text`, cut so that a message stays readable.
pub(super) fn shown(text: &str) -> String {
    let text = &*without_secrets(text);
    match text.char_indices().nth(VALUE_WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A URL without its user and query, which may be a password and a token; any other text as it is.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", authority),
    };
    let (path, query) = match after.split_once(['?', '#']) {
        Some((path, _)) => (path, "?…"),
        None => (after, ""),
    };
    Cow::Owned(format!("{scheme}://{user}{host}{path}{query}"))
}

/// Everything that was found, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None yet.
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all of `others` after those already here.
    pub fn append(&mut self, others: Problems) {
        self.0.extend(others.0);
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are, of any severity.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of this severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity == severity).count()
    }

    /// Whether one of them forbids loading.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// One line each, joined by `; `, for a log line or an answer in JSON. At most `limit` are told, the rest counted.
    pub fn one_line(&self, limit: usize) -> String {
        let told: Vec<String> = self.0.iter().take(limit).map(Problem::one_line).collect();
        match self.0.len().saturating_sub(limit) {
            0 => told.join("; "),
            more => format!("{}; and {more} more", told.join("; ")),
        }
    }

    /// The worst in one line, and how many more there are: `rules/a.yaml:1:7: …; … (and 2 more problems)`.
    pub fn first_line(&self) -> String {
        let worst = self.0.iter().min_by_key(|problem| problem.severity);
        let first = worst.map(Problem::one_line).unwrap_or_default();
        match self.0.len() {
            0 | 1 => first,
            n => format!("{first} (and {})", counted(n - 1, "more problem")),
        }
    }

    /// All of them, and last a count such as `2 errors, 5 warnings · 5 files, 14 rules · not loadable`.
    pub fn report(&self, n_files: usize, n_rules: usize) -> Report<'_> {
        Report { problems: self, n_files, n_rules }
    }

    /// Forgets all but the first `limit`, and says so.
    pub(super) fn truncate(&mut self, limit: usize) {
        let left_out = self.0.split_off(self.0.len().min(limit));
        let worst = left_out.iter().min_by_key(|problem| problem.severity);
        if let Some(worst) = worst {
            let message = format!("and {} in this file", counted(left_out.len(), "more problem"));
            let problem = Problem::at_name(worst.code, &worst.place.file, message);
            self.0.push(problem.severity(worst.severity));
        }
    }

    /// Puts those of one file into the order of its lines; those found at the same place stay as found.
    pub(super) fn sort_by_line(&mut self) {
        self.0.sort_by_key(|problem| (problem.place.line, problem.place.column));
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    /// One after the other, with no line feed at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let line_feed = if n > 0 { "\n" } else { "" };
            write!(f, "{line_feed}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// See [`Problems::report`].
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    problems: &'a Problems,
    n_files: usize,
    n_rules: usize,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.problems.is_empty() {
            writeln!(f, "{}", self.problems)?;
        }
        let counts: Vec<String> =
            [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")]
                .into_iter()
                .map(|(severity, word)| (self.problems.count(severity), word))
                .filter(|(n, _)| *n > 0)
                .map(|(n, word)| counted(n, word))
                .collect();
        let found = if counts.is_empty() { "no problems".to_owned() } else { counts.join(", ") };
        let verdict = if self.problems.has_errors() { "not loadable" } else { "loadable" };
        write!(
            f,
            "{found} · {}, {} · {verdict}",
            counted(self.n_files, "file"),
            counted(self.n_rules, "rule")
        )
    }
}

/// `1 rule`, `2 rules`.
pub(super) fn counted(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str, column: usize, width: usize) -> Problem {
        Problem {
            place: Place { file: "rules/41-mobile.yaml".into(), line: 12, column },
            source_line: Some(line.into()),
            caret_width: width,
            ..Problem::at_name("R007", "", "rate 5 is above 1")
        }
    }

    #[track_caller]
    fn check(problem: &Problem, expected: &[&str]) {
        assert_eq!(problem.to_string().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_layout_is_that_of_the_book() {
        check(
            &problem("    rate: 5", 11, 1).hint("did you mean 5% (0.05)?"),
            &[
                "error[R007] rules/41-mobile.yaml:12:11: rate 5 is above 1",
                "  12 |     rate: 5",
                "     |           ^ did you mean 5% (0.05)?",
            ],
        );
    }

    #[test]
    fn a_tab_is_one_column_and_control_characters_do_not_reach_the_terminal() {
        check(
            &problem("\trate:\u{1b}[2J 500", 13, 3),
            &[
                "error[R007] rules/41-mobile.yaml:12:13: rate 5 is above 1",
                "  12 |  rate:\u{fffd}[2J 500",
                "     |             ^^",
            ],
        );
    }

    #[test]
    fn users_and_queries_of_urls_are_not_shown() {
        let check = |line: &str, expected: &str| assert_eq!(Excerpt::new(line, 1, 1).text, expected);
        check("a: http://user:word@host:1/p?q=1", "a: http://*********@host:1/p?***");
        check("[udp://u@h:1, 'http://h/?t']", "[udp://*@h:1, 'http://h/?*']");
        check("a: http://host:1/p@q", "a: http://host:1/p@q");
        check("a: b://", "a: b://");
        assert_eq!(shown("http://user:word@host:1/p?q=1"), "http://…@host:1/p?…");
        assert_eq!(shown("who?@me"), "who?@me");
    }

    #[test]
    fn a_wide_line_is_cut_around_its_caret() {
        let line = format!("{}5{}", "a".repeat(300), "b".repeat(300));
        check(
            &problem(&line, 301, 1).hint("here"),
            &[
                "error[R007] rules/41-mobile.yaml:12:301: rate 5 is above 1",
                &format!("  12 | …{}5{}…", "a".repeat(48), "b".repeat(47)),
                &format!("     | {}^ here", " ".repeat(49)),
            ],
        );
    }

    #[test]
    fn a_caret_past_the_end_of_the_line_stands_behind_it() {
        check(
            &problem("ab", 9, 7),
            &["error[R007] rules/41-mobile.yaml:12:9: rate 5 is above 1", "  12 | ab", "     |   ^"],
        );
    }

    #[test]
    fn without_a_line_the_hint_stands_below() {
        check(
            &Problem::at_name("S003", "flag --trust", "`x` is no network").hint("write one\n   or two"),
            &["error[S003] flag --trust: `x` is no network", "     write one", "     or two"],
        );
        let line = Problem::at_name("S003", "flag --trust", "`x` is no network").hint("write one\n   or two");
        assert_eq!(line.one_line(), "flag --trust: `x` is no network; write one or two");
    }

    #[test]
    fn a_report_ends_with_its_counts() {
        let mut problems = Problems::new();
        assert_eq!(problems.report(1, 1).to_string(), "no problems · 1 file, 1 rule · loadable");
        problems.push(Problem::at_name("R101", "a", "x").severity(Severity::Warning));
        assert_eq!(
            problems.report(5, 14).to_string(),
            "warning[R101] a: x\n1 warning · 5 files, 14 rules · loadable"
        );
        problems.push(Problem::at_name("R003", "b", "y"));
        problems.push(Problem::at_name("R003", "b", "z"));
        let report = problems.report(5, 14).to_string();
        assert!(report.ends_with("\n2 errors, 1 warning · 5 files, 14 rules · not loadable"), "{report}");
        assert_eq!(problems.one_line(1), "a: x; and 2 more");
    }
}
