//! Latencies in buckets whose width grows with the value: at most 1 % wrong.
//!
//! Source: the log-linear layout of `HdrHistogram`.

use std::time::Duration;

/// Steps within one power of two.
const STEP_BITS: u32 = 7;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize) * STEPS;

/// Counts of latencies.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Histogram {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            max: Duration::ZERO,
        }
    }

    /// Adds one latency.
    pub(crate) fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX >> 1);
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.max = self.max.max(latency);
    }

    /// The latency that a share of `quantile` does not exceed, in microseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is far below 2^52"
    )]
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let rank = (self.count as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return (floor(index + 1) as f64 / 1000.0).min(self.max_us());
            }
        }
        self.max_us()
    }

    /// The largest latency, in microseconds.
    pub(crate) fn max_us(&self) -> f64 {
        self.max.as_secs_f64() * 1e6
    }
}

fn bucket(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    let shift = bits.saturating_sub(STEP_BITS + 1);
    let step = usize::try_from(value >> shift).unwrap_or(STEPS);
    (shift as usize * STEPS + step).min(BUCKETS - 1)
}

/// The smallest value of a bucket.
fn floor(index: usize) -> u64 {
    let shift = (index / STEPS).saturating_sub(1);
    let step = index - shift * STEPS;
    (step as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_holds_its_value_within_one_percent() {
        for value in [
            0,
            1,
            127,
            128,
            255,
            256,
            1_000,
            25_300,
            1_000_000,
            7_654_321_987,
        ] {
            let index = bucket(value);
            assert!(floor(index) <= value && value < floor(index + 1), "{value}");
            assert!(
                floor(index + 1) - floor(index) <= value / 100 + 1,
                "{value}"
            );
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=1000 {
            histogram.add(Duration::from_micros(microseconds));
        }
        for (quantile, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile_us(quantile);
            assert!(
                (found - expected).abs() <= expected * 0.01,
                "{quantile}: {found}"
            );
        }
    }
}
