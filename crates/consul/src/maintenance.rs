//! Maintenance of services: rulings of the registry that clients of Consul make and end.

use std::sync::Arc;

use portolan_dialects::consul::{Maintenance, Record, Refusal};
use portolan_model::{Override, Ruling};
use portolan_registry::{RegistryError, core::Subject};

use super::{
    clerk::{ACTOR, Clerk, Writing, begin, subject},
    terms::Key,
};

impl Clerk {
    /// Takes a service out, or puts it back.
    pub(super) fn maintain(
        &self,
        key: &Key,
        maintenance: &Maintenance,
    ) -> Result<Vec<Writing>, Refusal> {
        self.adopt_if_missing(|book| book.record(key).is_some());
        let book = self.book();
        let record = book
            .record(key)
            .ok_or_else(|| Refusal::unknown_service(&key.id))?;
        let writing = match maintenance {
            Maintenance::On(reason) => self.rule(record, Some(reason))?,
            Maintenance::Off => {
                let ending = self.end_maintenance(record)?;
                ending.unwrap_or_else(|| self.catch_up())
            }
        };
        Ok(vec![writing])
    }

    /// Ends maintenance, if a client of Consul asked for it.
    pub(super) fn end_maintenance(&self, record: &Record) -> Result<Option<Writing>, Refusal> {
        let is_ours = self.ruling(record)?.is_some_and(|ruling| {
            let actor = ruling.actor.as_deref().unwrap_or_default();
            ruling.traffic == Override::Maintenance && is_of_consul(actor)
        });
        if !is_ours {
            return Ok(None);
        }
        self.rule(record, None).map(Some)
    }

    fn ruling(&self, record: &Record) -> Result<Option<Arc<Ruling>>, Refusal> {
        let Subject { key, id } = subject(record)?;
        let catalog = self.catalog();
        let service = catalog.service(&key);
        let mut instances = service.into_iter().flat_map(|service| &service.instances);
        let instance = instances.find(|instance| instance.id == id);
        Ok(instance.and_then(|instance| instance.state.ruling.clone()))
    }

    /// Rules that a service is out for that reason, or no longer is. A weight that an
    /// operator gave it stays.
    fn rule(&self, record: &Record, reason: Option<&String>) -> Result<Writing, Refusal> {
        let weight = self.ruling(record)?.and_then(|ruling| ruling.weight);
        let ruling = (reason.is_some() || weight.is_some()).then(|| Ruling {
            traffic: match reason {
                Some(_) => Override::Maintenance,
                None => Override::None,
            },
            weight,
            reason: reason.map(|reason| reason.as_str().into()),
            actor: Some(self.actor()),
            at: self.env.now(),
        });
        let (registry, subject) = (self.registry.clone(), subject(record)?);
        let actor = self.actor();
        Ok(begin(async move {
            match registry.rule(Some(actor), subject, ruling).await {
                Ok(_) => Ok(()),
                // Somebody was faster, but maybe by a moment only.
                Err(RegistryError::NoRuling) => Ok(registry.caught_up().await?),
                Err(error) => Err(error.into()),
            }
        }))
    }
}

/// Whether somebody ruled through this front.
fn is_of_consul(actor: &str) -> bool {
    let rest = actor.strip_prefix(ACTOR);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
