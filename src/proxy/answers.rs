//! Answers of the sidecar's own: one line of text, and the reason's name in `collimator-error`.

use super::Worker;
use super::body::Watched;
use super::connection::{Progress, STREAM_STALL_LIMIT, Unsaid};
use super::exchange::Exchange;
use super::headers;
use super::received::Received;
use super::request;
use super::strict::Refused;
use super::upstream::Failed;
use crate::http1;
use crate::telemetry::{Refusal, UpstreamError};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode, Version};

/// Says why an answer is ours and not the application's.
const COLLIMATOR_ERROR: HeaderName = HeaderName::from_static("collimator-error");

/// The answer to a request that goes no further.
pub(super) fn refuse(
    worker: &Worker,
    progress: &Progress,
    request: &Request<Received>,
    refused: &Refused,
) -> Response<Watched> {
    worker.tally.answered(request.method(), refused.status.as_u16());
    worker.tally.refused(refused.refusal);
    progress.end();
    let trace = worker.shared.response_header.then(|| request::trace_of(worker, request.headers()));
    let busy = refused.refusal == Refusal::Requests;
    let error = if busy { "overloaded" } else { "bad-request" };
    let mut response = ours(refused.status, error, format!("{}\n", refused.reason));
    if busy {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    } else {
        // After a doubt about one request, nothing that follows on its connection can be trusted either. Streams of
        // HTTP/2 cannot be mistaken for one another.
        close_http1(request.version(), &mut response);
    }
    let value = trace.and_then(|trace| headers::response_value(trace, None));
    response.headers_mut().extend(value.map(|value| (headers::X_AMZN_TRACE_ID, value)));
    response
}

/// The answer to a request that the application did not answer.
pub(super) fn instead(worker: &Worker, mut exchange: Box<Exchange>, failed: Failed) -> Response<Watched> {
    let target = worker.pool.target();
    worker.tally.upstream_failed(failed.error);
    let (status, what) = match failed.error {
        UpstreamError::Refused => (StatusCode::BAD_GATEWAY, "refused the connection"),
        UpstreamError::Reset => (StatusCode::BAD_GATEWAY, "broke off before it answered"),
        UpstreamError::Protocol => (StatusCode::BAD_GATEWAY, "answered with something that is not HTTP"),
        UpstreamError::Unreachable => (StatusCode::BAD_GATEWAY, "cannot be reached"),
        UpstreamError::Tls => (StatusCode::BAD_GATEWAY, "and this sidecar cannot agree on TLS"),
        UpstreamError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "took too long"),
    };
    let text = format!("upstream {target} {what}: {}\n", failed.detail);
    exchange.answer_instead(status.as_u16(), text.len());
    exchange.fail(&failed);
    ours(status, failed.error.as_str(), text)
}

/// The answer to a request whose end the client did not say. If it is gone, nobody will read it.
pub(super) fn unheard(
    worker: &Worker,
    mut exchange: Box<Exchange>,
    version: Version,
    unsaid: Unsaid,
) -> Response<Watched> {
    let (status, error, text) = match unsaid {
        Unsaid::Gone | Unsaid::Malformed => (
            StatusCode::BAD_REQUEST,
            "bad-request",
            "the request's body breaks off or is malformed\n".to_owned(),
        ),
        Unsaid::Stalled => (
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            format!("the request's body stood still for {STREAM_STALL_LIMIT:?}\n"),
        ),
    };
    if unsaid == Unsaid::Malformed {
        worker.tally.refused(Refusal::Malformed);
    }
    if unsaid == Unsaid::Gone {
        // As with every client that leaves first: it is the dropping that is recorded.
        drop(exchange);
    } else {
        exchange.answer_instead(status.as_u16(), text.len());
        exchange.complete();
    }
    let mut response = ours(status, error, text);
    close_http1(version, &mut response);
    response
}

/// Announces that a connection of HTTP/1 ends with this answer; one of HTTP/2 has other ways.
pub(super) fn close_http1(version: Version, response: &mut Response<Watched>) {
    if version != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What is said to who is told that there is no room before anything of him is read as HTTP/1.
pub(super) fn overloaded(reason: &str) -> Vec<u8> {
    let length = reason.len() + 1;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncollimator-error: overloaded\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{reason}\n"
    )
    .into_bytes()
}

/// What is said to who sends something that is no head.
pub(super) fn illegible(error: &http1::Error) -> Response<Watched> {
    let status = match error {
        http1::Error::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    ours(status, "bad-request", format!("{error}\n"))
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
