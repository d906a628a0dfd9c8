//! Our copy of what the server knows, kept by deltas. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portolan_dialects::eureka::{Action, Applications, Counts, InstanceInfo, Status};

/// Application and id.
pub(super) type Key = (Arc<str>, String);

/// The copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Local {
    infos: BTreeMap<Key, InstanceInfo>,
    /// What the server counts, too, though it can't be read.
    unread: Counts,
}

impl Local {
    /// A copy of everything but so many that can't be read.
    pub(super) fn of(applications: Applications, unread: usize) -> Self {
        let hash = applications.hash.clone();
        let infos = instances(applications);
        let infos: BTreeMap<_, _> = infos.map(|info| (key(&info), info)).collect();
        let unread = besides(&infos, &hash, unread).unwrap_or_default();
        Self { infos, unread }
    }

    /// Takes in a delta; gives what may have changed, unless the hash says that the copy is
    /// not whole: then everything is to be fetched.
    pub(super) fn take(&mut self, delta: Applications) -> Option<BTreeSet<Key>> {
        let hash = delta.hash.clone();
        let mut changed = BTreeSet::new();
        for info in instances(delta) {
            let key = key(&info);
            let before = match info.action {
                Some(Action::Deleted) => self.infos.remove(&key),
                Some(Action::Added | Action::Modified) | None => {
                    // A delta tells the same for minutes.
                    if self.infos.get(&key) == Some(&info) {
                        continue;
                    }
                    Some(self.infos.insert(key.clone(), info)).flatten()
                }
            };
            if before.is_some() || self.infos.contains_key(&key) {
                changed.insert(key);
            }
        }
        (hash == self.hash()).then_some(changed)
    }

    /// The hash by which a server and its clients see that they know the same.
    pub(super) fn hash(&self) -> String {
        let mut counts = counts(&self.infos);
        counts.merge(&self.unread);
        counts.hash()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&InstanceInfo> {
        self.infos.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &InstanceInfo)> {
        self.infos.iter()
    }
}

fn counts(infos: &BTreeMap<Key, InstanceInfo>) -> Counts {
    infos.values().map(|info| info.status).collect()
}

/// What the hash counts besides these, if it is so many.
fn besides(infos: &BTreeMap<Key, InstanceInfo>, hash: &str, unread: usize) -> Option<Counts> {
    let mut statuses = Vec::new();
    let mut rest = hash;
    for status in Status::ALL {
        let named = rest.strip_prefix(status.as_str());
        let Some(after) = named.and_then(|rest| rest.strip_prefix('_')) else {
            continue;
        };
        let (count, next) = after.split_once('_')?;
        let known = infos.values().filter(|info| info.status == status);
        let missing = count.parse::<usize>().ok()?.checked_sub(known.count())?;
        // No more than can be, whatever the hash says.
        let missing = missing.min(unread.saturating_add(1));
        statuses.extend(std::iter::repeat_n(status, missing));
        rest = next;
    }
    (rest.is_empty() && statuses.len() == unread).then(|| statuses.into_iter().collect())
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
