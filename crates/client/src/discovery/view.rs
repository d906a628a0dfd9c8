//! What a handle picks from: the instances of a service as it narrowed them.
//!
//! Made anew by the first pick after the catalogue changed, so that a change costs nothing
//! where nobody calls.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_balance::{self as balance, Balance, Endpoint, KINDS, Pool, Slot, Turn, stick};
use portolan_catalog::Service;
use portolan_model::{Metadata, Name, Revision, ServiceKey};
use portolan_runtime::{Dice, Env};
use serde_json::Value;

use super::{Balancing, Shared, picked::EJECTION};

/// How a handle narrows its service.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    pub(super) port: Option<Name>,
    pub(super) subset: Metadata,
    pub(super) zone: Option<Arc<str>>,
    pub(super) balancing: Balancing,
}

/// The terms, and what they come to at one revision.
#[derive(Debug)]
pub(super) struct View {
    pub(super) terms: Terms,
    lots: Mutex<Lots>,
}

/// Everything that may be picked, at one revision.
#[derive(Debug)]
pub(super) struct Lots {
    dice: Dice,
    revision: Option<Revision>,
    /// What the catalogue says of the service.
    pub(super) service: Option<Arc<Service>>,
    all: Lot,
    /// Those of the zone, if one is preferred.
    near: Option<Lot>,
}

/// A pool and how to pick from it.
struct Lot {
    pool: Pool,
    balance: Option<Box<dyn Balance>>,
}

/// What a pick takes account of.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Where the call has been.
    pub(super) tried: &'a [Slot],
    /// Whom it belongs to, if that decides.
    pub(super) sticky: Option<&'a [u8]>,
}

impl View {
    pub(super) fn new(terms: Terms, env: &Env) -> Self {
        let lots = Mutex::new(Lots {
            dice: env.dice(),
            revision: None,
            service: None,
            all: Lot::empty(),
            near: None,
        });
        Self { terms, lots }
    }

    /// What there is at the latest revision.
    pub(super) fn latest(&self, shared: &Shared, key: &ServiceKey) -> MutexGuard<'_, Lots> {
        let mut lots = self.lots.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = shared.catalog.borrow().revision();
        if lots.revision != Some(revision) {
            self.renew(&mut lots, shared, key);
        }
        lots
    }

    fn renew(&self, lots: &mut Lots, shared: &Shared, key: &ServiceKey) {
        let slots = shared.slots.lock();
        let mut slots = slots.unwrap_or_else(PoisonError::into_inner);
        // Read under the lock: slots of what is gone since are not given out again.
        let (revision, service) = {
            let catalog = shared.catalog.borrow();
            (catalog.revision(), catalog.service(key).cloned())
        };
        lots.revision = Some(revision);
        let same = match (&lots.service, &service) {
            (Some(known), Some(found)) => Arc::ptr_eq(known, found),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        let terms = balance::Terms {
            port: self.terms.port.as_ref(),
            subset: &self.terms.subset,
        };
        let instances = service.iter().flat_map(|service| &service.instances);
        let all = Pool::of(instances, terms, &mut slots);
        drop(slots);
        lots.near = self.terms.zone.as_deref().and_then(|zone| {
            let is_near = |one: &&Endpoint| one.instance.zone.as_deref() == Some(zone);
            let endpoints: Box<[Endpoint]> =
                all.endpoints.iter().filter(is_near).cloned().collect();
            let pool = Pool {
                endpoints,
                excluded: Box::default(),
            };
            (!pool.endpoints.is_empty())
                .then(|| Lot::new(pool, self.terms.balancing, &mut lots.dice))
        });
        lots.all = Lot::new(all, self.terms.balancing, &mut lots.dice);
        lots.service = service;
    }
}

impl Lots {
    /// Those that may get traffic.
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.all.pool.endpoints
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.all.pool
    }

    /// Picks one and counts a request there. One that is near is taken as long as it is
    /// neither tried nor ejected. Says, too, whether the call is to find out if it is back.
    pub(super) fn pick(&mut self, shared: &Shared, wanted: Wanted<'_>) -> Option<(Endpoint, bool)> {
        let now = shared.millis();
        let Self {
            dice, all, near, ..
        } = self;
        shared.gauges.write(|gauges| {
            let mut from = |lot: &Lot| {
                let turn = Turn {
                    gauges,
                    dice,
                    now,
                    tried: wanted.tried,
                };
                lot.pick(turn, wanted.sticky).cloned()
            };
            let is_open = |one: &Endpoint| gauges.board().ejected_until(one.slot) <= now;
            let picked = near.as_ref().and_then(&mut from).filter(is_open);
            let picked = picked.or_else(|| from(all))?;
            let is_trial = gauges.try_out(picked.slot, EJECTION, now);
            gauges.count_begun(picked.slot);
            Some((picked, is_trial))
        })
    }
}

impl Lot {
    fn empty() -> Self {
        Self {
            pool: Pool::default(),
            balance: None,
        }
    }

    fn new(pool: Pool, balancing: Balancing, dice: &mut Dice) -> Self {
        let kind = KINDS.iter().find(|kind| kind.name == balancing.word());
        let spec = kind.and_then(|kind| (kind.parse)(&Value::Null).ok());
        Self {
            balance: spec.map(|spec| spec.build(&pool, 1, dice)),
            pool,
        }
    }

    fn pick(&self, turn: Turn<'_>, sticky: Option<&[u8]>) -> Option<&Endpoint> {
        let index = match (sticky, &self.balance) {
            (Some(key), _) => stick(&self.pool, key, &turn),
            (None, Some(balance)) => balance.pick(&self.pool, turn),
            (None, None) => None,
        };
        self.pool.endpoints.get(index?)
    }
}

impl fmt::Debug for Lot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lot({} endpoints)", self.pool.endpoints.len())
    }
}
