//! A small HTTP client for one address: keeps connections, reads answers whole.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What the services send is a line; more is a mistake.
const MAX_ANSWER: usize = 64 * 1024;
/// Connections kept while idle.
const MAX_IDLE: usize = 32;
/// One exchange, whole.
const LIMIT: Duration = Duration::from_secs(10);

type Sender = SendRequest<Full<Bytes>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests to one address.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    idle: Mutex<Vec<Sender>>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Client {
        Client { address, idle: Mutex::default() }
    }

    /// One request without a body and its answer's status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<StatusCode, BoxError> {
        timeout(LIMIT, self.exchange(method, path, headers)).await?
    }

    async fn exchange(&self, method: Method, path: &str, headers: HeaderMap) -> Result<StatusCode, BoxError> {
        let mut request = Request::builder().method(method).uri(path).body(Full::new(Bytes::new()))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, self.address.to_string().parse()?);
        let mut sender = match self.idle_sender() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        // The sidecar may have closed an idle connection in this very moment; then nothing was sent yet.
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    sender = self.connect().await?;
                    sender.send_request(request).await?
                }
                None => return Err(error.into_error().into()),
            },
        };
        let status = response.status();
        Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
        Ok(status)
    }

    fn idle_sender(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        let at = idle.iter().rposition(Sender::is_ready)?;
        Some(idle.remove(at))
    }

    async fn connect(&self) -> Result<Sender, BoxError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
