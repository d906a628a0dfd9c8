//! Which of somebody's rights hold: those of a request, or others since.
//!
//! What somebody was shown follows from its rights, so whoever tells what has changed since
//! has to know that they did. A number says so, and grows with every change.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What somebody may do, as it was found; it says whether that still holds. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    number: u64,
    /// The number of those that hold, for all who share them.
    newest: Arc<AtomicU64>,
}

impl Rights {
    /// The first ones of somebody.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self {
            number,
            newest: Arc::new(AtomicU64::new(number)),
        }
    }

    /// Grows whenever the same one's rights change.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing else holds by now.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.newest.load(Ordering::Acquire) == self.number
    }

    /// Others in place of these; the number must be larger.
    #[must_use]
    pub fn replace(&self, number: u64) -> Self {
        self.newest.store(number, Ordering::Release);
        Self {
            number,
            newest: Arc::clone(&self.newest),
        }
    }
}
