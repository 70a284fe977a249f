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

pub mod counts;
mod queue;
mod stdout;
pub mod udp;

use crate::config::Destination;
use crate::segment::Segment;
use crate::store::{Inserted, Store};
pub use counts::{DropReason, SinkCounts};
use queue::{Pushed, Queue};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Segments that may wait in one lane. A segment is some 2 KiB at most, so a full queue is some 8 MiB.
pub const QUEUE_CAPACITY: usize = 4096;
/// Segments taken from the queue at once.
const BATCH: usize = 256;
/// Between two batches. Short enough that a burst of all-sampled traffic does not flood a receiver's socket buffer.
const REST: Duration = Duration::from_millis(3);

/// One sink's queue, seen from the workers.
#[derive(Debug)]
struct Lane {
    counts: Arc<SinkCounts>,
    queue: Arc<Queue>,
}

/// Hands closed hops to all sinks.
#[derive(Debug)]
pub struct Emitter {
    lanes: Vec<Lane>,
}

/// The lanes' other ends; to be stopped after the last request.
#[derive(Debug)]
pub struct Lanes {
    running: Vec<(Arc<SinkCounts>, JoinHandle<()>)>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Emitter {
    /// Starts a lane for each destination on the present runtime.
    pub fn start(destinations: &[Destination], store: &Arc<Store>) -> (Emitter, Lanes) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (mut lanes, mut running) = (Vec::new(), Vec::new());
        for (n, destination) in destinations.iter().enumerate() {
            let before = destinations[..n].iter().filter(|other| label(other) == label(destination)).count();
            let name = match before {
                0 => label(destination).to_owned(),
                _ => format!("{}-{}", label(destination), before + 1),
            };
            let counts = Arc::new(SinkCounts::new(name, QUEUE_CAPACITY));
            let queue = Arc::new(Queue::new(QUEUE_CAPACITY));
            let intake = Intake { queue: Arc::clone(&queue), stopped: stopped.clone() };
            let task = match destination {
                Destination::Udp(address) => {
                    tokio::spawn(udp::run(address.clone(), intake, Arc::clone(&counts)))
                }
                Destination::Store => tokio::spawn(keep(Arc::clone(store), intake, Arc::clone(&counts))),
                Destination::Stdout => tokio::spawn(stdout::run(intake, Arc::clone(&counts))),
                Destination::None => tokio::spawn(forget(intake, Arc::clone(&counts))),
            };
            running.push((Arc::clone(&counts), task));
            lanes.push(Lane { counts, queue });
        }
        (Emitter { lanes }, Lanes { running, stop })
    }

    /// Offers a segment to every sink. Never waits: where the queue is full, its oldest segment is dropped and counted.
    pub fn offer(&self, segment: Segment) {
        let segment = Arc::new(segment);
        for lane in &self.lanes {
            lane.counts.offered();
            match lane.queue.push(Arc::clone(&segment)) {
                Pushed::Waits => {}
                Pushed::InPlaceOfTheOldest => lane.counts.dropped(DropReason::QueueFull, 1),
                Pushed::Closed => lane.counts.dropped(DropReason::Stopped, 1),
            }
        }
    }

    /// What each sink has counted.
    pub fn counts(&self) -> impl Iterator<Item = &Arc<SinkCounts>> {
        self.lanes.iter().map(|lane| &lane.counts)
    }
}

impl Lanes {
    /// Lets every lane send what it has, until `deadline`; the rest is dropped and counted.
    pub async fn flush(self, deadline: Instant) {
        let _ = self.stop.send(true);
        for (counts, mut task) in self.running {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                let _ = task.await;
            }
            counts.dropped(DropReason::Stopped, counts.snapshot().queued);
        }
    }
}

/// A lane's end of its queue.
#[derive(Debug)]
pub(crate) struct Intake {
    queue: Arc<Queue>,
    stopped: tokio::sync::watch::Receiver<bool>,
}

impl Intake {
    /// Fills `batch` with what waits, resting before if there was a batch already. `false` when all is done.
    async fn next(&mut self, batch: &mut Vec<Arc<Segment>>, first: bool) -> bool {
        batch.clear();
        if !first && !*self.stopped.borrow() {
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => {}
            }
        }
        loop {
            if *self.stopped.borrow_and_update() {
                // Closed to newcomers; what is in the queue still comes out.
                self.queue.close();
                return self.queue.take(batch, BATCH);
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

async fn forget(mut intake: Intake, counts: Arc<SinkCounts>) {
    let mut batch = Vec::new();
    let mut first = true;
    while intake.next(&mut batch, first).await {
        first = false;
        batch.iter().for_each(|_| counts.emitted(0));
    }
}

async fn keep(store: Arc<Store>, mut intake: Intake, counts: Arc<SinkCounts>) {
    let (mut batch, mut document) = (Vec::new(), Vec::new());
    let mut first = true;
    while intake.next(&mut batch, first).await {
        first = false;
        for segment in &batch {
            document.clear();
            segment.write_json(&mut document);
            match store.insert(&document) {
                Inserted::Refused(_) => counts.rejected(1),
                _ => counts.emitted(document.len()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
