//! What the body of a request and its connection have in common.

use crate::http1::decode::Decoder;
use crate::http1::encode::Out;
use crate::http1::head::RequestHead;
use crate::http1::receive::{OF_REQUESTS, poll_frame, poll_more};
use crate::http1::{Error, Spelling, Upgraded};
use bytes::{Buf, Bytes};
use http::Request;
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's connection, as whoever carries it and whoever reads a body from it see it.
pub(super) struct Shared<I> {
    /// Gone when the connection has ended, or was given away.
    pub(super) io: Option<I>,
    /// What came and is not consumed.
    pub(super) ahead: Bytes,
    pub(super) out: Out,
    /// Who gets the connection after a 101.
    pub(super) upgrade: Option<oneshot::Sender<Upgraded<I>>>,
    /// How the names in the head of the present request were spelled.
    spelling: Option<Spelling>,
    /// Its body.
    decoder: Decoder,
    expects: Expects,
    /// Somebody may still read it.
    is_wanted: bool,
    /// It broke off.
    is_broken: bool,
    /// The number of the present request: a body of an earlier one has no part in it.
    request: u64,
    /// Who waits for more of the body, and who carries the connection while others read from it.
    reader: Option<Waker>,
    carrier: Option<Waker>,
}

/// Whether a client waits to be asked for its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    /// It does not, or was asked.
    Nothing,
    ToBeAsked,
    /// It is being asked.
    Asked,
    /// It has its answer and was not asked: it may send the body or not.
    Either,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Shared<I> {
    pub(super) fn new(io: I) -> Shared<I> {
        Shared {
            io: Some(io),
            ahead: Bytes::new(),
            out: Out::default(),
            upgrade: None,
            spelling: None,
            decoder: Decoder::NOTHING,
            expects: Expects::Nothing,
            is_wanted: false,
            is_broken: false,
            request: 0,
            reader: None,
            carrier: None,
        }
    }

    /// Writes what waits.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        if !self.out.is_empty() {
            ready!(self.out.poll_write(io, cx))?;
            self.out.clear();
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Some(io) => Pin::new(io).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// An answer begins: who waits to be asked for a body will not be. Whether there is one who does: the connection ends
    /// then, because a body may follow or may not.
    pub(super) fn withhold(&mut self) -> bool {
        self.expects = match self.expects {
            Expects::ToBeAsked | Expects::Either => Expects::Either,
            // Whoever carries the connection writes what is left of the question.
            Expects::Asked | Expects::Nothing => Expects::Nothing,
        };
        self.expects == Expects::Either
    }

    /// Waits for somebody else, and meanwhile writes what there is and sees the client leave.
    pub(super) fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let _ = self.poll_write(cx)?;
        while !self.is_wanted && !self.decoder.is_end() {
            // It is passed over, whatever it is.
            if let Some(Err(error)) = ready!(self.poll_next(cx)) {
                return Poll::Ready(Err(error));
            }
        }
        if self.decoder.is_end() {
            let Some(io) = &mut self.io else { return Poll::Ready(Err(Error::Incomplete)) };
            // What comes now is the next request. No more of it is read than every connection may hold.
            if self.ahead.is_empty() && ready!(poll_more::<OF_REQUESTS, _>(io, &mut self.ahead, cx))? == 0 {
                return Poll::Ready(Err(Error::Incomplete));
            }
        } else {
            // Its reader sees.
            remember(&mut self.carrier, cx);
        }
        Poll::Pending
    }

    /// Waits for the end of the body, if somebody still reads it. Whether it has come, so that the next request may.
    pub(super) fn poll_body_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.decoder.is_end() {
            return Poll::Ready(true);
        }
        if self.is_broken || self.expects == Expects::Either {
            return Poll::Ready(false);
        }
        if self.is_wanted {
            remember(&mut self.carrier, cx);
            return Poll::Pending;
        }
        // Nobody wants it. What has come of it is passed over, and more is not waited for.
        loop {
            match self.poll_next(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_))) | Poll::Pending => return Poll::Ready(false),
            }
        }
    }

    /// The next request may begin, perhaps with bytes that are here already.
    pub(super) fn begin_head(&mut self, begins: fn(&mut I, &mut Bytes)) {
        pass_over_empty_lines(&mut self.ahead);
        if self.ahead.is_empty() {
            // Or it would keep the room of what was read before.
            self.ahead = Bytes::new();
        }
        if let Some(io) = &mut self.io {
            begins(io, &mut self.ahead);
        }
    }

    /// The next piece of the body.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = poll_frame::<OF_REQUESTS, _>(self.io.as_mut(), &mut self.decoder, &mut self.ahead, cx);
        self.is_broken |= matches!(polled, Poll::Ready(Some(Err(_))));
        if self.is_broken || self.decoder.is_end() {
            self.wake_carrier(Some(cx));
        }
        polled
    }

    /// What others did may be what the connection waits for. It need not be told what happens in its own task.
    fn wake_carrier(&mut self, cx: Option<&Context<'_>>) {
        if let Some(carrier) = self.carrier.take()
            && cx.is_none_or(|cx| !carrier.will_wake(cx.waker()))
        {
            carrier.wake();
        }
    }
}

impl<I> Shared<I> {
    /// The connection ends, whoever has a part in it.
    pub(super) fn close(&mut self) {
        self.io = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// RFC 9112 2.2: some send an empty line after a body. No head begins with it; none is kept, however many there are.
pub(super) fn pass_over_empty_lines(ahead: &mut Bytes) {
    while ahead.starts_with(b"\r\n") {
        ahead.advance(2);
    }
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

/// The body of a client's request.
pub struct Body<I: AsyncRead + AsyncWrite + Unpin> {
    shared: Rc<RefCell<Shared<I>>>,
    request: u64,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Body<I> {
    /// A request whose head has come, with its body.
    pub(super) fn take(head: RequestHead, shared: &Rc<RefCell<Shared<I>>>) -> Request<Body<I>> {
        let mut inner = shared.borrow_mut();
        inner.request += 1;
        inner.is_wanted = true;
        inner.expects =
            if head.expects && !head.body.is_end() { Expects::ToBeAsked } else { Expects::Nothing };
        inner.decoder = head.body;
        inner.spelling = head.spelling;
        let body = Body { shared: Rc::clone(shared), request: inner.request };
        head.request.map(|()| body)
    }

    /// How the names in the head were spelled, if they are to go on like that, once.
    pub fn take_spelling(&self) -> Option<Spelling> {
        self.shared.borrow_mut().spelling.take()
    }

    /// Who gets the connection if the answer is a 101.
    pub fn upgrade(&self) -> oneshot::Receiver<Upgraded<I>> {
        let (sender, receiver) = oneshot::channel();
        self.shared.borrow_mut().upgrade = Some(sender);
        receiver
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Drop for Body<I> {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        if shared.request == self.request {
            shared.is_wanted = false;
            shared.reader = None;
            shared.wake_carrier(None);
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> http_body::Body for Body<I> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut shared = self.shared.borrow_mut();
        if shared.request != self.request {
            return Poll::Ready(None);
        }
        if shared.expects == Expects::ToBeAsked {
            shared.expects = Expects::Asked;
            shared.out.bytes.extend_from_slice(CONTINUE);
        }
        // Only that: who waits until an answer can be written is the connection, and one alone is woken.
        if shared.expects == Expects::Asked && shared.poll_write(cx)?.is_ready() {
            shared.expects = Expects::Nothing;
        }
        let polled = shared.poll_next(cx);
        if polled.is_pending() {
            remember(&mut shared.reader, cx);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        shared.request != self.request || shared.decoder.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.borrow();
        match shared.decoder.exact() {
            _ if shared.request != self.request => SizeHint::with_exact(0),
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> fmt::Debug for Body<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("request", &self.request).finish_non_exhaustive()
    }
}
