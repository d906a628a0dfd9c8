//! Our copy of what the server knows, kept by deltas. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portolan_dialects::eureka::{Action, Applications, Counts, InstanceInfo};

/// Application and id.
pub(super) type Key = (Arc<str>, String);

/// The copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Local(BTreeMap<Key, InstanceInfo>);

impl Local {
    /// A copy of everything.
    pub(super) fn of(applications: Applications) -> Self {
        let mut local = Self::default();
        for info in instances(applications) {
            local.0.insert(key(&info), info);
        }
        local
    }

    /// Takes in a delta; gives what may have changed, unless the hash says that the copy is
    /// not whole: then everything is to be fetched.
    pub(super) fn take(&mut self, delta: Applications) -> Option<BTreeSet<Key>> {
        let hash = delta.hash.clone();
        let mut changed = BTreeSet::new();
        for info in instances(delta) {
            let key = key(&info);
            let before = match info.action {
                Some(Action::Deleted) => self.0.remove(&key),
                Some(Action::Added | Action::Modified) | None => {
                    // A delta tells the same for minutes.
                    if self.0.get(&key) == Some(&info) {
                        continue;
                    }
                    Some(self.0.insert(key.clone(), info)).flatten()
                }
            };
            if before.is_some() || self.0.contains_key(&key) {
                changed.insert(key);
            }
        }
        (hash == self.hash()).then_some(changed)
    }

    /// The hash by which a server and its clients see that they know the same.
    pub(super) fn hash(&self) -> String {
        let statuses = self.0.values().map(|info| info.status);
        statuses.collect::<Counts>().hash()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&InstanceInfo> {
        self.0.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &InstanceInfo)> {
        self.0.iter()
    }
}

fn key(info: &InstanceInfo) -> Key {
    (Arc::clone(&info.app), info.id().to_owned())
}

/// Instances with the application that they stand under, if they name none.
fn instances(applications: Applications) -> impl Iterator<Item = InstanceInfo> {
    applications
        .applications
        .into_iter()
        .flat_map(|application| {
            let name = application.name;
            application.instances.into_iter().map(move |mut info| {
                if info.app.is_empty() {
                    info.app = Arc::clone(&name);
                }
                info
            })
        })
}
