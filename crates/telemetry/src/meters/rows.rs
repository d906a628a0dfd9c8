//! Which service counts in which row.
//!
//! Rows are few and bounded; what finds none counts as `other`. Numbers never go
//! back: a row that passes to another service is shown as the difference to what
//! stood there when it passed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use portolan_model::ServiceKey;

use super::layout::Totals;

/// Most services that have a row of their own.
pub(super) const SERVICES_MAX: usize = 4096;
/// Rows that belong to no service.
pub(super) const RESERVED: usize = 2;

/// A place in the meters, settled before any request needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row(u32);

impl Row {
    /// Services beyond the limit.
    pub const OTHER: Self = Self(0);
    /// Requests that reached no service: refused, unknown, or answered by the gateway.
    pub const NONE: Self = Self(1);

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A row as an exposition shows it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) row: Row,
    /// `None` for the reserved rows.
    pub(super) service: Option<ServiceKey>,
    /// What to take off, if the row had an owner before.
    pub(super) before: Option<Arc<Totals>>,
}

/// The rows and their owners.
#[derive(Debug, Default)]
pub(super) struct Rows {
    by_service: HashMap<ServiceKey, usize>,
    owners: Vec<Owner>,
    /// Places in `owners` whose service is gone, oldest first.
    released: VecDeque<usize>,
}

#[derive(Debug)]
struct Owner {
    service: ServiceKey,
    stage: Stage,
    before: Option<Arc<Totals>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Live,
    /// Gone, and to be shown once more.
    Leaving,
    /// Gone and shown.
    Gone,
}

impl Rows {
    /// The service's row; `totals` tells what stands in a row that changes hands.
    pub(super) fn assign(
        &mut self,
        service: &ServiceKey,
        totals: impl FnOnce(Row) -> Totals,
    ) -> Row {
        if let Some(&place) = self.by_service.get(service) {
            self.revive(place);
            return row_at(place);
        }
        let owner = Owner {
            service: service.clone(),
            stage: Stage::Live,
            before: None,
        };
        let place = if let Some(place) = self.reusable() {
            self.by_service.remove(&self.owners[place].service);
            let before = Some(Arc::new(totals(row_at(place))));
            self.owners[place] = Owner { before, ..owner };
            place
        } else if self.owners.len() < SERVICES_MAX {
            self.owners.push(owner);
            self.owners.len() - 1
        } else {
            return Row::OTHER;
        };
        self.by_service.insert(service.clone(), place);
        row_at(place)
    }

    pub(super) fn release(&mut self, service: &ServiceKey) {
        let Some(&place) = self.by_service.get(service) else {
            return;
        };
        if self.owners[place].stage == Stage::Live {
            self.owners[place].stage = Stage::Leaving;
            self.released.push_back(place);
        }
    }

    /// The rows to show now; those that leave are shown for the last time.
    pub(super) fn show(&mut self) -> Vec<Shown> {
        let reserved = [Row::OTHER, Row::NONE].map(|row| Shown {
            row,
            service: None,
            before: None,
        });
        let mut shown = Vec::from(reserved);
        for (place, owner) in self.owners.iter_mut().enumerate() {
            if owner.stage == Stage::Gone {
                continue;
            }
            if owner.stage == Stage::Leaving {
                owner.stage = Stage::Gone;
            }
            shown.push(Shown {
                row: row_at(place),
                service: Some(owner.service.clone()),
                before: owner.before.clone(),
            });
        }
        shown
    }

    fn revive(&mut self, place: usize) {
        if self.owners[place].stage != Stage::Live {
            self.owners[place].stage = Stage::Live;
            self.released.retain(|released| *released != place);
        }
    }

    /// A row to give away: one that was shown, or any that is released when all are taken.
    fn reusable(&mut self) -> Option<usize> {
        let oldest = *self.released.front()?;
        let full = self.owners.len() >= SERVICES_MAX;
        if self.owners[oldest].stage == Stage::Gone || full {
            self.released.pop_front()
        } else {
            None
        }
    }
}

fn row_at(place: usize) -> Row {
    // Places end at SERVICES_MAX, so the conversion always succeeds.
    Row(u32::try_from(place + RESERVED).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ServiceKey {
        ServiceKey::parse(&format!("s{number}")).unwrap()
    }

    fn assign(rows: &mut Rows, number: usize) -> Row {
        rows.assign(&key(number), |_| Totals::default())
    }

    #[test]
    fn services_past_the_limit_count_as_other() {
        let mut rows = Rows::default();
        for number in 0..SERVICES_MAX {
            assert_ne!(assign(&mut rows, number), Row::OTHER);
        }
        assert_eq!(assign(&mut rows, SERVICES_MAX), Row::OTHER);
        rows.release(&key(7));
        assert_eq!(assign(&mut rows, SERVICES_MAX), row_at(7));
    }

    #[test]
    fn a_released_row_is_shown_once_more_and_then_reused() {
        let mut rows = Rows::default();
        let first = assign(&mut rows, 1);
        rows.release(&key(1));
        assert_ne!(assign(&mut rows, 2), first, "not shown yet");
        assert!(rows.show().iter().any(|shown| shown.row == first));
        assert!(rows.show().iter().all(|shown| shown.row != first));
        assert_eq!(assign(&mut rows, 3), first);
    }

    #[test]
    fn a_service_that_returns_keeps_its_row() {
        let mut rows = Rows::default();
        let first = assign(&mut rows, 1);
        rows.release(&key(1));
        rows.show();
        assert_eq!(assign(&mut rows, 1), first);
        assert_ne!(assign(&mut rows, 2), first);
    }
}
