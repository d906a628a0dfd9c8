//! A service followed: its instances whenever they change.

use std::sync::Arc;

use portolan_catalog::{Catalog, Service as Listed};
use portolan_model::Instance;
use tokio::sync::watch;

use super::Service;

/// The instances of a service that may get calls, each time that they change.
#[derive(Debug)]
pub struct Watch {
    service: Service,
    catalog: watch::Receiver<Catalog>,
    /// What the catalogue said of the service when it was looked at last; it says so of every
    /// service whenever one has changed.
    seen: Option<Arc<Listed>>,
    /// What was shown last.
    shown: Option<Vec<Arc<Instance>>>,
}

impl Watch {
    pub(super) fn new(service: Service) -> Self {
        let mut catalog = service.shared.catalog.clone();
        catalog.mark_changed();
        Self {
            service,
            catalog,
            seen: None,
            shown: None,
        }
    }

    /// The instances as they are: at once when it is asked first, and then whenever they
    /// differ from what was shown last. Those in between may be missed. `None` when nothing
    /// is followed any more, because the runtime ends.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn changed(&mut self) -> Option<Vec<Arc<Instance>>> {
        loop {
            self.catalog.changed().await.ok()?;
            if !self.is_news() {
                continue;
            }
            let found = self.service.instances();
            if self.shown.as_ref() != Some(&found) {
                self.shown = Some(found.clone());
                return Some(found);
            }
        }
    }

    /// Whether the catalogue says something else of the service than before.
    fn is_news(&mut self) -> bool {
        let catalog = self.catalog.borrow_and_update();
        let found = catalog.service(self.service.key()).cloned();
        let is_same = match (&self.seen, &found) {
            (Some(seen), Some(found)) => Arc::ptr_eq(seen, found),
            // What was shown first may be that there is none.
            (None, None) => self.shown.is_some(),
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.seen = found;
        !is_same
    }

    /// The service that is followed.
    #[must_use]
    pub const fn service(&self) -> &Service {
        &self.service
    }
}
