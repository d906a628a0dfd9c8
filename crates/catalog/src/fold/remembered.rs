//! What a source said to a process before this one: its last known good.

use std::sync::Arc;

use portolan_model::{Change, Instance, Origin, Revision, RevisionClock, SourceId, Timestamp};

use super::{Fold, Step, share::owned_by};
use crate::Journal;

/// Why a source is stale that has not spoken to this process yet.
const REASON: &str = "not heard from since the program started; this is what it said before";
/// The actor of events that stand for what was remembered.
const ACTOR: &str = "remembered";

impl Fold {
    /// Takes in what is remembered of a source. What it says itself counts more: nothing is
    /// taken in once it has said everything.
    pub(super) fn remember(
        &mut self,
        step: &mut Step,
        source: &SourceId,
        instances: Vec<Arc<Instance>>,
    ) {
        let holder = self.holder(source);
        if holder.is_whole || instances.is_empty() {
            return;
        }
        let is_unheard = holder.heard_at.is_none();
        holder.is_remembered = true;
        let origin = Origin {
            source: source.clone(),
            actor: Some(ACTOR.into()),
        };
        for instance in instances {
            let mut instance = owned_by(source, instance);
            if self.find(source, &instance.key, &instance.id).is_some() {
                continue;
            }
            Arc::make_mut(&mut instance).state.stale = true;
            self.set(step, source, Arc::clone(&instance));
            step.tell(origin.clone(), Change::Put { instance });
        }
        if is_unheard {
            self.stale(step, origin, REASON.into());
        }
    }

    /// Goes on where the journals of processes before this one end: above their revisions.
    pub(super) fn recall(&mut self, now: Timestamp, newest: Revision) {
        if newest >= self.catalog.revision {
            let reached = self.clock.next(now).max(newest);
            self.clock = RevisionClock::new(reached);
            self.catalog.revision = self.clock.next(now);
        }
        // How this process came to know what the one before it knew is no part of history.
        self.catalog.journal = Journal::new(self.catalog.revision);
    }
}
