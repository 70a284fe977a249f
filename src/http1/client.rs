//! A connection to the application.
//!
//! ```text
//!   Connection ─► Call ─► Answer ─► Connection      kept, if both sides are through with it
//!                  │ writes the head, then the body as it comes
//!                  └ reads the head of the answer meanwhile; what of the body is left then, a task of its own writes
//! ```

mod answer;

use super::Error;
use super::decode::Decoder;
use super::encode::{Encoder, Out};
use super::head::{self, ResponseHead, Section};
use super::receive::{OF_ANSWERS, poll_more};
use super::spelling::Spelling;
pub use answer::Answer;
use answer::Rest;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;

/// A request's body on its way out.
pub trait Outgoing: Body<Data = Bytes> + Unpin {
    /// The application asks for it.
    fn is_asked_for(&self) {}
}

/// A connection on which nothing is under way.
#[derive(Debug)]
pub struct Connection<I, B>(Rc<RefCell<Wire<I, B>>>);

/// A request on its way, until the head of its answer.
#[derive(Debug)]
pub struct Call<I, B>(Option<Rc<RefCell<Wire<I, B>>>>);

/// A connection and all that is under way on it. It stays in one place for as long as the connection lasts, because what
/// holds it is moved often; and two hold it where an answer is read while the request's body is still sent.
#[derive(Debug)]
struct Wire<I, B> {
    io: I,
    /// What came and is not consumed.
    ahead: Bytes,
    sending: Sending<B>,
    method: Method,
    had_body: bool,
    /// The spelling of the answer's names is wanted.
    spells: bool,
    section: Section,
    /// Something came in answer.
    has_come: bool,
    /// The body of the answer.
    decoder: Decoder,
    /// The application goes on with the connection after it.
    keeps: bool,
    /// Who sends the rest of a request that is answered, and who reads the answer meanwhile.
    rest: Option<Waker>,
    reader: Option<Waker>,
    /// Nobody reads the answer any more.
    is_left: bool,
    /// And nobody has a use for the rest of the request.
    is_unwanted: bool,
    /// That rest broke off, and what comes of the answer is worth nothing.
    is_broken: bool,
    spelling: Option<Spelling>,
}

impl<I, B> Wire<I, B> {
    /// Whether the answer is complete and the connection outlives it.
    fn goes_on(&self) -> bool {
        self.keeps && self.decoder.is_end()
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin, B: Outgoing> Connection<I, B> {
    /// One that has just been made.
    pub fn new(io: I) -> Connection<I, B> {
        Connection(Rc::new(RefCell::new(Wire {
            io,
            ahead: Bytes::new(),
            sending: Sending::default(),
            method: Method::GET,
            had_body: false,
            spells: false,
            section: Section::default(),
            has_come: false,
            decoder: Decoder::NOTHING,
            keeps: true,
            rest: None,
            reader: None,
            is_left: false,
            is_unwanted: false,
            is_broken: false,
            spelling: None,
        })))
    }

    /// Whether it can be used, as far as is known here: nothing has come on it, not even its end.
    pub fn is_alive(&self) -> bool {
        let mut wire = self.0.borrow_mut();
        let read = poll_fn(|cx| {
            let mut room = [MaybeUninit::uninit(); 1];
            Pin::new(&mut wire.io).poll_read(cx, &mut ReadBuf::uninit(&mut room))
        });
        // Or the runtime, once a task has looked at many, would say of each that nothing has come.
        let read = pin!(unconstrained(read));
        read.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Sends a request, whose target is a path, with its names as they were spelled. The future is the head of the answer,
    /// and has to be polled on a local runtime.
    pub fn send(self, request: Request<B>, spelling: Option<&Spelling>) -> Call<I, B> {
        let mut guard = self.0.borrow_mut();
        let wire = &mut *guard;
        wire.method = request.method().clone();
        wire.spells = spelling.is_some();
        wire.has_come = false;
        wire.sending.out.begin();
        let encoder = head::write_request(&request, spelling, &mut wire.sending.out.bytes);
        wire.had_body = encoder != Encoder::Length(0);
        if wire.had_body {
            wire.sending.body = Some((request.into_body(), encoder));
        }
        drop(guard);
        Call(Some(self.0))
    }
}

/// What is still to be sent.
#[derive(Debug)]
struct Sending<B> {
    /// The head, and of the body what waits.
    out: Out,
    body: Option<(B, Encoder)>,
    /// The application takes no more; it may have answered all the same.
    failed: Option<io::Error>,
}

impl<B> Default for Sending<B> {
    fn default() -> Sending<B> {
        Sending { out: Out::default(), body: None, failed: None }
    }
}

impl<B: Outgoing> Sending<B> {
    /// Sends what can be sent. A request without a body is kept when it has been sent.
    ///
    /// # Errors
    /// The body broke off.
    fn drive<I: AsyncWrite + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Result<(), Error> {
        while self.failed.is_none() {
            let Some((body, encoder)) = &mut self.body else {
                self.write(io, cx);
                break;
            };
            if self.out.is_full() {
                match self.out.poll_write(io, cx) {
                    Poll::Ready(Ok(())) => self.out.clear(),
                    Poll::Ready(Err(error)) => self.failed = Some(error),
                    Poll::Pending => break,
                }
                continue;
            }
            let trailers = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        encoder.data(data, &mut self.out);
                        if !body.is_end_stream() {
                            continue;
                        }
                        None
                    }
                    Err(frame) => frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(_))) => return Err(Error::BrokeOff),
                Poll::Ready(None) => None,
                Poll::Pending => {
                    self.write(io, cx);
                    break;
                }
            };
            if !encoder.end(trailers.as_ref(), &mut self.out) {
                return Err(Error::BrokeOff);
            }
            self.body = None;
        }
        Ok(())
    }

    fn write<I: AsyncWrite + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) {
        if !self.out.is_empty()
            && let Poll::Ready(Err(error)) = self.out.poll_write(io, cx)
        {
            self.failed = Some(error);
        }
    }

    /// Whether all has been sent.
    fn is_over(&self) -> bool {
        self.body.is_none() && self.failed.is_none() && self.out.is_empty()
    }
}

impl<I, B> Call<I, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    B: Outgoing,
{
    /// After a failure: whether the same can be said on another connection. It can if nothing of it was written, or if all
    /// of it is still here and it does no harm to ask twice.
    pub fn can_be_repeated(&self) -> bool {
        self.0.as_ref().is_some_and(|wire| {
            let wire = wire.borrow();
            let is_harmless = wire.method.is_idempotent() && !wire.had_body;
            !wire.has_come && (wire.sending.out.taken() == 0 || is_harmless)
        })
    }

    /// The same on another connection.
    pub fn repeat(self, connection: Connection<I, B>) -> Call<I, B> {
        if let Some(wire) = &self.0 {
            let wire = &mut *wire.borrow_mut();
            std::mem::swap(&mut wire.io, &mut connection.0.borrow_mut().io);
            wire.sending.out.begin_again();
            wire.sending.failed = None;
        }
        self
    }
}

impl<I, B> Default for Call<I, B> {
    /// One that has been answered.
    fn default() -> Call<I, B> {
        Call(None)
    }
}

impl<I, B> Future for Call<I, B>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    B: Outgoing + 'static,
{
    type Output = Result<Response<Answer<I, B>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(shared) = &self.0 else { return Poll::Pending };
        let mut guard = shared.borrow_mut();
        let wire = &mut *guard;
        wire.sending.drive(&mut wire.io, cx)?;
        let head = loop {
            if !wire.ahead.is_empty()
                && wire.section.may_be_whole(&wire.ahead)?
                && let Some(head) = head::response(&mut wire.ahead, &wire.method, wire.spells)?
            {
                wire.section = Section::default();
                let status = head.response.status();
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    break head;
                }
                if status == StatusCode::CONTINUE
                    && let Some((body, _)) = &wire.sending.body
                {
                    body.is_asked_for();
                    wire.sending.drive(&mut wire.io, cx)?;
                }
                continue;
            }
            match poll_more::<OF_ANSWERS, _>(&mut wire.io, &mut wire.ahead, cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(wire.sending.failed.take().map_or(Error::Incomplete, Error::Io)));
                }
                Poll::Ready(Ok(_)) => wire.has_come = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        };
        let ResponseHead { response, body, keeps, spelling } = head;
        (wire.decoder, wire.keeps, wire.spelling) = (body, keeps, spelling);
        if wire.sending.is_over() {
            // It will not be said again.
            wire.sending.out.clear();
        } else if wire.sending.failed.is_some() {
            wire.sending.body = None;
        } else {
            // Whoever reads the answer may have to wait for its own reader, and the body is not to wait for that.
            drop(tokio::task::spawn_local(Rest::of(shared)));
        }
        drop(guard);
        match self.0.take() {
            Some(wire) => Poll::Ready(Ok(response.map(|()| Answer::new(wire)))),
            None => Poll::Pending,
        }
    }
}
