//! What forwarding counts.

use std::sync::atomic::AtomicU64;

/// How forwarding gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Answers from the cache.
    pub hits: u64,
    /// Questions that were not in the cache.
    pub misses: u64,
    /// Answers that had outlived their time.
    pub stale: u64,
    /// Questions that nobody could answer.
    pub failures: u64,
    /// Questions of clients that may not ask.
    pub refused: u64,
    /// Questions that are remembered.
    pub entries: usize,
    /// Recursors that answer.
    pub recursors: usize,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) refused: AtomicU64,
}
