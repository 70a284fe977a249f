//! `collimator completions`: scripts for shells, made from the commands themselves.

use super::{Arguments, Exit, print_result};
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    collimator completions bash > /etc/bash_completion.d/collimator\n  \
    collimator completions zsh > \"${fpath[1]}/_collimator\"\n  \
    collimator completions fish > ~/.config/fish/completions/collimator.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: ShellArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(arguments: &CompletionsArgs) -> Exit {
    let shell = match arguments.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "collimator", &mut script);
    print_result(&String::from_utf8_lossy(&script))
}
