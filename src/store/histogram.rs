//! Durations counted in buckets of a fixed relative width.
//!
//! 16 sub-buckets for each power of two of microseconds, so a value read back is wrong by at most 3.2 %; at most 512
//! buckets, and two histograms merge by adding. Below 16 µs every microsecond has its own bucket. What is longer than
//! 2^35 µs (9.5 hours) falls into the last one.

/// Sub-buckets for each power of two.
const SUB_BUCKETS: u64 = 16;
/// Buckets in all.
const BUCKETS: usize = 512;

/// A histogram of durations in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>, // invariant: no longer than BUCKETS; sums to `count`
    count: u64,
    sum_micros: u64,
    min_micros: u64,
    max_micros: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&mut self, micros: u64) {
        let bucket = bucket_of(micros);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.min_micros = if self.count == 0 { micros } else { self.min_micros.min(micros) };
        self.max_micros = self.max_micros.max(micros);
        self.count += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in microseconds; saturates.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    /// The value in microseconds that a share `quantile` (0 to 1) of the durations does not exceed; `None` if empty.
    ///
    /// The middle of the bucket, but never outside what was counted, so a single duration is read back exactly.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((quantile.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let (low, high) = bounds(bucket);
                return Some((low + (high - low) / 2).clamp(self.min_micros, self.max_micros));
            }
        }
        Some(self.max_micros)
    }

    /// Lower bound, upper bound (exclusive) in microseconds and count of each bucket that holds anything, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bucket, &count)| {
            let (low, high) = bounds(bucket);
            (low, high, count)
        })
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < SUB_BUCKETS {
        return micros as usize;
    }
    let exponent = u64::from(63 - micros.leading_zeros());
    let sub_bucket = (micros >> (exponent - 4)) & (SUB_BUCKETS - 1);
    (((exponent - 3) * SUB_BUCKETS + sub_bucket) as usize).min(BUCKETS - 1)
}

fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return (bucket, bucket + 1);
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let low = (SUB_BUCKETS + bucket % SUB_BUCKETS) << shift;
    (low, low + (1 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn one_duration_is_read_back_exactly() {
        let mut histogram = Histogram::default();
        histogram.add(60_000);
        assert_eq!(histogram.quantile(0.5), Some(60_000));
        assert_eq!(histogram.quantile(0.99), Some(60_000));
    }

    #[test]
    fn ranks_are_those_of_the_sorted_list() {
        let mut histogram = Histogram::default();
        (1..=10).for_each(|micros| histogram.add(micros));
        assert_eq!(histogram.quantile(0.5), Some(5));
        assert_eq!(histogram.quantile(0.9), Some(9));
        assert_eq!(histogram.quantile(1.0), Some(10));
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_the_bucket_is_narrow(micros in 0u64..(1 << 35)) {
            let (low, high) = bounds(bucket_of(micros));
            prop_assert!(low <= micros && micros < high);
            prop_assert!((high - low - 1) as f64 / 2.0 <= 0.032 * micros.max(1) as f64);
        }

        #[test]
        fn any_value_may_be_counted(micros: u64) {
            let mut histogram = Histogram::default();
            histogram.add(micros);
            prop_assert!(histogram.counts.len() <= BUCKETS);
            prop_assert_eq!(histogram.quantile(0.5), Some(micros));
        }
    }
}
