//! Keeps a connection of HTTP/1 from being woken for nothing.
//!
//! hyper wakes the task that reads a message whenever a piece of its body is taken, so that it brings the next one; also
//! after the last, when there is none. Of the three turns that such a task had for a short answer, one did nothing.
//!
//! All of it happens on one worker. What is atomic here is so because wakers must be.

use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// The next piece of a body.
type Next<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Stands between a task and whoever wakes it.
#[derive(Debug, Default)]
pub(super) struct Bell {
    task: OnceLock<Waker>,
    muffled: AtomicBool,
    /// It was rung while it was muffled.
    rang: AtomicBool,
}

impl Bell {
    /// Takes the next piece of a body that the connection brings. Of the last one it need not hear.
    pub(super) fn take<B: Body + Unpin>(&self, body: &mut B, cx: &mut Context<'_>) -> Next<B> {
        self.muffled.store(true, Ordering::Relaxed);
        let taken = Pin::new(&mut *body).poll_frame(cx);
        self.muffled.store(false, Ordering::Relaxed);
        if self.rang.load(Ordering::Relaxed) {
            self.rang.store(false, Ordering::Relaxed);
            if !body.is_end_stream() {
                self.ring();
            }
        }
        taken
    }

    /// The task that it wakes, as of its first turn: a task's waker stays good for the task's whole life.
    pub(super) fn belongs_to(&self, task: &Waker) {
        self.task.get_or_init(|| task.clone());
    }

    /// Wakes the task, now or after what is being taken.
    pub(super) fn ring(&self) {
        if self.muffled.load(Ordering::Relaxed) {
            self.rang.store(true, Ordering::Relaxed);
        } else {
            self.wake_task();
        }
    }

    /// Wakes the task, whatever is being taken.
    pub(super) fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        self.ring();
    }
}

pin_project! {
    /// A task's future, woken by its bell.
    pub(super) struct Belled<F> {
        #[pin]
        future: F,
        bell: Arc<Bell>,
        waker: Waker,
    }
}

impl<F> Belled<F> {
    pub(super) fn new(future: F, bell: &Arc<Bell>) -> Belled<F> {
        Belled { future, bell: Arc::clone(bell), waker: Waker::from(Arc::clone(bell)) }
    }
}

impl<F: Future> Future for Belled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.bell.belongs_to(cx.waker());
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A body whose taking rings a bell, as hyper's does.
    struct Pieces {
        left: u8,
        waker: Waker,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.left -= 1;
            self.waker.wake_by_ref();
            Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }
    }

    #[test]
    fn only_the_wake_of_a_last_piece_is_kept_back() {
        let (bell, count) = (Arc::<Bell>::default(), Arc::<Count>::default());
        let wakes = || count.0.load(Ordering::Relaxed);
        let task = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&task);
        let mut belled = std::pin::pin!(Belled::new(std::future::pending::<()>(), &bell));
        assert!(belled.as_mut().poll(&mut cx).is_pending());
        let mut body = Pieces { left: 3, waker: Waker::from(Arc::clone(&bell)) };
        for expected in [1, 2, 2] {
            assert!(bell.take(&mut body, &mut cx).is_ready());
            assert_eq!(wakes(), expected, "{} pieces left", body.left);
        }
        body.waker.wake_by_ref();
        assert_eq!(wakes(), 3, "outside of that everything is heard");
        body.left = 2;
        body.waker = Waker::noop().clone();
        assert!(bell.take(&mut body, &mut cx).is_ready());
        assert_eq!(wakes(), 3, "nobody rang");
    }
}
