//! What each foreign entry stands for, for sources that learn of entries one by one.
//!
//! An entry whose new value can't be read keeps the instance that it stood for, and is
//! counted. Of two entries that name the same instance the one whose path comes first
//! counts, as in a [`View`]; when it goes, the other takes its place.

use std::collections::{BTreeMap, BTreeSet};

use portolan_catalog::InboxClosed;
use portolan_model::{Departure, Instance, InstanceId, ServiceKey};
use portolan_sources::frame::{Teller, Unfit, View};

type Place = (ServiceKey, InstanceId);

/// What came of reading an entry; `None` where it says that it is no instance.
pub(crate) type Made = Result<Option<Instance>, Unfit>;

/// What became of an entry.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are of the large kind, and none lives longer than its change"
)]
pub(crate) enum Entry {
    /// It is there, and this came of reading it.
    Read(Made),
    /// It is gone, and that is known so.
    Gone(Departure),
}

/// Entries by their path.
#[derive(Debug, Default)]
pub(crate) struct Held {
    good: BTreeMap<String, Instance>,
    bad: BTreeMap<String, String>,
    paths: BTreeMap<Place, BTreeSet<String>>,
}

impl Held {
    /// Whether more entries than so many are known.
    pub(crate) fn has_more_than(&self, most: usize) -> bool {
        // Counted one by one only where an entry may be in both.
        let bad = self.bad.keys();
        let more = || bad.filter(|path| !self.good.contains_key(*path)).count();
        self.good.len().saturating_add(self.bad.len()) > most
            && self.good.len().saturating_add(more()) > most
    }

    /// The paths of the entries that are known and begin so.
    pub(crate) fn below(&self, prefix: &str) -> BTreeSet<String> {
        let good = self.good.range(prefix.to_owned()..).map(|(path, _)| path);
        let bad = self.bad.range(prefix.to_owned()..).map(|(path, _)| path);
        let begins = |path: &&String| path.starts_with(prefix);
        let both = good.take_while(begins).chain(bad.take_while(begins));
        both.cloned().collect()
    }

    /// Forgets the entries whose paths begin so.
    pub(crate) fn forget_below(&mut self, prefix: &str) {
        for path in self.below(prefix) {
            self.forget(&path);
        }
    }

    /// Takes an entry as it was read, and forgets what it was before.
    pub(crate) fn take(&mut self, path: &str, made: Made) {
        match made {
            Ok(Some(instance)) => {
                self.forget(path);
                let place = place_of(&instance);
                self.paths.entry(place).or_default().insert(path.to_owned());
                self.good.insert(path.to_owned(), instance);
            }
            Ok(None) => self.forget(path),
            Err(why) => {
                self.bad.insert(path.to_owned(), words(&why));
            }
        }
    }

    /// Forgets an entry that is not there any more.
    pub(crate) fn forget(&mut self, path: &str) {
        self.bad.remove(path);
        let Some(instance) = self.good.remove(path) else {
            return;
        };
        let place = place_of(&instance);
        if let Some(paths) = self.paths.get_mut(&place) {
            paths.remove(path);
            if paths.is_empty() {
                self.paths.remove(&place);
            }
        }
    }

    /// Keeps the entries whose path is wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let known = self.good.keys().chain(self.bad.keys());
        let gone: Vec<_> = known.filter(|path| !wanted(path)).cloned().collect();
        for path in gone {
            self.forget(&path);
        }
    }

    /// Everything at once; what can't be read is left to [`Self::tell_unfit`].
    pub(crate) fn view(&self) -> View {
        let mut view = View::default();
        for instance in self.good.values() {
            view.add(instance.clone());
        }
        view
    }

    /// Says how many entries can't be read.
    pub(crate) fn tell_unfit(&self, teller: &Teller) {
        let count = u64::try_from(self.bad.len()).unwrap_or(u64::MAX);
        let first = self.bad.iter().next();
        let example = first.map(|(path, why)| format!("{path}: {why}"));
        teller.passed_over(count, example.as_deref());
    }

    /// Takes entries that changed, and says what that means.
    /// What is new is said first, so that a move does not look like an outage.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub(crate) async fn change(
        &mut self,
        changes: Vec<(String, Entry)>,
        teller: &mut Teller,
    ) -> Result<(), InboxClosed> {
        let mut touched = BTreeMap::new();
        for (path, entry) in changes {
            let before = self.good.get(&path).map(place_of);
            let departure = match entry {
                Entry::Read(made) => {
                    self.take(&path, made);
                    Departure::Inferred
                }
                Entry::Gone(departure) => {
                    self.forget(&path);
                    departure
                }
            };
            touched.extend(before.map(|place| (place, departure)));
            let after = self.good.get(&path).map(place_of);
            touched.extend(after.map(|place| (place, departure)));
        }
        self.tell_unfit(teller);
        let mut gone = Vec::new();
        for (place, departure) in touched {
            match self.at(&place) {
                Some(instance) => teller.put(instance.clone()).await?,
                None => gone.push((place, departure)),
            }
        }
        for ((key, id), departure) in gone {
            teller.remove(&key, &id, departure).await?;
        }
        Ok(())
    }

    fn at(&self, place: &Place) -> Option<&Instance> {
        let path = self.paths.get(place)?.first()?;
        self.good.get(path)
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use portolan_model::{Name, SourceId};
    use portolan_runtime::Env;
    use portolan_sources::frame::{Ended, Follow, Found};

    use super::*;
    use crate::world::World;

    fn instance(id: &str) -> Instance {
        let found = Found {
            service: "orders".to_owned(),
            id: id.to_owned(),
            address: "10.0.0.1".parse().ok(),
            ports: vec![(String::new(), 80)],
            ..Found::default()
        };
        let namespace = Name::parse("default").unwrap();
        found
            .into_instance(&namespace, &SourceId::new("test:one"))
            .unwrap()
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands for what came of reading"
    )]
    fn good(id: &str) -> Made {
        Ok(Some(instance(id)))
    }

    fn ids(held: &Held) -> Vec<String> {
        let view = held.view();
        let ids = view.instances().map(|instance| instance.id.to_string());
        ids.collect()
    }

    #[test]
    fn an_entry_that_can_not_be_read_keeps_what_it_said() {
        let mut held = Held::default();
        held.take("/a", good("a"));
        held.take("/a", Err(Unfit::NoPort));
        held.take("/b", Err(Unfit::NoPort));
        assert_eq!(ids(&held), ["a"]);
        assert_eq!(held.below("/b").len(), 1);
        held.take("/a", good("a2"));
        assert_eq!(ids(&held), ["a2"]);
        held.take("/a", Ok(None));
        assert!(ids(&held).is_empty() && held.below("/a").is_empty());
    }

    #[test]
    fn entries_are_found_by_how_they_begin() {
        let mut held = Held::default();
        for path in ["/a/1", "/a/2", "/ab/1", "/b/1"] {
            held.take(path, good(path));
        }
        held.take("/a/3", Err(Unfit::NoPort));
        held.take("/b/1", Err(Unfit::NoPort));
        assert!(held.has_more_than(4) && !held.has_more_than(5));
        let below: Vec<_> = held.below("/a/").into_iter().collect();
        assert_eq!(below, ["/a/1", "/a/2", "/a/3"]);
        held.forget_below("/a/");
        assert_eq!(ids(&held).len(), 2);
        held.retain(|path| path == "/b/1");
        assert_eq!(ids(&held), ["~b~1"]);
    }

    /// Two entries of one instance, of which the first goes.
    struct Twice;

    impl Follow for Twice {
        async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
            let mut held = Held::default();
            held.take("/1", good("a"));
            held.take("/2", good("a"));
            held.take("/3", good("b"));
            teller.all(held.view()).await?;
            let gone = Entry::Gone(Departure::Inferred);
            let changes = vec![
                ("/1".to_owned(), gone),
                ("/3".to_owned(), Entry::Read(good("c"))),
            ];
            held.change(changes, teller).await?;
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_entry_of_the_same_instance_takes_its_place() {
        let env = Env::virtual_time(1);
        let mut world = World::new(&env, &SourceId::new("test:one"), Twice);
        world.until("a c").await;
        assert!(!world.was_empty());
    }
}
