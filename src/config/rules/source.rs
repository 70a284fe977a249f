//! Reads the bytes of a rule file, or of all rule files of a directory.

use super::super::problem::{Problem, Problems};
use super::super::regular::{self, Unread};
use super::super::yaml::MAX_BYTES;
use super::include;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The most files in one directory, and the most bytes in all of them.
const MAX_FILES: usize = 1_000;
const MAX_TOTAL_BYTES: usize = 16 * MAX_BYTES;

/// One file, as read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// As given, or the directory as given and the file's name; what problems call the file.
    pub path: PathBuf,
    /// At most one byte more than is allowed, so that the parser can tell.
    pub bytes: Vec<u8>,
}

/// Reads `path`. Of a directory: `*.yaml`, `*.yml` and `*.json` in byte order, without dot files (among them a
/// ConfigMap's own `..data`), tests (`*.test.yaml`, `*.test.yml`) and subdirectories. Symbolic links are followed.
/// Then the files that these include, which no link may take from outside the directory.
///
/// # Errors
/// One problem for each file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<Source>, Problems> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let (mut sources, root) = match metadata.is_dir() {
        true => (read_directory(path)?, path),
        false => (vec![read_file(path)?], path.parent().unwrap_or(Path::new(""))),
    };
    let problems = include::expand(root, &mut sources);
    if problems.is_empty() {
        return Ok(sources);
    }
    // Whoever mends the includes reads at once what else there is to mend.
    let mut all = super::check(&sources).problems;
    all.append(problems);
    Err(all)
}

/// Whether a set has more files or bytes than may be.
pub(super) fn too_much(sources: &[Source]) -> bool {
    sources.len() > MAX_FILES
        || sources.iter().map(|source| source.bytes.len()).sum::<usize>() > MAX_TOTAL_BYTES
}

fn read_directory(path: &Path) -> Result<Vec<Source>, Problems> {
    let names = rule_files(path).map_err(|error| unreadable(path, &error))?;
    if names.is_empty() {
        return Err(problem(path, "the directory has no rule files")
            .hint("put a *.yaml, *.yml or *.json file there; dot files and *.test.yaml do not count")
            .into());
    }
    if names.len() > MAX_FILES {
        let message = format!("the directory has more than {MAX_FILES} rule files");
        return Err(problem(path, &message).hint("put several rules into one file").into());
    }
    let (mut sources, mut problems, mut total) = (Vec::new(), Problems::new(), 0);
    for name in names {
        match read_file(&path.join(name)) {
            Ok(source) => {
                total += source.bytes.len();
                sources.push(source);
            }
            Err(found) => problems.append(found),
        }
        if total > MAX_TOTAL_BYTES {
            problems.push(problem(path, "the directory has more than 16 MiB of rules").hint("remove some"));
            break;
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn rule_files(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        // A link to nowhere is kept: its absence is a problem to be told.
        if is_rule_file(&name) && !directory.join(&name).is_dir() {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            break;
        }
    }
    names.sort();
    Ok(names)
}

fn is_rule_file(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let has = |ending: &str| name.ends_with(ending);
    !name.starts_with('.')
        && (has(".yaml") || has(".yml") || has(".json"))
        && !(has(".test.yaml") || has(".test.yml"))
}

pub(super) fn read_file(path: &Path) -> Result<Source, Problems> {
    match regular::read(path, MAX_BYTES) {
        Ok((bytes, _)) => Ok(Source { path: path.to_owned(), bytes }),
        Err(Unread::NoFile) => Err(problem(path, "this is neither a file nor a directory")
            .hint("rules are read from files")
            .into()),
        Err(Unread::Failed(error)) => Err(unreadable(path, &error).into()),
    }
}

fn problem(path: &Path, message: &str) -> Problem {
    Problem::at_name("R000", &path.display().to_string(), message)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("there is no such file or directory", "check the setting `rules` and the mount")
        }
        io::ErrorKind::PermissionDenied => ("permission denied", "let the sidecar's user read it"),
        _ => return problem(path, &format!("cannot be read: {error}")).hint("check the setting `rules`"),
    };
    problem(path, message).hint(hint)
}
