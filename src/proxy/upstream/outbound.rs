//! A request's body on its way to the application.
//!
//! A client that sent `Expect: 100-continue` waits to be asked for its body, and the one to ask is the application: its
//! 100 opens the gate, and only then is the body polled, which is what asks the client. One that has an answer instead is
//! not asked; what it sends all the same goes on for as long as the answer does.

use super::turn::Turn;
use crate::http1;
use crate::http1::client::Outgoing;
use crate::proxy::connection::{Progress, STREAM_STALL_LIMIT, Unsaid};
use crate::proxy::headers;
use crate::proxy::received::{BrokenOff, Received, http2_cause};
use crate::telemetry::{Refusal, WorkerTally};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// How long an application that knows nothing of `Expect` is waited for; curl waits as long before it sends anyway.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request's body on its way out; empty where there is none or the request is sent again.
pub(in crate::proxy) enum Outbound {
    /// Nothing.
    Empty,
    /// The client's. Boxed: a request is moved often on its way out, and most have no body.
    Client(Box<Upload>),
    /// The client's, once the application asks for it.
    Gated(Box<Gated>),
    /// One of these, where somebody has to know whose turn it is.
    Timed(Box<Timed>),
}

/// A body as it comes from the client.
pub(in crate::proxy) struct Upload<B = Received> {
    body: B,
    progress: Progress,
    /// The client is waited for.
    waits: bool,
    /// Where nobody else keeps the limit.
    stall: Option<Box<Stall>>,
}

/// The limit of a stream of HTTP/2 that stands still because of its client.
///
/// A timer that is moved as bytes come, and made only when they first do not.
pub(in crate::proxy) struct Stall {
    tally: Arc<WorkerTally>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes came since the timer was set.
    moved: bool,
}

impl Stall {
    pub(in crate::proxy) fn new(tally: Arc<WorkerTally>) -> Box<Stall> {
        Box::new(Stall { tally, timer: None, moved: false })
    }

    /// Nothing comes: whether it is for too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(STREAM_STALL_LIMIT)));
        if std::mem::take(&mut self.moved) {
            timer.as_mut().reset(Instant::now() + STREAM_STALL_LIMIT);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

/// A body that nobody has asked for yet.
pub(in crate::proxy) struct Gated {
    client: Box<Upload>,
    gate: Gate,
    patience: Pin<Box<Sleep>>,
}

/// A body that tells whose turn it is. Whoever carries it drops it at its end: then it is the application's.
pub(in crate::proxy) struct Timed {
    body: Outbound,
    turn: Rc<Turn>,
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.turn.application();
    }
}

impl Outbound {
    /// The turn that this body tells from now on, if there is a body; it begins as the application's.
    pub(super) fn timed(&mut self) -> Option<Rc<Turn>> {
        if matches!(self, Outbound::Client(..) | Outbound::Gated(_)) {
            let body = std::mem::replace(self, Outbound::Empty);
            *self = Outbound::Timed(Box::new(Timed { body, turn: Rc::default() }));
        }
        let Outbound::Timed(timed) = self else { return None };
        timed.turn.application();
        Some(Rc::clone(&timed.turn))
    }

    /// A body that waits at the gate.
    pub(in crate::proxy) fn gated(client: Box<Upload>, gate: Gate) -> Outbound {
        Outbound::Gated(Box::new(Gated { client, gate, patience: Box::pin(sleep(PATIENCE)) }))
    }
}

/// Opens when the application asks for the body.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Gate(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    state: GateState,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GateState {
    #[default]
    Shut,
    Open,
    /// The application answered instead.
    Unwanted,
    /// And its answer is complete.
    Over,
}

impl Gate {
    /// The application asks for the body.
    pub(in crate::proxy) fn open(&self) {
        self.turn(GateState::Shut, GateState::Open);
    }

    /// The application answered; a body that was not asked for by now is not wanted.
    pub(in crate::proxy) fn answered(&self) {
        self.turn(GateState::Shut, GateState::Unwanted);
    }

    /// The answer is complete. Its connection cannot be used again if a body is still owed on it.
    pub(in crate::proxy) fn over(&self) {
        self.turn(GateState::Unwanted, GateState::Over);
    }

    fn turn(&self, from: GateState, to: GateState) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.state == from {
            waiting.state = to;
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    fn state(&self, cx: &Context<'_>) -> GateState {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.waker = Some(cx.waker().clone());
        waiting.state
    }
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum BodyError {
    #[error(transparent)]
    Client(#[from] BrokenOff),
    #[error("the application answered without taking the body")]
    Unwanted,
    #[error("the client sends no more of the body")]
    Stalled,
}

impl<B: Body<Data = Bytes, Error = BrokenOff> + Unpin> Upload<B> {
    /// A body, and its limit if it has one of its own.
    pub(in crate::proxy) fn new(body: B, progress: Progress, stall: Option<Box<Stall>>) -> Upload<B> {
        Upload { body, progress, waits: false, stall }
    }

    /// As `poll`, for a body that the client may send or not (RFC 9110 10.1.1): there is no limit until it begins.
    fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(self.came(polled))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.progress.unsaid() == Some(Unsaid::Stalled) {
            // By the sweep; a stream of HTTP/2 tells it here, below, and is not polled again.
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // Being polled means that the application can take more: only now does the client keep us waiting.
        self.waits = polled.is_pending();
        self.progress.uploads(self.waits, self.body.is_end_stream());
        if let Some(stall) = &mut self.stall {
            if polled.is_ready() {
                stall.moved = true;
            } else if stall.is_over(cx) {
                stall.tally.refused(Refusal::Stalled);
                self.stall = None;
                self.progress.break_off(Unsaid::Stalled);
                return Poll::Ready(Some(Err(BodyError::Stalled)));
            }
        }
        polled.map(|polled| self.came(polled))
    }

    /// What came of the body.
    fn came(
        &mut self,
        polled: Option<Result<Frame<Bytes>, BrokenOff>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        polled.map(|frame| {
            let mut frame = frame.map_err(|error| {
                self.progress.break_off(unsaid(&error));
                BodyError::Client(error)
            })?;
            if let Some(trailers) = frame.trailers_mut() {
                headers::clean_trailers(trailers);
            }
            Ok(frame)
        })
    }
}

impl<B> Drop for Upload<B> {
    fn drop(&mut self) {
        if self.waits {
            self.progress.uploads_no_more();
        }
    }
}

/// What a client did whose body ends in this error.
fn unsaid(error: &BrokenOff) -> Unsaid {
    match error {
        BrokenOff::Http1(http1::Error::Malformed(_) | http1::Error::TooLarge) => Unsaid::Malformed,
        BrokenOff::Http1(_) => Unsaid::Gone,
        // As h2 tells of a length that is not kept to.
        BrokenOff::Http2(error) if http2_cause(error).is_some_and(h2::Error::is_library) => Unsaid::Malformed,
        BrokenOff::Http2(_) => Unsaid::Gone,
    }
}

impl Gated {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.gate.state(cx) {
            GateState::Shut if self.patience.as_mut().poll(cx).is_ready() => self.gate.open(),
            GateState::Shut => return Poll::Pending,
            GateState::Open => {}
            GateState::Unwanted => {
                let polled = self.client.poll_unasked(cx);
                if polled.is_ready() {
                    // It has chosen to send, and owes the rest as well.
                    self.gate.turn(GateState::Unwanted, GateState::Open);
                }
                return polled;
            }
            GateState::Over => return Poll::Ready(Some(Err(BodyError::Unwanted))),
        }
        self.client.poll(cx)
    }
}

impl Outgoing for Outbound {
    fn is_asked_for(&self) {
        match self {
            Outbound::Gated(gated) => gated.gate.open(),
            Outbound::Timed(timed) => timed.body.is_asked_for(),
            Outbound::Empty | Outbound::Client(_) => {}
        }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Outbound::Empty => Poll::Ready(None),
            Outbound::Client(client) => client.poll(cx),
            Outbound::Gated(gated) => gated.poll(cx),
            Outbound::Timed(timed) => {
                let polled = Pin::new(&mut timed.body).poll_frame(cx);
                if polled.is_pending() {
                    timed.turn.client()
                } else {
                    timed.turn.application()
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outbound::Empty => true,
            Outbound::Client(client) => client.body.is_end_stream(),
            Outbound::Gated(gated) => gated.client.body.is_end_stream(),
            Outbound::Timed(timed) => timed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outbound::Empty => SizeHint::with_exact(0),
            Outbound::Client(client) => client.body.size_hint(),
            Outbound::Gated(gated) => gated.client.body.size_hint(),
            Outbound::Timed(timed) => timed.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;
