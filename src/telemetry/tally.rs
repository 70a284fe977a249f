//! Counts and histograms for the hot path: constant memory, no lock, no shared cache line.
//!
//! Each worker writes its own; a scrape reads them all and adds. Because there is one writer, adding is a plain load
//! and store instead of a locked instruction.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds `n`; only the owner may.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away; only the owner may.
    pub fn sub(&self, n: u64) {
        self.0.store(self.get().saturating_sub(n), Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of overhead, in nanoseconds: 10 µs to 100 ms.
pub static OVERHEAD_BOUNDS: [u64; 19] = [
    10_000,
    15_000,
    20_000,
    30_000,
    50_000,
    75_000,
    100_000,
    150_000,
    200_000,
    300_000,
    500_000,
    750_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

/// Upper bounds of a request's duration, in nanoseconds: 1 ms to 60 s.
pub static DURATION_BOUNDS: [u64; 15] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Upper bounds of one decision, in nanoseconds: 50 ns to 100 µs.
pub static DECISION_BOUNDS: [u64; 11] = [50, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 20_000, 100_000];

/// The most bounds a histogram may have.
const MAX_BUCKETS: usize = 20;

/// A histogram of nanoseconds with fixed bounds and one writer.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: [Tally; MAX_BUCKETS],
    sum: Tally,
}

impl Histogram {
    /// Empty. Bounds beyond the 19th are not used; the last bucket takes all that is larger.
    pub fn new(bounds: &'static [u64]) -> Histogram {
        let bounds = &bounds[..bounds.len().min(MAX_BUCKETS - 1)];
        Histogram { bounds, counts: Default::default(), sum: Tally::default() }
    }

    /// Counts one value; only the owner may.
    pub fn record(&self, nanos: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < nanos);
        self.counts[bucket].add(1);
        self.sum.add(nanos);
    }
}

/// What several histograms of the same bounds hold together.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    bounds: &'static [u64],
    counts: [u64; MAX_BUCKETS],
    /// Of all values, in nanoseconds.
    pub sum: u64,
}

impl Merged {
    /// Adds them up. All must have the same bounds.
    pub fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Merged {
        let mut merged = Merged::default();
        for histogram in histograms {
            merged.bounds = histogram.bounds;
            merged.sum += histogram.sum.get();
            for (total, count) in merged.counts.iter_mut().zip(&histogram.counts) {
                *total += count.get();
            }
        }
        merged
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bound in nanoseconds, and how many values are at most that; the unbounded bucket is [`Merged::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        self.bounds.iter().copied().zip(counts)
    }

    /// The value below which a share of `q` (0 to 1) of all values lies, in nanoseconds, taken to be spread evenly within its
    /// bucket; the largest bound for what is beyond it, and 0 if there is nothing.
    pub fn quantile(&self, q: f64) -> f64 {
        let wanted = q * self.count() as f64;
        let (mut below, mut lower) = (0, 0);
        if wanted == 0.0 {
            return 0.0;
        }
        for (bound, total) in self.cumulative() {
            if total as f64 >= wanted {
                let within = (wanted - below as f64) / (total - below) as f64;
                return lower as f64 + within * (bound - lower) as f64;
            }
            (below, lower) = (total, bound);
        }
        lower as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let histogram = Histogram::new(&OVERHEAD_BOUNDS);
        for nanos in [10_000, 10_001, 1_000_000_000] {
            histogram.record(nanos);
        }
        let merged = Merged::of([&histogram, &histogram].into_iter());
        let cumulative: Vec<_> = merged.cumulative().take(2).collect();
        assert_eq!(cumulative, [(10_000, 2), (15_000, 4)]);
        assert_eq!((merged.count(), merged.sum), (6, 2 * 1_000_020_001));
    }

    #[test]
    fn quantiles_lie_within_their_bucket_and_nothing_is_zero() {
        let histogram = Histogram::new(&DECISION_BOUNDS);
        assert_eq!(Merged::of([&histogram].into_iter()).quantile(0.99), 0.0);
        for _ in 0..100 {
            histogram.record(120);
        }
        let merged = Merged::of([&histogram].into_iter());
        assert_eq!(merged.quantile(0.5), 125.0);
        histogram.record(1_000_000);
        assert_eq!(Merged::of([&histogram].into_iter()).quantile(1.0), 100_000.0);
    }
}
