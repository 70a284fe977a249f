//! Files that include one another, on a real disk.

use super::super::{check, load, read};
use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// Files below a directory of their own; a text without a colon is the target of a link.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.contains(':') {
            true => fs::write(path, text).unwrap(),
            false => symlink(text, path).unwrap(),
        }
    }
    directory
}

fn rule(name: &str) -> String {
    format!("rules_version: 1\nrules: [{{ name: {name}, priority: 1, rate: 0 }}]\n")
}

fn including(what: &str) -> String {
    format!("rules_version: 1\ninclude: {what}\n")
}

/// The names of the rules that came of `path`.
#[track_caller]
fn check_names(directory: &TempDir, path: &str, expected: &[&str]) {
    let loaded = load(&directory.path().join(path)).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<&str> = loaded.rules.iter().map(|rule| rule.name.as_str()).collect();
    let expected: Vec<&str> = expected.iter().copied().chain(["Default"]).collect();
    assert_eq!(names, expected);
}

/// The problems of `path`, one line each, without the directory's own name.
#[track_caller]
fn check_refused(directory: &TempDir, path: &str, expected: &[&str]) {
    let problems = load(&directory.path().join(path)).expect_err("expected problems");
    let own = directory.path().display().to_string();
    let told: Vec<String> =
        problems.iter().map(|p| format!("{} {}", p.code, p.one_line().replace(&own, "."))).collect();
    assert_eq!(told, expected);
}

#[test]
fn files_are_included_from_where_the_including_file_lies() {
    let files = directory(&[
        ("main.yaml", &including("[team-a/*.yaml, ./b.json]")),
        ("b.json", r#"{"rules_version": 1, "rules": [{"name": "b", "priority": 9, "rate": 0}]}"#),
        ("team-a/x.yaml", &format!("{}include: deep/er/z*\n", rule("x"))),
        ("team-a/y.yaml", &rule("y")),
        ("team-a/y.test.yaml", "not: rules"),
        ("team-a/.hidden.yaml", "not: rules"),
        ("team-a/notes.txt", "not: rules"),
        ("team-a/deep/er/z.yaml", &rule("z")),
        ("team-b/other.yaml", &rule("other")),
    ]);
    check_names(&files, "main.yaml", &["x", "y", "z", "b"]);
    // The directory is not read recursively, and what is named twice is read once.
    check_names(&files, "", &["x", "y", "z", "b"]);
    let sources = read(&files.path().join("main.yaml")).unwrap();
    assert_eq!(sources.len(), 5);
    fs::write(files.path().join("team-a/deep/er/z.yaml"), rule("changed")).unwrap();
    assert_ne!(sources, read(&files.path().join("main.yaml")).unwrap(), "a change there is a change");
}

#[test]
fn a_pattern_passes_over_the_file_it_stands_in() {
    let files = directory(&[("a.yaml", &including("'*.yaml'")), ("b.yaml", &rule("b"))]);
    check_names(&files, "a.yaml", &["b"]);
}

#[test]
fn config_map_mounts_are_links_that_stay_inside() {
    let files = directory(&[
        ("..2026_1/rules.yaml", &including("more.yaml")),
        ("..2026_1/more.yaml", &rule("more")),
        ("..data", "..2026_1"),
        ("rules.yaml", "..data/rules.yaml"),
        ("more.yaml", "..data/more.yaml"),
    ]);
    check_names(&files, "rules.yaml", &["more"]);
    check_names(&files, "", &["more"]);
}

#[test]
fn r009_nothing_leads_out_of_the_directory() {
    let elsewhere = directory(&[("secret.yaml", &rule("secret")), ("sub/secret.yaml", &rule("secret"))]);
    let files = directory(&[
        ("main.yaml", &including("[../x.yaml, /etc/x.yaml, a/../../x.yaml, link.yaml, folder/*.yaml]")),
        ("link.yaml", &elsewhere.path().join("secret.yaml").display().to_string()),
        ("folder", &elsewhere.path().join("sub").display().to_string()),
    ]);
    let outside = "write a path relative to this file, such as team-a/*.yaml";
    let gone = "it is looked for from this file's directory on, and no link may lead out of that";
    let own = "put the file itself below .";
    check_refused(
        &files,
        "main.yaml",
        &[
            &format!("R009 ./main.yaml:2:11: `../x.yaml` leads out of the directory; {outside}"),
            &format!("R009 ./main.yaml:2:22: `/etc/x.yaml` leads out of the directory; {outside}"),
            &format!("R009 ./main.yaml:2:35: `a/../../x.yaml` leads out of the directory; {outside}"),
            &format!("R009 ./main.yaml:2:51: `link.yaml` is not there; {gone}"),
            &format!("R009 ./main.yaml:2:62: `folder/*.yaml` is not there; {gone}"),
            &format!("R009 ./main.yaml:2:51: `./link.yaml` is a link that leads out of the directory; {own}"),
            &format!(
                "R009 ./main.yaml:2:62: `./folder/secret.yaml` is a link that leads out of the directory; {own}"
            ),
        ],
    );
}

#[test]
fn r009_what_is_missing_or_no_rule_file_is_told() {
    let files = directory(&[
        ("main.yaml", &including("[none.yaml, team/*.yaml, notes.txt, team, x.test.yaml, folder.yaml, 5]")),
        ("folder.yaml/x.yaml", "a: b"),
    ]);
    let gone = "it is looked for from this file's directory on, and no link may lead out of that";
    let ending = "names of rule files end in .yaml, .yml or .json; tests do not count";
    check_refused(
        &files,
        "main.yaml",
        &[
            &format!("R009 ./main.yaml:2:11: `none.yaml` is not there; {gone}"),
            &format!("R009 ./main.yaml:2:22: `team/*.yaml` is not there; {gone}"),
            &format!("R009 ./main.yaml:2:35: `notes.txt` names no rule file; {ending}"),
            &format!("R009 ./main.yaml:2:46: `team` names no rule file; {ending}"),
            &format!("R009 ./main.yaml:2:52: `x.test.yaml` names no rule file; {ending}"),
            &format!("R009 ./main.yaml:2:65: `folder.yaml` is not there; {gone}"),
            "R003 ./main.yaml:2:78: `include` holds paths, not a number; write include: [team-a/*.yaml]",
        ],
    );
}

#[test]
fn r009_nobody_includes_himself() {
    let again = "remove one of the two; a file is read once however often it is named";
    let files = directory(&[("main.yaml", &including("main.yaml"))]);
    check_refused(
        &files,
        "main.yaml",
        &[&format!("R009 ./main.yaml:2:10: the file includes itself; {again}")],
    );
    let files = directory(&[
        ("a.yaml", &including("b.yaml")),
        ("b.yaml", &including("c.yaml")),
        ("c.yaml", &format!("{}include: a.yaml\n", rule("c"))),
    ]);
    check_refused(
        &files,
        "a.yaml",
        &[&format!("R009 ./c.yaml:3:10: ./a.yaml includes this file, perhaps by way of others; {again}")],
    );
    // Two who include a third are no circle.
    let files = directory(&[
        ("a.yaml", &including("[b.yaml, c.yaml]")),
        ("b.yaml", &including("d.yaml")),
        ("c.yaml", &including("d.yaml")),
        ("d.yaml", &rule("d")),
    ]);
    check_names(&files, "a.yaml", &["d"]);
}

#[test]
fn other_problems_are_told_together_with_those_of_includes() {
    let elsewhere = directory(&[("secret.yaml", &rule("secret"))]);
    let files = directory(&[
        ("main.yaml", &format!("{}rules: [{{ name: a, priority: 1, rate: 5 }}]\n", including("'*.yaml'"))),
        ("link.yaml", &elsewhere.path().join("secret.yaml").display().to_string()),
    ]);
    let problems = load(&files.path().join("main.yaml")).unwrap_err();
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["R009", "R007", "R009"], "{problems}");
}

#[test]
fn a_long_chain_of_includes_is_followed_and_bounded() {
    let files = tempfile::tempdir().unwrap();
    for n in 0..1_100 {
        fs::write(files.path().join(format!("{n}.yaml")), including(&format!("{}.yaml", n + 1))).unwrap();
    }
    let problems = load(&files.path().join("0.yaml")).unwrap_err().to_string();
    assert!(problems.contains("too many files, or more than 16 MiB of rules, are included"), "{problems}");
    // Without a disk nothing can be read, and an include that nobody answers is never passed over.
    let source = Source { path: "a.yaml".into(), bytes: including("b.yaml").into_bytes() };
    assert_eq!(
        check(&[source]).problems.one_line(1),
        "a.yaml:2:10: `b.yaml` is not there; it is looked for from this file's directory on, and no link may lead out of that"
    );
}

#[test]
fn names_of_files_respect_case() {
    let wants = |pattern: &str, file: &str| {
        Wanted::parse(pattern).unwrap().wants(Path::new("r/main.yaml"), Path::new(file))
    };
    assert!(wants("*.yaml", "r/a.yaml"));
    assert!(wants("t?am-*/a*c.yaml", "r/team-1/abbc.yaml"));
    assert!(!wants("*.yaml", "r/A/a.yaml"), "a star is one folder deep");
    assert!(!wants("A.yaml", "r/a.yaml"));
    assert!(!wants("A*.yaml", "r/a1.yaml"));
    assert!(!wants("*.yaml", "other/a.yaml"));
}
