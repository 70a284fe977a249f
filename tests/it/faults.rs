//! Faults survived: each test breaks something under load and counts the requests that were lost or answered wrongly.

mod limits;
#[cfg(feature = "fault-switch")]
mod panics;
mod rules;
mod settings;
mod sinks;
mod silence;
mod slow;
mod stops;
mod uploads;
mod upstreams;
