//! What waits for one sink: bounded, and never waited for.
//!
//! A full queue loses its oldest segment and not the newcomer: when a sink comes back after an incident, the last
//! minutes are what somebody wants to see.

use crate::segment::Segment;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Segments on their way from workers to a lane.
#[derive(Debug)]
pub(super) struct Queue {
    segments: ArrayQueue<Arc<Segment>>,
    came: Notify,
    closed: AtomicBool,
}

/// What became of a segment that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Waits,
    /// It waits, and another one that waited longer is gone.
    InPlaceOfTheOldest,
    /// Nobody takes any more.
    Closed,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Queue {
        Queue { segments: ArrayQueue::new(capacity), came: Notify::new(), closed: AtomicBool::new(false) }
    }

    pub(super) fn push(&self, segment: Arc<Segment>) -> Pushed {
        if self.closed.load(Ordering::Acquire) {
            return Pushed::Closed;
        }
        let displaced = self.segments.force_push(segment);
        self.came.notify_one();
        if displaced.is_some() { Pushed::InPlaceOfTheOldest } else { Pushed::Waits }
    }

    /// Takes up to so many. Returns whether there were any.
    pub(super) fn take(&self, batch: &mut Vec<Arc<Segment>>, most: usize) -> bool {
        while batch.len() < most
            && let Some(segment) = self.segments.pop()
        {
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
