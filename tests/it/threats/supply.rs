//! What we are built from: licences, sources, build scripts and versions known to be bad, over `cargo metadata` and
//! without a network.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// As `.deny.toml` has them, which says the same to cargo-deny; a test compares the two.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
];

/// Licences allowed to one crate only, which is not in what we ship.
const EXCEPTIONS: [(&str, &str); 1] = [("borrow-or-share", "MIT-0")];

/// The advisories that concern crates we use or were tempted to use; the file says how it was made and how to renew it.
const ADVISORIES: &str = include_str!("advisories.txt");

/// Crates that dependencies.md rules out by name.
const BANNED: [&str; 7] =
    ["openssl", "native-tls", "serde_yaml", "aws-sdk-xray", "notify", "reqwest", "curl"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--all-features", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// Whether an SPDX expression can be satisfied with allowed licences. `/` is the old spelling of `OR`.
fn is_allowed(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allows = either(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "not understood: {expression}");
    allows
}

fn either(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut allows = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allows |= both(words, at, allowed);
    }
    allows
}

fn both(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut allows = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allows &= one(words, at, allowed);
    }
    allows
}

fn one(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let word = words[*at];
    *at += 1;
    if word == "(" {
        let allows = either(words, at, allowed);
        assert_eq!(words.get(*at), Some(&")"), "{words:?}");
        *at += 1;
        return allows;
    }
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
        return allowed(&format!("{word} WITH {}", words[*at - 1]));
    }
    allowed(word)
}

#[test]
fn expressions_are_read_as_spdx_has_them() {
    let allowed = |licence: &str| LICENCES.contains(&licence);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "(MIT OR GPL-3.0) AND Zlib",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", "Apache-2.0 WITH Other-exception"]
    {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_crate_has_a_licence_that_is_allowed() {
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let wrong: Vec<String> = packages
        .iter()
        .filter(|package| {
            let allowed =
                |licence: &str| LICENCES.contains(&licence) || EXCEPTIONS.contains(&(name(package), licence));
            !is_allowed(package["license"].as_str().unwrap_or("none"), &allowed)
        })
        .map(|package| format!("{} {}", name(package), package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_crate_comes_from_the_one_registry_and_is_locked_by_its_hash() {
    for package in packages().iter().filter(|package| name(package) != "collimator") {
        let source = package["source"].as_str().unwrap_or_default();
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{}", name(package));
    }
    for entry in lock().split("[[package]]").skip(1).filter(|entry| entry.contains("source = ")) {
        assert!(entry.contains("checksum = \""), "{entry}");
    }
}

fn lock() -> String {
    std::fs::read_to_string(root().join("Cargo.lock")).unwrap()
}

/// Names and versions of the lock file.
fn locked() -> Vec<(String, Version)> {
    let lock = lock();
    let field = |entry: &str, key: &str| {
        let line =
            entry.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")).map(str::to_owned));
        line.unwrap().trim_end_matches('"').to_owned()
    };
    lock.split("[[package]]")
        .skip(1)
        .map(|entry| {
            let version = field(entry, "version");
            let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
            (field(entry, "name"), std::array::from_fn(|_| numbers.next().unwrap_or(0)))
        })
        .collect()
}

type Version = [u64; 3];

/// One line of the list.
struct Advisory {
    id: &'static str,
    crate_name: &'static str,
    /// The first version without the flaw, of each line of releases that was mended; empty if there is none.
    first_good: Vec<Version>,
}

impl Advisory {
    /// Whether a version is without the flaw: as its own line of releases says, else if it is younger than all that
    /// were mended. One from before the flaw counts as bad, which is on the safe side.
    fn clears(&self, version: Version) -> bool {
        let own = self.first_good.iter().find(|first| line_of(**first) == line_of(version));
        own.or(self.first_good.iter().max()).is_some_and(|first| version >= *first)
    }
}

/// What Cargo holds compatible: the version up to its first number that is not zero.
fn line_of([major, minor, patch]: Version) -> Version {
    match (major, minor) {
        (0, 0) => [0, 0, patch],
        (0, _) => [0, minor, 0],
        _ => [major, 0, 0],
    }
}

fn advisories() -> Vec<Advisory> {
    let lines = ADVISORIES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (id, crate_name) = (words.next().unwrap(), words.next().unwrap());
            let first_good: Vec<Version> = words
                .filter(|word| *word != "-")
                .map(|word| {
                    let numbers: Vec<u64> = word.split('.').map(|number| number.parse().unwrap()).collect();
                    numbers.try_into().unwrap()
                })
                .collect();
            assert!(line.ends_with('-') == first_good.is_empty(), "{line}");
            Advisory { id, crate_name, first_good }
        })
        .collect()
}

#[test]
fn the_list_of_advisories_is_in_order_and_about_what_we_use() {
    let (advisories, locked) = (advisories(), locked());
    let keys: Vec<_> = advisories.iter().map(|advisory| (advisory.crate_name, advisory.id)).collect();
    assert!(keys.is_sorted_by(|one, next| one < next), "sorted by crate and number, each once");
    for Advisory { id, .. } in &advisories {
        let numbers: Vec<&str> = id.strip_prefix("RUSTSEC-").unwrap().split('-').collect();
        assert!(matches!(numbers[..], [year, number] if year.len() == 4 && number.len() == 4), "{id}");
    }
    let used =
        advisories.iter().filter(|advisory| locked.iter().any(|(name, _)| name == advisory.crate_name));
    let n_used = used.count();
    assert!(n_used > 50, "only {n_used} are about a crate that is locked");
}

#[test]
fn a_version_is_judged_by_its_own_line_of_releases() {
    let check = |id: &str, version: Version, clear: bool| {
        let advisories = advisories();
        let advisory = advisories.iter().find(|advisory| advisory.id == id).unwrap();
        assert_eq!(advisory.clears(version), clear, "{id} {version:?}");
    };
    check("RUSTSEC-2026-0258", [0, 4, 15], false);
    check("RUSTSEC-2026-0258", [0, 4, 16], true);
    check("RUSTSEC-2026-0258", [0, 5, 0], true);
    // Mended in 0.9.3 and in 0.10.1: the flaw came back with 0.10.0.
    check("RUSTSEC-2026-0097", [0, 9, 2], false);
    check("RUSTSEC-2026-0097", [0, 9, 3], true);
    check("RUSTSEC-2026-0097", [0, 10, 0], false);
    check("RUSTSEC-2026-0097", [0, 10, 1], true);
    check("RUSTSEC-2026-0097", [1, 0, 0], true);
    // No longer cared for: no version is good.
    check("RUSTSEC-2024-0436", [99, 0, 0], false);
}

#[test]
fn no_version_with_a_known_flaw_is_locked() {
    let locked = locked();
    let mut flawed = Vec::new();
    for advisory in advisories() {
        for (name, version) in locked.iter().filter(|(name, _)| name == advisory.crate_name) {
            if !advisory.clears(*version) {
                let Advisory { id, first_good, .. } = &advisory;
                flawed.push(format!("{name} {version:?}: {id}, good from {first_good:?} on"));
            }
        }
    }
    assert!(flawed.is_empty(), "{flawed:#?}");
}

#[test]
fn no_banned_crate_is_locked() {
    let locked = locked();
    let found: Vec<&str> =
        BANNED.into_iter().filter(|banned| locked.iter().any(|(name, _)| name == banned)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_same_is_asked_of_cargo_deny() {
    let config = std::fs::read_to_string(root().join(".deny.toml")).unwrap();
    for licence in LICENCES {
        assert!(config.contains(&format!("\"{licence}\"")), "{licence} is not in .deny.toml");
    }
    for banned in BANNED {
        assert!(config.contains(&format!("crate = \"{banned}\"")), "{banned} is not in .deny.toml");
    }
    let quoted = config.split("allow = [").nth(1).unwrap().split(']').next().unwrap().matches('"').count();
    assert_eq!(quoted, 2 * LICENCES.len(), ".deny.toml allows others");
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_build_script_reaches_for_the_network() {
    const SUSPECT: [&str; 12] = [
        "TcpStream",
        "UdpSocket",
        "std::net",
        "reqwest",
        "ureq",
        "curl",
        "wget",
        "git2",
        "\"git\"",
        "download",
        "hyper",
        "Command::new(\"sh\")",
    ];
    let mut n_scripts = 0;
    for package in packages() {
        for target in package["targets"].as_array().unwrap() {
            if !target["kind"].as_array().unwrap().contains(&"custom-build".into()) {
                continue;
            }
            n_scripts += 1;
            let script = PathBuf::from(target["src_path"].as_str().unwrap());
            let mut files = vec![script.clone()];
            rust_files(&script.parent().unwrap().join("build"), &mut files);
            for file in files {
                let text = std::fs::read_to_string(&file).unwrap();
                let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                let hits: Vec<&str> = SUSPECT.into_iter().filter(|word| code.contains(word)).collect();
                assert!(hits.is_empty(), "{} of {}: {hits:?}", file.display(), name(&package));
            }
        }
    }
    assert!(n_scripts > 5, "{n_scripts} build scripts were found");
}

#[test]
fn our_own_code_forbids_what_cannot_be_checked() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    assert!(!root().join("build.rs").exists(), "we need no build script");
}
