//! What a forwarder may do, for whom, and at what cost.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use portolan_model::ByteSize;

/// Networks whose clients may ask if nobody says otherwise: this machine and private ones
/// (RFC 1918, RFC 3927, RFC 4193, RFC 4291, RFC 6598).
const NEAR: [&str; 10] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "::ffff:127.0.0.0/104",
];

/// How names that are not ours are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is asked.
    pub recursors: Vec<SocketAddr>,
    /// Who may ask; everybody else is refused.
    pub allow: Vec<IpNet>,
    /// How long an answer may take.
    pub deadline: Duration,
    /// What the cache may take.
    pub cache: ByteSize,
    /// The longest that an answer is kept.
    pub ttl_max: Duration,
    /// The longest that it is believed that there is nothing.
    pub negative_ttl_max: Duration,
    /// How long an answer that has outlived its time may still be told when no recursor
    /// answers; never, if zero.
    pub stale: Duration,
    /// Most bytes of an answer by UDP, whatever a client can take.
    pub udp_bytes_max: u16,
    /// Distinct questions that may be under way; one more fails.
    pub questions_max: usize,
    /// Clients that may wait; one more fails.
    pub waiting_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            recursors: Vec::new(),
            allow: near(),
            deadline: Duration::from_secs(4),
            cache: ByteSize::from_bytes(16 << 20),
            ttl_max: Duration::from_hours(24),
            negative_ttl_max: Duration::from_mins(5),
            stale: Duration::from_hours(24),
            udp_bytes_max: 1232,
            questions_max: 1024,
            waiting_max: 16_384,
        }
    }
}

/// This machine and private networks.
#[must_use]
pub fn near() -> Vec<IpNet> {
    NEAR.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_near_network_is_one() {
        assert_eq!(near().len(), NEAR.len());
    }
}
