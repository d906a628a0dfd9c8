//! Fixed buckets of time, from half a millisecond to a minute.

use std::time::Duration;

/// Upper bounds of the buckets in microseconds, and as the exposition shows them.
pub(super) const BOUNDS: [(u64, &str); 16] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// Cells of one histogram: the buckets, one for what is longer than all, and the sum.
pub(super) const CELLS: usize = BOUNDS.len() + 2;
/// Which of them is the sum, in microseconds.
pub(super) const SUM: usize = CELLS - 1;

/// Whole microseconds of a span.
pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The bucket that a span falls into; a bound belongs to the bucket below it.
pub(super) fn bucket(micros: u64) -> usize {
    BOUNDS.partition_point(|(bound, _)| *bound < micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_falls_into_its_own_bucket() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(500), 0);
        assert_eq!(bucket(501), 1);
        assert_eq!(bucket(60_000_000), 15);
        assert_eq!(bucket(60_000_001), 16);
        assert_eq!(bucket(u64::MAX), SUM - 1);
    }

    #[test]
    fn shown_bounds_are_the_counted_ones() {
        for (micros, shown) in BOUNDS {
            let seconds: f64 = shown.parse().unwrap();
            assert_eq!(
                Duration::from_secs_f64(seconds),
                Duration::from_micros(micros)
            );
        }
    }
}
