//! # Collimator
//!
//! A tracing sidecar: an HTTP reverse proxy in front of one application that decides which requests become X-Ray
//! traces and records each hop it carries. This page is the map of its code.
//!
//! Modules are declared bottom floor first, and each uses only modules declared above it; the test `tidy` keeps that
//! true.
//!
//! | floor | modules | may |
//! | --- | --- | --- |
//! | 0 words | [`moment`], [`trace`], [`status`] | hold values |
//! | 1 judgment | [`sampling`], [`segment`] | decide; time and chance come in as arguments |
//! | 2 windows | [`clock`], [`telemetry`], [`config`], [`tls`], [`lint`], [`explain`], [`rules_test`], [`logging`], [`store`], [`emit`], [`fetch`], [`whereabouts`], [`descriptors`] | touch the world, except serving HTTP |
//! | 3 HTTP | [`http1`], [`proxy`], [`exposition`], [`console`], [`control`], [`admin`] | serve |
//! | 4 assembly | [`app`] | know every part |
//! | 5 commands | [`cli`] | print |
//!
//! A request goes one way, and nothing calls back up:
//!
//! ```text
//! client ─► proxy ─► proxy/request
//!                     1 trace::Arrived::read(headers)     ─► what came in, and whose word counts
//!                     2 rules.decide(facts, draw, now)    ─► Decision
//!                     3 Leaving::write(headers)           ─► application
//!                     4 body::Watched(answer)             ─► client
//!                        └ end, error or drop: Hop::close ─► Segment
//!                                              Emitter::offer(segment)    never waits
//!                                              └ a lane for each sink: udp | store | stdout
//! ```
//!
//! Read `proxy/request.rs` first.
//!
//! ## Invariants
//!
//! - A request is answered even when every sink is dead, the rules file is broken and the disk is full.
//! - A request is decided once, and a trusted caller's decision is obeyed.
//! - Nothing on the path of a request waits for telemetry, takes a lock or reads a file.
//! - Every hop closes exactly once, also when the client leaves or a body breaks off.
//! - Bytes from the network may be refused but never panic.
//! - Every queue, buffer, table and label set has a limit, and what it refuses is counted.
//! - Floors 0 and 1 name no runtime, socket, clock or environment. Only [`cli`] prints.

pub mod moment;
pub mod trace;
pub mod status;

pub mod sampling;
pub mod segment;

pub mod clock;
pub mod telemetry;
pub mod config;
pub mod tls;
pub mod lint;
pub mod explain;
pub mod rules_test;
pub mod logging;
pub mod store;
pub mod emit;
pub mod fetch;
pub mod whereabouts;
pub mod descriptors;
#[cfg(feature = "fault-switch")]
pub mod fault;

pub mod http1;
pub mod proxy;
pub mod exposition;
pub mod console;
pub mod control;
pub mod admin;

pub mod app;

pub mod cli;
