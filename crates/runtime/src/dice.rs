//! Chance that can be replayed.

use std::sync::Arc;

use fastrand::Rng;
use uuid::Builder;

/// A source of chance with a seed of its own. Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(Rng);

impl Dice {
    /// The dice of that seed always fall the same.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number below `limit`; 0 if `limit` is 0.
    pub fn u32_below(&mut self, limit: u32) -> u32 {
        if limit == 0 { 0 } else { self.0.u32(..limit) }
    }

    /// A number from 0 up to, but not including, 1.
    pub fn unit_f64(&mut self) -> f64 {
        self.0.f64()
    }

    /// A random UUID (RFC 9562, version 4). Not for secrets.
    #[must_use]
    pub fn uuid(&mut self) -> Arc<str> {
        let uuid = Builder::from_random_bytes(self.0.u128(..).to_be_bytes()).into_uuid();
        uuid.to_string().into()
    }

    /// New dice that are independent of these.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }
}
