//! W3C Trace Context as its working group's own test suite asks for it, each case by name, with the keys of level 2.
//!
//! What that suite does not know of, `X-Amzn-Trace-Id` beside the standard's headers, stands at the end.

use crate::support::client::Request;
use crate::support::sidecar::Options;
use crate::support::trace::{Carried, OTHER_ROOT, PARENT, ROOT};
use crate::support::upstream::Seen;
use crate::support::world::{NEVER, World};

const TRACE: &str = "12345678901234567890123456789012";
const PARENT_ID: &str = "1234567890123456";
const VALID: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// What the application saw of a request with these headers; both trace headers in canonical form and equal.
#[track_caller]
fn ask(world: &World, headers: &[(&str, &str)]) -> (Carried, Seen) {
    let request =
        headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
    let seen = world.forward(&request);
    (Carried::by(&seen), seen)
}

/// Whether the application sees the caller's trace after this `traceparent`.
#[track_caller]
fn check(world: &World, traceparent: &str, continued: bool) {
    check_name(world, "traceparent", traceparent, continued);
}

#[track_caller]
fn check_name(world: &World, name: &str, value: &str, continued: bool) {
    let (carried, _) = ask(world, &[(name, value)]);
    assert_eq!(carried.root[2..].replace('-', "") == TRACE, continued, "{name}: {value:?} gave {carried:?}");
    assert_ne!(carried.parent, PARENT_ID, "{name}: {value:?}");
}

/// The `tracestate` fields that the application sees after these, beside a valid `traceparent`, which must survive.
#[track_caller]
fn states(world: &World, fields: &[&str]) -> Vec<String> {
    let mut headers = vec![("traceparent", VALID)];
    headers.extend(fields.iter().map(|field| ("tracestate", *field)));
    let (carried, seen) = ask(world, &headers);
    assert_eq!(carried.root[2..].replace('-', ""), TRACE, "{fields:?} took the trace along");
    seen.values("tracestate")
}

#[track_caller]
fn check_kept(world: &World, fields: &[&str]) {
    let expected: Vec<&str> = fields.iter().map(|field| field.trim()).collect();
    assert_eq!(states(world, fields), expected);
}

#[track_caller]
fn check_discarded(world: &World, fields: &[&str]) {
    assert!(states(world, fields).is_empty(), "{fields:?} was handed on");
}

fn members(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",")
}

#[test]
fn traceparent() {
    let world = World::ruled(NEVER);
    let with =
        |version: &str, trace: &str, parent: &str, rest: &str| format!("{version}-{trace}-{parent}-{rest}");
    check(&world, &with("00", TRACE, PARENT_ID, "01"), true);
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        check_name(&world, name, VALID, true);
    }
    for name in ["trace-parent", "trace.parent"] {
        check_name(&world, name, VALID, false);
    }
    for rest in ["01.", "01-what-the-future-will-be-like", ".0", "0.", "001", "1", "0A", ""] {
        check(&world, &with("00", TRACE, PARENT_ID, rest), false);
    }
    check(&world, &with("cc", TRACE, PARENT_ID, "01"), true);
    check(&world, &with("cc", TRACE, PARENT_ID, "01-what-the-future-will-be-like"), true);
    check(&world, &with("cc", TRACE, PARENT_ID, "01.what-the-future-will-be-like"), false);
    for version in ["ff", ".0", "0.", "000", "0000", "0", "CC"] {
        check(&world, &with(version, TRACE, PARENT_ID, "01"), false);
    }
    for trace in [
        "00000000000000000000000000000000",
        ".2345678901234567890123456789012",
        "1234567890123456789012345678901.",
        "123456789012345678901234567890123",
        "1234567890123456789012345678901",
        "1234567890123456789012345678901A",
    ] {
        check(&world, &with("00", trace, PARENT_ID, "01"), false);
    }
    for parent in
        ["0000000000000000", ".234567890123456", "123456789012345.", "12345678901234567", "123456789012345"]
    {
        check(&world, &with("00", TRACE, parent, "01"), false);
    }
    for (before, after) in [(" ", ""), ("\t", ""), ("", " "), ("", "\t"), ("\t ", " \t")] {
        check(&world, &format!("{before}{VALID}{after}"), true);
    }
}

#[test]
fn traceparent_duplicated() {
    let world = World::ruled(NEVER);
    let other = VALID.replace("9012-", "9011-");
    let (carried, _) = ask(&world, &[("traceparent", &other), ("traceparent", VALID)]);
    assert!(!carried.root[2..].replace('-', "").starts_with("1234567890"), "{carried:?}");
}

#[test]
fn every_request_gets_a_parent_of_its_own() {
    let world = World::ruled(NEVER);
    let zeros = VALID.replace(TRACE, &"0".repeat(32));
    for headers in [vec![("traceparent", VALID)], vec![], vec![("traceparent", zeros.as_str())]] {
        let asked: Vec<Carried> = (0..3).map(|_| ask(&world, &headers).0).collect();
        let mut parents: Vec<&str> = asked.iter().map(|carried| carried.parent.as_str()).collect();
        parents.sort_unstable();
        parents.dedup();
        assert_eq!(parents.len(), 3, "{asked:?}");
    }
}

#[test]
fn flags_are_two_and_the_others_are_zero() {
    let world = World::ruled(NEVER);
    let flags =
        |headers: &[(&str, &str)]| ask(&world, headers).1.header("traceparent").unwrap()[53..].to_owned();
    for (came, leaves) in [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("fc", "00")]
    {
        let traceparent = format!("{}{came}", &VALID[..53]);
        assert_eq!(flags(&[("traceparent", &traceparent)]), leaves, "after {came}");
    }
    assert_eq!(flags(&[]), "02", "a new trace id is random, and says so");
    assert_eq!(
        flags(&[("X-Amzn-Trace-Id", &format!("Root={ROOT}"))]),
        "00",
        "of another's id nothing is known"
    );
}

#[test]
fn tracestate_without_traceparent_is_discarded() {
    let world = World::ruled(NEVER);
    for state in ["foo=1", "foo=1,bar=2"] {
        let (_, seen) = ask(&world, &[("tracestate", state)]);
        assert!(seen.values("tracestate").is_empty(), "{state} outlived its trace");
        let (_, seen) = ask(&world, &[("traceparent", "00-bad"), ("tracestate", state)]);
        assert!(seen.values("tracestate").is_empty(), "{state} outlived its trace");
        let (_, seen) = ask(&world, &[("traceparent", VALID), ("traceparent", VALID), ("tracestate", state)]);
        assert!(seen.values("tracestate").is_empty(), "{state} outlived its trace");
    }
}

#[test]
fn tracestate_beside_traceparent_is_inherited_in_its_order() {
    let world = World::ruled(NEVER);
    check_kept(&world, &["foo=1,bar=2"]);
    check_kept(&world, &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"]);
    check_kept(&world, &["foo=1", ""]);
    check_kept(&world, &["", "foo=1"]);
    for name in ["TraceState", "TrAcEsTaTe", "TRACESTATE"] {
        let (_, seen) = ask(&world, &[("traceparent", VALID), (name, "foo=1")]);
        assert_eq!(seen.header("tracestate").as_deref(), Some("foo=1"), "{name}");
    }
    for name in ["trace-state", "trace.state"] {
        let (_, seen) = ask(&world, &[("traceparent", VALID), (name, "foo=1")]);
        assert_eq!(seen.header("tracestate"), None, "{name} is another header");
    }
}

#[test]
fn tracestate_characters_spaces_and_lengths() {
    let world = World::ruled(NEVER);
    let value: String = (b' '..=b'~').map(char::from).filter(|c| !",=".contains(*c)).collect();
    check_kept(&world, &[&format!("abcdefghijklmnopqrstuvwxyz0123456789_-*/={value}")]);
    check_kept(&world, &[&format!("abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z0-9_-*/={value}")]);
    for state in [
        "foo=1 \t , \t bar=2, \t baz=3",
        "foo=1\t \t,\t \tbar=2,\t \tbaz=3",
        " foo=1",
        "foo=1\t",
        "\t foo=1 \t",
    ] {
        check_kept(&world, &[state]);
    }
    for state in ["foo =1", "FOO=1", "foo.bar=1", "@foo=1,bar=2", "foo=bar=baz", "foo=,bar=3", "foo"] {
        check_discarded(&world, &[state]);
    }
    check_kept(&world, &["foo=1", &format!("{}=1", "z".repeat(256))]);
    check_discarded(&world, &["foo=1", &format!("{}=1", "z".repeat(257))]);
    check_kept(&world, &[&format!("a={},b={}", "v".repeat(256), "w".repeat(256))]);
    check_discarded(&world, &[&format!("a={}", "v".repeat(257))]);
}

#[test]
fn tracestate_duplicated_keys_and_too_many_members() {
    let world = World::ruled(NEVER);
    for fields in [&["foo=1,foo=1"][..], &["foo=1,foo=2"], &["foo=1", "foo=1"], &["foo=1", "foo=2"]] {
        check_discarded(&world, fields);
    }
    check_kept(&world, &[&members(1..=10), &members(11..=20), &members(21..=30), &members(31..=32)]);
    check_discarded(&world, &[&members(1..=10), &members(11..=20), &members(21..=30), &members(31..=33)]);
}

#[test]
fn tracestate_beside_x_rays_header_goes_with_the_trace_that_goes_on() {
    let world = World::ruled(NEVER);
    let xray = ("X-Amzn-Trace-Id", &*format!("Root={ROOT};Parent={PARENT};Sampled=0"));
    let state = ("tracestate", "xrsr=0123456789abcdef,vendor=a:b;c");
    let kept = |headers: &[(&str, &str)]| ask(&world, headers).1.values("tracestate") == [state.1];
    assert!(kept(&[xray, ("traceparent", VALID), state]), "both headers");
    assert!(kept(&[xray, state]), "the trace goes on by X-Ray's header alone");
    assert!(!kept(&[xray, ("traceparent", "00-bad"), state]), "the trace of this state could not be read");
    assert!(!kept(&[("X-Amzn-Trace-Id", "Root=bad"), state]), "a new trace");
}

#[test]
fn a_stranger_whose_trace_ends_here_leaves_its_state_here_too() {
    let world = World::start(|options: Options| options.rules(NEVER).args(&["--trust", "none"]));
    let headers = [("traceparent", VALID), ("tracestate", "foo=1")];
    let (carried, seen) = ask(&world, &headers);
    assert_ne!(carried.root[2..].replace('-', ""), TRACE);
    assert_ne!(carried.root, OTHER_ROOT);
    assert!(seen.values("tracestate").is_empty());
}
