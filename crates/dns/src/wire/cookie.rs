//! Server cookies (RFC 7873 in the form of RFC 9018).
//!
//! A client that shows a cookie of ours was reached at its address before, so it is not
//! somebody else's. The secret is drawn when the program starts; the key of each day is made
//! of it, and a cookie of the day before still counts.

use std::{hash::Hasher, net::IpAddr};

use ring::rand::{SecureRandom, SystemRandom};

use super::query::Cookie;

/// Seconds for which a key makes cookies.
const DAY: u64 = 86_400;
/// Seconds for which a cookie counts (RFC 9018, section 4.3).
const VALID: u32 = 3_600;
/// Seconds by which clocks may differ.
const AHEAD: u32 = 300;
/// The only version that there is.
const VERSION: u8 = 1;

/// Makes and knows cookies.
#[derive(Debug)]
pub(crate) struct Cookies {
    /// None if the system had no chance to give: then no cookie proves anything.
    secret: Option<(u64, u64)>,
}

impl Cookies {
    /// Cookies of a new secret.
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        let number = u128::from_be_bytes(bytes);
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            secret: filled.ok().map(|()| (half(number >> 64), half(number))),
        }
    }

    /// The server's half of a cookie, at that second since the Unix epoch.
    pub(crate) fn make(&self, client: [u8; 8], address: IpAddr, now: u64) -> [u8; 16] {
        self.made(client, address, low(now), now / DAY)
    }

    /// Whether the server's half was made by us for that client at that address.
    pub(crate) fn knows(&self, cookie: &Cookie, address: IpAddr, now: u64) -> bool {
        let (Some(server), Some(_)) = (cookie.server, self.secret) else {
            return false;
        };
        let [_, _, _, _, a, b, c, d, ..] = server;
        let at = u32::from_be_bytes([a, b, c, d]);
        let age = low(now).wrapping_sub(at);
        let is_fresh = age <= VALID || age.wrapping_neg() <= AHEAD;
        let day = now / DAY;
        let days = [day, day.saturating_sub(1), day.saturating_add(1)];
        is_fresh
            && days
                .iter()
                .any(|day| is_same(self.made(cookie.client, address, at, *day), server))
    }

    fn made(&self, client: [u8; 8], address: IpAddr, at: u32, day: u64) -> [u8; 16] {
        let mut made = [0; 16];
        let [a, b, c, d] = at.to_be_bytes();
        let mut hash = sip(self.key(day));
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        hash.write(&client);
        hash.write(&head);
        match address.to_canonical() {
            IpAddr::V4(ip) => hash.write(&ip.octets()),
            IpAddr::V6(ip) => hash.write(&ip.octets()),
        }
        let mut halves = made.chunks_exact_mut(8);
        let sealed = hash.finish().to_le_bytes();
        for (half, bytes) in halves.by_ref().zip([head, sealed]) {
            half.copy_from_slice(&bytes);
        }
        made
    }

    fn key(&self, day: u64) -> (u64, u64) {
        let half = |which: u64| {
            let mut hash = sip(self.secret.unwrap_or_default());
            hash.write_u64(day);
            hash.write_u64(which);
            hash.finish()
        };
        (half(0), half(1))
    }
}

/// Compares without telling by its duration where the difference is.
fn is_same(one: [u8; 16], other: [u8; 16]) -> bool {
    (u128::from_ne_bytes(one) ^ u128::from_ne_bytes(other)) == 0
}

/// The low bits of a time, which is what cookies carry.
fn low(now: u64) -> u32 {
    u32::try_from(now & u64::from(u32::MAX)).unwrap_or_default()
}

#[expect(
    deprecated,
    reason = "it is SipHash-2-4, which RFC 9018 names; its successor has fewer rounds"
)]
fn sip((first, second): (u64, u64)) -> impl Hasher {
    std::hash::SipHasher::new_with_keys(first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_780_272_000;
    const CLIENT: [u8; 8] = *b"abcdefgh";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_counts_for_its_client_for_an_hour() {
        let cookies = Cookies::new();
        let here = ip("192.0.2.1");
        let cookie = |server| Cookie {
            client: CLIENT,
            server,
        };
        let made = cookie(Some(cookies.make(CLIENT, here, NOW)));
        assert!(cookies.knows(&made, here, NOW));
        assert!(cookies.knows(&made, ip("::ffff:192.0.2.1"), NOW));
        assert!(cookies.knows(&made, here, NOW + u64::from(VALID)));
        assert!(!cookies.knows(&made, here, NOW + u64::from(VALID) + 1));
        assert!(cookies.knows(&made, here, NOW - u64::from(AHEAD)));
        assert!(!cookies.knows(&made, here, NOW - u64::from(AHEAD) - 1));
        assert!(!cookies.knows(&made, ip("192.0.2.2"), NOW));
        assert!(!cookies.knows(&cookie(None), here, NOW));
        assert!(!Cookies::new().knows(&made, here, NOW), "another secret");
        let nobody = Cookies { secret: None };
        let made = cookie(Some(nobody.make(CLIENT, here, NOW)));
        assert!(!nobody.knows(&made, here, NOW), "no secret");
    }

    #[test]
    fn a_cookie_counts_beyond_the_change_of_the_key() {
        let cookies = Cookies::new();
        let (here, night) = (ip("2001:db8::1"), (NOW / DAY + 1) * DAY);
        let server = Some(cookies.make(CLIENT, here, night - 1));
        let cookie = Cookie {
            client: CLIENT,
            server,
        };
        assert!(cookies.knows(&cookie, here, night + 1));
    }
}
