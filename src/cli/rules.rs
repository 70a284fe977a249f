//! `collimator rules`: what is done with rule files beside checking and running them.

mod status;

use super::{Exit, print_result};
use crate::config::rules::{self, export::Format};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Which of them.
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Write rules for X-Ray's API, its SDKs, CloudFormation or Terraform; refused if they cannot say the same
    Export(ExportArgs),
    /// Say what each rule of a running sidecar has decided, and which have matched nothing since they were loaded
    Status(status::StatusArgs),
}

/// Which rules, and for whom.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    collimator rules export --format aws-api rules/ > rules.json\n  \
    collimator rules export --format terraform --expand rules/shop.yaml > sampling.tf")]
struct ExportArgs {
    /// A rule file, or a directory of them
    #[arg(default_value = "rules", value_name = "PATH")]
    path: PathBuf,
    /// Who is to read them
    #[arg(long)]
    format: FormatArg,
    /// Make several rules of one that has a list of patterns; they no longer share one reservoir
    #[arg(long)]
    expand: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// What `aws xray get-sampling-rules` prints
    AwsApi,
    /// Local rules of the X-Ray SDKs, version 2
    SdkV2,
    /// A CloudFormation template, as JSON
    #[value(name = "cloudformation")]
    CloudFormation,
    /// Resources of Terraform's AWS provider
    Terraform,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::AwsApi => Format::AwsApi,
            FormatArg::SdkV2 => Format::SdkV2,
            FormatArg::CloudFormation => Format::CloudFormation,
            FormatArg::Terraform => Format::Terraform,
        }
    }
}

pub(super) async fn run(arguments: &RulesArgs) -> Exit {
    match &arguments.command {
        RulesCommand::Export(arguments) => export(arguments),
        RulesCommand::Status(arguments) => status::run(arguments).await,
    }
}

fn export(export: &ExportArgs) -> Exit {
    let exported = rules::read(&export.path)
        .and_then(|sources| rules::export::export(&sources, export.format.into(), export.expand));
    match exported {
        Ok(exported) => {
            if !exported.notes.is_empty() {
                eprintln!("{}", exported.notes);
            }
            print_result(&exported.text)
        }
        Err(problems) => {
            eprintln!("{problems}");
            Exit::Failure
        }
    }
}
