//! Asks for revisions, and reads what moved.

use std::{collections::BTreeMap, convert::Infallible};

use portolan_model::{Departure, ServiceKey, SourceId};
use portolan_runtime::Env;

use super::{
    api::{Api, Failure, Instances},
    map::{self, ServiceName},
    settings::Settings,
};
use portolan_sources::frame::{Ended, Follow, Parts, Teller, View, foreign_name};

/// Most services of one source.
const SERVICES_MAX: usize = 5_000;
/// Services that are asked for at a time.
const LANES: usize = 4;

#[derive(Debug)]
pub(super) struct CloudMapSource {
    settings: Settings,
    id: SourceId,
    env: Env,
    api: Api,
    lanes: [Api; LANES],
    known: BTreeMap<ServiceName, Instances>,
    /// What was made of them: by the settings' expressions, two may have an instance in common.
    parts: Parts<ServiceName>,
}

impl CloudMapSource {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        let lane = || Api::new(&settings, &env);
        Self {
            api: lane(),
            lanes: [lane(), lane(), lane(), lane()],
            settings,
            id,
            env,
            known: BTreeMap::new(),
            parts: Parts::default(),
        }
    }

    /// Lists services, and reads those that are new or moved.
    async fn read_all(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        let mut names = Vec::new();
        let wanted = &self.settings.namespaces;
        let namespaces = self.api.namespaces().await.map_err(ended)?;
        let is_there = |name: &&String| namespaces.iter().any(|one| one.name == **name);
        if let Some(missing) = wanted.iter().find(|name| !is_there(name)) {
            return Err(Ended::lost(format!(
                "there is no namespace `{missing}` in this account and region"
            )));
        }
        for namespace in &namespaces {
            if wanted.is_empty() || wanted.contains(&namespace.name) {
                names.extend(self.api.services(namespace).await.map_err(ended)?);
            }
        }
        if names.len() > SERVICES_MAX {
            return Err(Ended::lost(format!(
                "there are more than {SERVICES_MAX} services; name `namespaces`"
            )));
        }
        let moved = Box::pin(self.moved(&names)).await?;
        self.known.retain(|name, _| names.contains(name));
        self.known.extend(
            moved
                .into_iter()
                .filter_map(|(name, instances)| Some((name, instances?))),
        );
        self.parts.retain(|name| self.known.contains_key(name));
        for name in self.known.keys() {
            self.parts.set(name.clone(), self.part(name));
        }
        Ok(teller.all(self.parts.whole()).await?)
    }

    /// Reads the services that moved, and says so.
    async fn poll(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        let names: Vec<_> = self.known.keys().cloned().collect();
        let moved = Box::pin(self.moved(&names)).await?;
        self.take(moved, teller).await?;
        Ok(teller.still().await?)
    }

    /// Says what services have come to that moved.
    pub(super) async fn take(
        &mut self,
        moved: Vec<(ServiceName, Option<Instances>)>,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        for (name, instances) in moved {
            let Some(instances) = instances else {
                // It is gone; the next list says so.
                continue;
            };
            self.known.insert(name.clone(), instances);
            let part = self.part(&name);
            let parts = &mut self.parts;
            parts
                .tell(teller, (name, part), Departure::Inferred)
                .await?;
        }
        Ok(())
    }

    /// Which of these services moved, and to what; `None` if there is no such service any more.
    async fn moved(
        &mut self,
        names: &[ServiceName],
    ) -> Result<Vec<(ServiceName, Option<Instances>)>, Ended> {
        let known = &self.known;
        let share = names.len().div_ceil(LANES).max(1);
        let mut shares = names.chunks(share);
        let [one, two, three, four] = &mut self.lanes;
        let mut next = || shares.next().unwrap_or_default();
        let done = tokio::join!(
            check(one, known, next()),
            check(two, known, next()),
            check(three, known, next()),
            check(four, known, next()),
        );
        let mut moved = done.0?;
        for more in [done.1?, done.2?, done.3?] {
            moved.extend(more);
        }
        Ok(moved)
    }

    /// What a service comes to.
    fn part(&self, name: &ServiceName) -> View {
        let mut view = View::default();
        if let Some(key) = key_of(name) {
            view.add_service(key);
        }
        let instances = self
            .known
            .get(name)
            .into_iter()
            .flat_map(|known| &known.instances);
        for instance in instances {
            let found = map::found(name, instance);
            let what = format!("{} {}", name.name, found.id);
            let made = self
                .settings
                .basics
                .instance(&self.id, found, || map::object(name, instance));
            view.take(&what, made);
        }
        view
    }
}

async fn check(
    api: &mut Api,
    known: &BTreeMap<ServiceName, Instances>,
    names: &[ServiceName],
) -> Result<Vec<(ServiceName, Option<Instances>)>, Ended> {
    let mut moved = Vec::new();
    for name in names {
        let before = known.get(name).and_then(|known| known.revision);
        // One that has no revision has to be read to know.
        let is_still = match before {
            Some(before) => match api.revision(name).await {
                Ok(now) => now == Some(before),
                Err(Failure::Unknown) => false,
                Err(Failure::Ended(ended)) => return Err(ended),
            },
            None => false,
        };
        if is_still {
            continue;
        }
        match api.instances(name).await {
            Ok(instances) => moved.push((name.clone(), Some(instances))),
            Err(Failure::Unknown) => moved.push((name.clone(), None)),
            Err(Failure::Ended(ended)) => return Err(ended),
        }
    }
    Ok(moved)
}

fn ended(failure: Failure) -> Ended {
    match failure {
        Failure::Unknown => Ended::lost("the namespace went while it was listed"),
        Failure::Ended(ended) => ended,
    }
}

fn key_of(name: &ServiceName) -> Option<ServiceKey> {
    Some(ServiceKey {
        namespace: foreign_name(&name.namespace).ok()?,
        name: foreign_name(&name.name).ok()?,
    })
}

impl Follow for CloudMapSource {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        loop {
            self.read_all(teller).await?;
            let now = self.env.instant();
            let relist_at = now.checked_add(self.settings.relist).unwrap_or(now);
            while self.env.instant() < relist_at {
                self.env.sleep(self.settings.poll).await;
                self.poll(teller).await?;
            }
        }
    }
}
