//! Every file below `tests/fixtures/rules`: what it comes to, or what is told of it, word for word.
//!
//! A case is a file or a directory in `valid` or `invalid`; beside it, with `.expected` after its name, stands what is to
//! come of it. With `UPDATE_FIXTURES` set these are written anew, to be read before they are kept.

use super::super::*;
use crate::sampling::rule::Globs;
use crate::sampling::{Mode, Rule};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The cases of a kind, in byte order.
fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rules").join(kind);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_none_or(|ending| ending != "expected")).collect();
    cases.sort();
    cases
}

/// What a set says, one line a rule.
fn told(loaded: &Loaded) -> String {
    let mut text = String::new();
    for rule in loaded.rules.iter() {
        writeln!(text, "{}", line(rule)).unwrap();
    }
    for rule in &loaded.disabled {
        writeln!(text, "not used: {}", line(rule)).unwrap();
    }
    for warning in &loaded.warnings {
        writeln!(text, "{warning}").unwrap();
    }
    text
}

fn line(rule: &Rule) -> String {
    let mut line = format!("{:>5} {}: {}/s", rule.priority.get(), rule.name, rule.reservoir.get());
    if rule.whole_reservoir() != rule.reservoir {
        write!(line, " of {}/s", rule.whole_reservoir().get()).unwrap();
    }
    write!(line, " + {}", rate::percent(rule.rate)).unwrap();
    let matchers = &rule.matchers;
    for (field, globs) in matchers.fields() {
        if *globs != Globs::anything() {
            let patterns: Vec<&str> = globs.patterns().iter().map(|pattern| pattern.as_str()).collect();
            write!(line, ", {field} {}", patterns.join(" | ")).unwrap();
        }
    }
    for (name, pattern) in &matchers.attributes {
        write!(line, ", {name}: {}", pattern.as_str()).unwrap();
    }
    if rule.mode == Mode::Observe {
        line.push_str(", observe");
    }
    if let Some(expires) = rule.expires {
        write!(line, ", expires {expires}").unwrap();
    }
    if let Some(capture) = &rule.capture {
        write!(line, ", capture {:?}", capture.statuses).unwrap();
        write!(line, " slower than {:?}, {}/s", capture.slower_than, capture.limit.get()).unwrap();
        line.push_str(if capture.inherited { ", inherited too" } else { "" });
    }
    if let Some(description) = &rule.description {
        write!(line, ", {description:?}").unwrap();
    }
    if let Some(kept) = &rule.kept {
        for (what, value) in [
            ("arn", kept.arn.as_ref().map(ToString::to_string)),
            ("created", kept.created_at.map(|at| at.to_string())),
            ("modified", kept.modified_at.map(|at| at.to_string())),
            (
                "boost",
                kept.boost.map(|boost| {
                    format!("{} every {} min", rate::percent(boost.max_rate), boost.cooldown_minutes)
                }),
            ),
        ] {
            if let Some(value) = value {
                write!(line, ", {what} {value}").unwrap();
            }
        }
    }
    let file = rule.place.to_string();
    format!("{line}  ({})", file.rsplit('/').next().unwrap())
}

/// What differs from what stands beside a case, if anything does.
fn difference(case: &Path, got: &str) -> Option<String> {
    let root = format!("{}/", case.parent().unwrap().display());
    let got = got.replace(&root, "");
    let path = PathBuf::from(format!("{}.expected", case.display()));
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, got).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (got != expected).then(|| format!("{}\n--- expected\n{expected}--- got\n{got}", case.display()))
}

#[test]
fn every_valid_fixture_comes_to_what_stands_beside_it() {
    let come_to = |case: PathBuf| {
        let loaded = load(&case).unwrap_or_else(|problems| panic!("{}\n{problems}", case.display()));
        difference(&case, &told(&loaded))
    };
    let wrong: Vec<String> = cases("valid").into_iter().filter_map(come_to).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_invalid_fixture_is_told_as_it_stands_beside_it() {
    let come_to = |case: PathBuf| {
        let problems = load(&case).expect_err(&case.display().to_string());
        difference(&case, &format!("{problems}\n"))
    };
    let wrong: Vec<String> = cases("invalid").into_iter().filter_map(come_to).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
