//! Something that is made when it is first asked for, and then ahead of the next question.
//!
//! Whoever asks warms it. After a change what is warm is made anew at once, by whoever
//! publishes the change; what nobody asked for during the last [`WARM`] changes is left to the
//! first who asks. So a change costs as much as what is asked of the service, and a question
//! finds what it needs made.

use std::sync::{
    OnceLock,
    atomic::{AtomicU8, Ordering},
};

/// How many changes somebody's question keeps it warm for.
const WARM: u8 = 16;

#[derive(Debug)]
pub(super) struct Lazy<T> {
    made: OnceLock<T>,
    /// For how many changes more it is made at once.
    warmth: AtomicU8,
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self {
            made: OnceLock::new(),
            warmth: AtomicU8::new(0),
        }
    }
}

impl<T> Lazy<T> {
    /// What was made, or is made now. Nobody waits for another one's making: two who ask at a
    /// time both make it, and one of them is heard.
    pub(super) fn get(&self, make: impl FnOnce() -> T) -> &T {
        // Written only where it changes: other cores read it.
        if self.warmth.load(Ordering::Relaxed) != WARM {
            self.warmth.store(WARM, Ordering::Relaxed);
        }
        if let Some(made) = self.made.get() {
            return made;
        }
        let new = make();
        self.made.get_or_init(|| new)
    }

    /// Whether it is to be made at once, as the successor of that one.
    pub(super) fn is_warm_after(&self, before: &Self) -> bool {
        let left = before.warmth.load(Ordering::Relaxed).saturating_sub(1);
        self.warmth.store(left, Ordering::Relaxed);
        left > 0
    }

    /// Takes what was made without a question.
    pub(super) fn put(&self, made: T) {
        // Nobody else has it yet.
        let _taken = self.made.set(made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_made_ahead_for_so_many_changes_and_no_more() {
        let mut now = Lazy::default();
        assert_eq!(now.get(|| 1), &1);
        assert_eq!(now.get(|| 2), &1);
        let mut ahead = 0;
        for _ in 0..100 {
            let next = Lazy::default();
            if next.is_warm_after(&now) {
                next.put(3);
                ahead += 1;
            }
            now = next;
        }
        assert_eq!(ahead, WARM - 1);
        assert_eq!(now.get(|| 4), &4);
    }
}
