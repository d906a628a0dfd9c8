//! When the sources of instances last confirmed them.
//!
//! It is no part of the catalogue: a word that changes nothing makes no new one. A source
//! confirms all that it said at once, by an answer or a stream that is alive; an instance that
//! the guard holds was there for the last time when its hold began. Of our own instances each
//! has its last sign of life, which is asked of the registry.

use std::sync::Arc;

use portolan_catalog::Catalog;
use portolan_dialects::native::InstanceView;
use portolan_model::{Guard, Instance, SourceId, Timestamp};

use super::Parts;
use crate::core::Subject;

/// What sources confirmed, of the instances of one catalogue.
pub(super) struct Confirmed<'p> {
    parts: &'p Parts,
    catalog: &'p Catalog,
    /// What was looked up already.
    sources: Vec<(SourceId, Option<Timestamp>)>,
}

impl<'p> Confirmed<'p> {
    pub(super) const fn new(parts: &'p Parts, catalog: &'p Catalog) -> Self {
        Self {
            parts,
            catalog,
            sources: Vec::new(),
        }
    }

    /// When the source of an instance confirmed it; `None` for our own, each of which has to be
    /// asked for.
    pub(super) fn by_source(&mut self, instance: &Instance) -> Option<Timestamp> {
        if instance.source == *self.parts.registry.source() {
            return None;
        }
        if instance.state.guard == Guard::Suspect {
            let mut holds = self.catalog.guard().holds.iter();
            let is_it = |hold: &&portolan_catalog::HoldStatus| {
                hold.id == instance.id && hold.key == instance.key
            };
            return holds.find(is_it).map(|hold| hold.since);
        }
        let known = self.sources.iter();
        if let Some((_, at)) = known.clone().find(|(source, _)| *source == instance.source) {
            return *at;
        }
        let at = self.parts.pulses.confirmed_at(&instance.source);
        self.sources.push((instance.source.clone(), at));
        at
    }

    /// The views of instances, with what was confirmed of each.
    pub(super) async fn views(mut self, instances: &[Arc<Instance>]) -> Vec<InstanceView> {
        let own = |instance: &&Arc<Instance>| instance.source == *self.parts.registry.source();
        let subjects: Vec<_> = instances
            .iter()
            .filter(own)
            .map(|instance| Subject::of(instance))
            .collect();
        let heard = if subjects.is_empty() {
            Vec::new()
        } else {
            // A registry that has stopped has heard nobody.
            let heard = self.parts.registry.last_heard(subjects).await;
            heard.unwrap_or_default()
        };
        let mut heard = heard.into_iter();
        let views = instances.iter().map(|instance| {
            let is_own = instance.source == *self.parts.registry.source();
            let at = if is_own {
                heard.next().flatten()
            } else {
                self.by_source(instance)
            };
            InstanceView {
                confirmed_at: at.map(|at| at.to_string()),
                ..InstanceView::from(&**instance)
            }
        });
        views.collect()
    }
}
