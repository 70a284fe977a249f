//! Passes an answer's bytes through, counts them, and closes the hop at the end, on error, or when it is dropped.

use super::exchange::Exchange;
use super::headers;
use super::received::{BrokenOff, Next};
use super::upstream::{Answer, classify};
use crate::http1::Spelling;
use crate::http1::server::Outgoing;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response body under watch.
pub(super) struct Watched {
    inner: Inner,
    /// Gone when the hop is closed.
    exchange: Option<Box<Exchange>>,
    spelling: Option<Spelling>,
}

enum Inner {
    /// The application's own bytes.
    Application(Answer),
    /// Our own line of text, or what is left of it.
    Ours(Bytes),
}

impl Watched {
    /// An answer of the application.
    pub(super) fn application(mut answer: Answer, exchange: Box<Exchange>) -> Watched {
        let spelling = answer.take_spelling();
        let mut watched = Watched { inner: Inner::Application(answer), exchange: Some(exchange), spelling };
        // The server does not poll a body that has ended, so its end has to be seen here.
        watched.close_if_ended();
        watched
    }

    /// An answer of our own.
    pub(super) fn ours(text: String) -> Watched {
        Watched { inner: Inner::Ours(text.into()), exchange: None, spelling: None }
    }

    /// The end of HTTP on a connection: a head of the application's, and nothing after it.
    pub(super) fn switched(answer: &mut Answer) -> Watched {
        Watched { inner: Inner::Ours(Bytes::new()), exchange: None, spelling: answer.take_spelling() }
    }

    fn close_if_ended(&mut self) {
        if let Inner::Application(answer) = &mut self.inner
            && answer.is_end_stream()
        {
            self.complete();
        }
    }

    fn complete(&mut self) {
        let inner = std::mem::replace(&mut self.inner, Inner::Ours(Bytes::new()));
        if let Some(exchange) = self.exchange.take() {
            if let Inner::Application(answer) = inner {
                exchange.give_back(answer);
            }
            exchange.complete();
        }
    }
}

impl Outgoing for Watched {
    fn spelling(&self) -> Option<&Spelling> {
        self.spelling.as_ref()
    }

    /// Over HTTP/2 an application may say only later that nothing follows.
    fn end_with_head(mut self) {
        self.complete();
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        let this = &mut *self;
        let answer = match &mut this.inner {
            Inner::Application(answer) => answer,
            Inner::Ours(text) => {
                let text = text.split_off(0);
                return Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))));
            }
        };
        let mut polled = Pin::new(answer).poll_frame(cx);
        match &mut polled {
            Poll::Pending => {
                if let Some(exchange) = &this.exchange {
                    exchange.caught_up();
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(exchange) = &mut this.exchange {
                    if let Some(data) = frame.data_ref() {
                        exchange.count(data.remaining());
                    } else if let Some(trailers) = frame.trailers_ref() {
                        exchange.read_grpc_status(trailers);
                    }
                }
                if let Some(trailers) = frame.trailers_mut() {
                    headers::pass_back_trailers(trailers);
                }
                this.close_if_ended();
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(exchange) = this.exchange.take() {
                    exchange.break_off(&classify(error));
                }
            }
            Poll::Ready(None) => this.complete(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Application(answer) => answer.is_end_stream(),
            Inner::Ours(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Application(answer) => answer.size_hint(),
            Inner::Ours(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}
