//! What one sink has counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Between two lines in the log about one sink.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);

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

    /// What it means and what to look at.
    fn advice(self) -> &'static str {
        match self {
            DropReason::QueueFull => {
                "the sink is slower than the segments come: sample less, or give it more CPU"
            }
            DropReason::Stopped => "the sidecar stopped first",
            DropReason::Refused => "nobody listens there: is the daemon running, and is the address right?",
            DropReason::TooLarge => "a document is larger than a datagram",
            DropReason::Stalled => "the socket takes nothing: is the receiver overloaded?",
            DropReason::Unresolved => {
                "the host name does not resolve: is it spelled right, and is DNS reachable?"
            }
            DropReason::Error => {
                "the operating system refused: see the address, and whether stdout is still open"
            }
        }
    }

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
    /// Index of the reason of the last drop; past the end if there was none.
    last_reason: AtomicUsize,
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
            last_reason: AtomicUsize::new(usize::MAX),
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
        if n > 0 {
            self.dropped[reason as usize].fetch_add(n, Ordering::Release);
            self.last_reason.store(reason as usize, Ordering::Relaxed);
        }
    }

    /// Why a segment was last dropped.
    pub fn last_reason(&self) -> Option<DropReason> {
        DropReason::ALL.get(self.last_reason.load(Ordering::Relaxed)).copied()
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

/// Says in the log that segments are lost, once a minute at most and with how many.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    lost: u64,
    silent_until: Option<Instant>,
}

impl Complaints {
    /// To be called after each batch.
    pub(super) fn look(&mut self, counts: &SinkCounts, destination: &str) {
        let snapshot = counts.snapshot();
        let lost = snapshot.dropped + snapshot.rejected;
        let now = Instant::now();
        if lost == self.lost || self.silent_until.is_some_and(|until| now < until) {
            return;
        }
        let reason = counts.last_reason();
        tracing::warn!(
            sink = destination,
            lost = lost - self.lost,
            reason = reason.map(DropReason::as_str),
            "segments are lost, traffic is not affected (setting `sinks`): {}",
            reason.map_or("the sink refused them", DropReason::advice)
        );
        self.lost = lost;
        self.silent_until = Some(now + BETWEEN_COMPLAINTS);
    }
}
