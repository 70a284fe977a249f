//! The client side: a pool of connections to the application.
//!
//! ```text
//!   checkout ── pooled and ready ──────────────► send ─► answer's head
//!      └─────── none ─► connect (2 s at most) ─►  │
//!                                                 └ dead, and the request may be repeated: once more, fresh
//! ```
//!
//! Each worker has its own pool, so taking a connection needs no lock. A connection runs in a task of its own. It is
//! kept for [`IDLE_LIMIT`] after use, below the 5 s after which common application servers close theirs; what still
//! turns out to be dead is told apart by whether the request had been written.

use crate::config::Target;
use crate::telemetry::{UpstreamError, WorkerTally};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::{Phase, Progress, Tick};

/// How long an unused connection is kept, in ticks of a second.
const IDLE_LIMIT: Tick = 3;
/// How many unused connections a worker keeps.
const MAX_IDLE: usize = 1024;
/// Between two attempts to reach an application that is not up yet.
const STARTUP_PAUSE: Duration = Duration::from_millis(20);
/// The most that is buffered of an answer's head.
const MAX_BUFFER: usize = 64 * 1024;

/// A request's body on its way out; empty where there is none or the request is sent again.
pub(super) enum Outbound {
    Client(Incoming, Progress),
    Empty,
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Outbound::Client(body, progress) => {
                let polled = Pin::new(body).poll_frame(cx);
                // Being polled means that the application can take more: only now does the client keep us waiting.
                progress.enter(if polled.is_pending() { Phase::Client } else { Phase::Application });
                polled
            }
            Outbound::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outbound::Client(body, _) => body.is_end_stream(),
            Outbound::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outbound::Client(body, _) => body.size_hint(),
            Outbound::Empty => SizeHint::with_exact(0),
        }
    }
}

/// A connection that is in use; goes back into the pool when the answer is complete.
pub(super) struct Lease(SendRequest<Outbound>);

/// What went wrong, in words for the log and the segment.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: UpstreamError,
    pub(super) detail: String,
}

/// One worker's connections to the application.
pub(super) struct Pool {
    target: Target,
    connect_timeout: Duration,
    builder: Builder,
    /// The most recently used last, with the tick of its return.
    idle: RefCell<Vec<(SendRequest<Outbound>, Tick)>>,
    /// The application has answered a connection at least once.
    seen: Cell<bool>,
}

impl Pool {
    pub(super) fn new(target: Target, connect_timeout: Duration, preserve_header_case: bool) -> Pool {
        let mut builder = Builder::new();
        builder.preserve_header_case(preserve_header_case).writev(false).max_buf_size(MAX_BUFFER);
        Pool { target, connect_timeout, builder, idle: RefCell::default(), seen: Cell::new(false) }
    }

    /// Where the connections go.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends one request and waits for the answer's head.
    pub(super) async fn send(
        &self,
        mut request: Request<Outbound>,
        now: Tick,
        tally: &WorkerTally,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
        let mut pooled = self.checkout(now);
        loop {
            let fresh = pooled.is_none();
            let mut sender = match pooled.take() {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            // The copy is made only where a dead connection is to be expected and the request may be repeated.
            let copy = if fresh { None } else { copy_if_repeatable(&request) };
            let mut failed = match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Lease(sender))),
                Err(failed) => failed,
            };
            // Never written, or written to a connection that was already dead: once more, on a fresh one.
            match failed.take_message().or(copy) {
                Some(again) if !fresh => {
                    tally.retries.add(1);
                    request = again;
                }
                _ => return Err(classify(&failed.into_error())),
            }
        }
    }

    /// Takes a connection back whose answer is complete.
    pub(super) fn give_back(&self, lease: Lease, now: Tick) {
        let mut idle = self.idle.borrow_mut();
        if !lease.0.is_closed() && idle.len() < MAX_IDLE {
            idle.push((lease.0, now));
        }
    }

    /// Drops connections that were not used for a while; to be called once a tick.
    pub(super) fn sweep(&self, now: Tick) {
        self.idle
            .borrow_mut()
            .retain(|(sender, since)| !sender.is_closed() && now.saturating_sub(*since) <= IDLE_LIMIT);
    }

    /// The connection that was used last, if it is ready; the warmest is the least likely to be dead.
    fn checkout(&self, now: Tick) -> Option<SendRequest<Outbound>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(position) =
            idle.iter().rposition(|(sender, _)| sender.is_ready() || sender.is_closed())
        {
            let (sender, since) = idle.remove(position);
            if sender.is_ready() && now.saturating_sub(since) <= IDLE_LIMIT {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<SendRequest<Outbound>, Failed> {
        let stream = self.dial().await?;
        self.seen.set(true);
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            self.builder.handshake(TokioIo::new(stream)).await.map_err(|error| classify(&error))?;
        tokio::task::spawn_local(async move {
            // Its errors reach whoever waits for an answer on it.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// Connects within the limit. An application that was never reached may still be starting: it is waited for.
    async fn dial(&self) -> Result<TcpStream, Failed> {
        let deadline = Instant::now() + self.connect_timeout;
        let address = (self.target.host.as_str(), self.target.port);
        loop {
            let error = match timeout_at(deadline, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => {
                    let detail = format!("no connection within {:?}", self.connect_timeout);
                    return Err(Failed { error: UpstreamError::Timeout, detail });
                }
            };
            let starting = error.kind() == ErrorKind::ConnectionRefused && !self.seen.get();
            if !starting || Instant::now() + STARTUP_PAUSE >= deadline {
                let kind = match error.kind() {
                    ErrorKind::ConnectionRefused => UpstreamError::Refused,
                    ErrorKind::TimedOut => UpstreamError::Timeout,
                    ErrorKind::ConnectionReset => UpstreamError::Reset,
                    _ => UpstreamError::Unreachable,
                };
                return Err(Failed { error: kind, detail: error.to_string() });
            }
            sleep(STARTUP_PAUSE).await;
        }
    }
}

/// A copy of a request that may be sent twice: an idempotent method and no body.
fn copy_if_repeatable(request: &Request<Outbound>) -> Option<Request<Outbound>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    if !idempotent || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Outbound::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// hyper's error, in the three words that matter here.
pub(super) fn classify(error: &hyper::Error) -> Failed {
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(error);
    let mut reset = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            reset |= matches!(
                io.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionAborted
            );
        }
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    let kind = if error.is_parse() && !reset { UpstreamError::Protocol } else { UpstreamError::Reset };
    Failed { error: kind, detail }
}
