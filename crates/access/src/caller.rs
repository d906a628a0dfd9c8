//! Who calls, as a front is told.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use crate::{Grant, Need, Rights};

/// Who made a request and what it may do. It goes with the request; without one, anybody
/// may do everything. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where the request came from.
    pub address: IpAddr,
    /// The name of its token or certificate; none without.
    pub name: Option<Arc<str>>,
    /// The id of its token; none without.
    pub token: Option<Arc<str>>,
    /// What it may do.
    pub grant: Grant,
    /// Whether that still holds.
    pub rights: Rights,
}

/// What a change was about, where its path does not say so; among the extensions of the
/// answer, for the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object(pub Arc<str>);

impl Caller {
    /// Somebody where there is no access control.
    #[must_use]
    pub fn unnamed(address: IpAddr) -> Self {
        Self {
            address,
            name: None,
            token: None,
            grant: Grant::Open,
            rights: Rights::default(),
        }
    }

    /// Who is said to have changed something: the name, else the address.
    #[must_use]
    pub fn actor(&self) -> Arc<str> {
        match &self.name {
            Some(name) => Arc::clone(name),
            None => self.address.to_canonical().to_string().into(),
        }
    }

    /// Whether a request may be served.
    #[must_use]
    pub fn may(&self, need: &Need) -> bool {
        self.grant.allows(need)
    }
}

impl Default for Caller {
    /// Somebody on this machine where there is no access control.
    fn default() -> Self {
        Self::unnamed(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}
