//! Findings as text, JSON, SARIF and workflow commands of GitHub.

use super::Outcome;
use crate::config::{Problem, Problems, Severity};
use crate::lint::CODES;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// For people: the settings, every finding, and last a count. Errors are not to be looked for among settings, unless somebody
/// wants that.
pub(super) fn text(outcome: &Outcome, verbose: bool) -> String {
    let mut text = String::new();
    if verbose || !outcome.problems.has_errors() {
        let width = |of: fn(&crate::config::Entry) -> &str| {
            outcome.settings.iter().map(|entry| of(entry).chars().count()).max().unwrap_or_default()
        };
        let (key, value) = (width(|entry| entry.key), width(|entry| &entry.value));
        for entry in &outcome.settings {
            let _ = writeln!(text, "{:key$}  {:value$}  {}", entry.key, entry.value, entry.source);
        }
        if !outcome.settings.is_empty() {
            text.push('\n');
        }
    }
    let _ = writeln!(text, "{}", outcome.problems.report(outcome.n_files, outcome.n_rules));
    text
}

/// One object; lines and columns count from 1, in characters.
pub(super) fn json(outcome: &Outcome) -> String {
    let problems: Vec<Value> = outcome
        .problems
        .iter()
        .map(|problem| {
            let place = &problem.place;
            json!({
                "severity": problem.severity.as_str(),
                "code": problem.code,
                "file": &*place.file,
                "line": (place.line > 0).then_some(place.line),
                "column": (place.line > 0).then_some(place.column),
                "width": (place.line > 0).then_some(problem.caret_width),
                "message": problem.message,
                "hint": problem.hint,
                "source_line": problem.source_line.as_deref(),
            })
        })
        .collect();
    let settings: Vec<Value> = outcome
        .settings
        .iter()
        .map(|entry| json!({ "key": entry.key, "value": entry.value, "source": entry.source }))
        .collect();
    let count = |severity| outcome.problems.count(severity);
    let all = json!({
        "problems": problems,
        "errors": count(Severity::Error),
        "warnings": count(Severity::Warning),
        "notes": count(Severity::Note),
        "files": outcome.n_files,
        "rules": outcome.n_rules,
        "loadable": !outcome.problems.has_errors(),
        "settings": settings,
    });
    format!("{all:#}\n")
}

/// SARIF 2.1.0, as code scanning services read it.
pub(super) fn sarif(problems: &Problems) -> String {
    let mut rules: Vec<Value> = CODES
        .iter()
        .map(|(code, finds)| json!({ "id": code, "shortDescription": { "text": finds } }))
        .collect();
    // Settings have codes of their own, which are not in the table.
    for problem in problems {
        if !rules.iter().any(|rule| rule["id"] == problem.code) {
            rules
                .push(json!({ "id": problem.code, "shortDescription": { "text": "setting that is wrong" } }));
        }
    }
    let results: Vec<Value> = problems
        .iter()
        .map(|problem| {
            let index = rules.iter().position(|rule| rule["id"] == problem.code);
            json!({
                "ruleId": problem.code,
                "ruleIndex": index,
                "level": problem.severity.as_str(),
                "message": { "text": sentence(problem, "; ") },
                "locations": [location(problem)],
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

/// What is wrong and what to do about it, each line after `separator`.
fn sentence(problem: &Problem, separator: &str) -> String {
    let hint = problem.hint.iter().flat_map(|hint| hint.lines().map(str::trim));
    [problem.message.as_str()].into_iter().chain(hint).collect::<Vec<_>>().join(separator)
}

fn location(problem: &Problem) -> Value {
    let place = &problem.place;
    if place.line == 0 && problem.source_line.is_none() && place.file.contains(' ') {
        // A flag or a variable is no file.
        return json!({ "logicalLocations": [{ "name": &*place.file }] });
    }
    let mut physical = json!({ "artifactLocation": { "uri": uri(&place.file) } });
    if place.line > 0 {
        physical["region"] = json!({
            "startLine": place.line,
            "startColumn": place.column,
            "endColumn": place.column + problem.caret_width,
        });
    }
    json!({ "physicalLocation": physical })
}

/// A path as a relative or file URI: whatever a URI has another use for is escaped.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(byte.into())
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

/// One workflow command for each finding.
pub(super) fn github(problems: &Problems) -> String {
    let mut text = String::new();
    for problem in problems {
        let place = &problem.place;
        let word = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let _ = write!(text, "::{word} file={}", property(&place.file));
        if place.line > 0 {
            let end = place.column + problem.caret_width - 1;
            let _ = write!(text, ",line={},col={},endColumn={end}", place.line, place.column);
        }
        let _ = writeln!(text, ",title={}::{}", problem.code, data(&sentence(problem, "\n")));
    }
    text
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Place;

    fn problem() -> Problem {
        Problem {
            place: Place { file: "my rules/a,b.yaml".into(), line: 7, column: 11 },
            source_line: Some("    host: *".into()),
            ..Problem::at_name("R103", "", "100% wrong").hint("one\ntwo")
        }
    }

    #[test]
    fn what_has_a_meaning_to_github_is_escaped() {
        assert_eq!(
            github(&problem().into()),
            "::error file=my rules/a%2Cb.yaml,line=7,col=11,endColumn=11,title=R103::100%25 wrong%0Aone%0Atwo\n"
        );
    }

    #[test]
    fn sarif_points_at_known_rules_and_escaped_files() {
        let mut problems = Problems::from(problem());
        problems.push(Problem::at_name("S003", "flag --trust", "no"));
        problems.push(Problem::at_name("R000", "/etc/rules", "unreadable"));
        let log: Value = serde_json::from_str(&sarif(&problems)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for result in run["results"].as_array().unwrap() {
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        }
        let places: Vec<&Value> =
            run["results"].as_array().unwrap().iter().map(|result| &result["locations"][0]).collect();
        assert_eq!(places[0]["physicalLocation"]["artifactLocation"]["uri"], "my%20rules/a%2Cb.yaml");
        assert_eq!(
            places[0]["physicalLocation"]["region"],
            json!({ "startLine": 7, "startColumn": 11, "endColumn": 12 })
        );
        assert_eq!(places[1]["logicalLocations"][0]["name"], "flag --trust");
        assert_eq!(
            places[2]["physicalLocation"],
            json!({ "artifactLocation": { "uri": "file:///etc/rules" } })
        );
    }
}
