//! Serves the page on loopback: GET only, for this host only.

use super::{DemoError, World};
use crate::console::{self, Answer, SECURITY_HEADERS};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How many ports are tried.
const PORTS: u16 = 20;

/// Listens on `wished` or the next free port, and answers until the process ends. Returns where.
pub(super) async fn serve(wished: SocketAddr, world: Arc<World>) -> Result<SocketAddr, DemoError> {
    if !wished.ip().is_loopback() {
        return Err(DemoError::NotLoopback(wished));
    }
    let listener = bind(wished).await.map_err(|error| DemoError::Page(wished, error))?;
    let address = listener.local_addr().map_err(|error| DemoError::Page(wished, error))?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::spawn(async move {
        while let Ok(place) = places.clone().acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let world = world.clone();
            let service = service_fn(move |request| answer(request, world.clone(), address.port()));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
            let connection = server.serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _ = connection.await;
                drop(place);
            });
        }
    });
    Ok(address)
}

async fn bind(wished: SocketAddr) -> Result<TcpListener, std::io::Error> {
    let mut address = wished;
    for _ in 1..PORTS {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => match address.port().checked_add(1) {
                Some(next) => address.set_port(next),
                None => break,
            },
            bound => return bound,
        }
    }
    TcpListener::bind(address).await
}

async fn answer(
    request: Request<Incoming>,
    world: Arc<World>,
    port: u16,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_this_host(host, port) {
        return Ok(plain(StatusCode::FORBIDDEN, "this page answers to localhost and 127.0.0.1 only\n"));
    }
    if request.method() != Method::GET {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"));
    }
    let (parts, _) = request.into_parts();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().map(str::to_owned));
    // A full store takes tens of milliseconds to draw: not on the thread that also plays the services.
    let found = tokio::task::spawn_blocking(move || console::answer(&path, query.as_deref(), &*world)).await;
    let known = parts.headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    Ok(match found {
        Ok(Some(found)) => respond(found, known),
        Ok(None) => plain(StatusCode::NOT_FOUND, "no such page\n"),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n"),
    })
}

fn respond(answer: Answer, known: Option<&str>) -> Response<Full<Bytes>> {
    let fresh = answer.is_known(known);
    let mut response = Response::new(Full::new(if fresh { Bytes::new() } else { answer.body }));
    *response.status_mut() = if fresh { StatusCode::NOT_MODIFIED } else { answer.status };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(answer.cache_control));
    if let Ok(etag) = HeaderValue::try_from(answer.etag) {
        headers.insert(ETAG, etag);
    }
    secure(response)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    secure(response)
}

fn secure(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Loopback alone does not stop a page elsewhere whose name was made to resolve to it.
fn is_this_host(host: &str, port: u16) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, said)) if said == port.to_string() => name,
        _ if port == 80 => host,
        _ => return false,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_answered() {
        for host in ["localhost:9901", "LOCALHOST:9901", "127.0.0.1:9901", "[::1]:9901"] {
            assert!(is_this_host(host, 9901), "{host}");
        }
        for host in ["", "localhost", "localhost:80", "evil.test:9901", "127.0.0.1.evil.test:9901", "[::1]"] {
            assert!(!is_this_host(host, 9901), "{host}");
        }
    }
}
