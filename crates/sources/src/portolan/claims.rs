//! What the other Portolan's instances stand for here. Pure.

use std::collections::{BTreeMap, BTreeSet};

use portolan_model::Instance;

use crate::frame::{Place, Unfit, View};

/// How they call an instance: namespace, service, id.
pub(super) type Theirs = (String, String, String);

/// Instances by how they are called over there. What can't be read keeps what it said before.
/// Of two that stand for the same instance here, the one that is called first by the order
/// of names counts; when it goes, the other takes its place.
#[derive(Debug, Default)]
pub(super) struct Claims {
    good: BTreeMap<Theirs, Instance>,
    bad: BTreeMap<Theirs, String>,
    of: BTreeMap<Place, BTreeSet<Theirs>>,
}

impl Claims {
    /// Takes what came of reading one. Gives the places that may have changed.
    pub(super) fn take(
        &mut self,
        theirs: Theirs,
        made: Result<Option<Instance>, Unfit>,
    ) -> BTreeSet<Place> {
        match made {
            Ok(Some(instance)) => {
                let mut touched = self.forget(&theirs);
                let place = place_of(&instance);
                let of_place = self.of.entry(place.clone()).or_default();
                of_place.insert(theirs.clone());
                self.good.insert(theirs, instance);
                touched.insert(place);
                touched
            }
            Ok(None) => self.forget(&theirs),
            Err(why) => {
                self.bad.insert(theirs, words(&why));
                BTreeSet::new()
            }
        }
    }

    /// Forgets one that is gone. Gives the place that may have changed.
    pub(super) fn forget(&mut self, theirs: &Theirs) -> BTreeSet<Place> {
        self.bad.remove(theirs);
        let Some(instance) = self.good.remove(theirs) else {
            return BTreeSet::new();
        };
        let place = place_of(&instance);
        if let Some(of_place) = self.of.get_mut(&place) {
            of_place.remove(theirs);
            if of_place.is_empty() {
                self.of.remove(&place);
            }
        }
        BTreeSet::from([place])
    }

    /// Forgets all but these.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<Theirs>) {
        let known = self.good.keys().chain(self.bad.keys());
        let gone: Vec<_> = known
            .filter(|theirs| !wanted.contains(*theirs))
            .cloned()
            .collect();
        for theirs in gone {
            self.forget(&theirs);
        }
    }

    /// What is at a place.
    pub(super) fn at(&self, place: &Place) -> Option<&Instance> {
        let theirs = self.of.get(place)?.first()?;
        self.good.get(theirs)
    }

    /// Everything at once; what can't be read is in [`Self::unfit`].
    pub(super) fn view(&self) -> View {
        let mut view = View::default();
        for instance in self.good.values() {
            view.add(instance.clone());
        }
        view
    }

    /// How many can't be read, and one of them as an example.
    pub(super) fn unfit(&self) -> (u64, Option<String>) {
        let count = u64::try_from(self.bad.len()).unwrap_or(u64::MAX);
        let first = self.bad.iter().next();
        let example = first
            .map(|((namespace, service, id), why)| format!("{namespace}/{service}/{id}: {why}"));
        (count, example)
    }
}

fn place_of(instance: &Instance) -> Place {
    (instance.key.clone(), instance.id.clone())
}

fn words(why: &Unfit) -> String {
    match std::error::Error::source(why) {
        Some(cause) => format!("{why}: {cause}"),
        None => why.to_string(),
    }
}
