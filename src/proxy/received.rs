//! The body of a client's request, whatever it speaks.

use super::socket::Socket;
use crate::http1::{self, Spelling, server};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request's body as it comes.
#[derive(Debug)]
pub(super) enum Received {
    Http1(server::Body<Socket>),
    Http2(Incoming),
}

/// Why a body, or an answer, breaks off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenOff {
    #[error(transparent)]
    Http1(#[from] http1::Error),
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// What h2 says in an error of hyper's, if it comes from there.
pub(super) fn http2_cause(error: &hyper::Error) -> Option<&h2::Error> {
    std::iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

/// The next piece of a body.
pub(super) type Next = Poll<Option<Result<Frame<Bytes>, BrokenOff>>>;

impl Received {
    /// How the names in a request of HTTP/1 were spelled, if they are to go on like that, once.
    pub(super) fn take_spelling(&self) -> Option<Spelling> {
        match self {
            Received::Http1(body) => body.take_spelling(),
            Received::Http2(_) => None,
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        match &mut *self {
            Received::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BrokenOff::Http1),
            Received::Http2(body) => Pin::new(body).poll_frame(cx).map_err(BrokenOff::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Received::Http1(body) => body.is_end_stream(),
            Received::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Received::Http1(body) => body.size_hint(),
            Received::Http2(body) => body.size_hint(),
        }
    }
}
