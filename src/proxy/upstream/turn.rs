//! Whose turn it is while a request waits for its answer, and a limit on the application's.
//!
//! ```text
//!   given to a connection ─► application's ⇄ client's          the body's bytes, as they are taken and as they come
//!                                 │   ▲          │
//!                                 │   └──────────┘ the body is done
//!                                 └ as long as the limit: silent
//! ```
//!
//! A long upload is the client's time. An application that takes no more of one is as silent as one that has it all.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// The application was silent for as long as it may be, which is this.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Silent(pub(super) Duration);

/// Whose turn it is with a request that has a body.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The application's, since then; else the client's.
    since: Cell<Option<Instant>>,
    /// Told when the application's begins.
    begins: Notify,
}

impl Turn {
    /// The application was given something, or all there is: its time begins again.
    pub(super) fn application(&self) {
        if self.since.replace(Some(Instant::now())).is_none() {
            self.begins.notify_one();
        }
    }

    /// The application can take more and there is nothing to give.
    pub(super) fn client(&self) {
        self.since.set(None);
    }

    /// Waits until one turn of the application has lasted so long.
    async fn lasts(&self, limit: Duration) {
        loop {
            match self.since.get().map(|since| since + limit) {
                None => self.begins.notified().await,
                Some(end) if end <= Instant::now() => return,
                // It is not moved whenever bytes pass: whether they did is seen at the end.
                Some(end) => sleep_until(end).await,
            }
        }
    }
}

/// Waits until the application has been silent for as long as it may be. Without a body it is always its turn.
pub(super) async fn silence(limit: Duration, turn: Option<Rc<Turn>>) -> Silent {
    match turn {
        Some(turn) => turn.lasts(limit).await,
        None => sleep(limit).await,
    }
    Silent(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const LIMIT: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_millis(9_999);
    const LITTLE: Duration = Duration::from_millis(2);

    /// A limit that runs on time of our own, and its turn.
    fn limited() -> (tokio::task::JoinHandle<Silent>, Rc<Turn>) {
        let turn = Rc::new(Turn::default());
        turn.application();
        (tokio::task::spawn_local(silence(LIMIT, Some(Rc::clone(&turn)))), turn)
    }

    /// Lets time pass, and the limit see it.
    async fn pass(time: Duration) {
        tokio::task::yield_now().await;
        advance(time).await;
        tokio::task::yield_now().await;
    }

    fn paused(test: impl Future<Output = ()>) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(test));
    }

    #[test]
    fn the_clients_time_is_not_the_applications() {
        paused(async {
            let (waiting, turn) = limited();
            for _ in 0..3 {
                pass(MOST).await;
                turn.client();
                pass(10 * LIMIT).await;
                turn.application();
            }
            pass(MOST).await;
            assert!(!waiting.is_finished(), "it never had its whole time at once");
            pass(LITTLE).await;
            assert_eq!(waiting.await.unwrap(), Silent(LIMIT));
        });
    }

    #[test]
    fn each_byte_taken_begins_the_time_again() {
        paused(async {
            let (waiting, turn) = limited();
            for _ in 0..3 {
                pass(MOST).await;
                turn.application();
            }
            pass(MOST).await;
            assert!(!waiting.is_finished());
            pass(LITTLE).await;
            assert_eq!(waiting.await.unwrap(), Silent(LIMIT));
        });
    }

    #[test]
    fn without_a_body_the_time_runs_at_once() {
        paused(async {
            let start = Instant::now();
            assert_eq!(silence(LIMIT, None).await, Silent(LIMIT));
            assert!(start.elapsed() >= LIMIT && start.elapsed() < LIMIT + LITTLE);
        });
    }
}
