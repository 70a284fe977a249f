//! The application's answer, whatever it speaks.

use super::Place;
use super::outbound::{Gate, Outbound};
use crate::http1::{Spelling, client};
use crate::proxy::received::{BrokenOff, Next};
use crate::proxy::stream::Stream;
use bytes::Bytes;
use http::Response;
use http_body::{Body, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::Context;

/// The body of an answer, and the connection it comes on: one of HTTP/1 can be used again when it is complete, of one of
/// HTTP/2 a place becomes free.
pub(in crate::proxy) struct Answer {
    source: Source,
    _gate: Option<EndOfAnswer>,
}

/// Whom an answer comes from.
pub(super) enum Source {
    Http1(client::Answer<Stream, Outbound>),
    /// Boxed, so that an answer is moved as cheaply as one of HTTP/1 is.
    Http2(Box<(Incoming, Option<Place>)>),
}

/// Tells a body that nobody asked for that nobody will.
struct EndOfAnswer(Gate);

impl Drop for EndOfAnswer {
    fn drop(&mut self) {
        self.0.over();
    }
}

impl Answer {
    /// An answer, and the gate at which the request's body may still wait.
    pub(super) fn new(response: Response<Source>, gate: Option<Gate>) -> Response<Answer> {
        let gate = gate.map(|gate| {
            gate.answered();
            EndOfAnswer(gate)
        });
        response.map(|source| Answer { source, _gate: gate })
    }

    /// How the names in its head were spelled, if that was asked for, once.
    pub(in crate::proxy) fn take_spelling(&mut self) -> Option<Spelling> {
        match &mut self.source {
            Source::Http1(answer) => answer.take_spelling(),
            Source::Http2(_) => None,
        }
    }

    /// The connection of an answer that is complete, if it is one of HTTP/1 and can be used again.
    pub(super) fn leave(self) -> Option<client::Connection<Stream, Outbound>> {
        match self.source {
            Source::Http1(answer) => answer.leave(),
            Source::Http2(..) => None,
        }
    }

    /// The connection after a 101, if it is one of HTTP/1.
    pub(in crate::proxy) fn upgrade(self) -> Option<crate::http1::Upgraded<Stream>> {
        match self.source {
            Source::Http1(answer) => answer.upgrade(),
            Source::Http2(..) => None,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        match &mut self.source {
            Source::Http1(answer) => Pin::new(answer).poll_frame(cx).map_err(BrokenOff::Http1),
            Source::Http2(answer) => Pin::new(&mut answer.0).poll_frame(cx).map_err(BrokenOff::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1(answer) => answer.is_end_stream(),
            Source::Http2(answer) => answer.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1(answer) => answer.size_hint(),
            Source::Http2(answer) => answer.0.size_hint(),
        }
    }
}
