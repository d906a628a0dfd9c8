//! The port to the merged catalogue, as it was published last.

use std::{future::Future, pin::Pin, sync::Arc};

use portolan_catalog::Catalog;
use portolan_model::{Revision, ServiceKey};

/// The next publication, later.
pub type Following<'a> = Pin<Box<dyn Future<Output = Option<Published>> + Send + 'a>>;

/// Reads what is published. The binary gives the publisher's view; tests give their own.
pub trait Reader: Send + Sync {
    /// The newest catalogue. Called for every request; must be cheap.
    fn catalog(&self) -> Catalog;

    /// Its revision.
    fn revision(&self) -> Revision {
        self.catalog().revision()
    }

    /// Follows publications from now on. Called a few times in all.
    fn follow(&self) -> Box<dyn Follow>;
}

/// Follows publications.
pub trait Follow: Send {
    /// Waits for the next publication, which [`Reader::catalog`] shows by then; `None`
    /// when there will be no more. Must be cancel-safe.
    fn next(&mut self) -> Following<'_>;
}

/// Something was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// These services differ from the publication before, as of a revision.
    Changed(Revision, Arc<[ServiceKey]>),
    /// The follower was too slow; any service may have changed.
    Missed,
}
