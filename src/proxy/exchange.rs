//! One request in flight: what must be known when it ends, and the one place where it ends.
//!
//! ```text
//!   begun ─► answered ─► complete      the last byte was handed to the client
//!     │          ├─────► failed        the application broke off
//!     └──────────┴─────► dropped       the client went away
//! ```
//!
//! Each way counts the request, writes the access log and, if the hop is kept or captured after the fact, offers its
//! segment: exactly once, because ending takes the hop out.

use super::Worker;
use super::access::Access;
use super::connection::Progress;
use super::present::{Found, Present};
use super::upstream::{Answer, Failed};
use crate::moment::Moment;
use crate::sampling::rule::RuleName;
use crate::segment::{ApplicationPart, Client, Failure, GrpcStatus, Hop, Outcome, RequestFacts};
use crate::trace::SegmentId;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{HeaderValue, Method, Uri};
use std::rc::Rc;
use std::time::Duration;

/// nginx's status for a client that left before it had an answer; only in metrics and logs.
const CLIENT_CLOSED: u16 = 499;
/// The same for a request that the sidecar did not wait for when it stopped.
const STOPPED: u16 = 503;

const GRPC: &[u8] = b"application/grpc";
const CONNECT_STREAM: &[u8] = b"application/connect+";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What an answer that broke off counts as when it is asked whether it is to be captured.
const BAD_GATEWAY: u16 = 502;

/// What the client asked, kept for the end. Cloning these counts references and copies nothing.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) host: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) client: Client,
    pub(super) scheme: &'static str,
}

impl Asked {
    /// The authority: from the target where it is absolute, else from `Host`; empty if neither is legible.
    pub(super) fn host(&self) -> &str {
        match self.uri.authority() {
            Some(authority) => authority.as_str().rsplit('@').next().unwrap_or_default(),
            None => self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
        }
    }
}

/// A request in flight.
pub(super) struct Exchange {
    worker: Rc<Worker>,
    progress: Progress,
    asked: Asked,
    /// Gone when the exchange has ended.
    hop: Option<Hop>,
    /// When the request was handed over, in nanoseconds of the clock.
    handed: Option<u64>,
    /// What the application answered.
    answered: Option<u16>,
    /// What we answered.
    status: Option<u16>,
    bytes: u64,
    is_grpc: bool,
    grpc_status: Option<GrpcStatus>,
}

impl Exchange {
    pub(super) fn begin(worker: Rc<Worker>, progress: Progress, asked: Asked, hop: Hop) -> Exchange {
        worker.tally.in_flight.add(1);
        progress.begin();
        Exchange {
            worker,
            progress,
            asked,
            hop: Some(hop),
            handed: None,
            answered: None,
            status: None,
            bytes: 0,
            is_grpc: false,
            grpc_status: None,
        }
    }

    /// The request leaves our hands for the application's.
    pub(super) fn hand_over(&mut self, now_nanos: u64) {
        self.handed = Some(now_nanos);
    }

    /// The application's head has come.
    pub(super) fn answer(&mut self, status: u16, found: &Found<'_>, headers: &HeaderMap) {
        self.answered = Some(status);
        self.status = Some(status);
        self.is_grpc = found.content_type.is_some_and(is_grpc);
        // An answer without messages has its status here.
        self.read_grpc_status(headers);
    }

    /// The answer's trailers have come; gRPC says there how it went.
    pub(super) fn read_grpc_status(&mut self, headers: &HeaderMap) {
        if self.is_grpc
            && let Some(status) = headers.get(GRPC_STATUS)
        {
            let number = status.to_str().ok().and_then(|text| text.parse().ok());
            self.grpc_status = Some(number.unwrap_or(GrpcStatus::UNKNOWN));
        }
    }

    /// We answer ourselves, with so many bytes of body.
    pub(super) fn answer_instead(&mut self, status: u16, bytes: usize) {
        self.status = Some(status);
        self.bytes = bytes as u64;
    }

    /// `n` bytes of body are given to the client.
    pub(super) fn count(&mut self, n: usize) {
        self.bytes += n as u64;
        self.progress.gave();
    }

    /// The client has taken what it was given, and the application owes more.
    pub(super) fn caught_up(&self) {
        self.progress.caught_up();
    }

    /// The connection to the application may be used again.
    pub(super) fn give_back(&self, answer: Answer) {
        self.worker.pool.give_back(answer, self.worker.tick());
    }

    /// Ends: everything was handed to the client.
    pub(super) fn complete(mut self: Box<Self>) {
        self.end(None, false);
    }

    /// Ends: the application gave no answer, or broke off within it.
    pub(super) fn fail(mut self: Box<Self>, failed: &Failed) {
        let failure = self.failure(failed.error.as_str(), &failed.detail);
        self.end(Some(failure), false);
    }

    /// As [`Exchange::fail`], for an answer that had begun: counted here, because nobody else will. If the request's body
    /// had broken off before, it is the client that left.
    pub(super) fn break_off(self: Box<Self>, failed: &Failed) {
        if self.progress.unsaid().is_some() {
            return;
        }
        self.worker.tally.upstream_failed(failed.error);
        self.fail(failed);
    }

    fn failure(&self, kind: &'static str, message: &str) -> Failure {
        // After a panic the dice may still be held; ids that are not unique are better than no record.
        let roll = || self.worker.dice.try_borrow_mut().map_or(1, |mut dice| dice.roll());
        Failure { ids: (SegmentId::new(roll()), SegmentId::new(roll())), kind, message: message.to_owned() }
    }

    fn end(&mut self, failure: Option<Failure>, client_closed: bool) {
        let Some(mut hop) = self.hop.take() else { return };
        let worker = &self.worker;
        let nanos = worker.clock.nanos();
        let since = |nanos: u64| Duration::from_nanos(nanos.saturating_sub(hop.opened.monotonic_nanos()));
        let elapsed = since(nanos);
        self.progress.end();
        worker.tally.in_flight.sub(1);
        worker.tally.duration.record(elapsed.as_nanos() as u64);
        let status = self.status.unwrap_or(if client_closed { CLIENT_CLOSED } else { STOPPED });
        worker.tally.answered(&self.asked.method, status);
        let access = Access {
            method: &self.asked.method,
            path: self.asked.uri.path(),
            status,
            elapsed,
            bytes: self.bytes,
            hop: &hop,
            failure: failure.as_ref(),
            client_closed,
        };
        worker.shared.access.write(&access, Moment::new(0, nanos));
        let captured = match hop.standby.take() {
            _ if hop.verdict.is_sampled() => None,
            None => return,
            Some(standby) => {
                // An answer that broke off had a good status in its head, and is a fault all the same.
                let status = self.grpc_status.map_or(status, GrpcStatus::as_http);
                let status = if failure.is_some() { status.max(BAD_GATEWAY) } else { status };
                let Some(captured) = standby.capture(status, elapsed, hop.opened.later(elapsed)) else {
                    return;
                };
                hop.rule = Some(standby.rule.clone());
                Some(captured)
            }
        };
        let outcome = Outcome {
            elapsed,
            status: self.status,
            content_length: self.status.map(|_| self.bytes),
            failure,
            client_closed,
            application: self.handed.map(|handed| ApplicationPart {
                started: since(handed),
                ended: elapsed,
                status: self.answered,
            }),
            captured,
            grpc_status: self.grpc_status,
        };
        let facts = RequestFacts {
            scheme: self.asked.scheme,
            host: match self.asked.host() {
                // As the application was told.
                "" => worker.shared.upstream_authority.to_str().unwrap_or_default(),
                host => host,
            },
            path: self.asked.uri.path(),
            method: self.asked.method.as_str(),
            user_agent: self.asked.user_agent.as_ref().and_then(|value| value.to_str().ok()),
            client: self.asked.client,
        };
        let segment = hop.close(&worker.identity.borrow_mut().load().clone(), &facts, outcome);
        worker.shared.emitter.offer(segment);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Our own fault, and the client is told so: see `caught`.
            self.status = Some(500);
            let failure = self.failure("internal", "the sidecar panicked");
            self.end(Some(failure), false);
        } else if self.hop.is_some() && self.progress.is_stopped() {
            let failure = self.failure("shutdown", "the sidecar stopped before the request had ended");
            self.end(Some(failure), false);
        } else {
            self.end(None, true);
        }
    }
}

/// Whether a message of this type is one of gRPC, in any of its codings.
fn is_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(GRPC)
}

/// Whether a request's body is a stream of messages that may be long in coming: gRPC's, or Connect's, whose calls of one
/// message have other types.
pub(super) fn is_stream_of_messages(present: Present, headers: &HeaderMap) -> bool {
    present.has(Present::CONTENT_TYPE)
        && headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| is_grpc(value) || value.as_bytes().starts_with(CONNECT_STREAM))
}

/// The rule's name, or what stands in metrics and logs where no rule was asked.
pub(super) fn rule_label(rule: Option<&RuleName>) -> &str {
    rule.map_or("_none", RuleName::as_str)
}
