//! Passes an answer's bytes through, counts them, and closes the hop at the end, on error, or when it is dropped.

use super::exchange::Exchange;
use super::upstream::{Lease, classify};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response body under watch.
pub(super) struct Watched {
    inner: Inner,
    /// Gone when the hop is closed.
    exchange: Option<Box<Exchange>>,
}

enum Inner {
    /// The application's own bytes, and the connection they come on.
    Application(Incoming, Option<Lease>),
    /// Our own line of text.
    Ours(Bytes),
}

impl Watched {
    /// An answer of the application.
    pub(super) fn application(body: Incoming, lease: Lease, exchange: Box<Exchange>) -> Watched {
        let mut watched = Watched { inner: Inner::Application(body, Some(lease)), exchange: Some(exchange) };
        // The server does not poll a body that has ended, so its end has to be seen here.
        watched.close_if_ended();
        watched
    }

    /// An answer of our own.
    pub(super) fn ours(text: String) -> Watched {
        Watched { inner: Inner::Ours(text.into()), exchange: None }
    }

    fn close_if_ended(&mut self) {
        if let Inner::Application(body, lease) = &mut self.inner
            && body.is_end_stream()
            && let Some(exchange) = self.exchange.take()
        {
            exchange.give_back(lease.take());
            exchange.complete();
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let (body, lease) = match &mut this.inner {
            Inner::Application(body, lease) => (body, lease),
            Inner::Ours(text) => {
                let text = text.split_off(0);
                return Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))));
            }
        };
        let polled = match lease {
            Some(lease) => lease.take(body, cx),
            None => Pin::new(body).poll_frame(cx),
        };
        match &polled {
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
                this.close_if_ended();
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(exchange) = this.exchange.take() {
                    exchange.break_off(&classify(error));
                }
            }
            Poll::Ready(None) => {
                if let Some(exchange) = this.exchange.take() {
                    exchange.give_back(lease.take());
                    exchange.complete();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Application(body, _) => body.is_end_stream(),
            Inner::Ours(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Application(body, _) => body.size_hint(),
            Inner::Ours(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}
