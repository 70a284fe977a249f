//! The door: calls `cli::main` and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    collimator::cli::main(std::env::args_os())
}
