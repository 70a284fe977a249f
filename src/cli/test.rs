//! `collimator test`: runs the tests beside the rules, and proposes them from an access log.

use super::explain::load;
use super::{Exit, Format};
use crate::clock::Clock;
use crate::config::rules::places::Places;
use crate::config::{Environment, Problem, Problems};
use crate::explain::Service;
use crate::rules_test::record::Recorder;
use crate::rules_test::{self, TestFile};
use crate::sampling::{RuleName, RuleSet};
use clap::Args;
use flate2::bufread::MultiGzDecoder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// The largest test file, in bytes, and the longest line of a log.
const MAX_BYTES: u64 = 1 << 20;
const MAX_LINE: u64 = 64 * 1024;
/// The most test files of one directory.
const MAX_FILES: usize = 1_000;

/// Which tests, or which log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  collimator test rules/ --fail-under 100
  collimator test rules/shop.test.yaml --format json
  collimator test rules/ --record access.log > rules/recorded.test.yaml

A test file lies beside the rules it is about and ends in .test.yaml:

  service: { name: shop }
  tests:
    - name: polling stays cheap
      request: GET https://shop.example.com/api/state/42
      expect: { rule: state-polling, rate: 0.3% }

Exit: 0 all passed, 1 otherwise, 2 bad usage.")]
pub(super) struct TestArgs {
    /// Test files, or directories with *.test.yaml in them; without any, the present directory
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The share of rules, in percent, that the tests of each set must reach
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_under: Option<u8>,
    /// Propose a test for each rule and route of an access log of nginx, Apache, ALB or Envoy, as text or JSON, also packed with gzip; `-` is stdin
    #[arg(long, value_name = "LOG", conflicts_with = "fail_under")]
    record: Option<PathBuf>,
    /// With --record: the service's name
    #[arg(long, value_name = "NAME", requires = "record")]
    service_name: Option<String>,
    /// How results are told
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "record")]
    format: Format,
}

/// A set of rules, and which of them tests have chosen.
struct Set {
    rules: RuleSet,
    places: Places,
    chosen: HashSet<RuleName>,
}

/// A test file's results.
struct Ran {
    file: PathBuf,
    tests: Vec<(String, usize, Vec<String>)>,
}

pub(super) fn run(arguments: &TestArgs) -> Exit {
    let now = u64::from(Clock::start().now().epoch_seconds());
    let here = [PathBuf::from(".")];
    let paths = if arguments.paths.is_empty() { &here[..] } else { &arguments.paths };
    if let Some(log) = &arguments.record {
        return record(arguments, paths, log, now);
    }
    let mut sets = BTreeMap::new();
    let mut ran = Vec::new();
    let mut problems = Problems::new();
    for path in paths {
        match test_files(path) {
            Ok(files) => {
                for file in files {
                    match run_file(&file, now, &mut sets) {
                        Ok(results) => ran.push(results),
                        Err(found) => problems.append(found),
                    }
                }
            }
            Err(found) => problems.append(found),
        }
    }
    if !problems.is_empty() {
        eprintln!("{problems}");
    }
    let coverage: Vec<Coverage> =
        sets.iter().map(|(path, set)| Coverage::of(path, set, now, arguments.fail_under)).collect();
    let passed = problems.is_empty()
        && ran.iter().all(|file| file.n_failed() == 0)
        && coverage.iter().all(|coverage| !coverage.is_below);
    super::print_result(&match arguments.format {
        Format::Text => text(&ran, &coverage, arguments.fail_under),
        Format::Json => format!("{:#}\n", json_of(&ran, &coverage, passed)),
    });
    if passed { Exit::Success } else { Exit::Failure }
}

/// A test file, or those of a directory in byte order.
fn test_files(path: &Path) -> Result<Vec<PathBuf>, Problems> {
    let bad = |message: String, hint: &str| {
        Problems::from(Problem::at_name("T000", &path.display().to_string(), message).hint(hint))
    };
    let unreadable = |error: std::io::Error| bad(format!("cannot be read: {error}"), "check the path");
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with('.') && (text.ends_with(".test.yaml") || text.ends_with(".test.yml")) {
            files.push(if path == Path::new(".") { PathBuf::from(&name) } else { path.join(&name) });
        }
    }
    files.sort();
    match files.len() {
        0 => Err(bad(
            "there are no test files".to_owned(),
            "write one that ends in .test.yaml; `collimator test --help` shows how",
        )),
        1..=MAX_FILES => Ok(files),
        n => Err(bad(format!("there are {n} test files, more than {MAX_FILES}"), "name some of them")),
    }
}

fn run_file(path: &Path, now: u64, sets: &mut BTreeMap<PathBuf, Set>) -> Result<Ran, Problems> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(Problem::at_name("T000", &name, format!("cannot be read: {error}"))
            .hint("check the path")
            .into());
    }
    let file: TestFile = rules_test::parse(&name, &bytes)?;
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let rules = file.rules.as_ref().map_or_else(|| beside.to_owned(), |rules| beside.join(rules));
    if !sets.contains_key(&rules) {
        let (set, places) = load(&rules)?;
        sets.insert(rules.clone(), Set { rules: set, places, chosen: HashSet::new() });
    }
    let mut ran = Ran { file: path.to_owned(), tests: Vec::new() };
    let Some(set) = sets.get_mut(&rules) else { return Ok(ran) };
    let service = Service { name: file.service_name.as_deref(), kind: file.service_type.as_deref() };
    for test in &file.tests {
        let verdict = rules_test::judge(&set.rules, &set.places, service, now, test);
        set.chosen.extend(verdict.chosen);
        ran.tests.push((test.name.clone(), test.place.line, verdict.failures));
    }
    Ok(ran)
}

impl Ran {
    fn n_failed(&self) -> usize {
        self.tests.iter().filter(|(_, _, failures)| !failures.is_empty()).count()
    }
}

/// How many of a set's rules the tests have reached.
struct Coverage {
    rules: PathBuf,
    n_chosen: usize,
    n_all: usize,
    never: Vec<RuleName>,
    is_below: bool,
}

impl Coverage {
    fn of(path: &Path, set: &Set, now: u64, fail_under: Option<u8>) -> Coverage {
        let (n_all, never) = rules_test::coverage(&set.rules, &set.chosen, now);
        let n_chosen = n_all - never.len();
        let is_below = fail_under.is_some_and(|least| n_chosen * 100 < usize::from(least) * n_all);
        Coverage { rules: path.to_owned(), n_chosen, n_all, never, is_below }
    }

    fn percent(&self) -> usize {
        self.n_chosen * 100 / self.n_all.max(1)
    }
}

fn text(ran: &[Ran], coverage: &[Coverage], fail_under: Option<u8>) -> String {
    let mut text = String::new();
    for file in ran {
        let n_failed = file.n_failed();
        let failed = if n_failed > 0 { format!(", {n_failed} failed") } else { String::new() };
        let _ = writeln!(text, "{}  {} passed{failed}", file.file.display(), file.tests.len() - n_failed);
        let short = file.file.file_name().unwrap_or_default().to_string_lossy();
        for (name, line, failures) in file.tests.iter().filter(|(_, _, failures)| !failures.is_empty()) {
            let _ = writeln!(text, "  FAIL {name}  ({short}:{line})");
            for failure in failures {
                let _ = writeln!(text, "       {failure}");
            }
        }
    }
    for set in coverage {
        let of = if coverage.len() > 1 { format!("{}: ", set.rules.display()) } else { String::new() };
        let rules = if set.n_all == 1 { "rule" } else { "rules" };
        let _ = write!(text, "coverage {of}{} of {} {rules} ({} %)", set.n_chosen, set.n_all, set.percent());
        if !set.never.is_empty() {
            let never: Vec<&str> = set.never.iter().map(RuleName::as_str).collect();
            let _ = write!(text, ": never chosen: {}", never.join(", "));
        }
        if let Some(least) = fail_under.filter(|_| set.is_below) {
            let _ = write!(text, "     below --fail-under {least}");
        }
        text.push('\n');
    }
    text
}

fn json_of(ran: &[Ran], coverage: &[Coverage], passed: bool) -> Value {
    let files: Vec<Value> = ran
        .iter()
        .map(|file| {
            let tests: Vec<Value> = file
                .tests
                .iter()
                .map(|(name, line, failures)| {
                    json!({ "name": name, "line": line, "passed": failures.is_empty(), "failures": failures })
                })
                .collect();
            let n_failed = file.n_failed();
            json!({ "file": file.file, "passed": file.tests.len() - n_failed, "failed": n_failed, "tests": tests })
        })
        .collect();
    let coverage: Vec<Value> = coverage
        .iter()
        .map(|set| {
            let never: Vec<&str> = set.never.iter().map(RuleName::as_str).collect();
            json!({ "rules": set.rules, "chosen": set.n_chosen, "of": set.n_all, "percent": set.percent(), "never": never })
        })
        .collect();
    json!({ "passed": passed, "files": files, "coverage": coverage })
}

/// Reads a log to its end and prints the tests it makes.
fn record(arguments: &TestArgs, paths: &[PathBuf], log: &Path, now: u64) -> Exit {
    let [path] = paths else {
        eprintln!("error: `--record` is about one set of rules\n\nhint: name one file or directory");
        return Exit::Usage;
    };
    let (rules, _) = match load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Failure;
        }
    };
    let opened: std::io::Result<Box<dyn BufRead>> = match log == Path::new("-") {
        true => Ok(Box::new(std::io::stdin().lock())),
        false => File::open(log).map(|file| Box::new(BufReader::new(file)) as Box<dyn BufRead>),
    };
    let environment = Environment::capture();
    let name = arguments.service_name.as_deref().or_else(|| environment.get("COLLIMATOR_SERVICE_NAME"));
    let mut recorder = Recorder::new(&rules, Service { name, kind: None }, now);
    if let Err(error) = opened.and_then(unpacked).and_then(|log| read_log(log, &mut recorder)) {
        eprintln!(
            "error: the log `{}` cannot be read: {error}\n\nhint: give a text file, or one packed with gzip",
            log.display()
        );
        return Exit::Failure;
    }
    super::print_result(&recorder.finish(&log.display().to_string()));
    Exit::Success
}

/// Unpacks what begins as gzip does; load balancers write their logs so.
fn unpacked(mut log: Box<dyn BufRead>) -> std::io::Result<Box<dyn BufRead>> {
    let is_packed = log.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_packed { Box::new(BufReader::new(MultiGzDecoder::new(log))) } else { log })
}

/// Line by line, with a word of progress now and then on a terminal. A line beyond the limit is cut, and its rest
/// counts as a line that is not understood.
fn read_log(mut log: Box<dyn BufRead>, recorder: &mut Recorder<'_>) -> std::io::Result<()> {
    let shows = std::io::stderr().is_terminal();
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut log).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        recorder.line(String::from_utf8_lossy(&line).trim_end());
        let n = recorder.n_requests + recorder.n_unreadable;
        if shows && n.is_multiple_of(100_000) {
            eprint!("\r{n} lines read");
        }
    }
    if shows {
        eprintln!("\r{} requests, {} lines not understood", recorder.n_requests, recorder.n_unreadable);
    }
    Ok(())
}
