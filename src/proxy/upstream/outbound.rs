//! A request's body on its way to the application.
//!
//! A client that sent `Expect: 100-continue` waits to be asked for its body, and the one to ask is the application: its
//! 100 opens the gate, and only then is the body polled, which makes hyper ask the client. An application that answers
//! at once never gets the body, and the client never sends it.

use super::turn::Turn;
use crate::proxy::connection::{Phase, Progress, Unsaid};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::error::Error;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// How long an application that knows nothing of `Expect` is waited for; curl waits as long before it sends anyway.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request's body on its way out; empty where there is none or the request is sent again.
pub(in crate::proxy) enum Outbound {
    /// Nothing.
    Empty,
    /// The client's.
    Client(Incoming, Progress),
    /// The client's, once the application asks for it.
    Gated(Box<Gated>),
    /// One of these, where somebody has to know whose turn it is.
    Timed(Box<Timed>),
}

/// A body that nobody has asked for yet.
pub(in crate::proxy) struct Gated {
    /// Gone when the application answered without it: that tells the client's side that it is not wanted.
    body: Option<Incoming>,
    progress: Progress,
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
    pub(in crate::proxy) fn gated(body: Incoming, progress: Progress, gate: Gate) -> Outbound {
        Outbound::Gated(Box::new(Gated {
            body: Some(body),
            progress,
            gate,
            patience: Box::pin(sleep(PATIENCE)),
        }))
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
    Client(#[from] hyper::Error),
    #[error("the application answered without taking the body")]
    Unwanted,
}

fn poll_client(
    body: &mut Incoming,
    progress: &Progress,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    let polled = Pin::new(body).poll_frame(cx);
    // Being polled means that the application can take more: only now does the client keep us waiting.
    progress.enter(if polled.is_pending() { Phase::Client } else { Phase::Application });
    polled.map_err(|error| {
        progress.break_off(unsaid(&error));
        BodyError::Client(error)
    })
}

/// What a client did whose body ends in this error.
fn unsaid(error: &hyper::Error) -> Unsaid {
    let mut cause = error.source();
    while let Some(error) = cause {
        // As hyper tells of chunks that are none, and h2 of a length that is not kept to.
        let chunks = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput));
        if chunks || error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library) {
            return Unsaid::Malformed;
        }
        cause = error.source();
    }
    Unsaid::Gone
}

impl Gated {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.gate.state(cx) {
            GateState::Shut if self.patience.as_mut().poll(cx).is_ready() => self.gate.open(),
            GateState::Shut => return Poll::Pending,
            GateState::Open => {}
            GateState::Unwanted => {
                self.body = None;
                return Poll::Pending;
            }
            GateState::Over => return Poll::Ready(Some(Err(BodyError::Unwanted))),
        }
        match &mut self.body {
            Some(body) => poll_client(body, &self.progress, cx),
            None => Poll::Ready(None),
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
            Outbound::Client(body, progress) => poll_client(body, progress, cx),
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
            Outbound::Client(body, _) => body.is_end_stream(),
            Outbound::Gated(gated) => gated.body.as_ref().is_some_and(Body::is_end_stream),
            Outbound::Timed(timed) => timed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outbound::Empty => SizeHint::with_exact(0),
            Outbound::Client(body, _) => body.size_hint(),
            Outbound::Gated(gated) => gated.body.as_ref().map_or_else(SizeHint::default, Body::size_hint),
            Outbound::Timed(timed) => timed.body.size_hint(),
        }
    }
}
