//! The way back from addresses: which services listen there.
//!
//! Only whoever writes the table keeps all; the table gets as many names of an address as are
//! ever answered. A change looks at instances that changed, not at all of their service.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use portolan_catalog::Service as Known;
use portolan_model::{Instance, ServiceKey};

use super::table::NAMES_MAX;

/// Services by the addresses of their instances.
#[derive(Debug, Default)]
pub(super) struct Reverse(HashMap<IpAddr, Owners>);

/// Services at an address, with how many instances each has there. Mostly there is one.
#[derive(Debug)]
enum Owners {
    One(ServiceKey, usize),
    Many(BTreeMap<ServiceKey, usize>),
}

impl Reverse {
    /// Takes in what a service is after what it was, and says whose names are others now.
    pub(super) fn change(
        &mut self,
        key: &ServiceKey,
        before: Option<&Known>,
        after: Option<&Known>,
    ) -> Vec<IpAddr> {
        let mut changed = Vec::new();
        differences(before, after, |instance, is_there| {
            if let Some(ip) = address(instance)
                && self.count(ip, key, is_there)
            {
                changed.push(ip);
            }
        });
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The first services at an address; none if there are none.
    pub(super) fn names(&self, ip: IpAddr) -> Option<Arc<[ServiceKey]>> {
        Some(match self.0.get(&ip)? {
            Owners::One(key, _) => Arc::from([key.clone()]),
            Owners::Many(keys) => keys.keys().take(NAMES_MAX).cloned().collect(),
        })
    }

    /// One instance more or less of a service at an address; whether the service came or went.
    fn count(&mut self, ip: IpAddr, key: &ServiceKey, is_there: bool) -> bool {
        if is_there {
            return self.add(ip, key);
        }
        let Some(owners) = self.0.get_mut(&ip) else {
            return false;
        };
        let is_gone = owners.take(key);
        if owners.is_empty() {
            self.0.remove(&ip);
        }
        is_gone
    }

    fn add(&mut self, ip: IpAddr, key: &ServiceKey) -> bool {
        let owners = self
            .0
            .entry(ip)
            .or_insert_with(|| Owners::One(key.clone(), 0));
        if let Owners::One(other, count) = owners {
            if other == key {
                *count = count.saturating_add(1);
                return *count == 1;
            }
            *owners = Owners::Many([(other.clone(), *count)].into());
        }
        let Owners::Many(keys) = owners else {
            return false;
        };
        let count = keys.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count == 1
    }
}

impl Owners {
    /// One instance less of a service; whether it was the last one.
    fn take(&mut self, key: &ServiceKey) -> bool {
        let count = match self {
            Self::One(other, count) => (other == key).then_some(count),
            Self::Many(keys) => keys.get_mut(key),
        };
        let Some(count) = count else { return false };
        *count = count.saturating_sub(1);
        let is_gone = *count == 0;
        if let Self::Many(keys) = self
            && is_gone
        {
            keys.remove(key);
        }
        is_gone
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::One(_, count) => *count == 0,
            Self::Many(keys) => keys.is_empty(),
        }
    }
}

/// Where an instance listens first, if it may get traffic.
fn address(instance: &Instance) -> Option<IpAddr> {
    let first = instance.endpoints.first()?;
    let is_open = instance.state.traffic().is_open();
    is_open.then(|| first.address.ip().to_canonical())
}

/// What is in one list and not in the other. Both are sorted by id; what did not change is the
/// same in memory.
fn differences(
    before: Option<&Known>,
    after: Option<&Known>,
    mut tell: impl FnMut(&Instance, bool),
) {
    let (mut old, mut new) = (
        list(before).iter().peekable(),
        list(after).iter().peekable(),
    );
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => {
                old.next();
                new.next();
                continue;
            }
            (Some(one), Some(other)) => one.id.cmp(&other.id),
        };
        // What stays is counted in before it is counted out: its service does not go.
        if order != Ordering::Less
            && let Some(instance) = new.next()
        {
            tell(instance, true);
        }
        if order != Ordering::Greater
            && let Some(instance) = old.next()
        {
            tell(instance, false);
        }
    }
}

fn list(known: Option<&Known>) -> &[Arc<Instance>] {
    known.map_or(&[], |known| &known.instances)
}

#[cfg(test)]
mod tests {
    use portolan_model::Revision;

    use super::*;
    use crate::tests::instance;

    const NOBODY: [IpAddr; 0] = [];

    fn known(addresses: &[&str]) -> Known {
        let instances = addresses.iter().map(|text| Arc::new(instance("a", text)));
        let mut instances: Vec<_> = instances.collect();
        instances.sort_by(|one, other| one.id.cmp(&other.id));
        Known {
            key: ServiceKey::parse("a").unwrap(),
            modified: Revision::FIRST,
            instances,
            conflicts: Vec::new(),
        }
    }

    #[test]
    fn an_address_is_a_service_s_until_its_last_instance_there_is_gone() {
        let ip: IpAddr = "10.0.0.1".parse().unwrap();
        let [a, b] = ["a", "b"].map(|name| ServiceKey::parse(name).unwrap());
        let two = known(&["10.0.0.1:1", "10.0.0.1:2"]);
        let one = known(&["10.0.0.1:2"]);
        let mut reverse = Reverse::default();
        assert_eq!(reverse.change(&a, None, Some(&two)), [ip]);
        assert_eq!(reverse.change(&a, Some(&two), Some(&two)), NOBODY);
        assert_eq!(reverse.change(&a, Some(&two), Some(&one)), NOBODY);
        assert_eq!(reverse.change(&b, None, Some(&one)), [ip]);
        assert_eq!(
            reverse.names(ip).as_deref(),
            Some(&[a.clone(), b.clone()][..])
        );
        assert_eq!(reverse.change(&a, Some(&one), None), [ip]);
        assert_eq!(reverse.names(ip).as_deref(), Some(&[b.clone()][..]));
        assert_eq!(reverse.change(&b, Some(&one), None), [ip]);
        assert_eq!(reverse.names(ip), None);
        assert!(reverse.0.is_empty());
    }

    #[test]
    fn a_move_is_told_of_both_addresses() {
        let a = ServiceKey::parse("a").unwrap();
        let [before, after] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| known(&[text]));
        let mut reverse = Reverse::default();
        reverse.change(&a, None, Some(&before));
        let moved = reverse.change(&a, Some(&before), Some(&after));
        let ips = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(moved, ips);
    }
}
