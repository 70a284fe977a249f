//! A request on its way to the application, once more if its connection turns out to be dead.
//!
//! ```text
//!   pooled ─► answered ─────────────────────────► reply
//!     │         └ dead, and it may be repeated ─┐
//!   fresh ◄─────────────────────────────────────┘ connects, sends, waits
//! ```
//!
//! Written by hand, as `served` is and for its reason.

use super::dial::Speak;
use super::outbound::{Gate, Outbound};
use super::turn::{self, Turn};
use super::{Failed, Held, Lease, Pool, classify};
use crate::proxy::connection::Tick;
use crate::telemetry::{UpstreamError, WorkerTally};
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

/// The head of the application's answer and the connection it came on, or why there is none.
pub(in crate::proxy) type Reply = Result<(Response<Incoming>, Lease), Failed>;

/// What it takes to send a request on a fresh connection.
pub(super) struct Again {
    pub(super) pool: Rc<Pool>,
    pub(super) tally: Arc<WorkerTally>,
    pub(super) gate: Option<Gate>,
    pub(super) speak: Speak,
    pub(super) now: Tick,
}

/// A request that may be repeated with its connection.
struct Handed {
    held: Held,
    copy: Option<Box<Request<Outbound>>>,
    again: Again,
}

pin_project! {
    /// Waits for the reply.
    #[project = SendingProjected]
    pub(super) enum Sending<S> {
        /// On a connection that may have died in the pool.
        Pooled { #[pin] sent: S, handed: Option<Handed> },
        /// On a fresh one. Boxed: connecting is rare, and every request would have to be as large as it.
        Fresh { reply: Pin<Box<dyn Future<Output = Reply>>> },
    }
}

impl<S> Sending<S> {
    /// A request that was given to a connection, with a copy of it if it may be repeated.
    pub(super) fn pooled(
        sent: S,
        held: Held,
        copy: Option<Box<Request<Outbound>>>,
        again: Again,
    ) -> Sending<S> {
        Sending::Pooled { sent, handed: Some(Handed { held, copy, again }) }
    }

    /// A request that waits for a connection.
    pub(super) fn fresh(request: Request<Outbound>, again: Again) -> Sending<S> {
        Sending::Fresh { reply: Box::pin(again.send(request)) }
    }
}

impl<S: Future<Output = Answered>> Future for Sending<S> {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        loop {
            let (sent, handed) = match self.as_mut().project() {
                SendingProjected::Fresh { reply } => return reply.as_mut().poll(cx),
                SendingProjected::Pooled { sent, handed } => (sent, handed),
            };
            let answered = ready!(sent.poll(cx));
            // Nobody polls it again once it is ready, so this is always there.
            let Some(Handed { held, copy, again }) = handed.take() else { return Poll::Pending };
            let request = match answered {
                Ok(response) => return Poll::Ready(Ok(Lease::new(response, held, again.gate))),
                Err(Lost::Silent(limit)) => return Poll::Ready(Err(silent(limit))),
                // Never written, or written to a connection that was already dead: once more, on a fresh one.
                Err(Lost::Failed(mut failed)) => match failed.take_message().or(copy.map(|copy| *copy)) {
                    Some(request) => request,
                    None => return Poll::Ready(Err(classify(&failed.into_error()))),
                },
            };
            again.tally.retries.add(1);
            self.set(Sending::fresh(request, again));
        }
    }
}

impl Again {
    async fn send(self, request: Request<Outbound>) -> Reply {
        let sender = self.pool.connect(self.now, self.speak, &self.tally).await?;
        let (sent, held) = self.pool.hand(sender, request);
        match sent.await {
            Ok(response) => Ok(Lease::new(response, held, self.gate)),
            Err(Lost::Silent(limit)) => Err(silent(limit)),
            Err(Lost::Failed(failed)) => Err(classify(&failed.into_error())),
        }
    }
}

/// What became of a request that was given to a connection.
pub(super) type Answered = Result<Response<Incoming>, Lost>;

/// Why there is no answer.
#[expect(
    clippy::large_enum_variant,
    reason = "it is looked at where it comes, and the large one is the usual one"
)]
pub(super) enum Lost {
    /// The connection failed; the request is in there if it was never written.
    Failed(TrySendError<Request<Outbound>>),
    /// The application was silent for longer than this. It may yet do what it was asked.
    Silent(Duration),
}

pin_project! {
    /// Waits for an answer's head, by either protocol.
    #[project = SentProjected]
    pub(super) enum Sent<A, B> {
        Http1 { #[pin] sent: A },
        Http2 { #[pin] sent: B },
        /// By either, and not for ever. Boxed, because few set a limit and every request would have to be as large.
        Limited { sent: Pin<Box<dyn Future<Output = Answered>>> },
    }
}

impl<A, B> Future for Sent<A, B>
where
    A: Future<Output = Result<Response<Incoming>, TrySendError<Request<Outbound>>>>,
    B: Future<Output = A::Output>,
{
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        match self.project() {
            SentProjected::Http1 { sent } => sent.poll(cx).map_err(Lost::Failed),
            SentProjected::Http2 { sent } => sent.poll(cx).map_err(Lost::Failed),
            SentProjected::Limited { sent } => sent.as_mut().poll(cx),
        }
    }
}

impl<A, B> Sent<A, B>
where
    A: Future<Output = Result<Response<Incoming>, TrySendError<Request<Outbound>>>> + 'static,
    B: Future<Output = A::Output> + 'static,
{
    /// Waits no longer than this for an application whose turn it is.
    pub(super) fn limited(self, limit: Duration, turn: Option<Rc<Turn>>) -> Sent<A, B> {
        let sent = turn::within(limit, turn, self);
        Sent::Limited { sent: Box::pin(async move { sent.await.unwrap_or(Err(Lost::Silent(limit))) }) }
    }
}

/// A copy of a request that may be sent twice: an idempotent method and no body.
pub(super) fn copy_if_repeatable(request: &Request<Outbound>) -> Option<Request<Outbound>> {
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
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// An application that has nothing to say.
fn silent(limit: Duration) -> Failed {
    let detail = format!("no answer within {limit:?} (setting `response_timeout`)");
    Failed { error: UpstreamError::Timeout, detail }
}
