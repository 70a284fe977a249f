//! A request on its way, until the head of its answer or until it is sure that there will be none.
//!
//! ```text
//!   pooled ─► answered ─────────────────────────► reply
//!     │         └ dead, and it may be repeated ─┐
//!   fresh ◄─────────────────────────────────────┘ connects, sends, waits
//! ```
//!
//! Written out and not `async`: a block would hold what it waits for once where it was given and once more where it is
//! polled, and hyper keeps the room for this future for as long as a client's connection is open.

use super::outbound::{Gate, Outbound};
use super::turn::{self, Silent, Turn};
use super::wire::Memory;
use super::{Failed, Held, Lease, Pool, Sender, Speak, Tick, classify};
use crate::telemetry::WorkerTally;
use http::{Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The head of the application's answer and the connection it comes on, or why there is none.
pub(in crate::proxy) type Reply = Result<(Response<Incoming>, Lease), Failed>;

pin_project! {
    /// Waits for an answer's head, and sends once more what may be sent once more.
    #[project = SendingProjected]
    pub(super) enum Sending<S> {
        /// On a connection that may have died in the pool.
        Pooled { #[pin] sent: S, rest: Option<Rest> },
        /// On a fresh one, once there is one. Boxed: connecting is rare.
        Fresh { sent: Pin<Box<dyn Future<Output = Result<(Response<Incoming>, Held), Failed>>>>, gate: Option<Gate> },
    }
}

/// What a request on a pooled connection needs for its end.
pub(super) struct Rest {
    pub(super) held: Held,
    pub(super) repeat: Repeat,
    pub(super) again: Again,
}

/// Whether a request may be sent twice, and who can say it again.
pub(super) enum Repeat {
    Never,
    /// The connection of HTTP/1 itself remembers it.
    Remembered,
    /// One of HTTP/2 carries many, and remembers none.
    Copied(Box<Request<Outbound>>),
}

impl Repeat {
    /// Sees to it that the request that is about to be sent on this connection can be sent again, if it may be.
    pub(super) fn of(request: &Request<Outbound>, sender: &Sender) -> Repeat {
        match sender {
            _ if !is_repeatable(request) => Repeat::Never,
            Sender::Http1(http1) => {
                http1.memory.arm();
                Repeat::Remembered
            }
            Sender::Http2(..) => Repeat::Copied(Box::new(copy(request))),
        }
    }
}

/// What it takes to send a request on a fresh connection.
pub(super) struct Again {
    pub(super) pool: Rc<Pool>,
    pub(super) gate: Option<Gate>,
    pub(super) speak: Speak,
    pub(super) now: Tick,
    pub(super) tally: Arc<WorkerTally>,
}

impl<S> Sending<S> {
    pub(super) fn fresh(request: Request<Outbound>, again: Again) -> Sending<S> {
        let Again { pool, gate, speak, now, tally } = again;
        Sending::Fresh { sent: Box::pin(pool.send_fresh(request, speak, now, tally)), gate }
    }

    fn retry(request: Request<Outbound>, again: Again) -> Sending<S> {
        again.tally.retries.add(1);
        Sending::fresh(request, again)
    }

    /// Sends what a connection that failed remembers, or fails as it did.
    fn from_memory(memory: Memory, failed: Failed, again: Again) -> Sending<S> {
        let Again { pool, gate, tally, .. } = again;
        Sending::Fresh { sent: Box::pin(pool.send_again(memory, failed, tally)), gate }
    }
}

impl<S: Future<Output = Result<Answered, Silent>>> Future for Sending<S> {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let SendingProjected::Pooled { sent, rest } = self.as_mut().project() {
            let sent = ready!(sent.poll(cx));
            // It is there until the answer is.
            let Some(Rest { held, repeat, again }) = rest.take() else { return Poll::Pending };
            let mut failed = match sent {
                Ok(Ok(response)) => return Poll::Ready(Ok(Lease::new(response, held, again.gate))),
                // It may yet do what it was asked: to ask again could do it twice.
                Err(silent) => return Poll::Ready(Err(silent.into())),
                Ok(Err(failed)) => failed,
            };
            // Never written, or written to a connection that was already dead: once more, on a fresh one.
            let request = failed.take_message();
            match (request, repeat, held) {
                (Some(request), ..) => self.set(Sending::retry(request, again)),
                (None, Repeat::Copied(request), _) => self.set(Sending::retry(*request, again)),
                (None, Repeat::Remembered, Held::Http1(http1)) => {
                    let failed = classify(&failed.into_error());
                    self.set(Sending::from_memory(http1.memory, failed, again));
                }
                (None, ..) => return Poll::Ready(Err(classify(&failed.into_error()))),
            }
        }
        match self.project() {
            SendingProjected::Pooled { .. } => Poll::Pending,
            SendingProjected::Fresh { sent, gate } => {
                let (response, held) = ready!(sent.as_mut().poll(cx))?;
                Poll::Ready(Ok(Lease::new(response, held, gate.take())))
            }
        }
    }
}

/// What hyper makes of a request: an answer's head, or an error, with the request in it if it was never written.
pub(super) type Answered = Result<Response<Incoming>, TrySendError<Request<Outbound>>>;

pin_project! {
    /// Waits for an answer's head, by either protocol.
    #[project = SentProjected]
    pub(super) enum Sent<A, B> {
        Http1 { #[pin] sent: A },
        Http2 { #[pin] sent: B },
        /// By either, and not for ever. Boxed, because few set a limit and every request would have to be as large.
        Limited { sent: Pin<Box<dyn Future<Output = Result<Answered, Silent>>>> },
    }
}

impl<A, B> Future for Sent<A, B>
where
    A: Future<Output = Answered>,
    B: Future<Output = Answered>,
{
    type Output = Result<Answered, Silent>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            SentProjected::Http1 { sent } => sent.poll(cx).map(Ok),
            SentProjected::Http2 { sent } => sent.poll(cx).map(Ok),
            SentProjected::Limited { sent } => sent.as_mut().poll(cx),
        }
    }
}

impl<A, B> Sent<A, B>
where
    A: Future<Output = Answered> + 'static,
    B: Future<Output = Answered> + 'static,
{
    /// Waits no longer than this for an application whose turn it is.
    pub(super) fn limited(self, limit: Duration, turn: Option<Rc<Turn>>) -> Sent<A, B> {
        // What it waits for has no limit yet.
        let sent = async move { turn::within(limit, turn, self).await? };
        Sent::Limited { sent: Box::pin(sent) }
    }
}

/// Whether a request may be sent twice: an idempotent method and no body.
fn is_repeatable(request: &Request<Outbound>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    idempotent && request.body().is_end_stream()
}

fn copy(request: &Request<Outbound>) -> Request<Outbound> {
    let mut copy = Request::new(Outbound::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}
