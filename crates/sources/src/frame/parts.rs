//! What a source knows, in parts that it learns of one by one.

use std::collections::{BTreeMap, BTreeSet};

use portolan_catalog::InboxClosed;
use portolan_model::Departure;

use super::{Place, Teller, Unfits, View};

/// Parts of a source's knowledge, by what they are parts of. Two parts may name the same
/// place: it is gone when neither does any more.
#[derive(Clone, Debug)]
pub struct Parts<K> {
    views: BTreeMap<K, View>,
    claims: BTreeMap<Place, usize>,
    unfits: Unfits,
}

impl<K> Default for Parts<K> {
    fn default() -> Self {
        Self {
            views: BTreeMap::new(),
            claims: BTreeMap::new(),
            unfits: Unfits::default(),
        }
    }
}

impl<K: Clone + Ord> Parts<K> {
    /// Puts a part in place of what it was, and gives the places that no part names any more.
    pub fn set(&mut self, key: K, part: View) -> Vec<Place> {
        for place in part.places() {
            let claims = self.claims.entry(place.clone()).or_default();
            *claims = claims.saturating_add(1);
        }
        self.unfits.add(part.unfits());
        let before = self.views.insert(key, part);
        self.forget(before)
    }

    /// Takes a part out, and gives the places that no part names any more.
    pub fn remove(&mut self, key: &K) -> Vec<Place> {
        let before = self.views.remove(key);
        self.forget(before)
    }

    fn forget(&mut self, part: Option<View>) -> Vec<Place> {
        let mut gone = Vec::new();
        let Some(part) = part else {
            return gone;
        };
        self.unfits.take_away(part.unfits());
        for place in part.places() {
            let Some(claims) = self.claims.get_mut(place) else {
                continue;
            };
            *claims = claims.saturating_sub(1);
            if *claims == 0 {
                self.claims.remove(place);
                gone.push(place.clone());
            }
        }
        gone
    }

    /// The parts that there are.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.views.keys()
    }

    /// Takes out all parts but those for which this holds.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K) -> bool) {
        let gone: BTreeSet<K> = self
            .views
            .keys()
            .filter(|key| !keeps(key))
            .cloned()
            .collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// All parts together.
    #[must_use]
    pub fn whole(&self) -> View {
        let mut whole = View::default();
        for part in self.views.values() {
            whole.merge(part);
        }
        whole
    }

    /// Puts a part in place of what it was, and says what is new about it.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn tell(
        &mut self,
        teller: &mut Teller,
        (key, part): (K, View),
        departure: Departure,
    ) -> Result<(), InboxClosed> {
        let instances: Vec<_> = part.instances().cloned().collect();
        let gone = self.set(key, part);
        // New ones first, so that the guard can tell a move from an outage.
        for instance in instances {
            teller.put((*instance).clone()).await?;
        }
        for (key, id) in gone {
            teller.remove(&key, &id, departure).await?;
        }
        teller.pass_over(&self.unfits);
        teller.still_in_part();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::{Name, SourceId};

    use super::*;
    use crate::frame::Found;

    fn view(ids: &[&str]) -> View {
        let mut view = View::default();
        for id in ids {
            let found = Found {
                service: "orders".to_owned(),
                id: (*id).to_owned(),
                address: "10.0.0.1".parse().ok(),
                ports: vec![(String::new(), 80)],
                ..Found::default()
            };
            let namespace = Name::parse("default").unwrap();
            let made = found.into_instance(&namespace, &SourceId::new("test"));
            view.add(made.unwrap());
        }
        view
    }

    fn ids(places: &[Place]) -> Vec<&str> {
        places.iter().map(|(_, id)| id.as_str()).collect()
    }

    #[test]
    fn a_place_is_gone_when_no_part_names_it() {
        let mut parts = Parts::default();
        assert!(parts.set(1, view(&["a", "b"])).is_empty());
        assert!(parts.set(2, view(&["b", "c"])).is_empty());
        assert_eq!(ids(&parts.set(1, view(&["d"]))), ["a"]);
        assert_eq!(parts.whole().len(), 3);
        assert_eq!(ids(&parts.remove(&2)), ["b", "c"]);
        parts.retain(|key| *key != 1);
        assert!(parts.whole().is_empty());
    }

    #[test]
    fn what_can_not_be_used_is_counted_over_all_parts() {
        let mut parts = Parts::default();
        let mut unfit = view(&[]);
        unfit.pass_over_for("x", "no address");
        parts.set(1, unfit.clone());
        parts.set(2, unfit);
        assert_eq!(parts.unfits.count(), 2);
        parts.remove(&1);
        assert_eq!(parts.unfits.count(), 1);
        assert_eq!(parts.unfits.example(), Some("x: no address"));
    }
}
