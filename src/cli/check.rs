//! `collimator check`: everything that is wrong or doubtful about rules and settings, before they run.

mod formats;

use super::Exit;
use crate::clock::Clock;
use crate::config::rules::places::Places;
use crate::config::rules::{self, Source};
use crate::config::{Entry, Environment, Problem, Problems, RulesSource, RunFlags, Settings, Severity};
use crate::lint::{self, Options};
use crate::tls::Sides;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to check, and what is known beside the files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  collimator check rules/
  collimator check rules/ --strict --service-name shop --traffic 50000/h --max-usd 300
  collimator check --config collimator.yaml
  collimator check rules/ --format github

Exit: 0 clean, or only notes and warnings; 1 errors; 2 warnings under --strict, or bad usage.")]
pub(super) struct CheckArgs {
    /// Rule files, or directories of them, that make one set; without any, the settings and the rules they name
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The settings file; else the one that COLLIMATOR_CONFIG names
    #[arg(long, value_name = "PATH", conflicts_with = "paths")]
    config: Option<String>,
    /// Warnings fail, too
    #[arg(long)]
    strict: bool,
    /// The service's name, to find rules that can never match it
    #[arg(long, value_name = "NAME")]
    service_name: Option<String>,
    /// The service's type, such as AWS::ECS::Container
    #[arg(long, value_name = "TYPE")]
    service_type: Option<String>,
    /// Requests an hour at each instance, to find rates that round to nothing and to estimate what is spent
    #[arg(long, value_name = "N/h", value_parser = traffic)]
    traffic: Option<f64>,
    /// What the traces of one rule may cost in a month of 31 days, in US dollars
    #[arg(long, value_name = "USD", value_parser = amount)]
    max_usd: Option<f64>,
    /// How many instances run, each with a reservoir of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    replicas: Option<u32>,
    /// How findings are told
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Print the settings also where something is wrong with the rules
    #[arg(long, short)]
    verbose: bool,
}

/// How findings are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One object
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands that annotate a pull request on GitHub
    Github,
}

/// `50000/h`, `14/s` or a bare number of requests an hour.
fn traffic(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.rsplit_once('/') {
        Some((number, "h")) => (number, 1.0),
        Some((number, "s")) => (number, 3600.0),
        Some(_) => return Err("write requests an hour, such as 50000/h".to_owned()),
        None => (text, 1.0),
    };
    let number = number.replace(['_', ','], "").parse::<f64>().ok().map(|number| number * factor);
    number
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| "write requests an hour, such as 50000/h".to_owned())
}

/// An amount of money.
fn amount(text: &str) -> Result<f64, String> {
    let number = text.trim_start_matches('$').parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| "write dollars, such as 300".to_owned())
}

/// What was found, and in how much.
#[derive(Debug, Default)]
struct Outcome {
    problems: Problems,
    n_files: usize,
    n_rules: usize,
    settings: Vec<Entry>,
}

pub(super) fn run(arguments: &CheckArgs) -> Exit {
    let mut outcome = Outcome::default();
    let mut service_name = arguments.service_name.clone();
    let mut paths = arguments.paths.clone();
    let mut sources = Vec::new();
    if paths.is_empty() {
        let flags = match &arguments.config {
            Some(path) => RunFlags::new().with("config", path),
            None => RunFlags::new(),
        };
        let environment = Environment::capture();
        outcome.n_files +=
            usize::from(arguments.config.is_some() || environment.get("COLLIMATOR_CONFIG").is_some());
        match Settings::read(&flags, &environment) {
            Ok((settings, warnings)) => {
                outcome.problems.append(warnings);
                match settings.rules_source() {
                    RulesSource::Path(path) => paths.push(path),
                    RulesSource::Inline(text) => sources.push(rules::inline_source(&text)),
                    RulesSource::BuiltIn | RulesSource::SampleAll | RulesSource::Rate(_) => {}
                }
                // A host's name says nothing about the service that the rules are for.
                if !settings.name_is_guessed() {
                    service_name = service_name.or_else(|| Some(settings.service_name.value.clone()));
                }
                match Sides::start(&settings, Clock::start().now()) {
                    Ok(sides) => {
                        outcome.n_files += sides.files();
                        outcome.problems.append(sides.warnings);
                    }
                    Err(problems) => outcome.problems.append(problems),
                }
                outcome.settings = settings.entries();
            }
            Err(problems) => outcome.problems.append(problems),
        }
    }
    let options = Options {
        service_name: service_name.as_deref(),
        service_type: arguments.service_type.as_deref(),
        traffic_per_hour: arguments.traffic,
        max_usd: arguments.max_usd,
        replicas: arguments.replicas,
        now: Clock::start().now().epoch_seconds().into(),
        incomplete: false,
    };
    for path in &paths {
        match rules::read(path) {
            Ok(read) => sources.extend(read),
            Err(problems) => outcome.problems.append(problems),
        }
    }
    if !sources.is_empty() {
        check_rules(&sources, &options, &mut outcome);
    }
    let report = match arguments.format {
        Format::Text => formats::text(&outcome, arguments.verbose),
        Format::Json => formats::json(&outcome),
        Format::Sarif => formats::sarif(&outcome.problems),
        Format::Github => formats::github(&outcome.problems),
    };
    super::print_result(&report);
    if outcome.problems.has_errors() {
        Exit::Failure
    } else if arguments.strict && outcome.problems.count(Severity::Warning) > 0 {
        Exit::Usage
    } else {
        Exit::Success
    }
}

/// Judges all of `sources` as one set.
fn check_rules(sources: &[Source], options: &Options<'_>, outcome: &mut Outcome) {
    let checked = rules::check(sources);
    outcome.n_files += checked.n_files;
    outcome.n_rules += checked.n_rules;
    let incomplete = checked.problems.has_errors();
    let found = lint::lint(&checked.rules, &Places::read(sources), &Options { incomplete, ..*options });
    outcome.problems.append(checked.problems);
    outcome.problems.append(found);
    outcome.problems = in_order(std::mem::take(&mut outcome.problems), sources);
}

/// The worst first; of equal ones by file, in the order read, and by line.
fn in_order(problems: Problems, sources: &[Source]) -> Problems {
    let files: Vec<String> = sources.iter().map(|source| source.path.display().to_string()).collect();
    let mut list: Vec<Problem> = problems.into_iter().collect();
    list.sort_by_cached_key(|problem| {
        let file = files.iter().position(|file| **file == *problem.place.file);
        // Flags and variables stand before any file.
        (
            problem.severity,
            file.map_or(0, |file| file + 1),
            problem.place.line,
            problem.place.column,
            problem.code,
        )
    });
    let mut sorted = Problems::new();
    list.into_iter().for_each(|problem| sorted.push(problem));
    sorted
}
