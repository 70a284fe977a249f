//! One bounded exchange over plain HTTP: for the health check, for metadata services, for a sidecar's own admin port.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::request::Builder;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// The most that is read of an answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is not `http://host[:port]/path`.
    #[error("`{0}` is not an address of plain HTTP")]
    Address(String),
    /// No whole answer within the limit.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Nobody there.
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    /// The conversation failed.
    #[error("{0}")]
    Http(String),
    /// The answer is not 2xx; its first bytes are kept.
    #[error("answered {0}: {1}")]
    Status(u16, String),
}

/// GETs `address` within `limit`; at most 1 MiB of a 2xx answer.
pub async fn get(address: &str, limit: Duration) -> Result<Bytes, FetchError> {
    tokio::time::timeout(limit, exchange(address, Request::get("/"), Bytes::new()))
        .await
        .map_err(|_| FetchError::Timeout(limit))?
}

/// POSTs `body` to `address` within `limit` and asks for an answer of the type `accept`; at most 1 MiB of a 2xx answer.
pub async fn post_json(
    address: &str,
    body: &serde_json::Value,
    accept: &str,
    limit: Duration,
) -> Result<Bytes, FetchError> {
    let request = Request::post("/").header(CONTENT_TYPE, "application/json").header(ACCEPT, accept);
    let exchange = exchange(address, request, body.to_string().into());
    tokio::time::timeout(limit, exchange).await.map_err(|_| FetchError::Timeout(limit))?
}

/// The same, as JSON.
pub async fn json(address: &str, limit: Duration) -> Result<serde_json::Value, FetchError> {
    serde_json::from_slice(&get(address, limit).await?).map_err(|error| FetchError::Http(error.to_string()))
}

async fn exchange(address: &str, request: Builder, body: Bytes) -> Result<Bytes, FetchError> {
    let bad = || FetchError::Address(address.to_owned());
    let http = |error: &dyn std::fmt::Display| FetchError::Http(error.to_string());
    let uri: Uri = address.parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    if uri.scheme_str() != Some("http") {
        return Err(bad());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| http(&error))?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = request
        .uri(path)
        .header(HOST, authority.as_str())
        .body(Full::new(body))
        .map_err(|error| http(&error))?;
    let response = sender.send_request(request).await.map_err(|error| http(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| http(&error))?
        .to_bytes();
    connection.abort();
    if status.is_success() {
        return Ok(body);
    }
    let first: String =
        String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
    Err(FetchError::Status(status.as_u16(), first))
}
