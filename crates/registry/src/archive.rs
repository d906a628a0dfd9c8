//! What was stored of the catalogue's journal, for whoever looks further back than memory.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use portolan_catalog::Past;
use portolan_model::Revision;

/// A journal being read.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Option<Arc<Past>>> + Send + 'a>>;

/// Reads the stored journal. It takes the processor for a while, and the memory until the
/// caller lets go of it: one reads at a time, for everybody who waits.
pub trait Archive: fmt::Debug + Send + Sync {
    /// The journal, with everything up to a revision that is published; none if nothing is
    /// stored, or it can't be read.
    fn past(&self, reaching: Revision) -> Reading<'_>;
}
