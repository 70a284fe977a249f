//! Inputs that fuzzing found worth keeping, run through the same checks on every change.

use crate::fuzz;
use std::path::Path;

/// Runs `check` on every file of a target's corpus; a panic names the file.
#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut n_files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            panic!("{} breaks what must hold", path.display());
        }
        n_files += 1;
    }
    assert!(n_files > 10, "{} holds {n_files} files", folder.display());
}

#[test]
fn rule_files_found_by_fuzzing() {
    replay("rules", fuzz::rules);
}

#[test]
fn trace_headers_found_by_fuzzing() {
    replay("headers", fuzz::headers);
}

#[test]
fn patterns_and_texts_found_by_fuzzing() {
    replay("pattern", fuzz::pattern);
}

#[test]
fn messages_found_by_fuzzing() {
    replay("http1", fuzz::http1::http1);
}
