//! What lies between two lists of instances.

use std::{cmp::Ordering, sync::Arc};

use portolan_model::{Instance, InstanceId};

/// One instance that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    Put(Arc<Instance>),
    Remove(InstanceId),
}

/// Walks two lists that are sorted by id.
pub(super) fn differences(old: &[Arc<Instance>], new: &[Arc<Instance>]) -> Vec<Difference> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.id.cmp(&b.id),
        };
        let before = old.next_if(|_| order.is_le());
        let after = new.next_if(|_| order.is_ge());
        match (before, after) {
            (Some(before), None) => found.push(Difference::Remove(before.id.clone())),
            (Some(before), Some(after)) if Arc::ptr_eq(before, after) || before == after => {}
            (_, Some(after)) => found.push(Difference::Put(Arc::clone(after))),
            (None, None) => return found,
        }
    }
}
