//! A panic in one request ends that request and no other.

use super::Worker;
use super::answers;
use super::body::Watched;
use http::{Response, StatusCode};
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pin_project! {
    /// A request under way, whose panic becomes a 500.
    pub(super) struct Caught<F> {
        // None if it panicked before it was one.
        #[pin]
        future: Option<F>,
        worker: Rc<Worker>,
    }
}

impl<F: Future<Output = Response<Watched>>> Caught<F> {
    pub(super) fn new(begin: impl FnOnce() -> F, worker: Rc<Worker>) -> Caught<F> {
        Caught { future: catch_unwind(AssertUnwindSafe(begin)).ok(), worker }
    }
}

impl<F: Future<Output = Response<Watched>>> Future for Caught<F> {
    type Output = Result<Response<Watched>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Whoever holds this future drops it once it is ready, and is never polled again; the worker's cells hold no
        // borrow from one call to the next.
        let polled =
            this.future.as_pin_mut().map(|future| catch_unwind(AssertUnwindSafe(|| future.poll(cx))));
        match polled {
            Some(Ok(polled)) => polled.map(Ok),
            Some(Err(_)) | None => {
                this.worker.tally.panics.add(1);
                let text = "the sidecar failed on this request; its log says where\n".to_owned();
                Poll::Ready(Ok(answers::ours(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)))
            }
        }
    }
}
