//! `include`: other files of the same set, named from the file that includes them.
//!
//! ```text
//!   read ─► expand: follows every include, reads what is there, refuses links that lead out of the directory
//!   check ─► Wanted: the form of each entry, and that some file answers it ─► cycles: nobody includes himself
//! ```
//!
//! A file that is included twice, or lies in the directory anyway, is read once. Whatever the files that are there can
//! tell is told by `check`, together with everything else that is wrong; only links need the file system.

use super::super::problem::{Problem, Problems, shown};
use super::super::yaml::{Codes, Document, Kind, Node, Scalar, Span, Typed};
use super::limits::MAX_INCLUDES;
use super::source::{self, Source};
use std::path::{Component, Path, PathBuf};

/// The most directory entries looked at for all includes of a set.
const MAX_ENTRIES: usize = 10_000;

/// One entry of `include`: where the wanted files are, relative to the file that includes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Folders, and last a file; `*` and `?` in each stand for what they do in rules, but case counts.
    parts: Vec<String>,
}

impl Wanted {
    /// The message of a problem and its hint, if `text` is no relative path below the file's directory.
    pub(super) fn parse(text: &str) -> Result<Wanted, (String, String)> {
        const HINT: &str = "write a path relative to this file, such as team-a/*.yaml";
        let mut parts = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err((format!("`{}` leads out of the directory", shown(text)), HINT.to_owned()));
                }
            }
        }
        match parts.last() {
            Some(file) if (has_ending(file) || has_wildcard(file)) && !text.ends_with('/') => {
                Ok(Wanted { parts })
            }
            _ => {
                let message = format!("`{}` names no rule file", shown(text));
                Err((
                    message,
                    "names of rule files end in .yaml, .yml or .json; tests do not count".to_owned(),
                ))
            }
        }
    }

    /// Whether it may stand for several files.
    fn is_pattern(&self) -> bool {
        self.parts.iter().any(|part| has_wildcard(part))
    }

    /// Whether `file` is wanted by `includer`. A pattern does not mean the file it stands in.
    pub(super) fn wants(&self, includer: &Path, file: &Path) -> bool {
        let folder = folder_of(includer);
        let Ok(relative) = file.strip_prefix(folder) else { return false };
        let names: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        names.len() == self.parts.len()
            && self.parts.iter().zip(&names).all(|(part, name)| part_matches(part, name))
            && names.last().is_some_and(|name| has_ending(name))
            && !(self.is_pattern() && file == includer)
    }

    /// The files that are there, in byte order. `budget` is how many directory entries may still be looked at.
    fn find(&self, folder: &Path, budget: &mut usize) -> Vec<PathBuf> {
        let mut found = vec![folder.to_owned()];
        for (n, part) in self.parts.iter().enumerate() {
            let is_last = n + 1 == self.parts.len();
            let mut next = Vec::new();
            for folder in found {
                if !has_wildcard(part) {
                    next.push(folder.join(part));
                    continue;
                }
                let folder_or_here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
                let Ok(entries) = std::fs::read_dir(folder_or_here) else { continue };
                for entry in entries.flatten().take(*budget) {
                    *budget -= 1;
                    let name = entry.file_name();
                    if part_matches(part, &name.to_string_lossy()) {
                        next.push(folder.join(name));
                    }
                }
            }
            let is_rules = |path: &Path| path.to_str().is_some_and(has_ending) && path.is_file();
            next.retain(|path| if is_last { is_rules(path) } else { path.is_dir() });
            found = next;
        }
        found.sort();
        found
    }
}

fn has_wildcard(part: &str) -> bool {
    part.contains(['*', '?'])
}

fn has_ending(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
        && ![".test.yaml", ".test.yml"].iter().any(|ending| name.ends_with(ending))
}

/// One name of a path. Wildcards pass over dot files and tests, as a directory of rules does.
fn part_matches(part: &str, name: &str) -> bool {
    match has_wildcard(part) {
        false => part == name,
        true => {
            let is_hidden =
                name.starts_with('.') || name.ends_with(".test.yaml") || name.ends_with(".test.yml");
            !is_hidden && glob(part, name)
        }
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                (p, t) = (star, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The entries of `include` that are texts, with their places.
pub(super) fn entries(node: &Node) -> Vec<(&str, Span)> {
    let items = match &node.kind {
        Kind::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    items
        .iter()
        .filter_map(|item| match &item.kind {
            Kind::Scalar(Scalar { typed: Typed::Text, text, .. }) => Some((text.as_str(), item.span)),
            _ => None,
        })
        .take(MAX_INCLUDES)
        .collect()
}

/// Reads the files that `sources` include, and those that these include, to the end. `root` is the directory that no
/// link may lead out of.
pub(super) fn expand(root: &Path, sources: &mut Vec<Source>) -> Problems {
    let mut problems = Problems::new();
    let mut budget = MAX_ENTRIES;
    let mut next = 0;
    while next < sources.len() {
        let source = &sources[next];
        next += 1;
        // Parsing takes a while, files are read every second, and most of them include nothing.
        if !source.bytes.windows(7).any(|window| window == b"include") {
            continue;
        }
        let name = source.path.display().to_string();
        // What is wrong with the text is told by whoever checks it.
        let Ok(document) = Document::parse(&name, &source.bytes, Codes::RULES) else { continue };
        let Some(node) =
            document.root.get("include").filter(|_| document.root.get("rules_version").is_some())
        else {
            continue;
        };
        let folder = folder_of(&source.path).to_owned();
        for (text, span) in entries(node) {
            let Ok(wanted) = Wanted::parse(text) else { continue };
            for path in wanted.find(&folder, &mut budget) {
                if sources.iter().any(|source| source.path == path) {
                    continue;
                }
                if !lies_in(root, &path) {
                    let message = format!("`{}` is a link that leads out of the directory", path.display());
                    let hint = format!("put the file itself below {}", root.display());
                    problems.push(document.problem("R009", span, message).hint(hint));
                    continue;
                }
                match source::read_file(&path) {
                    Ok(source) => sources.push(source),
                    Err(unreadable) => problems.append(unreadable),
                }
                if source::too_much(sources) {
                    let message = "too many files, or more than 16 MiB of rules, are included";
                    problems.push(document.problem("R009", span, message).hint("include fewer"));
                    return problems;
                }
            }
            if budget == 0 {
                let message = format!("more than {MAX_ENTRIES} directory entries were looked at");
                problems.push(document.problem("R009", span, message).hint("name the files more closely"));
                return problems;
            }
        }
    }
    problems
}

/// Whether a file, all links followed, is below a directory, all links followed.
fn lies_in(root: &Path, file: &Path) -> bool {
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    match (root.canonicalize(), file.canonicalize()) {
        (Ok(root), Ok(file)) => file.starts_with(root),
        _ => false,
    }
}

/// An entry of `include` that is right in itself.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The file it stands in, by its number.
    pub(super) from: usize,
    /// The files it means.
    pub(super) to: Vec<usize>,
    /// What to tell if it is wrong after all: only its words are missing.
    pub(super) problem: Problem,
}

/// Every entry by which a file includes itself, directly or by way of others.
pub(super) fn cycles(links: &[Link], sources: &[Source]) -> Problems {
    let mut problems = Problems::new();
    let n = sources.len();
    let mut links_of: Vec<Vec<&Link>> = vec![Vec::new(); n];
    for link in links {
        links_of[link.from].push(link);
    }
    // Depth first, with the path from the first file kept apart, so that a long chain is no deep recursion.
    let (mut is_done, mut on_path) = (vec![false; n], vec![false; n]);
    for start in 0..n {
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        if is_done[start] {
            continue;
        }
        on_path[start] = true;
        while let Some((file, step)) = path.last_mut() {
            let edges = links_of[*file].iter().flat_map(|link| link.to.iter().map(move |to| (*link, *to)));
            match edges.clone().nth(*step) {
                Some((link, to)) => {
                    *step += 1;
                    if on_path[to] {
                        problems.push(told(link, to, *file, sources));
                    } else if !is_done[to] {
                        on_path[to] = true;
                        path.push((to, 0));
                    }
                }
                None => {
                    (is_done[*file], on_path[*file]) = (true, false);
                    path.pop();
                }
            }
        }
    }
    problems
}

fn told(link: &Link, to: usize, from: usize, sources: &[Source]) -> Problem {
    let message = match to == from {
        true => "the file includes itself".to_owned(),
        false => format!("{} includes this file, perhaps by way of others", sources[to].path.display()),
    };
    Problem { message, ..link.problem.clone() }
        .hint("remove one of the two; a file is read once however often it is named")
}

#[cfg(test)]
mod tests;
