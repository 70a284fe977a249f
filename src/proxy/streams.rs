//! The tasks of a client's streams of HTTP/2, and the limit of a client that takes nothing of an answer.
//!
//! While there is no window for an answer hyper asks for no more of it, so that nothing within the answer would ever see
//! how long that lasts. What sees it is the task: hyper hands each stream's to an executor right after it has given the
//! stream's request to the service.

use super::connection::{PER_SECOND, Progress, STALL_LIMIT, STREAM_STALL_LIMIT, Tick, time_of};
use super::{Shared, Worker, under_way};
use crate::telemetry::{Refusal, WorkerTally};
use pin_project_lite::pin_project;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Sleep, sleep};

/// How long a client of HTTP/2 may grant no window while there are places for others.
const PATIENCE: Tick = 300 * PER_SECOND;

/// Runs the streams of a worker's clients.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// What all workers count: copied once, or every stream would count who refers to the one list.
    tallies: Rc<[Arc<WorkerTally>]>,
    /// The limit of the stream whose task comes next.
    next: Rc<RefCell<Option<Limit>>>,
}

impl Streams {
    pub(super) fn new(shared: &Shared) -> Streams {
        Streams { tallies: shared.tallies.iter().cloned().collect(), next: Rc::default() }
    }

    /// The stream whose request this is ends if its client takes nothing for too long.
    pub(super) fn limit(&self, worker: &Worker, progress: &Progress) {
        let tally = Arc::clone(&worker.tally);
        let places = worker.shared.max_connections() as u64;
        let tallies = Rc::clone(&self.tallies);
        *self.next.borrow_mut() =
            Some(Limit { progress: progress.clone(), tally, tallies, places, timer: None });
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, task: F) {
        match self.next.take() {
            Some(limit) => tokio::task::spawn_local(Limited { task, limit }),
            None => tokio::task::spawn_local(task),
        };
    }
}

/// How long a client may take nothing.
#[derive(Debug)]
struct Limit {
    progress: Progress,
    tally: Arc<WorkerTally>,
    tallies: Rc<[Arc<WorkerTally>]>,
    /// How many requests there may be at one time, in all workers together.
    places: u64,
    /// Made when it first takes nothing, and again when it rings.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limit {
    /// A client of HTTP/1 shows that it takes something as it reads; one of HTTP/2 when it grants a window, and many do that
    /// only when they have read the half of a large one. So it has more time, unless others want its place.
    fn most(&self) -> Tick {
        if under_way(&self.tallies) >= self.places / 2 { STALL_LIMIT } else { PATIENCE }
    }

    /// Nothing happens: whether that is the client's doing, for too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() && self.progress.untaken().is_none() {
            return false;
        }
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(STREAM_STALL_LIMIT)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            let Some(age) = self.progress.untaken() else {
                self.timer = None;
                return false;
            };
            if age >= self.most() {
                return true;
            }
            // Whether places have become scarce is asked as often as the shorter limit lasts.
            let rest = time_of(STALL_LIMIT.saturating_sub(age));
            let next = if rest.is_zero() { STREAM_STALL_LIMIT } else { rest };
            self.timer = Some(Box::pin(sleep(next)));
        }
    }
}

pin_project! {
    /// A stream's task, which ends without an end of the answer if its client takes nothing: the stream is reset.
    struct Limited<F> {
        #[pin]
        task: F,
        limit: Limit,
    }
}

impl<F: Future<Output = ()>> Future for Limited<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.task.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.limit.is_over(cx) {
            this.limit.tally.refused(Refusal::Stalled);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::connection::ConnectionState;
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::time::{Instant, interval, timeout};

    /// So many that one request leaves room for more, or does not.
    const ENOUGH: u64 = 100;
    const SCARCE: u64 = 2;

    /// For how many seconds a stream lasts whose task never ends, where there are so many places, and what was counted by
    /// then; nothing if it is there after a day.
    fn lasts<F: Future<Output = ()> + 'static>(
        places: u64,
        what_happens: impl FnOnce(Progress) -> F,
    ) -> (Option<u64>, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let tally = Arc::<WorkerTally>::default();
        let tick = Arc::new(AtomicU32::new(0));
        let progress = Progress::new(Arc::new(ConnectionState::new(0)), Arc::clone(&tick));
        progress.begin();
        tally.in_flight.add(1);
        let tallies = Rc::from([Arc::clone(&tally)]);
        let limit =
            Limit { progress: progress.clone(), tally: Arc::clone(&tally), tallies, places, timer: None };
        let happens = what_happens(progress);
        let lasted = tokio::task::LocalSet::new().block_on(&runtime.unwrap(), async {
            tokio::task::spawn_local(async move {
                let mut ticks = interval(time_of(1));
                loop {
                    ticks.tick().await;
                    tick.fetch_add(1, Ordering::Relaxed);
                }
            });
            tokio::task::spawn_local(happens);
            // It is asked when something happens with it, which is when an answer's bytes are taken over.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let start = Instant::now();
            let ended = timeout(Duration::from_secs(86_400), Limited { task: pending(), limit }).await;
            ended.ok().map(|()| start.elapsed().as_secs())
        });
        (lasted, tally.refusals(Refusal::Stalled))
    }

    #[test]
    fn where_places_are_scarce_a_client_takes_something_within_thirty_seconds() {
        let given = |progress: Progress| async move { progress.gave() };
        let (lasted, counted) = lasts(SCARCE, given);
        assert!((28..=30).contains(&lasted.unwrap()) && counted == 1, "{lasted:?} {counted}");
        let slowly = |progress: Progress| async move {
            for _ in 0..5 {
                progress.gave();
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            progress.gave();
        };
        let (lasted, counted) = lasts(SCARCE, slowly);
        assert!((128..=130).contains(&lasted.unwrap()) && counted == 1, "{lasted:?} {counted}");
    }

    #[test]
    fn with_room_for_others_it_has_five_minutes() {
        let (lasted, counted) = lasts(ENOUGH, |progress| async move { progress.gave() });
        assert!((298..=330).contains(&lasted.unwrap()) && counted == 1, "{lasted:?} {counted}");
    }

    #[test]
    fn neither_a_body_nor_the_last_bytes_are_an_excuse() {
        let sends = |progress: Progress| async move {
            progress.uploads(true, false);
            progress.gave();
            tokio::time::sleep(Duration::from_secs(20)).await;
            progress.uploads(false, true);
            progress.uploads_no_more();
        };
        let (lasted, counted) = lasts(SCARCE, sends);
        assert!((48..=50).contains(&lasted.unwrap()) && counted == 1, "{lasted:?} {counted}");
        let last = |progress: Progress| async move {
            progress.gave();
            progress.end();
        };
        let (lasted, counted) = lasts(SCARCE, last);
        assert!((28..=30).contains(&lasted.unwrap()) && counted == 1, "{lasted:?} {counted}");
    }

    #[test]
    fn a_silent_application_and_a_body_that_is_waited_for_end_no_stream() {
        let silent = |progress: Progress| async move {
            progress.gave();
            tokio::time::sleep(Duration::from_secs(20)).await;
            progress.caught_up();
        };
        assert_eq!(lasts(SCARCE, silent), (None, 0));
        let uploads = |progress: Progress| async move { progress.uploads(true, false) };
        assert_eq!(lasts(SCARCE, uploads), (None, 0));
        assert_eq!(lasts(SCARCE, |progress| async move { progress.caught_up() }), (None, 0));
        assert_eq!(STALL_LIMIT, 30 * PER_SECOND);
    }
}
