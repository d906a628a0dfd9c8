//! Response-rate limiting: how much is sent to a network that may not have asked.
//!
//! Each network has a bucket by its hash, so that what is kept does not grow, whoever sends.
//! Networks that share a bucket share its rate; the hash has a secret key. A bucket is the
//! time at which it would be empty (GCRA): one number, one exchange.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use portolan_config::DnsRate;

/// How many buckets, a power of two: half a mebibyte.
const BUCKETS: usize = 1 << 16;
/// Answers in a second, if nobody says otherwise.
const RATE: u32 = 1000;
/// Microseconds' worth of answers that may come at once.
const BURST_MICROS: u64 = 1_000_000;

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent.
    Send,
    /// It is beyond the rate.
    Limit,
}

pub(crate) struct Limiter {
    start: Instant,
    /// There are none until somebody is limited: most servers ask for themselves only.
    buckets: OnceLock<Box<[AtomicU64]>>,
    hash: RandomState,
}

impl Limiter {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            buckets: OnceLock::new(),
            hash: RandomState::new(),
        }
    }

    /// Counts an answer to a client without a cookie.
    pub(crate) fn judge(&self, client: IpAddr, now: Instant, rate: &DnsRate) -> Verdict {
        let client = client.to_canonical();
        let per_second = match rate.responses_per_second {
            None if client.is_loopback() => return Verdict::Send,
            given => given.unwrap_or(RATE).max(1),
        };
        let cost = 1_000_000_u64.div_ceil(u64::from(per_second));
        let since = now.saturating_duration_since(self.start).as_micros();
        let now = u64::try_from(since).unwrap_or(u64::MAX);
        let mask = u64::try_from(BUCKETS - 1).unwrap_or_default();
        let place = self.hash.hash_one(network(client)) & mask;
        let empty = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        let buckets = self.buckets.get_or_init(empty);
        let bucket = usize::try_from(place).ok();
        let Some(bucket) = bucket.and_then(|place| buckets.get(place)) else {
            return Verdict::Send;
        };
        let taken = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty| {
            let next = empty.max(now).saturating_add(cost);
            (next.saturating_sub(now) <= BURST_MICROS).then_some(next)
        });
        match taken {
            Ok(_) => Verdict::Send,
            Err(_) => Verdict::Limit,
        }
    }
}

/// The network of a client: /24 or /56, as resolvers count.
fn network(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(ip) => u128::from(u32::from(ip) >> 8),
        // Never the number of a network of the other family.
        IpAddr::V6(ip) => u128::from(ip) >> 72 | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_runtime::Env;

    use super::*;

    fn rate(responses: Option<u32>) -> DnsRate {
        DnsRate {
            responses_per_second: responses,
            slip: 2,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_gets_what_its_rate_allows() {
        let start = Env::virtual_time(1).instant();
        let limiter = Limiter::new(start);
        let sent = |client: &str, now| {
            let client = client.parse().unwrap();
            let judge = |_: &u32| limiter.judge(client, now, &rate(Some(10))) == Verdict::Send;
            (0..100).filter(judge).count()
        };
        assert_eq!(sent("192.0.2.1", start), 10);
        assert_eq!(sent("192.0.2.200", start), 0, "the same network");
        assert_eq!(sent("198.51.100.1", start), 10, "another network");
        assert_eq!(sent("2001:db8::1", start), 10);
        assert_eq!(sent("2001:db8:0:ff::1", start), 0, "the same /56");
        assert_eq!(sent("192.0.2.1", start + Duration::from_millis(500)), 5);
        assert_eq!(sent("192.0.2.1", start + Duration::from_mins(1)), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn this_machine_is_limited_only_if_somebody_says_so() {
        let start = Env::virtual_time(1).instant();
        let limiter = Limiter::new(start);
        let sent = |client: &str, rate: &DnsRate| {
            let client = client.parse().unwrap();
            let judge = |_: &u32| limiter.judge(client, start, rate) == Verdict::Send;
            (0..3000).filter(judge).count()
        };
        assert_eq!(sent("127.0.0.1", &rate(None)), 3000);
        assert!(limiter.buckets.get().is_none(), "nothing is kept for it");
        assert_eq!(sent("::ffff:127.0.0.1", &rate(None)), 3000);
        assert_eq!(sent("192.0.2.1", &rate(None)), 1000);
        assert_eq!(sent("127.0.0.1", &rate(Some(5))), 5);
    }
}
