//! Everything that a source knows at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use portolan_model::{Instance, InstanceId, ServiceKey};

use super::Unfit;

/// A place in the catalogue.
pub type Place = (ServiceKey, InstanceId);

/// Everything that a source knows at a time.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) services: BTreeSet<ServiceKey>,
    pub(super) instances: BTreeMap<Place, Arc<Instance>>,
    pub(super) unfits: Unfits,
}

/// How much can't be used, and one of it as an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfits {
    count: u64,
    example: Option<String>,
}

impl Unfits {
    /// How much.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// One of it and why, in words for people.
    #[must_use]
    pub fn example(&self) -> Option<&str> {
        self.example.as_deref()
    }

    fn note(&mut self, example: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        self.example.get_or_insert_with(example);
    }

    /// Counts those, too.
    pub(super) fn add(&mut self, others: &Self) {
        self.count = self.count.saturating_add(others.count);
        if self.example.is_none() {
            self.example.clone_from(&others.example);
        }
    }

    /// Those are no more.
    pub(super) fn take_away(&mut self, others: &Self) {
        self.count = self.count.saturating_sub(others.count);
        if self.count == 0 {
            self.example = None;
        }
    }
}

impl View {
    /// Adds a service, which may have no instances.
    pub fn add_service(&mut self, key: ServiceKey) {
        self.services.insert(key);
    }

    /// Adds an instance and its service. Of two with the same id the first stays.
    pub fn add(&mut self, instance: Instance) {
        let place = (instance.key.clone(), instance.id.clone());
        self.services.insert(instance.key.clone());
        self.instances
            .entry(place)
            .or_insert_with(|| instance.into());
    }

    /// Counts something that can't be used, and remembers the first as an example.
    pub fn pass_over(&mut self, what: &str, why: &Unfit) {
        self.unfits.note(|| {
            let text = format!("{what}: {why}");
            match std::error::Error::source(why) {
                Some(cause) => format!("{text}: {cause}"),
                None => text,
            }
        });
    }

    /// Counts something that can't be used for a reason that is none of an instance's.
    pub fn pass_over_for(&mut self, what: &str, why: &str) {
        self.unfits.note(|| format!("{what}: {why}"));
    }

    /// Adds what was made of something found, or counts that it can't be used; passes over
    /// what the settings don't want.
    pub fn take(&mut self, what: &str, made: Result<Option<Instance>, Unfit>) {
        match made {
            Ok(Some(instance)) => self.add(instance),
            Ok(None) => {}
            Err(why) => self.pass_over(what, &why),
        }
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there is no instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// Where the instances are.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.instances.keys()
    }

    /// What can't be used.
    #[must_use]
    pub const fn unfits(&self) -> &Unfits {
        &self.unfits
    }

    /// Adds what another view has. Of two instances with the same id the first stays.
    pub fn merge(&mut self, other: &Self) {
        self.services.extend(other.services.iter().cloned());
        for (place, instance) in &other.instances {
            self.instances
                .entry(place.clone())
                .or_insert_with(|| Arc::clone(instance));
        }
        self.unfits.add(&other.unfits);
    }

    /// Whether a service is known, with or without instances.
    #[must_use]
    pub fn has_service(&self, key: &ServiceKey) -> bool {
        self.services.contains(key)
    }

    /// The instances, by service and id.
    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values()
    }

    pub(super) fn of_service(&self, key: &ServiceKey) -> Vec<Place> {
        // The least of all ids.
        let least = InstanceId::parse("!").map(|id| (key.clone(), id));
        let from = least.map_or(Bound::Unbounded, Bound::Included);
        let places = self.instances.range((from, Bound::Unbounded));
        let places = places.map(|(place, _)| place);
        let of_service = places.take_while(|place| place.0 == *key);
        of_service.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::{Name, SourceId};

    use super::*;
    use crate::frame::Found;

    #[test]
    fn the_instances_of_a_service_are_found_among_others() {
        let mut view = View::default();
        let ids = ["!", "!!", "A", "~"];
        for (service, id) in ["a", "ab", "b"]
            .into_iter()
            .flat_map(|service| ids.map(|id| (service, id)))
        {
            let found = Found {
                service: service.to_owned(),
                id: id.to_owned(),
                address: "10.0.0.1".parse().ok(),
                ports: vec![(String::new(), 80)],
                ..Found::default()
            };
            let namespace = Name::parse("default").unwrap();
            let made = found.into_instance(&namespace, &SourceId::new("test"));
            view.add(made.unwrap());
        }
        let of = |service: &str| view.of_service(&ServiceKey::parse(service).unwrap());
        for service in ["a", "ab", "b"] {
            let found = of(service);
            assert!(found.iter().all(|place| place.0.to_string() == service));
            let found: Vec<_> = found.iter().map(|place| place.1.as_str()).collect();
            assert_eq!(found, ids);
        }
        assert!(of("aa").is_empty() && of("c").is_empty());
    }
}
