//! What waits for one sink: bounded, and never waited for.
//!
//! A full queue loses its oldest segment and not the newcomer: when a sink comes back after an incident, the last
//! minutes are what somebody wants to see.

use crate::segment::Segment;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Segments on their way from workers to a lane.
#[derive(Debug)]
pub(super) struct Queue {
    segments: ArrayQueue<Arc<Segment>>,
    /// What they take, and what they may take.
    bytes: AtomicUsize,
    most_bytes: usize,
    came: Notify,
    closed: AtomicBool,
}

/// What became of a segment that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Waits,
    /// It waits, and so many that waited longer are gone.
    InPlaceOf(u64),
    /// Nobody takes any more.
    Closed,
}

impl Queue {
    pub(super) fn new(capacity: usize, most_bytes: usize) -> Queue {
        Queue {
            segments: ArrayQueue::new(capacity),
            bytes: AtomicUsize::new(0),
            most_bytes,
            came: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn push(&self, segment: Arc<Segment>) -> Pushed {
        if self.closed.load(Ordering::Acquire) {
            return Pushed::Closed;
        }
        // Counted before it can be taken, so that the sum never falls below 0.
        self.bytes.fetch_add(segment.footprint(), Ordering::Relaxed);
        let mut displaced = 0;
        if let Some(oldest) = self.segments.force_push(segment) {
            self.forget(&oldest);
            displaced += 1;
        }
        while self.bytes.load(Ordering::Relaxed) > self.most_bytes
            && let Some(oldest) = self.segments.pop()
        {
            self.forget(&oldest);
            displaced += 1;
        }
        self.came.notify_one();
        if displaced == 0 { Pushed::Waits } else { Pushed::InPlaceOf(displaced) }
    }

    fn forget(&self, segment: &Segment) {
        self.bytes.fetch_sub(segment.footprint(), Ordering::Relaxed);
    }

    /// Takes up to so many. Returns whether there were any.
    pub(super) fn take(&self, batch: &mut Vec<Arc<Segment>>, most: usize) -> bool {
        while batch.len() < most
            && let Some(segment) = self.segments.pop()
        {
            self.forget(&segment);
            batch.push(segment);
        }
        !batch.is_empty()
    }

    /// Returns when something may have come.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    /// From here on nothing is taken in.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}
