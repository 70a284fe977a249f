//! The one integration test binary: the real `collimator` between real sockets.
//!
//! Every test starts its own sidecar on ephemeral ports, puts a recording application behind it and a UDP sink
//! beside it, and asserts on bytes, documents, metrics and exit codes. Nothing here knows the product's code.
//! `COLLIMATOR_BIN` names another binary to test (a release build, for instance).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests panic to fail, print to explain, and live in wall-clock time"
)]

mod commands;
mod engine;
mod explain;
mod failures;
mod faults;
mod forwarding;
mod headers;
mod http2;
mod lifecycle;
mod metrics;
mod reload;
mod rules;
mod sampling;
mod segments;
mod sinks;
mod protocols;
mod strictness;
mod support;
mod traps;
mod whereabouts;
mod threats;
mod tidy;
