//! Questions that wait for a change.

use portolan_model::Revision;
use tokio::sync::oneshot;

use crate::{Engine, LedgerError, Query, Step, shell::Found};

/// Most questions that wait at a time.
pub const WAITERS_MAX: usize = 20_000;

/// A question that waits until its index is above the one that it knows.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) query: Query,
    pub(crate) index: Revision,
    pub(crate) reply: oneshot::Sender<Found>,
}

#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<Waiter>);

impl Waiters {
    /// Lets a question wait. One too many is refused, when those that nobody waits for any more
    /// are gone.
    pub(crate) fn add(&mut self, waiter: Waiter) {
        if self.0.len() >= WAITERS_MAX {
            self.0.retain(|waiter| !waiter.reply.is_closed());
        }
        if self.0.len() >= WAITERS_MAX {
            drop(
                waiter
                    .reply
                    .send(Err(LedgerError::TooManyWaiters(WAITERS_MAX))),
            );
        } else {
            self.0.push(waiter);
        }
    }

    /// Answers those whose answer has changed, whatever else has.
    pub(crate) fn wake_all(&mut self, engine: &Engine) {
        for waiter in std::mem::take(&mut self.0) {
            if !waiter.reply.is_closed() {
                self.answer_or_keep(engine, waiter);
            }
        }
    }

    fn answer_or_keep(&mut self, engine: &Engine, waiter: Waiter) {
        let (output, index) = engine.look(&waiter.query);
        if index > waiter.index {
            // Whoever has gone away is not missed.
            drop(waiter.reply.send(Ok((output, index))));
        } else {
            self.0.push(waiter);
        }
    }

    /// Answers those whose answer has changed in these steps.
    pub(crate) fn wake(&mut self, engine: &Engine, steps: &[Step]) {
        if steps.is_empty() {
            return;
        }
        for waiter in std::mem::take(&mut self.0) {
            if waiter.reply.is_closed() {
                continue;
            }
            if steps.iter().any(|step| concerns(step, &waiter.query)) {
                self.answer_or_keep(engine, waiter);
            } else {
                self.0.push(waiter);
            }
        }
    }
}

fn concerns(step: &Step, query: &Query) -> bool {
    match query {
        Query::Key(key) => step.changed.binary_search(key).is_ok(),
        Query::Tree(prefix) | Query::Names { prefix, .. } => {
            // Sorted: the first that is not below the prefix begins with it, if any does.
            let first = step.changed.partition_point(|key| **key < **prefix);
            let found = step.changed.get(first);
            found.is_some_and(|key| key.starts_with(&**prefix))
        }
        Query::Session(_) | Query::Sessions => step.sessions_changed,
        Query::Objects(kind) => step.kinds_changed.contains(kind),
    }
}
