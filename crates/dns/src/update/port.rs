//! What updates are done through, and what they are checked against.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use hickory_proto::rr::{Name, RData, RecordType};
use portolan_model::{InstanceId, Metadata, ServiceKey, Weight};

/// The label that holds the record which an update has registered an instance by. No other
/// way of registering writes it.
pub const RECORD_LABEL: &str = "dns/record";
/// The label that names the labels which came by TXT records, with blanks between.
pub const TEXT_LABEL: &str = "dns/text";
/// The label of an instance whose registration ends by itself if it is not renewed by then:
/// seconds (RFC 9664).
pub const LEASE_LABEL: &str = "dns/lease";

/// An instance that an update has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of traffic.
    pub weight: Weight,
    /// Its labels, with [`RECORD_LABEL`].
    pub metadata: Metadata,
}

/// Why a registration was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// What is asked for has no place; the client's fault.
    #[error("not taken: {0}")]
    Refused(String),
    /// It can't be done now.
    #[error("not done: {0}")]
    Failed(String),
}

/// A change, done later.
pub type Doing<'a, T = ()> = Pin<Box<dyn Future<Output = Result<T, NotDone>> + Send + 'a>>;

/// Where updates register. Resolves when the change is visible and would survive a crash.
pub trait Registrations: Send + Sync {
    /// The instances of a service that updates have registered: those with [`RECORD_LABEL`].
    /// Called a few times an update; must not block.
    fn registered(&self, service: &ServiceKey) -> Vec<Registered>;

    /// Whether an instance of that id is somebody else's: it is known, but not by an update.
    /// Must not block.
    fn is_others(&self, service: &ServiceKey, id: &InstanceId) -> bool;

    /// Registers an instance, for as long as its lease if it has one. Whoever has none stays
    /// until it is deregistered. Resolves to the time that was granted: the lease, within the
    /// registry's bounds.
    fn register(
        &self,
        actor: Arc<str>,
        service: ServiceKey,
        instance: Registered,
        lease: Option<Duration>,
    ) -> Doing<'_, Duration>;

    /// Removes an instance, once its requests have come to their end; one that is gone is no
    /// failure.
    fn deregister(&self, actor: Arc<str>, service: ServiceKey, id: InstanceId) -> Doing<'_>;

    /// Resolves when all that was changed by now would survive a crash: for an update that finds
    /// everything as it wants it, maybe since a moment ago only.
    fn settled(&self) -> Doing<'_>;
}

/// What names of our zones are answered with at the moment.
pub trait Shown: Send + Sync {
    /// The records of that type, which may be none; nothing if there is no such name. Called
    /// for prerequisites and for the targets of SRV records; must not block.
    fn records(&self, name: &Name, kind: RecordType) -> Option<Vec<RData>>;
}
