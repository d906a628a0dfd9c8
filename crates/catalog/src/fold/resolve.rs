//! Words about holds that are not the source's: what somebody found out, and what an
//! operator decides.

use std::{collections::HashSet, sync::Arc};

use portolan_model::{Change, Departure, Instance, InstanceId, Origin, ServiceKey, SourceId};

use super::{Fold, Step, passes::Place};
use crate::guard::{HoldStatus, Keeping, Room, Selector, Sign};

/// What somebody found out about an instance that may be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The instance's service.
    pub key: ServiceKey,
    /// The instance.
    pub id: InstanceId,
    /// What was found.
    pub sign: Sign,
}

/// What an operator wants with holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Which holds are meant.
    pub selector: Selector,
    /// What is to become of them.
    pub word: Word,
}

/// What is to become of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The instance goes now.
    Release,
    /// The instance stays until its source speaks of it, or it is released.
    Keep,
}

impl Fold {
    /// Takes note of what somebody found out about a held instance. Who is alive is not
    /// kept waiting for the next pass.
    pub(super) fn take_sign(&mut self, step: &mut Step, source: &SourceId, seen: Seen) {
        let Seen { key, id, sign } = seen;
        if self.find(source, &key, &id).is_none() {
            return;
        }
        let Some(hold) = self.share(source, &key).held.get_mut(&id) else {
            return;
        };
        hold.reading.told = Some((step.now, sign));
        self.watch.touch();
        let place = Place {
            key: &key,
            source,
            id: &id,
        };
        if sign == Sign::Alive {
            self.look_at(step, &place, &HashSet::new(), &mut Room::default());
        }
    }

    /// Does what an operator said about holds.
    pub(super) fn resolve(
        &mut self,
        step: &mut Step,
        actor: Option<&Arc<str>>,
        resolution: &Resolution,
    ) {
        let all = self.hold_statuses();
        let meant = all.iter().filter(|hold| resolution.selector.matches(hold));
        for HoldStatus {
            key, id, source, ..
        } in meant
        {
            let Some(instance) = self.find(source, key, id).cloned() else {
                continue;
            };
            match resolution.word {
                Word::Release => {
                    self.watch.totals.released += 1;
                    self.let_go(step, &instance, Departure::Explicit, actor.cloned());
                }
                Word::Keep => {
                    let hold = self.share(source, key).held.get_mut(id);
                    if let Some(hold) = hold.filter(|hold| hold.keeping == Keeping::Suspect) {
                        (hold.keeping, hold.until) = (Keeping::Told, None);
                        let (source, actor) = (source.clone(), actor.cloned());
                        step.tell(Origin { source, actor }, Change::Put { instance });
                    }
                }
            }
        }
        self.watch.touch();
    }

    pub(super) fn let_go(
        &mut self,
        step: &mut Step,
        instance: &Instance,
        departure: Departure,
        actor: Option<Arc<str>>,
    ) {
        let (source, key, id) = (&instance.source, &instance.key, &instance.id);
        self.remove(step, source, key, id);
        let (source, key, id) = (source.clone(), key.clone(), id.clone());
        step.tell(
            Origin { source, actor },
            Change::Remove { key, id, departure },
        );
    }
}
