//! `Emitter::offer`: bounded, never waits, counts what it drops.
//!
//! ```text
//!   worker ── offer ─► lane's queue ─► lane's own task ─► one sink
//!                │ full                     │ encode, send
//!                └─► the oldest dropped     └─► emitted, dropped or rejected
//! ```
//!
//! Each sink has a lane of its own, so a slow one cannot hold up another. For every lane, at any moment and after the
//! stop: offered = emitted + dropped + rejected + queued, where queued includes what the lane has in hand.
//! A lane takes segments in batches: after each it rests for `REST`, so that a busy sidecar wakes it
//! rarely and a quiet one's first segment still goes at once.
//!
//! Destinations may change while segments come: a lane that goes on being wanted goes on, and one that is not sends what
//! it has and ends. What is counted stays with the sink's name, so that totals never fall.

pub mod counts;
mod queue;
mod stdout;
pub mod udp;

use crate::config::Destination;
use crate::segment::Segment;
use crate::store::{Inserted, Store};
use arc_swap::ArcSwap;
pub use counts::{DropReason, SinkCounts};
use queue::{Pushed, Queue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Segments that may wait in one lane.
pub const QUEUE_CAPACITY: usize = 4096;
/// What those that wait may take, in bytes. Ordinary ones take less than a quarter of it.
pub const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Segments taken from the queue at once.
const BATCH: usize = 256;
/// Between two batches. Short enough that a burst of all-sampled traffic does not flood a receiver's socket buffer.
const REST: Duration = Duration::from_millis(3);
/// What a sink that is no longer wanted gets to send what it has.
const RETIREMENT: Duration = Duration::from_secs(5);

/// One sink's queue, seen from the workers.
#[derive(Debug)]
struct Lane {
    destination: Destination,
    counts: Arc<SinkCounts>,
    queue: Arc<Queue>,
    /// Until when it has to send what it has, once it is told to end.
    stop: watch::Sender<Option<Instant>>,
}

impl Lane {
    /// Tells the lane to send what it has until then, and to end.
    fn end(&self, deadline: Instant) {
        // Nobody hears it if the task has ended already.
        let _ = self.stop.send(Some(deadline));
    }
}

/// A lane and its task; those that end are among them until they have.
#[derive(Debug)]
struct Running {
    lane: Arc<Lane>,
    task: JoinHandle<()>,
}

/// Hands closed hops to all sinks.
#[derive(Debug)]
pub struct Emitter {
    lanes: ArcSwap<Vec<Arc<Lane>>>,
    running: Mutex<Vec<Running>>,
    /// Of every sink there has been, by name: no more than there were at one time.
    counts: ArcSwap<Vec<Arc<SinkCounts>>>,
    store: Arc<Store>,
}

impl Emitter {
    /// Starts a lane for each destination on the present runtime.
    pub fn start(destinations: &[Destination], store: &Arc<Store>) -> Emitter {
        let emitter = Emitter {
            lanes: ArcSwap::default(),
            running: Mutex::default(),
            counts: ArcSwap::default(),
            store: Arc::clone(store),
        };
        emitter.replace(destinations);
        emitter
    }

    /// Sends what comes from here on to these destinations. Segments that were offered before still go where they were
    /// to go. Needs the runtime.
    pub fn replace(&self, destinations: &[Destination]) {
        let mut running = self.running();
        running.retain(|running| !running.task.is_finished());
        let before = self.lanes.load_full();
        let kept = |destination: &Destination| before.iter().find(|lane| lane.destination == *destination);
        let mut names: Vec<String> = destinations
            .iter()
            .filter_map(|destination| kept(destination).map(|lane| lane.counts.name().to_owned()))
            .collect();
        let mut lanes = Vec::with_capacity(destinations.len());
        for destination in destinations {
            if let Some(lane) = kept(destination) {
                lanes.push(Arc::clone(lane));
                continue;
            }
            let name = free_name(label(destination), &names);
            let started = self.start_lane(destination.clone(), self.counts_of(&name));
            names.push(name);
            lanes.push(Arc::clone(&started.lane));
            running.push(started);
        }
        let ending: Vec<Arc<Lane>> =
            before.iter().filter(|lane| !destinations.contains(&lane.destination)).cloned().collect();
        drop(before);
        let before = self.lanes.swap(Arc::new(lanes));
        if !ending.is_empty() {
            tokio::spawn(async move {
                // A worker that is offering a segment right now still holds the lanes of before.
                while Arc::strong_count(&before) > 1 {
                    tokio::time::sleep(REST).await;
                }
                let deadline = Instant::now() + RETIREMENT;
                ending.iter().for_each(|lane| lane.end(deadline));
            });
        }
    }

    fn start_lane(&self, destination: Destination, counts: Arc<SinkCounts>) -> Running {
        let (stop, stopped) = watch::channel(None);
        let queue = Arc::new(Queue::new(QUEUE_CAPACITY, QUEUE_BYTES));
        let intake = Intake { queue: Arc::clone(&queue), counts: Arc::clone(&counts), stopped, began: false };
        let task = match &destination {
            Destination::Udp(address) => tokio::spawn(udp::run(address.clone(), intake)),
            Destination::Store => tokio::spawn(keep(Arc::clone(&self.store), intake)),
            Destination::Stdout => tokio::spawn(stdout::run(intake)),
            Destination::None => tokio::spawn(forget(intake)),
        };
        Running { lane: Arc::new(Lane { destination, counts, queue, stop }), task }
    }

    /// The counts that go by this name.
    fn counts_of(&self, name: &str) -> Arc<SinkCounts> {
        let known = self.counts.load_full();
        if let Some(counts) = known.iter().find(|counts| counts.name() == name) {
            return Arc::clone(counts);
        }
        let counts = Arc::new(SinkCounts::new(name.to_owned(), QUEUE_CAPACITY));
        self.counts.store(Arc::new(known.iter().chain([&counts]).cloned().collect()));
        counts
    }

    /// Offers a segment to every sink. Never waits: where the queue is full, its oldest segments are dropped and counted.
    pub fn offer(&self, segment: Segment) {
        let segment = Arc::new(segment);
        for lane in self.lanes.load().iter() {
            lane.counts.offered();
            match lane.queue.push(Arc::clone(&segment)) {
                Pushed::Waits => {}
                Pushed::InPlaceOf(oldest) => lane.counts.dropped(DropReason::QueueFull, oldest),
                Pushed::Closed => lane.counts.dropped(DropReason::Stopped, 1),
            }
        }
    }

    /// What each sink has counted, also those that are no more.
    pub fn counts(&self) -> Vec<Arc<SinkCounts>> {
        self.counts.load().to_vec()
    }

    /// Lets every lane send what it has, until `deadline`; the rest is dropped and counted. To be called after the last
    /// request.
    pub async fn flush(&self, deadline: Instant) {
        let running = std::mem::take(&mut *self.running());
        running.iter().for_each(|running| running.lane.end(deadline));
        for mut running in running {
            if tokio::time::timeout_at(deadline, &mut running.task).await.is_err() {
                running.task.abort();
                let _ = running.task.await;
            }
        }
        for counts in self.counts() {
            counts.dropped(DropReason::Stopped, counts.snapshot().queued);
        }
    }

    /// A panic while the lock was held leaves a list that is whole.
    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane's end of its queue.
#[derive(Debug)]
pub(crate) struct Intake {
    queue: Arc<Queue>,
    counts: Arc<SinkCounts>,
    stopped: watch::Receiver<Option<Instant>>,
    /// There was a batch already.
    began: bool,
}

impl Intake {
    /// Fills `batch` with what waits, resting before if there was a batch already. `false` when all is done.
    async fn next(&mut self, batch: &mut Vec<Arc<Segment>>) -> bool {
        batch.clear();
        if std::mem::replace(&mut self.began, true) && self.deadline().is_none() {
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                _ = self.stopped.wait_for(Option::is_some) => {}
            }
        }
        loop {
            if self.stopped.borrow_and_update().is_some() {
                // Closed to newcomers; what is in the queue still comes out.
                self.queue.close();
                let more = self.queue.take(batch, BATCH);
                return more && !self.gives_up(batch);
            }
            if self.queue.take(batch, BATCH) {
                return true;
            }
            tokio::select! {
                () = self.queue.came() => {}
                changed = self.stopped.changed() => if changed.is_err() { return false },
            }
        }
    }

    /// Until when what is there has to be sent, if the lane is to end.
    fn deadline(&self) -> Option<Instant> {
        *self.stopped.borrow()
    }

    /// If the time to send is over: drops what is in hand and what waits, and counts it.
    fn gives_up(&self, in_hand: &[Arc<Segment>]) -> bool {
        let is_over = self.deadline().is_some_and(|deadline| Instant::now() >= deadline);
        if is_over {
            let mut rest = Vec::new();
            self.queue.take(&mut rest, usize::MAX);
            self.counts.dropped(DropReason::Stopped, (in_hand.len() + rest.len()) as u64);
        }
        is_over
    }
}

/// The kind alone, or with the first number from 2 on that makes it another name than these.
fn free_name(label: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|n| format!("{label}-{n}"));
    let mut names = std::iter::once(label.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

/// The label in metrics: the kind alone, so that series do not depend on where a daemon runs.
fn label(destination: &Destination) -> &'static str {
    match destination {
        Destination::Store => "store",
        Destination::Udp(_) => "udp",
        Destination::Stdout => "stdout",
        Destination::None => "none",
    }
}

async fn forget(mut intake: Intake) {
    let mut batch = Vec::new();
    while intake.next(&mut batch).await {
        batch.iter().for_each(|_| intake.counts.emitted(0));
    }
}

async fn keep(store: Arc<Store>, mut intake: Intake) {
    let (mut batch, mut document) = (Vec::new(), Vec::new());
    while intake.next(&mut batch).await {
        for segment in &batch {
            document.clear();
            segment.write_json(&mut document);
            match store.insert(&document) {
                Inserted::Refused(_) => intake.counts.rejected(1),
                _ => intake.counts.emitted(document.len()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
