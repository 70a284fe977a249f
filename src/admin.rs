//! The two ports that are not for traffic.
//!
//! ```text
//!   metrics  0.0.0.0:9464     /metrics /livez /readyz /live /ready        and nothing else
//!   admin    127.0.0.1:9901   the same, and /status /rules /config, the page,
//!                             POST /reload /drain /log-level /shutdown /explain
//! ```
//!
//! GET never changes anything. On the admin port `Host` must be this host's own name: loopback alone does not stop a web page
//! from asking a name that it has pointed at 127.0.0.1.

use crate::control::Control;
use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH, ORIGIN,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Connections at once, on each of the two ports; the oldest makes room for another.
const MAX_CONNECTIONS: usize = 64;
/// How long a head may take, and a connection stay idle.
const LIMIT: Duration = Duration::from_secs(10);
/// What is kept of a head, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The largest body of a POST, in bytes.
const MAX_BODY: usize = 1024;
/// The largest body of a request to be explained, in bytes.
const MAX_EXPLAIN: usize = 64 * 1024;
/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Which of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// For scrapers and kubelets.
    Metrics,
    /// For the operator.
    Admin,
}

/// Answers on one port until the process ends.
pub async fn serve(listener: TcpListener, port: Port, control: Arc<Control>) {
    let mut open = VecDeque::<AbortHandle>::with_capacity(MAX_CONNECTIONS);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(LIMIT).max_buf_size(MAX_HEAD);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let reached = stream.local_addr().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            // Or whoever holds connections would keep the kubelet from asking whether we are ready.
            oldest.abort();
        }
        let control = Arc::clone(&control);
        let service = service_fn(move |request| {
            let control = Arc::clone(&control);
            async move { Ok::<_, Infallible>(answer(port, reached, &control, request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service);
        open.push_back(tokio::spawn(connection).abort_handle());
    }
}

async fn answer(
    port: Port,
    reached: IpAddr,
    control: &Control,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if port == Port::Admin && !is_own_host(&request, reached) {
        return text(
            StatusCode::FORBIDDEN,
            "the Host header names another host; use 127.0.0.1 or localhost\n",
        );
    }
    let reading = request.method() == Method::GET || request.method() == Method::HEAD;
    match (port, request.uri().path()) {
        (_, "/metrics") if reading => reply(StatusCode::OK, METRICS_TYPE, control.metrics().into()),
        (_, "/livez" | "/live") if reading => text(StatusCode::OK, "ok\n"),
        (_, "/readyz" | "/ready") if reading => match control.is_ready() {
            true => text(StatusCode::OK, "ok\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        (Port::Metrics, _) => text(StatusCode::NOT_FOUND, "only /metrics, /livez and /readyz are here\n"),
        (Port::Admin, _) => admin(control, reading, request).await,
    }
}

async fn admin(control: &Control, reading: bool, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    match path {
        "/reload" | "/drain" | "/log-level" | "/shutdown" | "/explain"
            if request.method() != Method::POST =>
        {
            not_allowed("POST")
        }
        "/reload" | "/drain" | "/log-level" | "/shutdown" | "/explain" if !is_same_origin(&request) => {
            text(StatusCode::FORBIDDEN, "the Origin header names another site\n")
        }
        "/reload" => {
            let (succeeded, report) = control.reload().await;
            let status = if succeeded { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            text(status, &report)
        }
        "/drain" => {
            control.drain();
            text(StatusCode::OK, "draining: /readyz fails and answers say `Connection: close`\n")
        }
        "/shutdown" => {
            control.shut_down();
            text(StatusCode::OK, "stopping\n")
        }
        "/explain" => explain(control, request).await,
        "/log-level" => {
            let from_query =
                request.uri().query().and_then(|query| query.strip_prefix("level=")).map(str::to_owned);
            let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
            let body =
                body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
            let level = from_query.unwrap_or(body);
            match control.set_log_level(level.trim()) {
                true => text(StatusCode::OK, "ok\n"),
                false => text(StatusCode::BAD_REQUEST, "send one of error, warn, info, debug, trace\n"),
            }
        }
        _ if !reading => not_allowed("GET, HEAD"),
        "/status" => json(&control.status()),
        "/rules" => json(&control.rules()),
        "/config" => json(&control.config()),
        _ => match control.page(path, request.uri().query()) {
            Some(page) => {
                let asked = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
                let mut response = match page.is_known(asked) {
                    true => reply(StatusCode::NOT_MODIFIED, page.content_type, Bytes::new()),
                    false => reply(page.status, page.content_type, page.body),
                };
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(page.cache_control));
                headers.extend(HeaderValue::try_from(page.etag).ok().map(|etag| (ETAG, etag)));
                response
            }
            None => text(StatusCode::NOT_FOUND, "see /, /status, /rules, /config and /metrics\n"),
        },
    }
}

/// Says which rule would decide a request; as text if that is asked for, else as JSON.
async fn explain(control: &Control, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_text = accept.trim_start().starts_with("text/plain");
    let Ok(body) = Limited::new(request.into_body(), MAX_EXPLAIN).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "send at most 64 KiB\n");
    };
    match control.explain(&body.to_bytes()) {
        Ok(explanation) if wants_text => text(StatusCode::OK, &explanation.text()),
        Ok(explanation) => json(&explanation.json()),
        Err(problem) => text(StatusCode::BAD_REQUEST, &format!("{problem}\n")),
    }
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allowed}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    reply(StatusCode::OK, JSON, format!("{value:#}\n").into())
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    reply(status, TEXT, Bytes::copy_from_slice(text.as_bytes()))
}

fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in crate::console::SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `localhost`, an address of it, or the one where the client reached us, with any port: a port forwarded from elsewhere is
/// still this host, and a name that a stranger controls is neither.
fn is_own_host(request: &Request<Incoming>, reached: IpAddr) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) => is_own_name(host, reached),
        _ => false,
    }
}

fn is_own_name(host: &str, reached: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_own = |address: IpAddr| address.is_loopback() || address == reached.to_canonical();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_own)
}

/// A browser says where a POST comes from; curl says nothing.
fn is_same_origin(request: &Request<Incoming>) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return true };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_answered() {
        let reached = IpAddr::from([10, 0, 0, 7]);
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1:9901",
            "[::1]:9901",
            "[::1]",
            "10.0.0.7:9901",
            "10.0.0.7",
        ] {
            assert!(is_own_name(host, reached), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[x]",
            "10.0.0.8:9901",
            "169.254.169.254",
            "[2001:db8::1]",
        ] {
            assert!(!is_own_name(host, reached), "{host}");
        }
    }
}
