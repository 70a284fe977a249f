//! The body of an answer, and what becomes of its connection.

use super::{Connection, Outgoing, Wire};
use crate::http1::decode::Decoder;
use crate::http1::receive::{PIECE, poll_frame};
use crate::http1::{Error, Spelling, Upgraded};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

/// The body of an answer.
#[derive(Debug)]
pub struct Answer<I, B> {
    /// Gone when it was given away.
    wire: Option<Rc<RefCell<Wire<I, B>>>>,
}

/// How long the application may take nothing of a body to which its answer is complete.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rest of a request that is answered before it has been sent; done when it has, or cannot be.
#[derive(Debug)]
pub(super) struct Rest<I, B> {
    wire: Rc<RefCell<Wire<I, B>>>,
    /// Since when nothing of it was taken, as far as that counts.
    still: Option<Pin<Box<Sleep>>>,
}

impl<I, B> Rest<I, B> {
    pub(super) fn of(wire: &Rc<RefCell<Wire<I, B>>>) -> Rest<I, B> {
        Rest { wire: Rc::clone(wire), still: None }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, B: Outgoing> Answer<I, B> {
    pub(super) fn new(wire: Rc<RefCell<Wire<I, B>>>) -> Answer<I, B> {
        Answer { wire: Some(wire) }
    }

    /// How the names in its head were spelled, if that was asked for, once.
    pub fn take_spelling(&mut self) -> Option<Spelling> {
        self.wire.as_ref()?.borrow_mut().spelling.take()
    }

    /// The connection, if it can be used again. If the request's body is not through it cannot, but the body goes on.
    pub fn leave(mut self) -> Option<Connection<I, B>> {
        let wire = self.wire.as_ref()?.borrow();
        let can_go_on = wire.goes_on() && wire.decoder != Decoder::Ended;
        let is_usable = can_go_on && wire.sending.is_over() && wire.ahead.is_empty();
        drop(wire);
        self.wire.take_if(|_| is_usable).map(Connection)
    }

    /// The connection after a 101; nothing if somebody still sends on it.
    pub fn upgrade(mut self) -> Option<Upgraded<I>> {
        let wire = Rc::into_inner(self.wire.take()?)?.into_inner();
        Some(Upgraded::new(wire.ahead, wire.io))
    }
}

impl<I, B> Drop for Answer<I, B> {
    fn drop(&mut self) {
        if let Some(wire) = &self.wire {
            let wire = &mut *wire.borrow_mut();
            wire.is_left = true;
            // An application that goes away after its answer, or whose answer nobody reads to the end, has no use for the
            // rest of a body.
            wire.is_unwanted = !wire.goes_on();
            if let Some(rest) = wire.rest.take() {
                rest.wake();
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, B: Outgoing> Body for Answer<I, B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(wire) = &self.wire else { return Poll::Ready(None) };
        let Wire { io, ahead, decoder, sending, reader, is_broken, .. } = &mut *wire.borrow_mut();
        if *is_broken {
            return Poll::Ready(Some(Err(Error::BrokeOff)));
        }
        let polled = poll_frame::<PIECE, _>(Some(io), decoder, ahead, cx);
        if polled.is_pending() && sending.body.is_some() {
            *reader = Some(cx.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.wire.as_ref().is_none_or(|wire| wire.borrow().decoder.is_end())
    }

    fn size_hint(&self) -> SizeHint {
        let exact = self.wire.as_ref().map_or(Some(0), |wire| wire.borrow().decoder.exact());
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, B: Outgoing> Future for Rest<I, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Rest { wire, still } = &mut *self;
        let wire = &mut *wire.borrow_mut();
        let taken = wire.sending.out.taken();
        if wire.sending.drive(&mut wire.io, cx).is_err() {
            // The application would wait for the other half of the body, and the client for the answer.
            wire.is_broken = true;
            if let Some(reader) = wire.reader.take() {
                reader.wake();
            }
        }
        // The client has limits of its own.
        let waits = wire.is_left && !wire.sending.out.is_empty();
        if !waits || wire.sending.out.taken() != taken {
            *still = None;
        }
        let is_patient = !waits || {
            let still = still.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            still.as_mut().poll(cx).is_pending()
        };
        // That the connection ends after the answer is no reason: it has not ended yet.
        let gives_up = wire.is_broken || wire.is_unwanted || wire.sending.failed.is_some() || !is_patient;
        if gives_up || wire.sending.is_over() {
            wire.keeps &= !gives_up;
            wire.sending.body = None;
            wire.sending.out.clear();
            return Poll::Ready(());
        }
        wire.rest = Some(cx.waker().clone());
        Poll::Pending
    }
}
