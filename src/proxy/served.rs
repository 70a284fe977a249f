//! The future of a request: waits for the application's answer, or has one that is ready at once.
//!
//! Written by hand because its memory stays with its connection, busy or idle: of an `async` block that is given a
//! future to wait for, the compiler keeps that future's room twice.

use super::body::Watched;
use super::request::{Forwarded, answer};
use super::upstream::Reply;
use http::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A request that goes to the application, or one that goes no further.
    #[project = ServedProjected]
    pub(super) enum Served<F> {
        Forwarded { #[pin] sending: F, forwarded: Option<Forwarded> },
        Refused { response: Option<Box<Response<Watched>>> },
    }
}

impl<F: Future<Output = Reply>> Future for Served<F> {
    type Output = Response<Watched>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Watched>> {
        // Nobody polls it again once it is ready, so what is taken here is always there.
        match self.project() {
            ServedProjected::Forwarded { sending, forwarded } => {
                let reply = ready!(sending.poll(cx));
                forwarded.take().map_or(Poll::Pending, |forwarded| Poll::Ready(answer(forwarded, reply)))
            }
            ServedProjected::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(*response),
                None => Poll::Pending,
            },
        }
    }
}
