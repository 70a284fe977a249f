//! Keeps a connection of HTTP/1 from being woken for nothing.
//!
//! hyper wakes the task that reads an answer whenever a piece of its body is taken, so that it brings the next one; also
//! after the last, when there is none. Of the three turns that such a task had for a short answer, one did nothing.
//!
//! All of it happens on one worker. What is atomic here is so because wakers must be.

use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// Stands between a task and whoever wakes it.
#[derive(Debug, Default)]
pub(super) struct Bell {
    task: OnceLock<Waker>,
    muffled: AtomicBool,
    /// It was rung while it was muffled.
    rang: AtomicBool,
}

impl Bell {
    /// Takes something of the connection's. If that was the last there is, as `is_last` says afterwards, the connection
    /// need not hear of it.
    pub(super) fn muffled<S, T>(
        &self,
        source: &mut S,
        take: impl FnOnce(&mut S) -> T,
        is_last: impl FnOnce(&S) -> bool,
    ) -> T {
        self.muffled.store(true, Ordering::Relaxed);
        let taken = take(source);
        self.muffled.store(false, Ordering::Relaxed);
        if self.rang.load(Ordering::Relaxed) {
            self.rang.store(false, Ordering::Relaxed);
            if !is_last(source) {
                self.ring();
            }
        }
        taken
    }

    fn ring(&self) {
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
        if self.muffled.load(Ordering::Relaxed) {
            self.rang.store(true, Ordering::Relaxed);
        } else {
            self.ring();
        }
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
        // A task's waker stays good for the task's whole life, so the first one will do.
        this.bell.task.get_or_init(|| cx.waker().clone());
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_the_wake_of_a_last_piece_is_kept_back() {
        let (bell, count) = (Arc::<Bell>::default(), Arc::<Count>::default());
        let waker = Waker::from(Arc::clone(&bell));
        let wakes = || count.0.load(Ordering::Relaxed);
        let task = Waker::from(Arc::clone(&count));
        let mut belled = std::pin::pin!(Belled::new(std::future::pending::<()>(), &bell));
        assert!(belled.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
        for (last, expected) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
            bell.muffled(&mut (), |()| waker.wake_by_ref(), |()| last);
            assert_eq!(wakes(), expected, "a last piece: {last}");
        }
        bell.muffled(&mut (), |()| (), |()| false);
        assert_eq!(wakes(), 2, "nobody rang");
        waker.wake();
        assert_eq!(wakes(), 3, "and outside of that everything is heard");
    }
}
