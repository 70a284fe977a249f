//! A connection from a client.
//!
//! ```text
//!   Head ─► Serving ─► Sending ─► Sent ─┬─► Head        the next request
//!    │                      ▲      │    ├─► (given away)  after a 101
//!    └ no head: refused ────┘      │    └─► Closing
//!                                  └ the body of the request is still read by somebody: waits for its end
//! ```
//!
//! The body of a request is read from the connection by whoever wants it, in whatever task: what it has in common with the
//! connection is `Shared`. While nobody is to read a body the connection itself reads, to see the client leave.

mod body;

use super::encode::Encoder;
use super::head::{self, Answering, RequestHead, Section};
use super::receive::{OF_REQUESTS, poll_more};
use super::{Error, Spelling, Upgraded};
use crate::clock::Clock;
pub use body::Body;
use body::{Shared, pass_over_empty_lines};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

/// How connections are carried.
#[derive(Debug)]
pub struct Options<I, B> {
    /// Names go on as they were spelled.
    pub preserve_header_case: bool,
    /// For the `Date` of answers that have none.
    pub clock: Clock,
    /// What is said to a client whose head is none, and with it the end.
    pub refusal: fn(&Error) -> Response<B>,
    /// Is told when the next request may begin, and what of it came with the last one. It may take that away.
    pub begins: fn(&mut I, &mut Bytes),
    /// Sees to it that the client cannot take the end of the connection for the end of an answer that has no other.
    pub cut: fn(&I),
}

impl<I, B> Clone for Options<I, B> {
    fn clone(&self) -> Options<I, B> {
        *self
    }
}

impl<I, B> Copy for Options<I, B> {}

/// The body of an answer on its way out.
pub trait Outgoing: HttpBody<Data = Bytes> {
    /// How the names in its head were spelled.
    fn spelling(&self) -> Option<&Spelling>;

    /// The head is all that the client is to get.
    fn end_with_head(self)
    where
        Self: Sized,
    {
    }
}

pin_project! {
    /// A connection from a client, carried for as long as it is polled. It ends with an error if the client broke a
    /// message off or said something that is none.
    pub struct Connection<I, S, F, B> {
        shared: Rc<RefCell<Shared<I>>>,
        service: S,
        options: Options<I, B>,
        section: Section,
        answering: Answering,
        finishing: bool,
        // Why there is no request to go on with, once its sender has been told.
        failed: Option<Error>,
        #[pin]
        state: State<F, B>,
    }

    impl<I, S, F, B> PinnedDrop for Connection<I, S, F, B> {
        fn drop(this: Pin<&mut Self>) {
            this.shared.borrow_mut().close();
        }
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, B> {
        Head,
        Serving { #[pin] future: F },
        Sending { #[pin] body: B, encoder: Encoder },
        Sent { switches: bool },
        Closing,
    }
}

impl<I, S, F, B> Connection<I, S, F, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: FnMut(Request<Body<I>>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Outgoing,
{
    /// A connection that has just been made.
    pub fn new(io: I, options: Options<I, B>, service: S) -> Connection<I, S, F, B> {
        let answering = Answering { method: Method::GET, version: Version::HTTP_11, keeps: true };
        let shared = Rc::new(RefCell::new(Shared::new(io)));
        Connection {
            shared,
            service,
            options,
            section: Section::default(),
            answering,
            finishing: false,
            failed: None,
            state: State::Head,
        }
    }

    /// Closes once the present request is answered, at once if nothing of one has come.
    pub fn finish(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.finishing = true;
        this.answering.keeps = false;
        if matches!(*this.state, State::Head) && this.shared.borrow().ahead.is_empty() {
            this.state.set(State::Closing);
        }
    }
}

impl<I, S, F, B> Future for Connection<I, S, F, B>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: FnMut(Request<Body<I>>) -> F,
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Outgoing,
{
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjected::Head => {
                    let read = ready!(poll_head(this.shared, this.section, this.options, cx));
                    let next = match read {
                        Ok(Some(head)) => {
                            *this.answering = Answering {
                                method: head.request.method().clone(),
                                version: head.request.version(),
                                keeps: head.keeps && !*this.finishing,
                            };
                            let request = Body::take(head, this.shared);
                            State::Serving { future: (this.service)(request) }
                        }
                        Ok(None) => State::Closing,
                        Err(error @ (Error::Malformed(_) | Error::TooLarge)) => {
                            let response = (this.options.refusal)(&error);
                            *this.failed = Some(error);
                            *this.answering =
                                Answering { method: Method::GET, version: Version::HTTP_11, keeps: false };
                            let encoder = begin(this.shared, this.answering, this.options, &response);
                            State::Sending { body: response.into_body(), encoder }
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    this.state.set(next);
                }
                StateProjected::Serving { future } => {
                    let Poll::Ready(Ok(response)) = future.poll(cx) else {
                        // What is written here asks the client for its body.
                        return this.shared.borrow_mut().wait(cx);
                    };
                    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                    let encoder = begin(this.shared, this.answering, this.options, &response);
                    let next = match encoder {
                        Encoder::Length(0) => {
                            response.into_body().end_with_head();
                            State::Sent { switches }
                        }
                        encoder => State::Sending { body: response.into_body(), encoder },
                    };
                    this.state.set(next);
                }
                StateProjected::Sending { mut body, encoder } => {
                    if this.shared.borrow().out.is_full() {
                        ready!(this.shared.borrow_mut().poll_write(cx))?;
                    }
                    let Poll::Ready(polled) = body.as_mut().poll_frame(cx) else {
                        return this.shared.borrow_mut().wait(cx);
                    };
                    let mut shared = this.shared.borrow_mut();
                    let (ends, trailers) = match polled {
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) => {
                                encoder.data(data, &mut shared.out);
                                (body.is_end_stream(), None)
                            }
                            Err(frame) => (true, frame.into_trailers().ok()),
                        },
                        // Cut off, so that nobody takes it for complete.
                        Some(Err(_)) => {
                            let _ = shared.poll_write(cx);
                            shared
                                .io
                                .as_ref()
                                .filter(|_| *encoder == Encoder::UntilEnd)
                                .inspect(|io| (this.options.cut)(io));
                            return Poll::Ready(Err(Error::BrokeOff));
                        }
                        None => (true, None),
                    };
                    if ends {
                        if !encoder.end(trailers.as_ref(), &mut shared.out) {
                            return Poll::Ready(Err(Error::BrokeOff));
                        }
                        drop(shared);
                        this.state.set(State::Sent { switches: false });
                    }
                }
                StateProjected::Sent { switches } => {
                    let mut shared = this.shared.borrow_mut();
                    let written = ready!(shared.poll_write(cx));
                    if let Some(error) = this.failed.take() {
                        // Whether it was heard or not: the connection ends, and why is known.
                        let _ = shared.poll_shutdown(cx);
                        return Poll::Ready(Err(error));
                    }
                    written?;
                    if *switches && let Some(upgraded) = shared.upgrade.take() {
                        if let Some(io) = shared.io.take() {
                            // Nobody waits if the application has gone.
                            let _ = upgraded.send(Upgraded::new(std::mem::take(&mut shared.ahead), io));
                        }
                        return Poll::Ready(Ok(()));
                    }
                    let goes_on =
                        ready!(shared.poll_body_end(cx)) && this.answering.keeps && !*this.finishing;
                    if goes_on {
                        shared.begin_head(this.options.begins);
                    }
                    drop(shared);
                    this.state.set(if goes_on { State::Head } else { State::Closing });
                }
                StateProjected::Closing => {
                    let mut shared = this.shared.borrow_mut();
                    ready!(shared.poll_write(cx))?;
                    return shared.poll_shutdown(cx).map_err(Error::Io);
                }
            }
        }
    }
}

/// Reads the next request's head; nothing if the client has ended instead of sending one.
fn poll_head<I: AsyncRead + AsyncWrite + Unpin, B>(
    shared: &RefCell<Shared<I>>,
    section: &mut Section,
    options: &Options<I, B>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<RequestHead>, Error>> {
    let mut shared = shared.borrow_mut();
    let shared = &mut *shared;
    let Some(io) = &mut shared.io else { return Poll::Ready(Ok(None)) };
    loop {
        pass_over_empty_lines(&mut shared.ahead);
        if !shared.ahead.is_empty()
            && section.may_be_whole(&shared.ahead)?
            && let Some(head) = head::request(&mut shared.ahead, options.preserve_header_case)?
        {
            *section = Section::default();
            return Poll::Ready(Ok(Some(head)));
        }
        if ready!(poll_more::<OF_REQUESTS, _>(io, &mut shared.ahead, cx))? == 0 {
            return Poll::Ready(if shared.ahead.is_empty() { Ok(None) } else { Err(Error::Incomplete) });
        }
    }
}

/// Writes the head of an answer.
fn begin<I: AsyncRead + AsyncWrite + Unpin, B: Outgoing>(
    shared: &RefCell<Shared<I>>,
    answering: &mut Answering,
    options: &Options<I, B>,
    response: &Response<B>,
) -> Encoder {
    let mut shared = shared.borrow_mut();
    answering.keeps &= !shared.withhold();
    let out = &mut shared.out.bytes;
    let (encoder, dates) = head::write_response(answering, response, response.body().spelling(), out);
    if dates {
        super::date::write(options.clock, out);
    }
    out.extend_from_slice(b"\r\n");
    encoder
}
