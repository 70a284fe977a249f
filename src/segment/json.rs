//! Writes the document.
//!
//! By hand, because it is written on every kept request and its order matters; strings go through serde_json. Every
//! text in it has a limit, so the whole stays far below X-Ray's 64 kB; should an identity from outside be so large
//! that it does not, the `aws` block of where it runs is left out and an annotation says so.

use super::{Annotation, ApplicationPart, Failure, Flags, MAX_MESSAGE, MAX_TEXT, Segment};
use crate::moment::Moment;
use crate::trace::SegmentId;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// X-Ray's limit for one document, in bytes; below what a UDP datagram carries (65,507 with the header line).
pub const MAX_DOCUMENT: usize = 64_000;

pub(super) fn write(segment: &Segment, out: &mut Vec<u8>) {
    let start = out.len();
    whole(segment, true, out);
    if out.len() - start > MAX_DOCUMENT {
        out.truncate(start);
        whole(segment, false, out);
    }
}

fn whole(segment: &Segment, with_aws: bool, out: &mut Vec<u8>) {
    let outcome = &segment.outcome;
    let ended = outcome.elapsed;
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(&segment.id.to_hex());
    out.extend_from_slice(b"\",\"name\":");
    text(segment.identity.name.as_str(), out);
    out.extend_from_slice(b",\"trace_id\":\"");
    out.extend_from_slice(&segment.trace.to_xray());
    out.push(b'"');
    times(segment.opened, Duration::ZERO, ended, out);
    if let Some(parent) = segment.parent {
        out.extend_from_slice(b",\"parent_id\":\"");
        out.extend_from_slice(&parent.to_hex());
        out.push(b'"');
    }
    if let Some(origin) = &segment.identity.origin {
        out.extend_from_slice(b",\"origin\":");
        text(origin, out);
    }
    http(segment, out);
    flags(Flags::new(outcome.judged(outcome.status), outcome.failure.is_some()), out);
    if let Some(failure) = &outcome.failure {
        cause(failure, failure.ids.0, out);
    }
    aws(segment, with_aws, out);
    annotations(segment, with_aws, out);
    if let Some(part) = outcome.application {
        application(segment, part, out);
    }
    out.push(b'}');
}

fn http(segment: &Segment, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"http\":{\"request\":{\"method\":");
    text(&segment.method, out);
    out.extend_from_slice(b",\"url\":");
    text(&segment.url, out);
    if let Some(user_agent) = &segment.user_agent {
        out.extend_from_slice(b",\"user_agent\":");
        text(user_agent, out);
    }
    out.extend_from_slice(b",\"client_ip\":\"");
    address(segment.client.address, out);
    out.push(b'"');
    if segment.client.forwarded {
        out.extend_from_slice(b",\"x_forwarded_for\":true");
    }
    out.push(b'}');
    if let Some(status) = segment.outcome.status {
        out.extend_from_slice(b",\"response\":{\"status\":");
        number(status, out);
        if let Some(length) = segment.outcome.content_length {
            out.extend_from_slice(b",\"content_length\":");
            number(length, out);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn aws(segment: &Segment, with_place: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"aws\":{");
    if with_place {
        for (name, block) in &segment.identity.aws {
            text(name, out);
            out.push(b':');
            json(block, out);
            out.push(b',');
        }
    }
    out.extend_from_slice(
        concat!("\"xray\":{\"sdk\":\"collimator\",\"sdk_version\":\"", env!("CARGO_PKG_VERSION"), "\"")
            .as_bytes(),
    );
    out.extend_from_slice(b",\"auto_instrumentation\":true");
    if let Some(rule) = &segment.rule {
        out.extend_from_slice(b",\"sampling_rule_name\":");
        text(rule.as_str(), out);
    }
    out.extend_from_slice(b"}}");
}

fn annotations(segment: &Segment, complete: bool, out: &mut Vec<u8>) {
    if segment.annotations.is_empty() && complete {
        return;
    }
    out.extend_from_slice(b",\"annotations\":{");
    let truncated = (!complete).then_some(("truncated", Annotation::Flag(true)));
    for (n, (key, value)) in segment.annotations.iter().chain(&truncated).enumerate() {
        put(out, format_args!("{}\"{key}\":", if n > 0 { "," } else { "" }));
        match value {
            Annotation::Flag(flag) => put(out, format_args!("{flag}")),
            Annotation::Text(value) => text(first(value, MAX_TEXT), out),
        }
    }
    out.push(b'}');
}

/// The application's part. No namespace: it is work inside the service, not a node of its own.
fn application(segment: &Segment, part: ApplicationPart, out: &mut Vec<u8>) {
    let outcome = &segment.outcome;
    out.extend_from_slice(b",\"subsegments\":[{\"id\":\"");
    out.extend_from_slice(&segment.application_id.to_hex());
    out.extend_from_slice(b"\",\"name\":\"application\"");
    times(segment.opened, part.started, part.ended, out);
    if let Some(status) = part.status {
        out.extend_from_slice(b",\"http\":{\"response\":{\"status\":");
        number(status, out);
        out.extend_from_slice(b"}}");
    }
    flags(Flags::new(outcome.judged(part.status), outcome.failure.is_some()), out);
    if let Some(failure) = &outcome.failure {
        cause(failure, failure.ids.1, out);
    }
    out.extend_from_slice(b"}]");
}

/// Both ends are computed from one reading of the wall clock, so the end is never before the start.
fn times(opened: Moment, from: Duration, to: Duration, out: &mut Vec<u8>) {
    let (from, to) = (opened.wall_micros_after(from), opened.wall_micros_after(to));
    out.extend_from_slice(b",\"start_time\":");
    seconds(from, out);
    out.extend_from_slice(b",\"end_time\":");
    seconds(to, out);
}

/// Microseconds as seconds, with all six digits.
fn seconds(micros: u64, out: &mut Vec<u8>) {
    const SECOND: u64 = 1_000_000;
    number(micros / SECOND, out);
    let dot = out.len();
    // A second more keeps the zeros in front, and its digit's place is the dot's.
    number(micros % SECOND + SECOND, out);
    out[dot] = b'.';
}

fn flags(flags: Flags, out: &mut Vec<u8>) {
    for (name, set) in [("error", flags.error), ("throttle", flags.throttle), ("fault", flags.fault)] {
        if set {
            put(out, format_args!(",\"{name}\":true"));
        }
    }
}

fn cause(failure: &Failure, id: SegmentId, out: &mut Vec<u8>) {
    put(
        out,
        format_args!(
            ",\"cause\":{{\"exceptions\":[{{\"id\":\"{id}\",\"type\":\"{}\",\"message\":",
            failure.kind
        ),
    );
    text(first(&failure.message, MAX_MESSAGE), out);
    out.extend_from_slice(b",\"remote\":true}]}");
}

/// The first `limit` characters.
fn first(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(end, _)| &text[..end])
}

fn text(text: &str, out: &mut Vec<u8>) {
    json(text, out);
}

/// Writing to a vector cannot fail, and strings and values of serde_json always serialize.
fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

/// What `format_args!` would write, in a tenth of the instructions: numbers are half of what a document costs.
fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(v4) = address else { return put(out, format_args!("{address}")) };
    for (n, octet) in v4.octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        number(octet, out);
    }
}

fn put(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
}
