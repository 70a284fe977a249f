//! Places per second, taken without a lock.
//!
//! ```text
//!   monotonic time ──┬────────┬────────┬────────►
//!   window           │   k    │  k+1   │
//!   places           │ n(k)   │ n(k+1) │            state = (window, taken) in one 64-bit word
//! ```
//!
//! Windows are seconds of the monotonic clock: a stepped wall clock neither refills nor starves a reservoir. All
//! workers share the one word, so together they keep to one reservoir. A taker who comes late, with a time whose
//! window is over, gets nothing: never more than n(k) places are given in window k, whatever the order of calls.
//!
//! A size may be a fraction. Below one place a second the window is longer (0.2 is one place in 5 s); above, the
//! fraction is carried from window to window (2.5 gives 3, 2, 3, 2, …).

use crate::moment::Moment;
use std::sync::atomic::{AtomicU64, Ordering};

const NANOS: u128 = 1_000_000_000;
const MICRO: u64 = 1_000_000;

/// How many requests a second are kept before the rate applies; 0 to 1,000,000, to a millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservoirSize(u64);

/// The value was negative, not a number, or above [`ReservoirSize::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("reservoir {0} is not between 0 and 1000000")]
pub struct ReservoirOutOfRange(pub f64);

impl ReservoirSize {
    /// The largest size, in places per second.
    pub const MAX: f64 = 1_000_000.0;

    /// A whole number of places per second, at most [`ReservoirSize::MAX`].
    pub const fn per_second(places: u32) -> ReservoirSize {
        let places = if places > 1_000_000 { 1_000_000 } else { places };
        ReservoirSize(places as u64 * MICRO)
    }

    /// Places per second.
    pub fn get(self) -> f64 {
        self.0 as f64 / MICRO as f64
    }

    /// The window `now` lies in and how many places it has.
    fn window(self, now: Moment) -> (u32, u32) {
        if self.0 == 0 {
            return (0, 0);
        }
        let nanos = u128::from(now.monotonic_nanos());
        if self.0 < MICRO {
            // One place in each 1/size seconds. Such a window is called by the second in which it has begun, or the number of
            // one size would mean another time with the next, and a reload could close a reservoir for days.
            let window = nanos * u128::from(self.0) / (NANOS * u128::from(MICRO));
            let begun = window * u128::from(MICRO) / u128::from(self.0);
            return (begun as u32, 1);
        }
        let second = now.monotonic_nanos() / NANOS as u64;
        // Nearly all sizes are whole, and a division of 128 bits takes as long as the rest of a decision.
        if self.0.is_multiple_of(MICRO) {
            return (second as u32, (self.0 / MICRO) as u32);
        }
        let places_before =
            |second: u64| (u128::from(second) * u128::from(self.0)).div_ceil(u128::from(MICRO));
        (second as u32, (places_before(second + 1) - places_before(second)) as u32)
    }
}

impl TryFrom<f64> for ReservoirSize {
    type Error = ReservoirOutOfRange;

    fn try_from(places: f64) -> Result<ReservoirSize, ReservoirOutOfRange> {
        if (0.0..=Self::MAX).contains(&places) {
            Ok(ReservoirSize((places * MICRO as f64).round() as u64))
        } else {
            Err(ReservoirOutOfRange(places))
        }
    }
}

/// The places taken in the present window. Its size comes with each call, so that a reload can change the size and
/// keep the level.
#[derive(Debug, Default)]
pub struct Reservoir {
    /// Window in the upper half, places taken in it in the lower.
    state: AtomicU64,
}

impl Reservoir {
    /// Takes a place, if there is one left.
    pub fn take(&self, size: ReservoirSize, now: Moment) -> bool {
        let (window, places) = size.window(now);
        if places == 0 {
            return false;
        }
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let (held, taken) = unpack(state);
            let next = match held.cmp(&window) {
                std::cmp::Ordering::Less => pack(window, 1),
                std::cmp::Ordering::Equal if taken < places => pack(window, taken + 1),
                _ => return false,
            };
            match self.state.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(seen) => state = seen,
            }
        }
    }

    /// Places taken and places there are in the window of `now`.
    pub fn level(&self, size: ReservoirSize, now: Moment) -> (u32, u32) {
        let (window, places) = size.window(now);
        let (held, taken) = unpack(self.state.load(Ordering::Relaxed));
        (if held == window { taken } else { 0 }, places)
    }
}

const fn pack(window: u32, taken: u32) -> u64 {
    (window as u64) << 32 | taken as u64
}

const fn unpack(state: u64) -> (u32, u32) {
    ((state >> 32) as u32, state as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn at(seconds: f64) -> Moment {
        Moment::new(0, (seconds * 1e9) as u64)
    }

    /// Which of `times` get a place.
    #[track_caller]
    fn check(size: f64, times: &[f64], expected: &str) {
        let (reservoir, size) = (Reservoir::default(), ReservoirSize::try_from(size).unwrap());
        let got: String =
            times.iter().map(|&t| if reservoir.take(size, at(t)) { 'k' } else { '-' }).collect();
        assert_eq!(got, expected);
    }

    /// Random arrivals, and what the local reservoir of Python's X-Ray SDK made of them; `tests/interop` makes the file.
    #[test]
    fn places_are_given_as_the_sdk_gives_them() {
        let mut n_arrivals = 0;
        for line in include_str!("../../tests/interop/reservoir.txt").lines() {
            let mut words = line.split(' ');
            let size = ReservoirSize::per_second(words.next().unwrap().parse().unwrap());
            let reservoir = Reservoir::default();
            for word in words {
                let (millis, given) = match word.strip_suffix('+') {
                    Some(millis) => (millis, true),
                    None => (word, false),
                };
                let now = Moment::new(0, millis.parse::<u64>().unwrap() * 1_000_000);
                assert_eq!(reservoir.take(size, now), given, "{word} of {line}");
                n_arrivals += 1;
            }
        }
        assert!(n_arrivals > 5_000, "{n_arrivals}");
    }

    #[test]
    fn a_window_gives_its_places_and_no_more() {
        check(1.0, &[0.0, 0.4, 0.999, 1.0, 1.1, 2.0], "k--k-k");
        check(2.0, &[5.0, 5.1, 5.2, 6.0], "kk-k");
        check(0.0, &[0.0, 1.0], "--");
    }

    #[test]
    fn fractions_lengthen_the_window_or_are_carried_over() {
        check(0.2, &[0.0, 1.0, 4.9, 5.0, 9.0, 12.0], "k--k-k");
        check(2.5, &[0.0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 2.0, 2.1, 2.2], "kkk-kk-kkk");
    }

    #[test]
    fn trap_15_a_late_taker_gets_nothing_from_a_window_that_is_over() {
        check(1.0, &[5.5, 4.5, 5.6, 6.0], "k--k");
    }

    #[test]
    fn a_changed_size_keeps_the_level() {
        let reservoir = Reservoir::default();
        assert!(reservoir.take(ReservoirSize::per_second(1), at(3.0)));
        assert!(!reservoir.take(ReservoirSize::per_second(1), at(3.1)));
        assert!(reservoir.take(ReservoirSize::per_second(2), at(3.2)));
        assert_eq!(reservoir.level(ReservoirSize::per_second(2), at(3.3)), (2, 2));
        assert_eq!(reservoir.level(ReservoirSize::per_second(2), at(4.0)), (0, 2));
    }

    #[test]
    fn trap_a_new_size_closes_a_reservoir_for_no_longer_than_a_window() {
        const TEN_DAYS: f64 = 864_000.0;
        let size = |places: f64| ReservoirSize::try_from(places).unwrap();
        for sizes in
            [[1.0, 0.2], [0.2, 0.1], [0.2, 1.0 / 6.0], [0.1, 0.2], [2.5, 0.5], [0.3, 1.0], [0.001, 7.5]]
        {
            let reservoir = Reservoir::default();
            assert!(reservoir.take(size(sizes[0]), at(TEN_DAYS)));
            let window = (1.0 / sizes[1]).max(1.0);
            let taken = (0..100).filter(|n| {
                reservoir.take(size(sizes[1]), at(TEN_DAYS + 2.0 * window * f64::from(*n) / 100.0))
            });
            assert!(taken.count() >= 1, "{sizes:?}");
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for size in [-0.1, f64::NAN, 1e9, f64::INFINITY] {
            assert!(ReservoirSize::try_from(size).is_err(), "{size}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_n_in_a_window_under_any_sequence_of_times(
            size in 0u32..5, millis in proptest::collection::vec(0u64..5_000, 0..200),
        ) {
            let (reservoir, size_of) = (Reservoir::default(), ReservoirSize::per_second(size));
            let mut given: HashMap<u64, u32> = HashMap::new();
            for ms in millis {
                if reservoir.take(size_of, Moment::new(0, ms * 1_000_000)) {
                    *given.entry(ms / 1_000).or_default() += 1;
                }
            }
            prop_assert!(given.values().all(|&n| n <= size), "{given:?}");
        }

        #[test]
        fn a_fraction_averages_out(size in 0.01f64..50.0) {
            let (reservoir, size_of) = (Reservoir::default(), ReservoirSize::try_from(size).unwrap());
            let mut given = 0;
            for second in 0..200u64 {
                for _ in 0..60 {
                    given += u32::from(reservoir.take(size_of, Moment::new(0, second * 1_000_000_000)));
                }
            }
            prop_assert!((f64::from(given) - 200.0 * size).abs() <= 1.01, "{given} of {}", 200.0 * size);
        }
    }

    #[test]
    fn threads_together_keep_to_one_reservoir() {
        let reservoir = Reservoir::default();
        let given: Vec<AtomicU64> = (0..50).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (reservoir, given) = (&reservoir, &given);
                scope.spawn(move || {
                    for step in 0..100_000u64 {
                        // Threads move through 50 windows at about the same pace, out of step with one another.
                        let window = (step / 2_000 + thread % 2).min(49);
                        if reservoir
                            .take(ReservoirSize::per_second(3), Moment::new(0, window * 1_000_000_000))
                        {
                            given[window as usize].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let given: Vec<u64> = given.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        assert!(given.iter().all(|&n| n <= 3), "{given:?}");
        assert!(given.iter().sum::<u64>() >= 3, "somebody must have been served: {given:?}");
    }
}
