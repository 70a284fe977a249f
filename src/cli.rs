//! Arguments, exit codes, and the commands. Only this floor prints: results on stdout, diagnostics on stderr.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this floor talks to the terminal")]

mod check;
pub mod demo;
mod completions;
mod explain;
mod healthcheck;
mod rules;
mod run;
mod schema;
mod test;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// What a command comes to. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Success,
    /// 1: it could not be done, or the answer is no.
    Failure,
    /// 2: bad usage or settings, or warnings where they are not wanted.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
        })
    }
}

/// A tracing sidecar: an HTTP reverse proxy that samples by X-Ray rules and records each hop.
#[derive(Debug, Parser)]
#[command(name = "collimator", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Examples:\n  collimator run --upstream http://127.0.0.1:8080\n  collimator check rules/\n  collimator demo --seconds 20"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar before one application
    Run(Box<crate::config::RunFlags>),
    /// Find everything wrong or doubtful about rules and settings, before they run
    Check(Box<check::CheckArgs>),
    /// Say which rule decides a request, and why the others do not
    Explain(Box<explain::ExplainArgs>),
    /// Run the tests beside the rules, or propose some from an access log
    Test(Box<test::TestArgs>),
    /// Show it on a small world of three services, with traffic and a page
    Demo(demo::DemoArgs),
    /// Export rules for X-Ray, its SDKs, CloudFormation or Terraform; look at those of a running sidecar
    Rules(rules::RulesArgs),
    /// Print the JSON Schema of rule files or of the settings file, for editors
    Schema(schema::SchemaArgs),
    /// Print a script that completes commands and flags in a shell
    Completions(completions::CompletionsArgs),
    /// Ask the running sidecar whether it is ready; for images without a shell
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// How a result is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One object
    Json,
}

/// Prints a result. Whoever closes the pipe early, as `head` does, has read enough.
fn print_result(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write: {error}");
            Exit::Failure
        }
        _ => Exit::Success,
    }
}

/// Runs the command that `arguments` name and returns the process's exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing can only fail if nobody listens.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Success.into(),
                _ => Exit::Usage.into(),
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failure.into();
        }
    };
    let exit = runtime.block_on(async {
        match arguments.command {
            Command::Run(flags) => run::run(&flags).await,
            Command::Check(check) => check::run(&check),
            Command::Explain(request) => explain::run(&request).await,
            Command::Test(test) => test::run(&test),
            Command::Demo(demo) => demo::run(demo).await,
            Command::Rules(rules) => rules::run(&rules).await,
            Command::Schema(schema) => schema::run(&schema),
            Command::Completions(completions) => completions::run(&completions),
            Command::Healthcheck(healthcheck) => healthcheck::run(&healthcheck).await,
        }
    });
    // A thread that is stuck writing to a pipe nobody reads must not keep the process alive.
    runtime.shutdown_background();
    exit.into()
}
