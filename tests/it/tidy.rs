//! House rules, kept by a test: they need nothing outside the repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code in one file beyond which it does two things; tests in it do not count.
const MAX_LINES: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file below `folder`, as a path relative to it, and its text.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The text of a file without its tests, comments and blank lines.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    text[..end].lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// `src/proxy/body.rs` → `proxy`.
fn module(file: &str) -> &str {
    file.trim_end_matches(".rs").split('/').next().unwrap()
}

/// Modules in the order in which `lib.rs` declares them.
fn floors() -> Vec<String> {
    let map = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    declared.map(str::to_owned).collect()
}

fn is_tests(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

#[test]
fn each_module_uses_only_modules_declared_above_it() {
    let floors = floors();
    assert!(floors.len() > 10, "the map in lib.rs was not understood: {floors:?}");
    let height = |name: &str| floors.iter().position(|floor| floor == name);
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        let Some(own) = height(module(&file)) else { continue };
        if is_tests(&file) {
            continue;
        }
        for (number, line) in
            text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if height(&used).is_some_and(|height| height > own) {
                    wrong.push(format!(
                        "src/{file}:{}: `{}` uses `{used}` above it",
                        number + 1,
                        module(&file)
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_has_no_clock_socket_environment_runtime_or_dice() {
    const BANNED: [&str; 12] = [
        "std::time::Instant",
        "SystemTime",
        "Instant::now",
        "std::env",
        "std::fs",
        "std::io::Read",
        "TcpStream",
        "UdpSocket",
        "tokio",
        "hyper",
        "rand::",
        "tracing",
    ];
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        if !["moment", "trace", "status", "sampling", "segment"].contains(&module(&file)) || is_tests(&file) {
            continue;
        }
        let code = code(&text);
        wrong.extend(
            BANNED.iter().filter(|word| code.contains(**word)).map(|word| format!("src/{file}: {word}")),
        );
    }
    assert!(wrong.is_empty(), "floors 0 and 1 take these as arguments:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_commands_print() {
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        let code = code(&text);
        let prints = ["println!", "print!", "eprint!", "dbg!"].iter().any(|word| code.contains(word));
        if prints && module(&file) != "cli" && !is_tests(&file) {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "print in `cli` only: {wrong:?}");
}

#[test]
fn only_the_clock_asks_the_time() {
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        let code = code(&text);
        let asks = code.contains("SystemTime::now") || code.contains("std::time::Instant");
        if asks && file != "clock.rs" {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "ask `clock::Clock`: {wrong:?}");
}

#[test]
fn yaml_is_named_in_one_place() {
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        let code = code(&text);
        let names = code.contains("serde_yaml") || code.contains("saphyr");
        if names && !file.starts_with("config/yaml") {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "the YAML crates stay behind `config::yaml`: {wrong:?}");
}

#[test]
fn files_do_one_thing() {
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        let lines = code(&text).lines().count();
        if lines > MAX_LINES && !is_tests(&file) {
            wrong.push(format!("src/{file} has {lines} lines of code"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is() {
    for folder in ["src", "tests/it"] {
        for (file, text) in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            assert!(text.starts_with("//! "), "{folder}/{file} begins with a doc comment");
        }
    }
}

#[test]
fn nothing_is_left_to_do() {
    let mut wrong = Vec::new();
    for (file, text) in files(&source()) {
        let unfinished =
            ["todo!", "unimplemented!", "TODO", "FIXME", "XXX"].iter().any(|word| text.contains(word));
        if unfinished {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
