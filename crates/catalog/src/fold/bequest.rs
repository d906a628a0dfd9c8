//! What goes from one process to the next beyond the words of a source: suspects stay
//! suspects, and services without instances stay known.

use portolan_model::{InstanceId, ServiceKey, SourceId};

use super::{Fold, Step, share::is_held};
use crate::guard::{Absence, Cause, Scope};

/// What a predecessor's catalogue knew about a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bequest {
    /// Instances that its guard held. The source has said them to this catalogue before;
    /// the time of their hold begins anew.
    pub suspects: Vec<(ServiceKey, InstanceId)>,
    /// Services that had no instances. Each is known for as long as one whose last
    /// instance leaves now.
    pub services: Vec<ServiceKey>,
}

impl Fold {
    pub(super) fn inherit(&mut self, step: &mut Step, source: &SourceId, bequest: Bequest) {
        for (key, id) in bequest.suspects {
            let known = self.find(source, &key, &id).cloned();
            if let Some(instance) = known.filter(|instance| !is_held(instance)) {
                let cause = Cause::plain(Scope::Predecessor);
                self.hold(step, &instance, Absence::Silent, cause);
            }
        }
        for key in bequest.services {
            let share = self.share(source, &key);
            if share.instances.is_empty() && !share.declared && share.emptied_at.is_none() {
                step.dirty.insert(key.clone());
                self.note_empty(step, source, &key);
            }
        }
    }
}
