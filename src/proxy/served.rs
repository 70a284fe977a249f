//! The future of a request: the application's answer, or one that is ready at once.

use super::body::Watched;
use super::request::{Forwarded, answer};
use super::upstream::{Failed, Reply};
use crate::telemetry::UpstreamError;
use http::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A request that goes to the application, or one that goes no further. Not `async`, for the reason that
    /// `upstream::sending` has.
    #[project = ServedProjected]
    pub(super) enum Served<F> {
        Forwarded { #[pin] sending: F, forwarded: Option<Forwarded> },
        Refused { response: Option<Box<Response<Watched>>> },
    }
}

impl<F: Future<Output = Reply>> Future for Served<F> {
    type Output = Response<Watched>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Watched>> {
        match self.project() {
            ServedProjected::Forwarded { sending, forwarded } => {
                let reply = match sending.poll(cx) {
                    Poll::Ready(reply) => reply,
                    // A body that another task sends, over HTTP/2, hears nothing of it.
                    Poll::Pending if forwarded.as_ref().is_some_and(Forwarded::is_stalled) => Err(unsaid()),
                    Poll::Pending => return Poll::Pending,
                };
                match forwarded.take() {
                    Some(forwarded) => Poll::Ready(answer(forwarded, reply)),
                    None => Poll::Pending,
                }
            }
            ServedProjected::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(*response),
                None => Poll::Pending,
            },
        }
    }
}

/// Why a request ends whose body its client does not say to the end; it is no fault of the application's, and not told as one.
fn unsaid() -> Failed {
    Failed { error: UpstreamError::Reset, detail: String::new() }
}
