//! `collimator schema`: the JSON Schemas of our files, for editors and reviews.

use super::{Exit, print_result};
use crate::config::schema;
use clap::{Args, ValueEnum};

/// Of which files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    collimator schema rules > rules.schema.json\n  \
    an editor with the YAML language server: # yaml-language-server: $schema=rules.schema.json")]
pub(super) struct SchemaArgs {
    /// The files it describes
    of: Of,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// Rule files, in every notation
    Rules,
    /// The settings file
    Settings,
}

pub(super) fn run(arguments: &SchemaArgs) -> Exit {
    print_result(&match arguments.of {
        Of::Rules => schema::rules(),
        Of::Settings => schema::settings(),
    })
}
