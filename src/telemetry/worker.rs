//! What one worker counts. Written by that worker alone, read by a scrape.

use super::tally::{DECISION_BOUNDS, DURATION_BOUNDS, Histogram, OVERHEAD_BOUNDS, Tally};
use crate::sampling::Verdict;
use crate::trace::{Format, Reading};
use http::Method;

/// The methods that have a label of their own; the rest are `_OTHER`, as OpenTelemetry has it.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "_OTHER"];

/// The statuses that have a label of their own: those that are registered, and nginx's 499 for a client that left.
pub const STATUSES: [u16; 63] = [
    100, 101, 102, 103, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307,
    308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422,
    423, 424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 0,
];

/// Labels of the statuses that share one, by their first digit.
pub const CLASSES: [&str; 6] = ["_other", "1xx", "2xx", "3xx", "4xx", "5xx"];

const N_STATUS: usize = STATUSES.len() + CLASSES.len();

/// What went wrong on the way to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// Nobody listens.
    Refused,
    /// Connecting, or the wait for an answer, took too long.
    Timeout,
    /// The connection broke before or in the answer.
    Reset,
    /// The answer was no HTTP.
    Protocol,
    /// The address cannot be reached or resolved.
    Unreachable,
    /// No TLS could be agreed on, or the certificate is not the application's.
    Tls,
}

impl UpstreamError {
    /// All, in the order of `UpstreamError::index`.
    pub const ALL: [UpstreamError; 6] = [
        UpstreamError::Refused,
        UpstreamError::Timeout,
        UpstreamError::Reset,
        UpstreamError::Protocol,
        UpstreamError::Unreachable,
        UpstreamError::Tls,
    ];

    /// The value of `collimator-error`, which is also the type of the exception in the segment.
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamError::Refused => "upstream-refused",
            UpstreamError::Timeout => "upstream-timeout",
            UpstreamError::Reset => "upstream-reset",
            UpstreamError::Protocol => "upstream-protocol",
            UpstreamError::Unreachable => "upstream-unreachable",
            UpstreamError::Tls => "upstream-tls",
        }
    }

    /// The label in metrics.
    pub fn reason(self) -> &'static str {
        self.as_str().trim_start_matches("upstream-")
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Which limit turned a client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many connections.
    Connections,
    /// Too many requests at one time.
    Requests,
    /// Something that is not one unambiguous request.
    Malformed,
    /// A head of too many bytes or headers.
    HeadSize,
    /// A head, or a TLS handshake, that took too long.
    SlowHead,
    /// A body that stood still because of the client.
    Stalled,
    /// Frames of HTTP/2 that carry nothing, in great number.
    Flood,
    /// Heads have taken all the memory that is theirs.
    HeadMemory,
    /// More streams of HTTP/2 at one time than a connection may have.
    Streams,
}

impl Refusal {
    /// All, in the order of the discriminants.
    pub const ALL: [Refusal; 9] = [
        Refusal::Connections,
        Refusal::Requests,
        Refusal::Malformed,
        Refusal::HeadSize,
        Refusal::SlowHead,
        Refusal::Stalled,
        Refusal::Flood,
        Refusal::HeadMemory,
        Refusal::Streams,
    ];

    /// The label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Connections => "overloaded",
            Refusal::Requests => "too_many_requests",
            Refusal::Malformed => "malformed",
            Refusal::HeadSize => "head_too_large",
            Refusal::SlowHead => "slow_head",
            Refusal::Stalled => "stalled",
            Refusal::Flood => "flood",
            Refusal::HeadMemory => "head_bytes",
            Refusal::Streams => "streams",
        }
    }
}

/// With whom TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSide {
    /// With clients.
    Inbound,
    /// With the application.
    Upstream,
}

/// What came of a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A connection.
    Done,
    /// Either side refused, or the other spoke no TLS.
    Failed,
    /// It took too long.
    TimedOut,
}

/// Counts and times of one worker, inbound.
#[derive(Debug)]
pub struct WorkerTally {
    requests: Box<[[Tally; N_STATUS]; METHODS.len()]>,
    /// Requests, to their last byte.
    pub duration: Histogram,
    /// Time in our hands before the request was handed over.
    pub overhead_request: Histogram,
    /// Time in our hands after the answer's head had come.
    pub overhead_response: Histogram,
    /// One decision in 64.
    pub decision: Histogram,
    /// Requests not yet answered to the last byte.
    pub in_flight: Tally,
    /// Open client connections.
    pub connections: Tally,
    /// Upgraded connections that are open.
    pub tunnels: Tally,
    /// Bytes that tunnels carried from clients to the application.
    pub tunnel_bytes_in: Tally,
    /// Bytes that tunnels carried from the application to clients.
    pub tunnel_bytes_out: Tally,
    /// Requests sent again on a fresh connection.
    pub retries: Tally,
    /// Caller's decisions that did not count.
    pub trust_refused: Tally,
    /// Kept because the caller said so.
    pub inherited_sampled: Tally,
    /// Not kept because the caller said so.
    pub inherited_dropped: Tally,
    /// Health checks.
    pub ignored: Tally,
    /// Health checks, as the candidate rules see them.
    pub candidate_ignored: Tally,
    /// Requests during which our own code panicked.
    pub panics: Tally,
    refusals: [Tally; Refusal::ALL.len()],
    upstream_errors: [Tally; UpstreamError::ALL.len()],
    handshakes: [[Tally; 3]; 2],
    trace_headers: [[Tally; 4]; 3],
}

impl Default for WorkerTally {
    fn default() -> WorkerTally {
        WorkerTally {
            requests: Box::new(std::array::from_fn(|_| std::array::from_fn(|_| Tally::default()))),
            duration: Histogram::new(&DURATION_BOUNDS),
            overhead_request: Histogram::new(&OVERHEAD_BOUNDS),
            overhead_response: Histogram::new(&OVERHEAD_BOUNDS),
            decision: Histogram::new(&DECISION_BOUNDS),
            in_flight: Tally::default(),
            connections: Tally::default(),
            tunnels: Tally::default(),
            tunnel_bytes_in: Tally::default(),
            tunnel_bytes_out: Tally::default(),
            retries: Tally::default(),
            trust_refused: Tally::default(),
            inherited_sampled: Tally::default(),
            inherited_dropped: Tally::default(),
            ignored: Tally::default(),
            candidate_ignored: Tally::default(),
            panics: Tally::default(),
            refusals: Default::default(),
            upstream_errors: Default::default(),
            handshakes: Default::default(),
            trace_headers: Default::default(),
        }
    }
}

impl WorkerTally {
    /// A request was answered with `status`; 499 stands for a client that left before there was one.
    pub fn answered(&self, method: &Method, status: u16) {
        self.requests[method_index(method)][status_index(status)].add(1);
    }

    /// A limit turned a client away.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].add(1);
    }

    /// How often.
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize].get()
    }

    /// Something failed upstream.
    pub fn upstream_failed(&self, error: UpstreamError) {
        self.upstream_errors[error.index()].add(1);
    }

    /// How often.
    pub fn upstream_errors(&self, error: UpstreamError) -> u64 {
        self.upstream_errors[error.index()].get()
    }

    /// A TLS handshake ended.
    pub fn handshake(&self, side: TlsSide, result: Handshake) {
        self.handshakes[side as usize][result as usize].add(1);
    }

    /// How often, with the words for both.
    pub fn handshakes(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        const SIDES: [&str; 2] = ["inbound", "upstream"];
        const RESULTS: [&str; 3] = ["ok", "failed", "timeout"];
        self.handshakes.iter().zip(SIDES).flat_map(|(row, side)| {
            row.iter().zip(RESULTS).map(move |(tally, result)| (side, result, tally.get()))
        })
    }

    /// A request's trace headers were read.
    pub fn header_read(&self, format: Format, reading: Reading) {
        self.trace_headers[format as usize][reading as usize].add(1);
    }

    /// How often, with the words for both.
    pub fn headers_read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        const FORMATS: [&str; 3] = ["xray", "w3c", "none"];
        const READINGS: [&str; 4] = ["continued", "started", "repaired", "rejected"];
        self.trace_headers.iter().zip(FORMATS).flat_map(|(row, format)| {
            row.iter().zip(READINGS).map(move |(tally, reading)| (format, reading, tally.get()))
        })
    }

    /// A decision that no rule took part in; those of rules are counted with the rule.
    pub fn decided_without_rule(&self, verdict: Verdict) {
        match verdict {
            Verdict::InheritedSampled => self.inherited_sampled.add(1),
            Verdict::InheritedDropped => self.inherited_dropped.add(1),
            Verdict::Ignored => self.ignored.add(1),
            Verdict::Reservoir | Verdict::Rate | Verdict::Dropped => {}
        }
    }

    /// Method, status label and count, of all that is not zero.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        self.requests.iter().zip(METHODS).flat_map(|(row, method)| {
            row.iter().enumerate().filter(|(_, tally)| tally.get() > 0).map(move |(status, tally)| {
                let label = match STATUSES.get(status) {
                    Some(status) => status.to_string(),
                    None => CLASSES[status - STATUSES.len()].to_owned(),
                };
                (method, label, tally.get())
            })
        })
    }
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => 9,
    }
}

fn status_index(status: u16) -> usize {
    // The statuses of nearly all answers come first, so that they need no search.
    match status {
        200 => return 4,
        204 => return 8,
        304 => return 18,
        404 => return 26,
        _ => {}
    }
    match STATUSES.iter().position(|&known| known == status && known != 0) {
        Some(index) => index,
        None => STATUSES.len() + usize::from(status / 100).min(6) % 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_label_and_there_are_few() {
        let tally = WorkerTally::default();
        for status in 0..=u16::MAX {
            tally.answered(&Method::GET, status);
        }
        let labels: Vec<_> = tally.requests().collect();
        assert!(labels.len() <= N_STATUS, "{}", labels.len());
        let count =
            |label: &str| labels.iter().find(|(_, status, _)| status == label).map_or(0, |(.., n)| *n);
        assert_eq!((count("200"), count("204"), count("304"), count("404"), count("599")), (1, 1, 1, 1, 0));
        assert_eq!(count("2xx") + 10, 100);
        assert_eq!(labels.iter().map(|(.., n)| n).sum::<u64>(), 65_536);
    }

    #[test]
    fn handshakes_are_told_by_side_and_result() {
        let tally = WorkerTally::default();
        tally.handshake(TlsSide::Inbound, Handshake::Done);
        tally.handshake(TlsSide::Upstream, Handshake::Failed);
        tally.handshake(TlsSide::Upstream, Handshake::TimedOut);
        tally.handshake(TlsSide::Upstream, Handshake::TimedOut);
        let counted: Vec<_> = tally.handshakes().collect();
        assert_eq!(
            counted,
            [
                ("inbound", "ok", 1),
                ("inbound", "failed", 0),
                ("inbound", "timeout", 0),
                ("upstream", "ok", 0),
                ("upstream", "failed", 1),
                ("upstream", "timeout", 2),
            ]
        );
    }

    #[test]
    fn made_up_methods_share_a_label() {
        let tally = WorkerTally::default();
        for n in 0..1_000 {
            tally.answered(&Method::from_bytes(format!("M{n}").as_bytes()).unwrap(), 200);
        }
        assert_eq!(tally.requests().collect::<Vec<_>>(), [("_OTHER", "200".to_owned(), 1_000)]);
    }
}
