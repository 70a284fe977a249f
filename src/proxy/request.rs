//! The life of one request, top to bottom. Read this file first.
//!
//! ```text
//!   1 read      both trace headers, and whether the caller's word counts
//!   2 decide    inherited, ignored, or by the first rule that matches
//!   3 forward   with headers that say the decision, however it was made
//!   4 answer    the application's bytes, or one line that says why there are none
//!   5 close     at the last byte, on error, or when the client goes away   (exchange.rs)
//! ```
//!
//! Nothing here waits for telemetry, takes a lock, or can fail the request because of a trace header.

use super::answers;
use super::body::Watched;
use super::caller::{client, weigh};
use super::connection::{Phase, Progress, Unsaid};
use super::exchange::{Asked, Exchange, is_stream_of_messages};
use super::headers::{self, HeaderAttributes, Peer};
use super::present::{Found, Present};
use super::received::Received;
use super::served::Served;
use super::strict::{self, Refused};
use super::upstream::{Answer, Failed, Gate, Outbound, Reply, Speak, Stall, Upload};
use super::{Worker, tunnel};
use crate::moment::Moment;
use crate::sampling::{Facts, Verdict};
use crate::segment::Hop;
use crate::telemetry::{Refusal, UpstreamError};
use crate::trace::{Arrived, Leaving, Said, SegmentId, TraceId};
use http::header::{CONNECTION, EXPECT, HOST, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

/// One decision in this many is timed: reading the clock costs about as much as deciding.
const TIMED: u64 = 64;

/// Carries one request to the application and its answer back.
///
/// All that can be done at once is done before this returns; what is left for the future is to wait for the answer. So a
/// request in flight holds what its end needs and nothing of its beginning.
pub(super) fn serve(
    worker: &Rc<Worker>,
    peer: &Peer,
    progress: Progress,
    mut request: Request<Received>,
) -> impl Future<Output = Response<Watched>> + use<> {
    let opened = worker.clock.now();
    progress.owe_body(!request.body().is_end_stream());
    let found = Found::of(request.headers());
    let present = found.present;
    if let Err(refused) =
        strict::check(&found, &request).and_then(|()| has_room(worker, progress.is_stream()))
    {
        let response = answers::refuse(worker, &progress, &request, &refused);
        if progress.is_stream() {
            worker.streams.limit(worker, &progress);
        }
        return Served::Refused { response: Some(Box::new(response)) };
    }

    // 1 Read.
    let mut arrived = read(present, request.headers());
    worker.tally.header_read(arrived.format, arrived.reading);
    let chain = present.has(Present::X_FORWARDED_FOR).then(|| headers::forwarded_for(request.headers()));
    let mut chain = chain.into_iter().flatten();
    let nearest = chain.next();
    let disowned = weigh(worker, peer, nearest, &mut arrived, opened);
    let client = client(worker, peer, nearest.into_iter().chain(chain));
    let asked = Asked {
        method: request.method().clone(),
        uri: request.uri().clone(),
        host: found.host.cloned(),
        user_agent: found.user_agent.cloned(),
        client,
        scheme: peer.scheme,
    };

    // 2 Decide.
    let hop = decide(worker, &asked, request.headers(), &arrived, disowned, opened);
    let (trace, sampled) = (hop.trace, hop.verdict.is_sampled());

    // 3 Forward.
    let version = request.version();
    let may_upgrade = present.has(Present::UPGRADE) && worker.pool.can_upgrade();
    let upgrade = may_upgrade.then(|| tunnel::Asked::of(&request)).flatten().map(Box::new);
    let leaving = Leaving {
        trace,
        parent: hop.application,
        sampled,
        extras: &arrived.extras,
        random: arrived.random,
        state: arrived.state,
    };
    prepare(worker, peer, present, &mut request, asked.host.clone(), &leaving, upgrade.as_deref());
    // Boxed: it travels with the answer through many hands, and is as large as the rest of it.
    let mut exchange = Box::new(Exchange::begin(Rc::clone(worker), progress.clone(), asked, hop));
    #[cfg(feature = "fault-switch")]
    crate::fault::strike(request.uri().path());
    let spelling = request.body().take_spelling();
    // Streams have no sweep, and those of gRPC and its like no limit.
    let is_limited = progress.is_stream() && !is_stream_of_messages(present, request.headers());
    if is_limited {
        worker.streams.limit(worker, &progress);
    }
    let (request, gate) = outbound(worker, present, version, request, &progress, is_limited);
    let ready = worker.clock.nanos();
    worker.tally.overhead_request.record(ready.saturating_sub(opened.monotonic_nanos()));
    exchange.hand_over(ready);
    let speak = if upgrade.is_some() { Speak::Http1 } else { Speak::Any };
    let sending = worker.pool.send(request, spelling, gate, speak, worker.tick(), &worker.tally);
    let forwarded = Forwarded {
        worker: Rc::clone(worker),
        progress,
        exchange,
        upgrade,
        version,
        response_trace: (arrived.asked || worker.shared.response_header)
            .then_some((trace, arrived.asked.then_some(sampled))),
    };
    Served::Forwarded { sending, forwarded: Some(forwarded) }
}

/// What a request in flight needs for its answer.
pub(super) struct Forwarded {
    worker: Rc<Worker>,
    progress: Progress,
    exchange: Box<Exchange>,
    upgrade: Option<Box<tunnel::Asked>>,
    version: Version,
    /// For `X-Amzn-Trace-Id` in the response, and the decision if the caller asked for it.
    response_trace: Option<(TraceId, Option<bool>)>,
}

impl Forwarded {
    /// Whether the client has sent nothing of its body for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.progress.unsaid() == Some(Unsaid::Stalled)
    }
}

/// Makes of the application's answer, or of the lack of one, the client's.
pub(super) fn answer(forwarded: Forwarded, reply: Reply) -> Response<Watched> {
    // 4 Answer.
    let Forwarded { worker, progress, mut exchange, upgrade, version, response_trace } = forwarded;
    let refused_upgrade = upgrade.is_some();
    let mut response = match reply {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            return switch(&worker, &progress, exchange, upgrade, version, response);
        }
        Ok(response) => {
            let came = worker.clock.nanos();
            let (mut parts, body) = response.into_parts();
            let found = Found::of(&parts.headers);
            exchange.answer(parts.status.as_u16(), &found, &parts.headers);
            headers::pass_back(found.present, parts.status, &mut parts.headers);
            parts.version = version;
            let response = Response::from_parts(parts, Watched::application(body, exchange));
            worker.tally.overhead_response.record(worker.clock.nanos().saturating_sub(came));
            response
        }
        Err(failed) => match progress.unsaid() {
            Some(unsaid) => return answers::unheard(&worker, exchange, version, unsaid),
            None => answers::instead(&worker, exchange, failed),
        },
    };
    if let Some((trace, decision)) = response_trace
        && let Some(value) = headers::response_value(trace, decision)
    {
        response.headers_mut().insert(headers::X_AMZN_TRACE_ID, value);
    }
    // What a client sent on after an upgrade that was refused is nothing to be read as a request.
    if refused_upgrade || worker.shared.is_draining() {
        close_after(&progress, version, &mut response);
    }
    response
}

/// Announces that the connection ends with this answer.
fn close_after(progress: &Progress, version: Version, response: &mut Response<Watched>) {
    if version == Version::HTTP_2 {
        // What HTTP/2 says instead: streams that are open go on, new ones are for the next connection.
        progress.finish();
    }
    answers::close_http1(version, response);
}

/// Lets a client and the application speak what they agreed on, or says that they did not.
fn switch(
    worker: &Rc<Worker>,
    progress: &Progress,
    mut exchange: Box<Exchange>,
    upgrade: Option<Box<tunnel::Asked>>,
    version: Version,
    response: Response<Answer>,
) -> Response<Watched> {
    let Some(upgrade) = upgrade.filter(|upgrade| upgrade.is_granted_by(response.headers())) else {
        let detail = "it switched protocols unasked".to_owned();
        let mut response =
            answers::instead(worker, exchange, Failed { error: UpstreamError::Protocol, detail });
        // As after every upgrade that came to nothing.
        close_after(progress, version, &mut response);
        return response;
    };
    let found = Found::of(response.headers());
    let present = found.present;
    exchange.answer(response.status().as_u16(), &found, response.headers());
    let chosen = response.headers().get(UPGRADE).cloned();
    let (mut parts, mut answer) = response.into_parts();
    let switched = Watched::switched(&mut answer);
    if let Some(application) = answer.upgrade() {
        upgrade.open(worker, application);
    }
    // The hop ends here: what follows is no HTTP, and may last for days.
    exchange.complete();
    progress.enter(Phase::Tunnel);
    headers::remove_hop_by_hop(present, &mut parts.headers);
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(chosen) = chosen {
        parts.headers.insert(UPGRADE, chosen);
    }
    Response::from_parts(parts, switched)
}

/// The request with its body on the way out, and the gate if the client waits to be asked for it.
fn outbound(
    worker: &Worker,
    present: Present,
    version: Version,
    request: Request<Received>,
    progress: &Progress,
    is_limited: bool,
) -> (Request<Outbound>, Option<Gate>) {
    if request.body().is_end_stream() {
        return (request.map(|_| Outbound::Empty), None);
    }
    let stall = is_limited.then(|| Stall::new(Arc::clone(&worker.tally)));
    let upload = |body| Box::new(Upload::new(body, progress.clone(), stall));
    // RFC 9110 10.1.1: HTTP/1.0 knows no 100.
    let expects = present.has(Present::EXPECT)
        && version != Version::HTTP_10
        && request
            .headers()
            .get_all(EXPECT)
            .iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !expects {
        return (request.map(|body| Outbound::Client(upload(body))), None);
    }
    let gate = Gate::default();
    (request.map(|body| Outbound::gated(upload(body), gate.clone())), Some(gate))
}

/// As many requests as connections, in all workers together: on HTTP/1 that is no limit at all, on HTTP/2 it is one.
fn has_room(worker: &Worker, is_stream: bool) -> Result<(), Refused> {
    let (own, most) = (worker.tally.in_flight.get(), worker.shared.max_connections() as u64);
    // What the others count is far from this core, and of HTTP/1 no more come than there are connections.
    let is_near = is_stream || own >= most / worker.shared.tallies.len().max(1) as u64;
    if !is_near || worker.shared.under_way() < most {
        return Ok(());
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Err(Refused { status, refusal: Refusal::Requests, reason: "too many requests at one time" })
}

/// What a caller says of its trace.
fn read(present: Present, headers: &HeaderMap) -> Arrived {
    if !present.has(Present::X_AMZN_TRACE_ID) && !present.has(Present::TRACEPARENT) {
        return Arrived::read(std::iter::empty(), std::iter::empty());
    }
    Arrived::read(
        headers::fields(headers, &headers::X_AMZN_TRACE_ID),
        headers::fields(headers, &headers::TRACEPARENT),
    )
}

/// The trace of a request that goes no further: the one it came with, or a new one.
pub(super) fn trace_of(worker: &Worker, headers: &HeaderMap) -> TraceId {
    let arrived = read(Found::of(headers).present, headers);
    arrived.trace.unwrap_or_else(|| {
        TraceId::new(worker.clock.now().epoch_seconds(), worker.dice.borrow_mut().roll_trace())
    })
}

/// Opens the hop, decided.
fn decide(
    worker: &Worker,
    asked: &Asked,
    headers: &HeaderMap,
    arrived: &Arrived,
    disowned: Option<TraceId>,
    opened: Moment,
) -> Hop {
    let inherited = match arrived.said {
        Said::Keep => Some(true),
        Said::Drop => Some(false),
        Said::Ask | Said::Nothing => None,
    };
    let mut dice = worker.dice.borrow_mut();
    let mut rules = worker.rules.borrow_mut();
    let mut identity = worker.identity.borrow_mut();
    let identity = identity.load();
    let facts = Facts {
        service_name: identity.name.as_str(),
        service_type: identity.origin.as_deref(),
        host: asked.host(),
        method: asked.method.as_str(),
        path: asked.uri.path(),
        attributes: &HeaderAttributes { headers, user_agent: asked.user_agent.as_ref() },
    };
    let draw = dice.roll();
    // The low bits say whether this decision is timed; the rate looks at the high ones first.
    let started = draw.is_multiple_of(TIMED).then(|| worker.clock.nanos());
    let decision = rules.load().decide(&facts, inherited, draw, opened);
    if let Some(started) = started {
        worker.tally.decision.record(worker.clock.nanos().saturating_sub(started));
    }
    worker.tally.decided_without_rule(decision.verdict);
    if let Some(candidate) = &worker.candidate {
        // The same draw: where both sets say the same, they keep the same requests.
        let verdict = candidate.borrow_mut().load().decide(&facts, inherited, draw, opened).verdict;
        worker.tally.candidate_ignored.add(u64::from(verdict == Verdict::Ignored));
    }
    Hop {
        trace: match arrived.trace {
            Some(trace) => trace,
            None => TraceId::new(opened.epoch_seconds(), dice.roll_trace()),
        },
        id: SegmentId::new(dice.roll()),
        parent: arrived.parent,
        application: SegmentId::new(dice.roll()),
        opened,
        verdict: decision.verdict,
        rule: decision.rule.map(|rule| rule.name.clone()),
        disowned,
        standby: decision.standby.cloned(),
    }
}

/// Makes of the client's request the one that the application gets.
fn prepare(
    worker: &Worker,
    peer: &Peer,
    present: Present,
    request: &mut Request<Received>,
    mut host: Option<HeaderValue>,
    leaving: &Leaving<'_>,
    upgrade: Option<&tunnel::Asked>,
) {
    let takes_trailers = present.has(Present::TE) && headers::takes_trailers(request.headers());
    headers::remove_hop_by_hop(present, request.headers_mut());
    request.headers_mut().reserve(headers::MOST_ADDED);
    if takes_trailers {
        headers::write_takes_trailers(request.headers_mut());
    }
    if let Some(upgrade) = upgrade {
        upgrade.write(request.headers_mut());
    }
    if request.version() == Version::HTTP_2 {
        headers::join_lengths(request.headers_mut());
        if present.has(Present::COOKIE) {
            headers::join_cookies(request.headers_mut());
        }
    }
    if let Some(authority) = request.uri().authority() {
        // RFC 9112 3.2.2: an absolute target wins over Host. In HTTP/2 there is no other.
        if let Ok(authority) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(HOST, authority.clone());
            host = Some(authority);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    } else if host.is_none() {
        // HTTP/1.0 may leave it out; HTTP/1.1, which we speak upstream, may not.
        // The client has not said it, and so nobody is told that it did.
        request.headers_mut().insert(HOST, worker.shared.upstream_authority.clone());
    }
    headers::append_forwarded(present, request.headers_mut(), peer, host);
    headers::write_trace(present, request.headers_mut(), leaving);
    *request.version_mut() = Version::HTTP_11;
}
