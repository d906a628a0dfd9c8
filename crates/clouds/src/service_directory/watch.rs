//! Reads the whole directory, over and over.

use std::convert::Infallible;

use portolan_model::{ServiceKey, SourceId};
use portolan_runtime::Env;
use serde_json::Value;

use super::{
    api::{Api, Failure},
    map::{self, Listed},
    settings::Settings,
};
use portolan_sources::frame::{Ended, Follow, Teller, View, foreign_name};

/// Most services of one source.
const SERVICES_MAX: usize = 5_000;
/// Services that are read at a time.
const LANES: usize = 4;

#[derive(Debug)]
pub(super) struct ServiceDirectorySource {
    settings: Settings,
    id: SourceId,
    env: Env,
    api: Api,
    lanes: [Api; LANES],
}

impl ServiceDirectorySource {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        let lane = || Api::new(&settings, &env);
        Self {
            api: lane(),
            lanes: [lane(), lane(), lane(), lane()],
            settings,
            id,
            env,
        }
    }

    async fn read(&mut self) -> Result<View, Ended> {
        let namespaces = if self.settings.namespaces.is_empty() {
            self.api
                .namespaces()
                .await
                .map_err(|failure| ended(failure, "the location"))?
        } else {
            self.settings.namespaces.clone()
        };
        let mut services = Vec::new();
        for namespace in &namespaces {
            let listed = self.api.services(namespace).await;
            services.extend(
                listed
                    .map_err(|failure| ended(failure, &format!("the namespace `{namespace}`")))?,
            );
        }
        if services.len() > SERVICES_MAX {
            return Err(Ended::lost(format!(
                "there are more than {SERVICES_MAX} services; name `namespaces`"
            )));
        }
        let share = services.len().div_ceil(LANES).max(1);
        let mut shares = services.chunks(share);
        let [one, two, three, four] = &mut self.lanes;
        let mut next = || shares.next().unwrap_or_default();
        let read = tokio::join!(
            endpoints(one, next()),
            endpoints(two, next()),
            endpoints(three, next()),
            endpoints(four, next()),
        );
        let mut view = View::default();
        for read in [read.0?, read.1?, read.2?, read.3?] {
            for (service, endpoints) in read {
                self.add(&mut view, service, &endpoints);
            }
        }
        Ok(view)
    }

    fn add(&self, view: &mut View, service: &Listed, endpoints: &[Value]) {
        let key = foreign_name(&service.namespace).and_then(|namespace| {
            let name = foreign_name(&service.id)?;
            Ok(ServiceKey { namespace, name })
        });
        if let Ok(key) = key {
            view.add_service(key);
        }
        for endpoint in endpoints {
            let found = map::found(service, endpoint);
            let what = format!("{} {}", service.id, found.id);
            let made = self
                .settings
                .basics
                .instance(&self.id, found, || map::object(service, endpoint));
            view.take(&what, made);
        }
    }
}

async fn endpoints<'a>(
    api: &mut Api,
    services: &'a [Listed],
) -> Result<Vec<(&'a Listed, Vec<Value>)>, Ended> {
    let mut read = Vec::new();
    for service in services {
        match api.endpoints(service).await {
            Ok(endpoints) => read.push((service, endpoints)),
            // It went since it was listed.
            Err(Failure::Unknown) => {}
            Err(Failure::Ended(ended)) => return Err(ended),
        }
    }
    Ok(read)
}

fn ended(failure: Failure, what: &str) -> Ended {
    match failure {
        Failure::Unknown => Ended::lost(format!(
            "{what} is not known (are project and location right?)"
        )),
        Failure::Ended(ended) => ended,
    }
}

impl Follow for ServiceDirectorySource {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        loop {
            let view = Box::pin(self.read()).await?;
            teller.all(view).await?;
            self.env.sleep(self.settings.poll).await;
        }
    }
}
