//! Follows a daemon by its events.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    time::{Duration, Instant},
};

use portolan_model::{Departure, Instance, SourceId};
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Follow, Place, Teller, Unfit, View};
use portolan_wire::call::Stream;
use serde_json::Value;

use super::{
    daemon::Daemon,
    map::{Container, concerned_by},
    settings::Settings,
};
use crate::lines::Lines;

/// A silent daemon is asked this often whether it is there.
const PING: Duration = Duration::from_secs(5);
/// Most containers of one daemon.
const CONTAINERS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct DockerSource {
    settings: Settings,
    id: SourceId,
    env: Env,
    daemon: Daemon,
    /// Containers that are in the catalogue, by their ids.
    places: HashMap<String, Place>,
    /// Containers that are wanted and can't be used.
    unfit: HashSet<String>,
}

/// What became of a container.
enum Made {
    Instance(Instance),
    Unfit(String, Unfit),
    /// It is not wanted, or does not run.
    Nothing(Departure),
}

impl DockerSource {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        let daemon = Daemon::new(&settings, &env);
        Self {
            settings,
            id,
            env,
            daemon,
            places: HashMap::new(),
            unfit: HashSet::new(),
        }
    }

    /// Looks at everything.
    async fn resync(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        let ids = self.daemon.containers().await?;
        if ids.len() > CONTAINERS_MAX {
            return Err(Ended::lost(format!(
                "the daemon runs {} containers, and no more than {CONTAINERS_MAX} are read",
                ids.len()
            )));
        }
        let mut view = View::default();
        let (mut places, mut unfit) = (HashMap::new(), HashSet::new());
        for id in ids {
            match self.look(&id).await? {
                Made::Instance(instance) => {
                    places.insert(id, (instance.key.clone(), instance.id.clone()));
                    view.add(instance);
                }
                Made::Unfit(name, why) => {
                    view.pass_over(&format!("container `{name}`"), &why);
                    unfit.insert(id);
                }
                Made::Nothing(_) => {}
            }
        }
        let before = std::mem::replace(&mut self.places, places);
        self.unfit = unfit;
        for (id, place) in before {
            // Of those that are missing, some are known to have ended while nobody listened.
            if !self.places.contains_key(&id)
                && self.heir_of(&place).is_none()
                && self.has_ended(&id).await?
            {
                teller
                    .remove(&place.0, &place.1, Departure::Explicit)
                    .await?;
            }
        }
        Ok(teller.all(view).await?)
    }

    async fn has_ended(&mut self, id: &str) -> Result<bool, Ended> {
        let described = self.daemon.container(id).await?;
        Ok(described.is_some_and(|described| Container::new(&described).has_ended()))
    }

    async fn look(&mut self, id: &str) -> Result<Made, Ended> {
        let Some(described) = self.daemon.container(id).await? else {
            return Ok(Made::Nothing(Departure::Explicit));
        };
        Ok(self.made_of(id, &described))
    }

    fn made_of(&self, id: &str, described: &Value) -> Made {
        let container = Container::new(described);
        if !container.is_described() {
            let why = "the daemon's description of it makes no sense".to_owned();
            return Made::Unfit(id.to_owned(), Unfit::Because(why));
        }
        if container.has_ended() {
            return Made::Nothing(Departure::Explicit);
        }
        if !container.runs() {
            return Made::Nothing(Departure::Inferred);
        }
        if !container.is_wanted(&self.settings) {
            return Made::Nothing(Departure::Inferred);
        }
        let found = container.found(&self.settings);
        let basics = &self.settings.basics;
        let made = found.and_then(|found| basics.instance(&self.id, found, || container.object()));
        match made {
            Ok(Some(instance)) => Made::Instance(instance),
            Ok(None) => Made::Nothing(Departure::Inferred),
            Err(why) => Made::Unfit(container.name().to_owned(), why),
        }
    }

    /// Looks at a container of which an event spoke. What the event said may be over already.
    async fn take(&mut self, id: String, teller: &mut Teller) -> Result<(), Ended> {
        match self.look(&id).await? {
            Made::Instance(instance) => {
                self.unfit.remove(&id);
                let place = (instance.key.clone(), instance.id.clone());
                if self.places.get(&id).is_some_and(|before| *before != place) {
                    self.depart(&id, Departure::Explicit, teller).await?;
                }
                self.places.insert(id, place);
                Ok(teller.put(instance).await?)
            }
            Made::Nothing(departure) => {
                self.unfit.remove(&id);
                self.depart(&id, departure, teller).await
            }
            // Operators are told by the count that only a whole view brings.
            Made::Unfit(..) if self.unfit.insert(id) => self.resync(teller).await,
            Made::Unfit(..) => Ok(()),
        }
    }

    /// A container leaves its place, which another one may have by the settings' expressions.
    async fn depart(
        &mut self,
        id: &str,
        departure: Departure,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let Some(place) = self.places.remove(id) else {
            return Ok(());
        };
        let Some(heir) = self.heir_of(&place).cloned() else {
            return Ok(teller.remove(&place.0, &place.1, departure).await?);
        };
        match self.look(&heir).await? {
            Made::Instance(one) if (&one.key, &one.id) == (&place.0, &place.1) => {
                Ok(teller.put(one).await?)
            }
            // An event of its own says what became of it.
            Made::Instance(_) | Made::Unfit(..) | Made::Nothing(_) => Ok(()),
        }
    }

    /// Another container in that place.
    fn heir_of(&self, place: &Place) -> Option<&String> {
        let mut all = self.places.iter();
        all.find_map(|(id, other)| (other == place).then_some(id))
    }

    /// Takes events until it is time to ask whether the daemon is there.
    async fn listen(
        &mut self,
        events: &mut Stream,
        lines: &mut Lines,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let ping_at = self.env.instant().checked_add(PING);
        let ping_at = ping_at.unwrap_or_else(|| self.env.instant());
        loop {
            let chunk = tokio::select! {
                chunk = events.chunk() => chunk.map_err(|error| Ended::by(&error))?,
                () = self.env.sleep_until(ping_at) => return Ok(()),
            };
            let chunk =
                chunk.ok_or_else(|| Ended::lost("the daemon ended its stream of events"))?;
            lines.push(&chunk).map_err(|error| Ended::by(&error))?;
            while let Some(line) = lines.pop() {
                if let Some(id) = concerned_by(&line) {
                    self.take(id, teller).await?;
                }
            }
        }
    }

    fn resync_at(&self) -> Instant {
        let now = self.env.instant();
        now.checked_add(self.settings.resync).unwrap_or(now)
    }
}

impl Follow for DockerSource {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        // Listens before it looks, so that nothing that happens between is missed.
        let mut events = self.daemon.events().await?;
        let mut lines = Lines::default();
        self.resync(teller).await?;
        let mut resync_at = self.resync_at();
        loop {
            self.listen(&mut events, &mut lines, teller).await?;
            if self.env.instant() >= resync_at {
                self.resync(teller).await?;
                resync_at = self.resync_at();
            } else {
                self.daemon.ping().await?;
                teller.still().await?;
            }
        }
    }
}
