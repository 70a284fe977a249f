//! A request on its way, until the head of its answer or until it is sure that there will be none.
//!
//! ```text
//!   pooled ─► answered ─────────────────────────► reply
//!     │         └ dead, and it may be repeated ─┐
//!   fresh ◄─────────────────────────────────────┘ connects, sends, waits
//! ```
//!
//! Written out and not `async`: a block would hold what it waits for once where it was given and once more where it is
//! polled, and a client's connection keeps the room for this future for as long as it is open.

use super::answer::{Answer, Source};
use super::outbound::{Gate, Outbound};
use super::turn::{Silent, Turn, silence};
use super::{Failed, Place, Pool, Speak, Tick, classify};
use crate::http1::{self, Spelling, client};
use crate::proxy::received::{BrokenOff, http2_cause};
use crate::proxy::stream::Stream;
use crate::telemetry::WorkerTally;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The application's answer, or why there is none.
pub(in crate::proxy) type Reply = Result<Response<Answer>, Failed>;

/// What is waited for in one place, whatever it is.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// A request that was not answered on a connection of HTTP/2, with the error.
pub(super) type Unsent = Box<TrySendError<Request<Outbound>>>;

/// A call on a connection of HTTP/1.
pub(super) type Call = client::Call<Stream, Outbound>;

/// Waits for an answer's head, and sends once more what may be sent once more.
pub(super) enum Sending {
    /// On a connection that may have died in the pool.
    Pooled { sent: Sent, again: Option<Again> },
    /// On a fresh one, once there is one. Boxed: connecting is rare.
    Fresh { sent: Boxed<Result<Response<Source>, Failed>>, gate: Option<Gate> },
}

/// What it takes to send a request on a fresh connection.
pub(super) struct Again {
    pub(super) pool: Rc<Pool>,
    pub(super) gate: Option<Gate>,
    pub(super) speak: Speak,
    pub(super) now: Tick,
    pub(super) tally: Arc<WorkerTally>,
    /// How the names in the head of the request were spelled.
    pub(super) spelling: Option<Spelling>,
}

impl Sending {
    pub(super) fn fresh(request: Request<Outbound>, again: Again) -> Sending {
        let Again { pool, gate, speak, now, tally, spelling } = again;
        Sending::Fresh { sent: Box::pin(pool.send_fresh(request, spelling, speak, now, tally)), gate }
    }

    /// Never written, or written to a connection that was already dead: once more, on a fresh one.
    fn once_more(unanswered: Unanswered, again: Again) -> Result<Sending, Failed> {
        match unanswered {
            Unanswered::Http1 { error, call, limit }
                if !matches!(error, http1::Error::BrokeOff) && call.can_be_repeated() =>
            {
                let Again { pool, gate, tally, .. } = again;
                tally.retries.add(1);
                Ok(Sending::Fresh { sent: Box::pin(pool.repeat(call, limit, tally)), gate })
            }
            Unanswered::Http2 { mut failed, copy } => {
                let copy = copy.filter(|_| may_have_died(failed.error()));
                match failed.take_message().or(copy.map(|copy| *copy)) {
                    Some(request) => {
                        again.tally.retries.add(1);
                        Ok(Sending::fresh(request, again))
                    }
                    None => Err(Unanswered::Http2 { failed, copy: None }.into()),
                }
            }
            // If it was silent, it may yet do what it was asked: to ask again could do it twice.
            unanswered => Err(unanswered.into()),
        }
    }
}

impl Future for Sending {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        if let Sending::Pooled { sent, again } = &mut *self {
            let sent = ready!(Pin::new(sent).poll(cx));
            // It is there until the answer is.
            let Some(again) = again.take() else { return Poll::Pending };
            match sent {
                Ok(response) => return Poll::Ready(Ok(Answer::new(response, again.gate))),
                Err(unanswered) => *self = Sending::once_more(unanswered, again)?,
            }
        }
        match &mut *self {
            Sending::Pooled { .. } => Poll::Pending,
            Sending::Fresh { sent, gate } => {
                let response = ready!(sent.as_mut().poll(cx))?;
                Poll::Ready(Ok(Answer::new(response, gate.take())))
            }
        }
    }
}

/// A request that was given to a connection.
pub(super) struct Sent {
    on: On,
    /// How long the application may be silent. Boxed: few have a limit.
    limit: Option<Boxed<Silent>>,
}

/// What a request was given to.
pub(super) enum On {
    Http1(Call),
    Http2 {
        sent: Boxed<Result<Response<Incoming>, Unsent>>,
        /// The same again, if it may be sent twice: a connection that carries many remembers none.
        copy: Option<Box<Request<Outbound>>>,
        place: Option<Place>,
    },
}

/// Why there is no answer, and what it takes to ask once more.
pub(super) enum Unanswered {
    Silent(Silent),
    Http1 { error: http1::Error, call: Call, limit: Option<Boxed<Silent>> },
    Http2 { failed: Unsent, copy: Option<Box<Request<Outbound>>> },
}

impl From<Unanswered> for Failed {
    fn from(unanswered: Unanswered) -> Failed {
        match unanswered {
            Unanswered::Silent(silent) => silent.into(),
            Unanswered::Http1 { error, .. } => classify(&BrokenOff::Http1(error)),
            Unanswered::Http2 { failed, .. } => classify(&BrokenOff::Http2(failed.into_error())),
        }
    }
}

impl Sent {
    /// The same call on another connection, with what is left of its limit.
    pub(super) fn again(call: Call, limit: Option<Boxed<Silent>>) -> Sent {
        Sent { on: On::Http1(call), limit }
    }

    /// If there is a limit, it is kept for as long as it is the application's turn.
    pub(super) fn new(on: On, limit: Option<(Duration, Option<Rc<Turn>>)>) -> Sent {
        let limit = limit.map(|(limit, turn)| Box::pin(silence(limit, turn)) as Boxed<Silent>);
        Sent { on, limit }
    }
}

impl Future for Sent {
    type Output = Result<Response<Source>, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Sent { on, limit } = &mut *self;
        let polled = match on {
            On::Http1(call) => Pin::new(&mut *call).poll(cx).map(|answered| match answered {
                Ok(response) => Ok(response.map(Source::Http1)),
                Err(error) => {
                    Err(Unanswered::Http1 { error, call: std::mem::take(call), limit: limit.take() })
                }
            }),
            On::Http2 { sent, copy, place } => sent.as_mut().poll(cx).map(|answered| match answered {
                Ok(response) => Ok(response.map(|body| Source::Http2(Box::new((body, place.take()))))),
                Err(failed) => Err(Unanswered::Http2 { failed, copy: copy.take() }),
            }),
        };
        match (polled, limit) {
            (Poll::Pending, Some(limit)) => {
                limit.as_mut().poll(cx).map(|silent| Err(Unanswered::Silent(silent)))
            }
            (polled, _) => polled,
        }
    }
}

/// Whether it may be the connection that failed and not this request: its stream was not ended by itself, or was refused
/// before anything was done with it.
fn may_have_died(error: &hyper::Error) -> bool {
    http2_cause(error)
        .is_none_or(|error| !error.is_reset() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Whether a request may be sent twice: an idempotent method and no body.
pub(super) fn is_repeatable(request: &Request<Outbound>) -> bool {
    request.method().is_idempotent() && request.body().is_end_stream()
}

pub(super) fn copy(request: &Request<Outbound>) -> Request<Outbound> {
    let mut copy = Request::new(Outbound::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}
