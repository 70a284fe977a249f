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

use super::Worker;
use super::body::Watched;
use super::connection::Progress;
use super::exchange::{Asked, Exchange, host_of};
use super::headers::{self, HeaderAttributes, Peer};
use super::upstream::{Failed, Outbound};
use crate::moment::Moment;
use crate::sampling::trust::Standing;
use crate::sampling::{Facts, Verdict};
use crate::segment::{Client, Hop};
use crate::telemetry::UpstreamError;
use crate::trace::{Arrived, Leaving, Said, SegmentId, TraceId};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use std::rc::Rc;

/// Says why an answer is ours and not the application's.
pub(super) const COLLIMATOR_ERROR: HeaderName = HeaderName::from_static("collimator-error");

/// One decision in this many is timed: reading the clock costs about as much as deciding.
const TIMED: u64 = 64;

/// Carries one request to the application and its answer back.
pub(super) async fn serve(
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    progress: Progress,
    mut request: Request<Incoming>,
) -> Response<Watched> {
    let opened = worker.clock.now();
    if let Err((status, reason)) = check(&request) {
        worker.tally.answered(request.method(), status.as_u16());
        let mut response = ours(status, "bad-request", format!("{reason}\n"));
        // After a doubt about one request, nothing that follows on its connection can be trusted either.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }

    // 1 Read.
    let mut arrived = Arrived::read(
        headers::fields(request.headers(), &headers::X_AMZN_TRACE_ID),
        headers::fields(request.headers(), &headers::TRACEPARENT),
    );
    worker.tally.header_read(arrived.format, arrived.reading);
    let disowned = weigh(&worker, &peer, &request, &mut arrived, opened);

    // 2 Decide.
    let hop = decide(&worker, &request, &arrived, disowned, opened);
    let (trace, sampled) = (hop.trace, hop.verdict.is_sampled());

    // 3 Forward.
    let asked = Asked {
        method: request.method().clone(),
        uri: request.uri().clone(),
        host: request.headers().get(HOST).cloned(),
        user_agent: request.headers().get(USER_AGENT).cloned(),
        client: client(&worker, &peer, &request),
        scheme: peer.scheme,
    };
    let leaving = Leaving {
        trace,
        parent: hop.application,
        sampled,
        extras: &arrived.extras,
        random: arrived.random,
        state: arrived.state,
    };
    prepare(&worker, &peer, &mut request, &leaving);
    let mut exchange = Exchange::begin(Rc::clone(&worker), progress.clone(), asked, hop);
    #[cfg(feature = "fault-switch")]
    crate::fault::strike(request.uri().path());
    let request = request.map(|body| match body.is_end_stream() {
        true => Outbound::Empty,
        false => Outbound::Client(body, progress),
    });
    let ready = worker.clock.nanos();
    worker.tally.overhead_request.record(ready.saturating_sub(opened.monotonic_nanos()));
    exchange.hand_over(ready);
    let sent = worker.pool.send(request, worker.tick(), &worker.tally).await;

    // 4 Answer.
    let mut response = match sent {
        Ok((response, _)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            // Nobody asked: upgrades are not handed on, so there is nothing to switch to.
            let detail = "it switched protocols unasked".to_owned();
            instead(&worker, exchange, Failed { error: UpstreamError::Protocol, detail })
        }
        Ok((response, lease)) => {
            let came = worker.clock.nanos();
            exchange.answer(response.status().as_u16());
            let (mut parts, body) = response.into_parts();
            headers::remove_hop_by_hop(&mut parts.headers);
            parts.version = Version::HTTP_11;
            let response = Response::from_parts(parts, Watched::application(body, lease, exchange));
            worker.tally.overhead_response.record(worker.clock.nanos().saturating_sub(came));
            response
        }
        Err(failed) => instead(&worker, exchange, failed),
    };
    if (arrived.asked || worker.shared.response_header)
        && let Some(value) = headers::response_value(trace, arrived.asked.then_some(sampled))
    {
        response.headers_mut().insert(headers::X_AMZN_TRACE_ID, value);
    }
    if worker.shared.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Refuses what cannot be handed on as exactly one unambiguous request.
fn check(request: &Request<Incoming>) -> Result<(), (StatusCode, &'static str)> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if request.method() == Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "this is a reverse proxy: CONNECT goes nowhere"));
    }
    if host.is_none() && request.version() == Version::HTTP_11 {
        return Err((StatusCode::BAD_REQUEST, "a request of HTTP/1.1 needs a Host header"));
    }
    if hosts.next().is_some() {
        return Err((StatusCode::BAD_REQUEST, "more than one Host header"));
    }
    Ok(())
}

/// Applies the trust policy to what arrived. Returns the Root of a caller that may not name one.
fn weigh(
    worker: &Worker,
    peer: &Peer,
    request: &Request<Incoming>,
    arrived: &mut Arrived,
    now: Moment,
) -> Option<TraceId> {
    let nearest = headers::forwarded_for(request.headers()).next();
    match worker.shared.trust.weigh(peer.address, nearest, arrived.said, now) {
        Standing::Honoured => None,
        Standing::DecisionRefused => {
            worker.tally.trust_refused.add(1);
            arrived.said = Said::Nothing;
            None
        }
        Standing::TraceRefused => {
            worker.tally.trust_refused.add(u64::from(arrived.trace.is_some()));
            arrived.disown()
        }
    }
}

/// Opens the hop, decided.
fn decide(
    worker: &Worker,
    request: &Request<Incoming>,
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
        host: host_of(request.uri(), request.headers().get(HOST)),
        method: request.method().as_str(),
        path: request.uri().path(),
        attributes: &HeaderAttributes(request.headers()),
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

/// Who asked: the nearest address that is not one of ours, as far as the chain before us can be trusted to say it.
fn client(worker: &Worker, peer: &Peer, request: &Request<Incoming>) -> Client {
    let trust = &worker.shared.trust;
    let mut client = Client { address: peer.address, forwarded: false };
    let mut chain = headers::forwarded_for(request.headers());
    while trust.trusts(client.address) {
        let Some(address) = chain.next() else { break };
        client = Client { address, forwarded: true };
    }
    client
}

/// Makes of the client's request the one that the application gets.
fn prepare(worker: &Worker, peer: &Peer, request: &mut Request<Incoming>, leaving: &Leaving<'_>) {
    headers::remove_hop_by_hop(request.headers_mut());
    if let Some(authority) = request.uri().authority() {
        // RFC 9112 3.2.2: an absolute target wins over Host.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        if let Ok(host) = HeaderValue::from_str(host) {
            request.headers_mut().insert(HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    } else if !request.headers().contains_key(HOST) {
        // HTTP/1.0 may leave it out; HTTP/1.1, which we speak upstream, may not.
        request.headers_mut().insert(HOST, worker.shared.upstream_authority.clone());
    }
    headers::append_forwarded(request.headers_mut(), peer);
    headers::write_trace(request.headers_mut(), leaving);
    *request.version_mut() = Version::HTTP_11;
}

/// The answer to a request that the application did not answer.
fn instead(worker: &Worker, mut exchange: Exchange, failed: Failed) -> Response<Watched> {
    let target = worker.pool.target();
    worker.tally.upstream_failed(failed.error);
    let (status, what) = match failed.error {
        UpstreamError::Refused => (StatusCode::BAD_GATEWAY, "refused the connection"),
        UpstreamError::Reset => (StatusCode::BAD_GATEWAY, "broke off before it answered"),
        UpstreamError::Protocol => (StatusCode::BAD_GATEWAY, "answered with something that is not HTTP"),
        UpstreamError::Unreachable => (StatusCode::BAD_GATEWAY, "cannot be reached"),
        UpstreamError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "did not accept the connection in time"),
    };
    let text = format!("upstream {target} {what}: {}\n", failed.detail);
    exchange.answer_instead(status.as_u16(), text.len());
    exchange.fail(&failed);
    ours(status, failed.error.as_str(), text)
}

/// An answer of our own: one line of text and the reason's name.
pub(super) fn ours(status: StatusCode, error: &'static str, text: String) -> Response<Watched> {
    let mut response = Response::new(Watched::ours(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(COLLIMATOR_ERROR, HeaderValue::from_static(error));
    response
}
