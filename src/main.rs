//! The door: calls `cli::main` and exits with its code.

fn main() {}
