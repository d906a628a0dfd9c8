//! What an instance that only renews has nothing of.
//!
//! There is a lease for each instance, so what most do without takes no room until it is there.

use std::{ops::Deref, sync::Arc};

use portolan_model::{Verdict, route::Check};

use crate::core::DrainId;

/// The rarer parts of a lease.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::core) struct Parts {
    /// Why the instance says that its health is what it is.
    pub(in crate::core) note: Option<Arc<str>>,
    pub(in crate::core) check: Option<Check>,
    pub(in crate::core) verdict: Option<Verdict>,
    pub(in crate::core) drain: Option<DrainId>,
}

/// What a lease without any of them has.
static NONE: Parts = Parts {
    note: None,
    check: None,
    verdict: None,
    drain: None,
};

/// The rarer parts of a lease, if it has any.
///
/// Invariant: there is no box around nothing.
#[derive(Debug, Default)]
pub(in crate::core) struct Extras(Option<Box<Parts>>);

impl Extras {
    pub(in crate::core) fn new(parts: Parts) -> Self {
        Self((parts != NONE).then(|| Box::new(parts)))
    }

    /// Changes them.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Parts) -> T) -> T {
        let mut parts = std::mem::take(self).into_parts();
        let changed = change(&mut parts);
        *self = Self::new(parts);
        changed
    }

    pub(super) fn into_parts(self) -> Parts {
        self.0.map(|parts| *parts).unwrap_or_default()
    }
}

impl Deref for Extras {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_takes_no_room() {
        let mut extras = Extras::default();
        assert_eq!((extras.drain, size_of::<Extras>()), (None, 8));
        extras.change(|parts| parts.drain = Some(DrainId(1)));
        assert_eq!(extras.drain, Some(DrainId(1)));
        extras.change(|parts| parts.drain = None);
        assert!(extras.0.is_none());
    }
}
