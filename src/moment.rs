//! One instant, read from both clocks at once.
//!
//! Made by `clock`, compared here. Windows of reservoirs and all durations come from the monotonic part, so that
//! a step of the wall clock neither refills a reservoir nor makes a duration negative; only the start of a document
//! is told in wall time.

use std::time::Duration;

/// An instant: wall time for people, monotonic time for arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall_micros: u64,
    monotonic_nanos: u64,
}

impl Moment {
    /// `wall_micros` since 1970, `monotonic_nanos` since any fixed start of this process.
    pub const fn new(wall_micros: u64, monotonic_nanos: u64) -> Moment {
        Moment { wall_micros, monotonic_nanos }
    }

    /// Whole seconds since 1970, as the time part of a trace id wants them (32 bits last until 2106).
    pub const fn epoch_seconds(self) -> u32 {
        (self.wall_micros / 1_000_000) as u32
    }

    /// Microseconds since 1970.
    pub const fn wall_micros(self) -> u64 {
        self.wall_micros
    }

    /// Nanoseconds since the process's own start of time.
    pub const fn monotonic_nanos(self) -> u64 {
        self.monotonic_nanos
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.monotonic_nanos.saturating_sub(earlier.monotonic_nanos))
    }

    /// The wall time at which something ended that began here and took `elapsed`.
    ///
    /// Computed, not read: a wall clock stepped in between cannot make an end earlier than its start.
    pub const fn wall_micros_after(self, elapsed: Duration) -> u64 {
        self.wall_micros.saturating_add(elapsed.as_micros() as u64)
    }

    /// This moment, `elapsed` later on both clocks.
    pub const fn later(self, elapsed: Duration) -> Moment {
        Moment {
            wall_micros: self.wall_micros_after(elapsed),
            monotonic_nanos: self.monotonic_nanos.saturating_add(elapsed.as_nanos() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_stepped_back_leaves_durations_alone() {
        let start = Moment::new(1_000_000_000, 5_000);
        let end = Moment::new(1, 8_000);
        assert_eq!(end.since(start), Duration::from_nanos(3_000));
        assert_eq!(start.wall_micros_after(end.since(start)), 1_000_000_003);
    }

    #[test]
    fn an_earlier_moment_is_zero_away_and_not_negative() {
        assert_eq!(Moment::new(0, 1).since(Moment::new(0, 2)), Duration::ZERO);
    }
}
