//! What one sink has counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a segment did not reach a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// The sidecar stopped before it was sent.
    Stopped,
    /// Nobody listens at the other end.
    Refused,
    /// Larger than a datagram.
    TooLarge,
    /// The socket or pipe took nothing for too long.
    Stalled,
    /// The host name does not resolve.
    Unresolved,
    /// Any other error of the operating system.
    Error,
}

impl DropReason {
    /// All, in the order in which they are counted.
    pub const ALL: [DropReason; 7] = [
        DropReason::QueueFull,
        DropReason::Stopped,
        DropReason::Refused,
        DropReason::TooLarge,
        DropReason::Stalled,
        DropReason::Unresolved,
        DropReason::Error,
    ];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::Stopped => "stopped",
            DropReason::Refused => "refused",
            DropReason::TooLarge => "too_large",
            DropReason::Stalled => "stalled",
            DropReason::Unresolved => "unresolved",
            DropReason::Error => "error",
        }
    }
}

/// Counts of one sink, written by workers and by its lane.
#[derive(Debug)]
pub struct SinkCounts {
    name: String,
    capacity: usize,
    offered: AtomicU64,
    emitted: AtomicU64,
    bytes: AtomicU64,
    rejected: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

/// Counts read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All that were offered.
    pub offered: u64,
    /// Delivered as far as the sink's kind can tell.
    pub emitted: u64,
    /// Lost on our side, for any reason.
    pub dropped: u64,
    /// Refused by the sink.
    pub rejected: u64,
    /// In the queue or in the lane's hand.
    pub queued: u64,
    /// Bytes of documents delivered.
    pub bytes: u64,
}

impl SinkCounts {
    pub(super) fn new(name: String, capacity: usize) -> SinkCounts {
        SinkCounts {
            name,
            capacity,
            offered: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            dropped: Default::default(),
        }
    }

    /// The label in metrics: the sink's kind, and a number from the second of a kind on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many segments may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn offered(&self) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn emitted(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.emitted.fetch_add(1, Ordering::Release);
    }

    pub(super) fn rejected(&self, n: u64) {
        self.rejected.fetch_add(n, Ordering::Release);
    }

    pub(super) fn dropped(&self, reason: DropReason, n: u64) {
        self.dropped[reason as usize].fetch_add(n, Ordering::Release);
    }

    /// How many were dropped for `reason`.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Acquire)
    }

    /// All counts; `queued` is what is offered and not yet anything else.
    pub fn snapshot(&self) -> Snapshot {
        // Endings are read before offers, so that what is offered in between shows as queued and never as negative.
        let emitted = self.emitted.load(Ordering::Acquire);
        let rejected = self.rejected.load(Ordering::Acquire);
        let dropped = DropReason::ALL.iter().map(|&reason| self.dropped_for(reason)).sum();
        let offered = self.offered.load(Ordering::Acquire);
        Snapshot {
            offered,
            emitted,
            dropped,
            rejected,
            queued: offered.saturating_sub(emitted + dropped + rejected),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
