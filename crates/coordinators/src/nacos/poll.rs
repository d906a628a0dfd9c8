//! Reads everything over HTTP, again and again.

use std::{collections::BTreeSet, convert::Infallible};

use portolan_sources::frame::{Ended, Teller};

use super::{calls, map::Service, watch::Nacos};

impl Nacos {
    /// Polls for as long as it goes well.
    pub(super) async fn poll(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        loop {
            self.renew().await?;
            let mut services = BTreeSet::new();
            let scopes = self.settings.scopes();
            let scopes: Vec<_> = scopes
                .map(|(one, other)| (one.clone(), other.clone()))
                .collect();
            for (namespace, group) in scopes {
                let token = self.token.as_ref().map(calls::Token::text);
                let names = calls::names(&mut self.servers, (&namespace, &group), token).await?;
                services.extend(names.into_iter().map(|name| Service {
                    namespace: namespace.clone(),
                    group: group.clone(),
                    name,
                }));
            }
            self.read_all(&services).await?;
            self.services = services;
            self.tell(teller).await?;
            self.env.sleep(self.settings.refresh).await;
        }
    }

    async fn read_all(&mut self, services: &BTreeSet<Service>) -> Result<(), Ended> {
        let mut seen = BTreeSet::new();
        for service in services {
            let token = self.token.as_ref().map(calls::Token::text);
            let info = calls::service(&mut self.servers, service, token).await?;
            for (path, made) in self.read(service, &info.unwrap_or_default()) {
                self.held.take(&path, made);
                seen.insert(path);
            }
        }
        self.held.retain(|path| seen.contains(path));
        Ok(())
    }
}
