//! A service followed: its instances whenever they change.

use std::sync::Arc;

use portolan_catalog::Catalog;
use portolan_model::Instance;
use tokio::sync::watch;

use super::Service;

/// The instances of a service that may get calls, each time that they change.
#[derive(Debug)]
pub struct Watch {
    service: Service,
    catalog: watch::Receiver<Catalog>,
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
            let found = self.service.instances();
            if self.shown.as_ref() != Some(&found) {
                self.shown = Some(found.clone());
                return Some(found);
            }
        }
    }

    /// The service that is followed.
    #[must_use]
    pub const fn service(&self) -> &Service {
        &self.service
    }
}
