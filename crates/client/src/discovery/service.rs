//! The handle of a service.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portolan_balance::{Budget, Millis, Pool, Slot};
use portolan_model::{BadName, Instance, Name, ServiceKey, Traffic};

use super::{
    Attempts, Picked, Retries, Shared, Watch,
    view::{Terms, View, Wanted},
};

/// A live handle of a service: what it answers is what is known at that moment.
///
/// Cloning is cheap. Narrowing one (`port`, `zone`, `subset`, `balancing`) makes another
/// handle of the same service; keep it rather than narrow for each call.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    view: Arc<View>,
}

/// What all handles of a service share.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) key: ServiceKey,
    books: Mutex<Books>,
}

/// What is written down about calls.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) budget: Budget,
    /// Failures in a row; none that is not in here.
    pub(super) failures: HashMap<Slot, u32>,
}

/// How one of several instances is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balancing {
    /// Of two drawn by chance the one with the smaller latency x (calls under way + 1) /
    /// weight.
    #[default]
    Latency,
    /// One after the other, smoothly in proportion to the weights.
    RoundRobin,
    /// By chance, in proportion to the weights.
    Random,
}

/// Why there is no instance to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// No source ever named the service.
    #[error("service `{service}` is unknown")]
    Unknown {
        /// Which.
        service: ServiceKey,
    },
    /// The service has no instance, or none with the labels that are asked for.
    #[error("service `{service}` has no such instance")]
    Empty {
        /// Which.
        service: ServiceKey,
    },
    /// None of its instances may get calls.
    #[error("none of the {count} instances of service `{service}` may get calls: {reason}")]
    Closed {
        /// Which.
        service: ServiceKey,
        /// How many instances have the labels that are asked for.
        count: usize,
        /// What one of them lacks.
        reason: &'static str,
    },
    /// The call has been to every instance.
    #[error("the call has been to all {tried} instances of service `{service}`")]
    Tried {
        /// Which.
        service: ServiceKey,
        /// How many.
        tried: usize,
    },
    /// It may not be tried again: [`Retries::attempts_max`].
    #[error("the call to service `{service}` was tried {attempts} times")]
    Attempts {
        /// Which.
        service: ServiceKey,
        /// How often.
        attempts: u32,
    },
    /// Too many calls were tried again lately: [`Retries::budget_percent`].
    #[error("the budget for retries to service `{service}` is used up")]
    Budget {
        /// Which.
        service: ServiceKey,
    },
}

impl Service {
    pub(super) fn new(shared: &Arc<Shared>, entry: Arc<Entry>, view: Arc<View>) -> Self {
        Self {
            shared: Arc::clone(shared),
            entry,
            view,
        }
    }

    /// Which service it is.
    #[must_use]
    pub fn key(&self) -> &ServiceKey {
        &self.entry.key
    }

    /// Calls the port of that name; the first port of each instance by default.
    ///
    /// # Errors
    /// [`BadName`]: no port can be called that.
    pub fn port(self, name: &str) -> Result<Self, BadName> {
        let port = Some(Name::parse(name)?);
        let terms = Terms {
            port,
            ..self.view.terms.clone()
        };
        Ok(self.narrowed(terms))
    }

    /// Only instances whose metadata have this value; may be called again. `version` and
    /// `zone` mean the fields of that name where there is no such metadata.
    #[must_use]
    pub fn subset(self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let mut terms = self.view.terms.clone();
        terms.subset.insert(key.into(), value.into());
        self.narrowed(terms)
    }

    /// Prefers instances of this zone for as long as one of them answers.
    #[must_use]
    pub fn zone(self, zone: impl Into<Arc<str>>) -> Self {
        let zone = Some(zone.into());
        let terms = Terms {
            zone,
            ..self.view.terms.clone()
        };
        self.narrowed(terms)
    }

    /// How an instance is picked; [`Balancing::Latency`] by default.
    #[must_use]
    pub fn balancing(self, balancing: Balancing) -> Self {
        let terms = Terms {
            balancing,
            ..self.view.terms.clone()
        };
        self.narrowed(terms)
    }

    /// The instances that may get calls, sorted by id.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<Instance>> {
        let lots = self.view.latest(&self.shared, self.key());
        let instances = lots.endpoints().iter().map(|one| &one.instance);
        instances.map(Arc::clone).collect()
    }

    /// All instances that are known, those in maintenance or out of health included, sorted
    /// by id and not narrowed.
    #[must_use]
    pub fn known(&self) -> Vec<Arc<Instance>> {
        let catalog = self.shared.catalog.borrow();
        let service = catalog.service(self.key());
        service.map_or_else(Vec::new, |service| service.instances.clone())
    }

    /// Follows [`Self::instances`].
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(self.clone())
    }

    /// Picks an instance and counts a call there until the answer is dropped. Costs some
    /// hundred nanoseconds and no allocation, whatever the number of instances.
    ///
    /// # Errors
    /// [`PickError`]: there is none.
    pub fn pick(&self) -> Result<Picked, PickError> {
        self.choose(Wanted {
            tried: &[],
            sticky: None,
        })
    }

    /// As [`Self::pick`], but calls of one `key` go to the same instance from every program,
    /// as long as that is there and answers; then to the one that the key prefers next. The
    /// cost grows with the number of instances.
    ///
    /// # Errors
    /// [`PickError`]: there is none.
    pub fn pick_for(&self, key: impl AsRef<[u8]>) -> Result<Picked, PickError> {
        self.choose(Wanted {
            tried: &[],
            sticky: Some(key.as_ref()),
        })
    }

    /// One call that may be tried on several instances.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        Attempts::new(self.clone(), None)
    }

    /// As [`Self::attempts`], for a call that belongs to `key`.
    #[must_use]
    pub fn attempts_for(&self, key: impl AsRef<[u8]>) -> Attempts {
        Attempts::new(self.clone(), Some(key.as_ref().into()))
    }

    pub(super) fn choose(&self, wanted: Wanted<'_>) -> Result<Picked, PickError> {
        let mut lots = self.view.latest(&self.shared, self.key());
        let picked = lots.pick(&self.shared, wanted);
        match picked {
            Some((endpoint, is_trial)) => Ok(Picked::new(self, endpoint, is_trial)),
            None if lots.service.is_none() => Err(PickError::Unknown {
                service: self.key().clone(),
            }),
            None => Err(self.explain(lots.pool())),
        }
    }

    /// Why nothing of a pool was picked.
    fn explain(&self, pool: &Pool) -> PickError {
        let service = self.key().clone();
        if !pool.endpoints.is_empty() {
            let tried = pool.endpoints.len();
            return PickError::Tried { service, tried };
        }
        let Some(excluded) = pool.excluded.first() else {
            return PickError::Empty { service };
        };
        PickError::Closed {
            service,
            count: pool.excluded.len(),
            reason: reason(excluded.reason),
        }
    }

    /// The port that is called.
    #[cfg(feature = "tower")]
    pub(crate) fn port_name(&self) -> Option<&Name> {
        self.view.terms.port.as_ref()
    }

    fn narrowed(self, terms: Terms) -> Self {
        let view = Arc::new(View::new(terms, &self.shared.env));
        Self { view, ..self }
    }
}

impl Entry {
    pub(super) fn new(key: ServiceKey, now: Millis, retries: Retries) -> Self {
        Self {
            key,
            books: Mutex::new(Books {
                budget: Budget::new(retries.per_second(), now),
                failures: HashMap::new(),
            }),
        }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Balancing {
    /// Its word in the configuration.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
        }
    }
}

const fn reason(traffic: Option<Traffic>) -> &'static str {
    match traffic {
        None => "it has no port of that name",
        Some(Traffic::Starting) => "it is starting",
        Some(Traffic::Critical) => "its health is critical",
        Some(Traffic::Overridden) => "an operator took it out",
        Some(Traffic::Leaving) => "it is leaving",
        // Those may get calls.
        Some(Traffic::Full | Traffic::Reduced) => "it may get calls",
    }
}
