//! Settings and rules: from text to checked values, or to every problem in it.
//!
//! Owns: the notations of settings and rule files, where each value came from, and the rules in force while files change.
//! May: read files; and once, through [`Environment`], the environment. May not: print, use the network, or wait.
//!
//! ```text
//!   flags, variables, file ─► gather ─► settings      each value with its source
//!   rule files ─► yaml ─► rules ─► sampling::RuleSet  all of them or none
//!                            └─ reload ─► LiveRules   watches, swaps all or keeps the old
//! ```
//!
//! Whatever is wrong becomes a [`Problem`], and all of them are told at once.

pub mod problem;
pub mod yaml;
pub(crate) mod regular;
pub(crate) mod settled;
mod nearest;
pub mod rules;
pub mod reload;
pub mod table;
pub mod environment;
pub mod flags;
pub mod values;
mod gather;
pub mod settings;
pub mod schema;

pub use environment::{Environment, Signs};
pub use flags::RunFlags;
pub use gather::{Source, Sourced};
pub use problem::{Problem, Problems, Severity};
pub use reload::{Change, LiveRules, Reloaded, Reloads, RulesSource};
pub use settings::{Adopted, Entry, Origin, Settings, TlsSettings, UpstreamTlsSettings};
pub use values::{
    AccessLevel, Destination, HeaderCase, LogFormat, RulesFallback, Scheme, Target, UdpAddress,
};
