//! The future of a request: the application's answer, or one that is ready at once.

use super::body::Watched;
use http::Response;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A request that goes to the application, or one that goes no further.
    #[project = ServedProjected]
    pub(super) enum Served<F> {
        Forwarded { #[pin] answered: F },
        Refused { response: Option<Box<Response<Watched>>> },
    }
}

impl<F: Future<Output = Response<Watched>>> Future for Served<F> {
    type Output = Response<Watched>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Watched>> {
        match self.project() {
            ServedProjected::Forwarded { answered } => answered.poll(cx),
            ServedProjected::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(*response),
                None => Poll::Pending,
            },
        }
    }
}
