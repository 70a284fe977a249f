//! The one place that asks the time or rolls dice.
//!
//! Everything below takes both as arguments, so that its tests hold them by hand.

use crate::moment::Moment;
use rand::rngs::{SmallRng, SysRng};
use rand::{Rng, SeedableRng};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads the system's clocks. Cheap to copy; all copies count from the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// This instant on both clocks. Two system calls that need no kernel entry, some 50 ns together.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn now(self) -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Moment::new(wall, self.nanos())
    }

    /// Nanoseconds since the start, for durations.
    pub fn nanos(self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

/// Chance, one per worker.
///
/// Trace ids are visible in responses, so they must not be predictable from one another: the generator has 256 bits of
/// state and gets its seed from the operating system.
#[derive(Debug)]
pub struct Dice(SmallRng);

impl Dice {
    /// Seeded by the operating system; an error if it has no randomness to give.
    pub fn from_system() -> Result<Dice, std::io::Error> {
        SmallRng::try_from_rng(&mut SysRng).map(Dice).map_err(std::io::Error::other)
    }

    /// 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 96 bits, as a trace id wants them.
    pub fn roll_trace(&mut self) -> [u8; 12] {
        let mut bytes = [0; 12];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
