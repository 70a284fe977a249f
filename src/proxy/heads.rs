//! The memory that heads of requests may take, all connections together.
//!
//! One head may be 64 KiB. Ten thousand clients could so take 640 MiB without ever sending a request. What a connection
//! needs beyond [`FREE`] is therefore taken from one budget; ordinary heads never touch it.
//!
//! ```text
//!   less than half taken   nothing
//!   more than half         who brings large heads is closed after its answer
//!   all                    503, closed at once, counted
//! ```

use super::{MAX_HEAD, Shared};
use crate::telemetry::{Refusal, WorkerTally};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each connection has anyway, in bytes: as much as is read at one time.
const FREE: usize = 8 * 1024;
/// What all of them may take beyond that, in bytes: 109 heads of the largest size.
const BUDGET: usize = 6 * 1024 * 1024;

/// What is taken of the budget, in bytes.
#[derive(Debug, Default)]
pub struct HeadBudget(AtomicUsize);

/// What becomes of a connection whose head grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// It is to be closed after its answer.
    Scarce,
    /// It cannot be carried.
    None,
}

/// One connection's part.
#[derive(Debug)]
pub(super) struct Head {
    shared: Arc<Shared>,
    tally: Arc<WorkerTally>,
    /// Bytes of the present head.
    bytes: usize,
    /// Taken of the budget by it.
    taken: usize,
    /// There was no room for one.
    refused: bool,
}

impl Head {
    pub(super) fn new(shared: Arc<Shared>, tally: Arc<WorkerTally>) -> Head {
        Head { shared, tally, bytes: 0, taken: 0, refused: false }
    }

    /// Whether there was no room for one.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Another head begins.
    pub(super) fn begin(&mut self) {
        self.bytes = 0;
        self.give_back();
    }

    /// What the last head took is free again.
    fn give_back(&mut self) {
        if self.taken > 0 {
            self.shared.heads.0.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
        }
    }

    /// `n` more bytes of the present head have come.
    pub(super) fn grow(&mut self, n: usize) -> Room {
        self.bytes += n;
        // Buffers grow by doubling.
        let needed = self.bytes.next_power_of_two().min(MAX_HEAD).saturating_sub(FREE);
        if needed <= self.taken {
            return Room::Enough;
        }
        let more = needed - self.taken;
        let before = self.shared.heads.0.fetch_add(more, Ordering::Relaxed);
        if before + more > BUDGET {
            self.shared.heads.0.fetch_sub(more, Ordering::Relaxed);
            self.tally.refused(Refusal::HeadMemory);
            self.refused = true;
            return Room::None;
        }
        self.taken = needed;
        if before + more > BUDGET / 2 { Room::Scarce } else { Room::Enough }
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.give_back();
    }
}
