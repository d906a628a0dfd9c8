//! How a registration stands.

use std::{sync::Arc, time::Duration};

use portolan_dialects::native::Drained;
use portolan_model::Revision;

/// How a registration stands. A watch shows the latest; those in between may be missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The registry has not been asked yet.
    New,
    /// The registry holds the instance, and every reader of its catalogue sees it.
    Registered(Registered),
    /// The registry could not be told; it is being tried again. If it holds the instance,
    /// it does so until the TTL is over.
    Retrying {
        /// Why, in words for people.
        reason: Arc<str>,
        /// Failures in a row, from 1.
        failures: u32,
    },
    /// The instance is being drained.
    Leaving,
    /// The instance is registered no more, or as little as could be done.
    Left(Result<Option<Drained>, Arc<str>>),
}

/// A registration that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The instance's id.
    pub id: Arc<str>,
    /// The revision of the catalogue that first held it; another one after the registry had
    /// lost it and it registered again.
    pub revision: Revision,
    /// The registry that took it.
    pub registry: Arc<str>,
    /// Where the gateway serves the service, if it does by name.
    pub url: Option<Arc<str>>,
    /// How long it may be silent.
    pub ttl: Duration,
}
