//! A histogram of durations with a bounded relative error and exact extremes.
//!
//! Values below 64 ns have a bucket each; above, every power of two is divided into 32 buckets, and a value is reported
//! as the middle of its bucket: off by at most 1/64 of itself. Storage grows to the largest value seen: 2 KiB for
//! latencies of up to a millisecond.
use evenkeel::time::Ns;

/// Buckets per power of two, as a power of two.
const SUB_BITS: u32 = 5;
/// Buckets per power of two.
const SUB: u64 = 1 << SUB_BITS;

/// Counts of durations by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u32>,
    count: u64,
    sum: u64,
    min: Ns,
    max: Ns,
}

impl Histogram {
    /// Adds one value.
    #[inline]
    pub fn record(&mut self, value: Ns) {
        let bucket = bucket_of(value);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, exact.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest value, exact; none if there is none.
    pub fn min(&self) -> Option<Ns> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest value, exact.
    pub fn max(&self) -> Option<Ns> {
        (self.count > 0).then_some(self.max)
    }

    /// Their mean, rounded down.
    pub fn mean(&self) -> Option<Ns> {
        self.sum.checked_div(self.count)
    }

    /// The value that `per_mille` of 1000 values do not exceed (500 is the median), within 1/64 of itself.
    pub fn quantile(&self, per_mille: u32) -> Option<Ns> {
        let wanted = (u128::from(self.count) * u128::from(per_mille.min(1000))).div_ceil(1000).max(1) as u64;
        let mut seen = 0u64;
        let bucket = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            seen >= wanted
        })?;
        Some(middle(bucket).clamp(self.min, self.max))
    }
}

/// The bucket of a value.
#[inline]
fn bucket_of(value: Ns) -> usize {
    if value < 2 * SUB {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    (u64::from(shift) * SUB + (value >> shift)) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> Ns {
    let bucket = bucket as u64;
    if bucket < 2 * SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let low = (bucket - shift * SUB) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_is_off_by_at_most_a_64th(value in any::<u64>(), bits in 0u32..64) {
            let value = value >> bits;
            prop_assert!(middle(bucket_of(value)).abs_diff(value) <= value / 64);
        }

        #[test]
        fn quantiles_agree_with_sorting(values in prop::collection::vec(0u64..10_000_000, 1..200), q in 0u32..=1000) {
            let mut histogram = Histogram::default();
            let (mut left, mut right) = (Histogram::default(), Histogram::default());
            for (i, &value) in values.iter().enumerate() {
                histogram.record(value);
                if i % 2 == 0 { left.record(value) } else { right.record(value) }
            }
            left.merge(&right);
            prop_assert_eq!(&left, &histogram);
            let mut sorted = values;
            sorted.sort_unstable();
            let rank = (sorted.len() * q as usize).div_ceil(1000).max(1);
            let exact = sorted[rank - 1];
            prop_assert!(histogram.quantile(q).unwrap().abs_diff(exact) <= exact / 64);
            prop_assert_eq!((histogram.min(), histogram.max()), (sorted.first().copied(), sorted.last().copied()));
            prop_assert_eq!(histogram.sum(), sorted.iter().sum::<u64>());
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        let histogram = Histogram::default();
        assert_eq!((histogram.quantile(500), histogram.max(), histogram.mean()), (None, None, None));
    }
}
