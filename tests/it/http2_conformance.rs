//! HTTP/2 frame by frame: every case of h2spec 2.6, the strict one too, by its section and number, and some of our own.
//!
//! A case says frames made by hand to a listener without TLS, an application of HTTP/1 behind it, and accepts what
//! h2spec accepts: for a connection's error a `GOAWAY` with a code of the list or a closed connection, for a stream's
//! error also a `RST_STREAM` with one of these codes.

mod beyond;
mod frames;
mod generic;
mod hpack;
mod streams;
mod wire;

use self::wire::{Checked, Wire};
use crate::support::client::Request;
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{NEVER, World};

/// Where h2spec has it, what is done, and how.
type Case = (&'static str, &'static str, fn(&mut Wire) -> Checked);

/// The path of requests that nothing is wrong with, where the others must not reach the application.
const SOUND: &str = "/sound";

fn world() -> World {
    let upstream = Upstream::start(|seen| match seen.method().as_str() {
        "HEAD" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
        _ => Answer::with(200, &[], "hello, world"),
    });
    World::with(upstream, |options| options.rules(NEVER))
}

/// Runs every case on a connection of its own and tells of all that fail.
#[track_caller]
fn check(world: &World, cases: &[Case], connect: fn(std::net::SocketAddr) -> Result<Wire, String>) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(number, what, run)| {
            let result = connect(world.sidecar.listen).and_then(|mut wire| run(&mut wire));
            result.err().map(|why| format!("{number} {what}: {why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(world.send(&Request::get(SOUND)).status, 200, "others are served");
}

#[test]
fn all_of_h2spec_is_here() {
    let tables = [
        generic::BEFORE_GREETING,
        generic::CASES,
        hpack::REPRESENTATIONS,
        frames::BEFORE_GREETING,
        frames::CASES,
        streams::CASES,
        streams::MALFORMED,
        hpack::DECODING_ERRORS,
    ];
    let mut numbers: Vec<&str> = tables.concat().iter().map(|(number, ..)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 147, "146 and a strict one: {numbers:?}");
}

#[test]
fn what_every_server_does() {
    let world = world();
    check(&world, generic::BEFORE_GREETING, Wire::connect);
    check(&world, generic::CASES, Wire::greet);
}

#[test]
fn frames_are_what_they_should_be() {
    let world = world();
    check(&world, frames::BEFORE_GREETING, Wire::connect);
    check(&world, frames::CASES, Wire::greet);
}

#[test]
fn streams_are_where_they_should_be() {
    check(&world(), streams::CASES, Wire::greet);
}

#[test]
fn compressed_headers_are_read_as_they_are_meant() {
    let world = world();
    for (number, what, run) in hpack::REPRESENTATIONS {
        check(&world, &[(number, what, *run)], Wire::greet);
        let seen = world.upstream.seen();
        let seen = &seen[seen.len() - 2];
        let expected = match number.rsplit('/').next() {
            Some("1") => ("user-agent", ""),
            Some("2" | "3" | "6" | "7" | "10" | "11") => ("user-agent", "custom-value"),
            Some("14" | "15") => ("x-said", "plainly"),
            _ => ("custom-key", "custom-value"),
        };
        assert_eq!(seen.header(expected.0).as_deref(), Some(expected.1), "{number} {what}");
    }
}

#[test]
fn compressed_headers_that_cannot_be_read_end_their_connection() {
    check(&world(), hpack::DECODING_ERRORS, Wire::greet);
}

#[test]
fn malformed_requests_reset_their_streams_and_never_reach_the_application() {
    for cases in [streams::MALFORMED, beyond::MALFORMED] {
        let world = world();
        check(&world, cases, Wire::greet);
        let mut seen = world.upstream.seen();
        seen.retain(|seen| seen.target() != SOUND);
        let heads: Vec<_> = seen.iter().map(|seen| String::from_utf8_lossy(&seen.head)).collect();
        assert!(heads.is_empty(), "{heads:#?}");
    }
}

#[test]
fn what_only_looks_malformed_is_served() {
    check(&world(), beyond::SOUND, Wire::greet);
}
