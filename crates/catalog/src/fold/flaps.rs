//! Flaps: who goes down, as the fold sees it, and whose traffic is reduced for it.

use std::sync::Arc;

use portolan_model::{Guard, Health, Instance, ServiceKey, Timestamp};

use super::{Fold, Step};
use crate::journal::Undo;

impl Fold {
    /// Takes note of the instances of a service that went down by a change, given what
    /// those that it touched were before.
    pub(super) fn note_falls(
        &mut self,
        now: Timestamp,
        key: &ServiceKey,
        touched: &[Undo],
        instances: &[Arc<Instance>],
    ) {
        let half_life = self.guard.half_life;
        for undo in touched {
            let was_up = undo.before.as_ref().is_some_and(|before| is_up(before));
            let place = instances.binary_search_by(|instance| instance.id.cmp(&undo.id));
            let after = place.ok().and_then(|place| instances.get(place));
            if was_up && after.is_some_and(|after| has_fallen(after)) {
                self.watch.damping.fell(half_life, now, key, &undo.id);
                self.watch.touch();
            }
        }
    }

    /// Gives their traffic back to instances that have been steady.
    pub(super) fn calm(&mut self, step: &mut Step) {
        let half_life = self.guard.half_life;
        let changed = if half_life.is_zero() {
            self.watch.damping.clear()
        } else {
            self.watch.damping.calm(half_life, step.now)
        };
        step.dirty.extend(changed);
        self.watch.touch();
    }
}

fn is_up(instance: &Instance) -> bool {
    instance.state.traffic().is_open() && instance.state.guard != Guard::Suspect
}

/// Whether it is down, and nobody wanted that.
fn has_fallen(instance: &Instance) -> bool {
    instance.state.health == Health::Critical || instance.state.guard == Guard::Suspect
}
