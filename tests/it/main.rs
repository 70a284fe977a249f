//! The one integration test binary: the real `collimator` between real sockets.
//!
//! Every test starts its own sidecar on ephemeral ports, puts a recording application behind it and a UDP sink
//! beside it, and asserts on bytes, documents, metrics and exit codes. Nothing here knows the product's code, but for
//! `fuzz`, whose inputs are for its parts.
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
mod corpus;
mod engine;
mod explain;
mod failures;
mod faults;
mod forwarding;
#[path = "../fuzz/checks.rs"]
mod fuzz;
mod headers;
mod http2;
mod http2_conformance;
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
mod tls;
mod traps;
mod whereabouts;
mod threats;
mod tidy;
