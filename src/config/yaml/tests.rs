//! Texts in, trees with places or problems out.

use super::super::problem::Problems;
use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

fn parse(bytes: &[u8]) -> Result<Document, Problems> {
    Document::parse("f.yaml", bytes, Codes::RULES)
}

/// `{a@1:1: 5@1:4}`; text is quoted.
fn print(node: &Node, out: &mut String) {
    let place = format!("@{}:{}", node.span.line, node.span.column);
    match &node.kind {
        Kind::Scalar(scalar) => {
            let _ = match scalar.typed {
                Typed::Null => write!(out, "null{place}"),
                Typed::Bool(value) => write!(out, "{value}{place}"),
                Typed::Integer(value) => write!(out, "{value}{place}"),
                Typed::Float(value) => write!(out, "{value:?}{place}"),
                Typed::Text => write!(out, "{:?}{place}", scalar.text),
            };
        }
        Kind::Sequence(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                print(item, out);
            }
            let _ = write!(out, "]{place}");
        }
        Kind::Mapping(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                let _ = write!(
                    out,
                    "{}{}@{}:{}: ",
                    if n > 0 { ", " } else { "" },
                    key.text,
                    key.span.line,
                    key.span.column
                );
                print(value, out);
            }
            let _ = write!(out, "}}{place}");
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let document = parse(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    let mut got = String::new();
    print(&document.root, &mut got);
    assert_eq!(got, expected);
    assert!(document.repeated.is_empty());
}

#[track_caller]
fn check_problem(text: &[u8], expected: &[&str]) {
    let problems = parse(text).expect_err("expected a problem").to_string();
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn every_key_and_value_knows_its_place() {
    check(
        "a: 1\nb:\n  - x\n  - {c: y}\n",
        "{a@1:1: 1@1:4, b@2:1: [\"x\"@3:5, {c@4:6: \"y\"@4:9}@4:5]@3:3}@1:1",
    );
    check("é: ü\n'k': \"v\"\n", "{é@1:1: \"ü\"@1:4, k@2:1: \"v\"@2:6}@1:1");
    check("\u{feff}a: 1\r\nb: 2\r\n", "{a@1:1: 1@1:4, b@2:1: 2@2:4}@1:1");
    check("{\n\t\"a\": [1, true]\n}\n", "{a@2:2: [1@2:8, true@2:11]@2:7}@1:1");
    check(
        "a: >\n  x\n  y\nb: |\n  z\nc: d\n  e\nf: 'g\n  h'\n",
        "{a@1:1: \"x y\\n\"@2:3, b@4:1: \"z\\n\"@5:3, c@6:1: \"d e\"@6:4, f@8:1: \"g h\"@8:4}@1:1",
    );
    check("", "null@1:1");
    check("# only a comment\n", "null@1:1");
}

#[test]
fn types_are_those_of_yaml_1_2() {
    check(
        "a: 5%\nb: 010\nc: yes\nd: 1.5\ne: -0.0\nf: ~\ng:\nh: 'true'\n",
        concat!(
            "{a@1:1: \"5%\"@1:4, b@2:1: \"010\"@2:4, c@3:1: \"yes\"@3:4, d@4:1: 1.5@4:4, e@5:1: -0.0@5:4, ",
            "f@6:1: null@6:4, g@7:1: null@7:2, h@8:1: \"true\"@8:4}@1:1"
        ),
    );
    check("[99999999999999999999, 1e3, .inf, 0x1f]", "[1e20@1:2, 1000.0@1:24, inf@1:29, 31@1:35]@1:1");
}

#[test]
fn a_value_with_a_meaning_to_yaml_must_be_quoted() {
    check_problem(
        b"rules:\n  - host: *.partner.example.com\n",
        &[
            "error[R001] f.yaml:2:11: a value that starts with `*` must be quoted",
            "   2 |   - host: *.partner.example.com",
            "     |           ^ write host: \"*.partner.example.com\"",
        ],
    );
    check_problem(
        b"host: *  # all\n",
        &[
            "error[R001] f.yaml:1:7: a value that starts with `*` must be quoted",
            "   1 | host: *  # all",
            "     |       ^ write host: \"*\"",
        ],
    );
    check_problem(
        b"{ host: [a, *.css, b], rate: 1 }",
        &[
            "error[R001] f.yaml:1:13: a value that starts with `*` must be quoted",
            "   1 | { host: [a, *.css, b], rate: 1 }",
            "     |             ^ write \"*.css\"",
        ],
    );
    check_problem(
        b"rate: %5\n",
        &[
            "error[R001] f.yaml:1:7: a percent sign stands after the number",
            "   1 | rate: %5",
            "     |       ^ write rate: 5%",
        ],
    );
    check_problem(
        b"url_path: %2F*\n",
        &[
            "error[R001] f.yaml:1:11: a value that starts with `%` must be quoted",
            "   1 | url_path: %2F*",
            "     |           ^ write url_path: \"%2F*\"",
        ],
    );
    check_problem(
        b"host: @x \"y\"\n",
        &[
            "error[R001] f.yaml:1:7: a value that starts with `@` must be quoted",
            "   1 | host: @x \"y\"",
            "     |       ^ write host: '@x \"y\"'",
        ],
    );
    check_problem(
        b"host: `x`\n",
        &[
            "error[R001] f.yaml:1:7: a value that starts with ``` must be quoted",
            "   1 | host: `x`",
            "     |       ^ write host: \"`x`\"",
        ],
    );
    check_problem(
        b"host: ]x\n",
        &[
            "error[R001] f.yaml:1:7: a value that starts with `]` must be quoted",
            "   1 | host: ]x",
            "     |       ^ write host: \"]x\"",
        ],
    );
}

#[test]
fn anchors_tags_and_merge_keys_are_refused() {
    check_problem(
        b"a: &x b\n",
        &[
            "error[R001] f.yaml:1:4: a value that starts with `&` must be quoted",
            "   1 | a: &x b",
            "     |    ^ write a: \"&x b\"; anchors and tags are not read",
        ],
    );
    check_problem(
        b"a: &x\n  b: 1\n",
        &[
            "error[R001] f.yaml:1:4: a value that starts with `&` must be quoted",
            "   1 | a: &x",
            "     |    ^ write a: \"&x\"; anchors and tags are not read",
        ],
    );
    check_problem(
        b"a: !!str 5\n",
        &[
            "error[R001] f.yaml:1:4: a value that starts with `!` must be quoted",
            "   1 | a: !!str 5",
            "     |    ^ write a: \"!!str 5\"; anchors and tags are not read",
        ],
    );
    check_problem(
        b"<<: {a: 1}\n",
        &[
            "error[R001] f.yaml:1:1: merge keys (`<<`) are not read",
            "   1 | <<: {a: 1}",
            "     | ^^ write the keys out",
        ],
    );
}

#[test]
fn tabs_cannot_indent() {
    for text in ["a:\n\tb: 1\n", "a: 1\n\tb: 2\n"] {
        let line = text.lines().nth(1).unwrap().replace('\t', " ");
        check_problem(
            text.as_bytes(),
            &[
                "error[R001] f.yaml:2:1: a tab cannot indent",
                &format!("   2 | {line}"),
                "     | ^ use spaces",
            ],
        );
    }
    check_problem(
        b"\ta: 1\n",
        &["error[R001] f.yaml:1:1: a tab cannot indent", "   1 |  a: 1", "     | ^ use spaces"],
    );
}

#[test]
fn other_mistakes_are_told_where_they_are() {
    check_problem(
        b"a: b: c\n",
        &[
            "error[R001] f.yaml:1:5: a `:` is not expected here",
            "   1 | a: b: c",
            "     |     ^ check the indentation, and quote a value that contains `: `",
        ],
    );
    check_problem(
        b"a: 1\nb\nc: 2\n",
        &[
            "error[R001] f.yaml:2:1: this line is no `key: value`",
            "   2 | b",
            "     | ^ put a colon and a space after the key",
        ],
    );
    check_problem(
        b"a: 1\nrate:5\n\n",
        &[
            "error[R001] f.yaml:2:1: this line is no `key: value`",
            "   2 | rate:5",
            "     | ^ put a colon and a space after the key",
        ],
    );
    check_problem(
        b"a: [1, 2\n",
        &[
            "error[R001] f.yaml:1:9: the list does not end",
            "   1 | a: [1, 2",
            "     |         ^ close it with `]`",
        ],
    );
    check_problem(
        b"a: \"x\n",
        &[
            "error[R001] f.yaml:1:4: the quote that begins here never ends",
            "   1 | a: \"x",
            "     |    ^ close it, or put the whole text into the other kind of quotes",
        ],
    );
    check_problem(
        b"rules:\n  - name: x\n   rate: 5\n",
        &[
            "error[R001] f.yaml:3:4: this line belongs neither to the list item above nor begins a new one",
            "   3 |    rate: 5",
            "     |    ^ indent it like the keys of the item, or begin it with `- `",
        ],
    );
    check_problem(
        b"a: 1\n---\nb: 2\n",
        &[
            "error[R001] f.yaml:2:1: a second document begins here",
            "   2 | ---",
            "     | ^ put it into a file of its own",
        ],
    );
    check_problem(
        b"? [a]\n: b\n",
        &["error[R001] f.yaml:1:3: a key must be one word", "   1 | ? [a]", "     |   ^ write `key: value`"],
    );
    check_problem(
        b"a: x\x07\n",
        &[
            "error[R001] f.yaml:1:5: the control character U+0007 is not allowed",
            "   1 | a: x\u{fffd}",
            "     |     ^ remove it, or write it as an escape in double quotes",
        ],
    );
    check_problem(
        b"a: 1\nb: \xff\n",
        &[
            "error[R001] f.yaml:2:4: the text is not UTF-8 from here on",
            "   2 | b:",
            "     |   ^ save the file as UTF-8",
        ],
    );
    check_problem(
        b"\xff\xfea\0",
        &["error[R001] f.yaml:1:1: the file is UTF-16", "   1 | ", "     | ^ save it as UTF-8"],
    );
}

#[test]
fn limits_hold() {
    let deep = format!("{}1{}", "[".repeat(32), "]".repeat(32));
    assert!(parse(deep.as_bytes()).is_ok());
    for deeper in ["[".repeat(33), "[".repeat(1 << 20), "{a: ".repeat(200), "- ".repeat(1 << 19)] {
        let problems = parse(deeper.as_bytes()).unwrap_err().to_string();
        assert!(problems.contains("nested deeper than 32 levels"), "{problems}");
    }
    let problems = parse(&vec![b'#'; MAX_BYTES + 1]).unwrap_err().to_string();
    assert!(problems.contains("f.yaml:1:1: the file is larger than 1 MiB"), "{problems}");
    assert!(parse(&vec![b'#'; MAX_BYTES]).is_ok());
    let problems = parse(format!("[{}]", "a,".repeat(100_001)).as_bytes()).unwrap_err().to_string();
    assert!(problems.contains("more than 100000 values"), "{problems}");
}

#[test]
fn a_repeated_key_is_told_with_both_places_and_the_rest_is_still_read() {
    let document = parse(b"a: 1\nb: {c: 1, c: 2}\na: x\n").unwrap();
    let mut got = String::new();
    print(&document.root, &mut got);
    assert_eq!(got, "{a@1:1: 1@1:4, b@2:1: {c@2:5: 1@2:8}@2:4}@1:1");
    let problems = document.repeated.to_string();
    assert_eq!(
        problems.lines().collect::<Vec<_>>(),
        [
            "error[R005] f.yaml:2:11: `c` is repeated",
            "   2 | b: {c: 1, c: 2}",
            "     |           ^ it is already set at f.yaml:2:5; keep one of them",
            "error[R005] f.yaml:3:1: `a` is repeated",
            "   3 | a: x",
            "     | ^ it is already set at f.yaml:1:1; keep one of them",
        ]
    );
}

/// Pieces that make texts which come further than random bytes do.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b:",
        "c: ",
        "- ",
        "\n",
        "  ",
        "\n  ",
        "\t",
        "*",
        "&x",
        "!t ",
        "%",
        "@",
        "`",
        "'",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "#",
        "|\n",
        ">\n",
        "?",
        "---\n",
        "...\n",
        "<<: ",
        "~",
        "010",
        "5%",
        "é",
        "\u{2028}",
        "\u{85}",
        "\r",
        "\r\n",
        "\\",
        "\u{7}",
        "null",
        "true",
        "1e9",
        "rules:\n  - name: x\n",
    ]);
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn every_problem_has_a_place(bytes: &[u8]) -> Result<(), TestCaseError> {
    match parse(bytes) {
        Ok(document) => {
            prop_assert!(document.repeated.iter().all(|problem| problem.place.line > 0));
        }
        Err(problems) => {
            prop_assert!(problems.has_errors());
            for problem in &problems {
                prop_assert!(problem.place.line > 0 && problem.place.column > 0, "{}", problem);
                prop_assert!(!problem.to_string().is_empty() && !problem.one_line().is_empty());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_panic_and_every_problem_has_a_place(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        every_problem_has_a_place(&bytes)?;
    }

    #[test]
    fn no_yaml_like_text_panics_and_every_problem_has_a_place(text in yaml_like()) {
        every_problem_has_a_place(text.as_bytes())?;
    }
}

#[test]
fn a_json_file_is_json_and_not_only_yaml() {
    let check = |text: &str, expected: &str| {
        let got = match Document::parse("f.json", text.as_bytes(), Codes::RULES) {
            Ok(_) => "read".to_owned(),
            Err(problems) => problems.first_line(),
        };
        assert_eq!(got, expected, "{text}");
        assert!(expected == "read" || !got.contains("f.yaml"));
    };
    check("{\"a\": [1, 2]}\n", "read");
    check("\u{feff}{\"a\": 1}", "read");
    check("", "read");
    check(
        "{\n  \"é\": [1, 2,],\n}",
        "f.json:2:14: this is not JSON: trailing comma; remove the comma before it",
    );
    check(
        "{\n  \"a\": 1",
        "f.json:2:8: this is not JSON: the file ends while parsing an object; close every brace, bracket and quote",
    );
    check("{a: 1}", "f.json:1:2: this is not JSON: key must be a string; write JSON, or name the file .yaml");
    check(
        "{} {}",
        "f.json:1:4: this is not JSON: trailing characters; remove what follows the end, or name the file .yaml",
    );
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    check(&deep, "f.json:1:33: nested deeper than 32 levels; no rule or setting needs that many");
}

proptest! {
    /// What is written as JSON is read back, keys and values, whatever they hold.
    #[test]
    fn both_parsers_see_the_same_keys(
        entries in proptest::collection::btree_map("[ -~é ]{0,12}", ("\\PC{0,12}", any::<i64>()), 0..8),
    ) {
        let json = serde_json::json!(entries).to_string();
        let document = parse(json.as_bytes()).map_err(|problems| TestCaseError::fail(format!("{json}\n{problems}")))?;
        let Kind::Mapping(got) = &document.root.kind else { panic!("{json}") };
        prop_assert_eq!(got.len(), entries.len());
        for ((key, value), (expected, (text, number))) in got.iter().zip(&entries) {
            prop_assert_eq!(&key.text, expected);
            let Kind::Sequence(pair) = &value.kind else { panic!("{json}") };
            let Kind::Scalar(first) = &pair[0].kind else { panic!("{json}") };
            let Kind::Scalar(second) = &pair[1].kind else { panic!("{json}") };
            prop_assert_eq!((&first.text, first.typed), (text, Typed::Text));
            prop_assert_eq!(second.typed, Typed::Integer(*number));
        }
    }
}
