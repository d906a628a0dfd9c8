//! Keeps a cluster in step with its watchers, and says what follows from it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_model::{Departure, Instance, SourceId};
use portolan_runtime::{Env, Task};
use portolan_sources::frame::{self, Ended, Follow, Teller};
use tokio::sync::mpsc;

use super::{
    api::{Api, Opening},
    cluster::{Cluster, Kind, OBJECTS_MAX, Place, key_of},
    collection::Collection,
    said::Said,
    settings::Settings,
    watcher::{Event, News, Told, Watcher, ping},
};

/// News that wait to be taken.
const NEWS_MAX: usize = 1024;
/// Services that came or went are gathered for so long, since everything is said for them.
const GATHER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct KubernetesSource {
    settings: Settings,
    id: SourceId,
    env: Env,
    world: World,
    opening: Opening,
}

/// What is known, and from which points on it is watched.
#[derive(Debug, Default)]
pub(super) struct World {
    cluster: Cluster,
    versions: Vec<Option<String>>,
    said: Said,
    /// Services that may have come or gone altogether, and when that is said.
    turned: BTreeSet<Place>,
    turns_at: Option<Instant>,
}

impl KubernetesSource {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        let world = World {
            versions: vec![None; collections(&settings).len()],
            ..World::default()
        };
        Self {
            settings,
            id,
            env,
            world,
            opening: Opening::default(),
        }
    }

    fn watchers(&self, api: &Arc<Api>, told: &mpsc::Sender<Told>) -> Vec<Task> {
        let collections = collections(&self.settings).into_iter().enumerate();
        let watchers = collections.map(|(index, collection)| {
            let watcher = Watcher {
                api: Arc::clone(api),
                env: self.env.clone(),
                index,
                collection,
                told: told.clone(),
            };
            let version = self.world.versions.get(index).cloned().flatten();
            self.env.spawn("kubernetes watcher", watcher.run(version))
        });
        let mut tasks: Vec<_> = watchers.collect();
        let pinging = ping(Arc::clone(api), self.env.clone(), told.clone());
        tasks.push(self.env.spawn("kubernetes ping", pinging));
        tasks
    }

    /// Takes in what a watcher says. `closed` are those that watch nothing yet.
    pub(super) async fn take(
        &mut self,
        (index, news): Told,
        closed: &mut BTreeSet<usize>,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let collection = collections(&self.settings).into_iter().nth(index);
        match (news, collection) {
            (News::Lost(ended), _) => return Err(ended),
            (News::Listed { objects, version }, Some(collection)) => {
                let kind = collection.kind;
                self.world
                    .cluster
                    .replace(kind, collection.namespace.as_deref(), objects);
                self.reach(index, version);
                if self.is_whole() {
                    self.tell_all(teller).await?;
                }
            }
            (
                News::Changed {
                    event,
                    object,
                    version,
                },
                Some(collection),
            ) => {
                let kind = collection.kind;
                let changed = match event {
                    Event::Put => self.world.cluster.put(kind, object),
                    Event::Gone => self.world.cluster.remove(kind, &object),
                };
                if self.world.cluster.count(kind) > OBJECTS_MAX {
                    return Err(Ended::lost(format!(
                        "there are more than {OBJECTS_MAX} objects of a kind"
                    )));
                }
                self.reach(index, version);
                if self.is_whole() {
                    self.tell_changed(changed, teller).await?;
                }
            }
            (News::Unchanged { version }, _) => self.reach(index, version),
            (News::Open, _) => {
                closed.remove(&index);
                if closed.is_empty() && self.is_whole() {
                    teller.still().await?;
                }
            }
            (News::Alive, _) if closed.is_empty() && self.is_whole() => teller.still().await?,
            (News::Alive | News::Listed { .. } | News::Changed { .. }, _) => {}
        }
        Ok(())
    }

    fn reach(&mut self, index: usize, version: String) {
        if let Some(place) = self.world.versions.get_mut(index) {
            *place = Some(version).filter(|version| !version.is_empty());
        }
    }

    /// Whether every collection was listed once.
    fn is_whole(&self) -> bool {
        self.world.versions.iter().all(Option::is_some)
    }

    async fn tell_all(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        let mut all = self.world.cluster.view(&self.settings, &self.id);
        self.world.said.replace(&mut all);
        self.world.turned.clear();
        self.world.turns_at = None;
        Ok(teller.all(all.view).await?)
    }

    /// Says what is there now of these Services; what is not there any more is settled later.
    async fn tell_changed(
        &mut self,
        changed: Vec<Place>,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let now = self.env.instant();
        for place in changed {
            let made = self.world.cluster.made(&place, &self.settings, &self.id);
            let instances = made.map(|made| made.instances).unwrap_or_default();
            let there = instances.iter().map(place_of).collect();
            self.world.said.note(&place, there, now);
            for instance in instances {
                if self.world.said.owner(&place_of(&instance)) == Some(&place) {
                    teller.put(instance).await?;
                }
            }
        }
        Ok(())
    }

    /// When there is something to be settled next.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        let next = self.world.said.settles_at();
        next.into_iter().chain(self.world.turns_at).min()
    }

    /// Says what has gone of the Services that are due.
    pub(super) async fn settle(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        let now = self.env.instant();
        while let Some(place) = self.world.said.pop_due(now) {
            self.settle_one(&place, teller).await?;
        }
        if self.world.turns_at.is_some_and(|at| at <= now) {
            self.tell_turned(teller).await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self, place: &Place, teller: &mut Teller) -> Result<(), Ended> {
        let now = self.env.instant();
        let made = self.world.cluster.made(place, &self.settings, &self.id);
        let made = made.unwrap_or_default();
        let mut inherited = BTreeSet::new();
        for one in self.world.said.gone(place, now) {
            if let Some(heir) = self.world.said.owner(&one) {
                inherited.insert(heir.clone());
                continue;
            }
            let departure = if made.unread.may_be(&one.1) {
                Departure::Inferred
            } else {
                Departure::Explicit
            };
            teller.remove(&one.0, &one.1, departure).await?;
        }
        // What another Service names as well is as that one says.
        self.tell_changed(inherited.into_iter().collect(), teller)
            .await?;
        let unfits = made.unfits(place);
        let (count, example) = self.world.said.pass_over(place, unfits);
        teller.passed_over(count, example);
        let is_told = key_of(place).is_some_and(|key| teller.told().has_service(&key));
        if self.world.cluster.is_service(place) != is_told {
            self.world.turned.insert(place.clone());
            let at = now.checked_add(GATHER).unwrap_or(now);
            self.world.turns_at.get_or_insert(at);
        }
        Ok(())
    }

    /// Says which services came or went altogether.
    async fn tell_turned(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        self.world.turns_at = None;
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for place in std::mem::take(&mut self.world.turned) {
            let Some(key) = key_of(&place) else {
                continue;
            };
            if self.world.cluster.is_service(&place) {
                there.push(key);
            } else if !self.world.said.is_used(&key) {
                // Else another Service is mapped to the same name.
                gone.push(key);
            }
        }
        Ok(teller.services(there, gone).await?)
    }
}

fn place_of(instance: &Instance) -> frame::Place {
    (instance.key.clone(), instance.id.clone())
}

impl Follow for KubernetesSource {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let api = Arc::new(Api::open(&self.settings, &self.env, &mut self.opening).await?);
        let (told, mut heard) = mpsc::channel(NEWS_MAX);
        let _watchers = self.watchers(&api, &told);
        drop(told);
        let mut closed: BTreeSet<_> = (0..self.world.versions.len()).collect();
        loop {
            let settles_at = self.settles_at();
            let env = self.env.clone();
            let settling = async {
                match settles_at {
                    Some(at) => env.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                news = heard.recv() => {
                    let news = news.ok_or_else(|| Ended::lost("all watches ended"))?;
                    self.take(news, &mut closed, teller).await?;
                }
                () = settling => self.settle(teller).await?,
            }
        }
    }
}

/// What is watched: every kind, in every namespace that is named.
pub(super) fn collections(settings: &Settings) -> Vec<Collection> {
    let mut kinds = vec![Kind::Services, Kind::Slices];
    kinds.extend(settings.pods.then_some(Kind::Pods));
    let everywhere = [None];
    let named = settings.namespaces.iter().map(|name| Some(name.clone()));
    let namespaces: Vec<_> = if settings.namespaces.is_empty() {
        everywhere.into()
    } else {
        named.collect()
    };
    let mut collections = Vec::new();
    for kind in kinds {
        for namespace in &namespaces {
            let selector = settings.selector.clone().filter(|_| kind == Kind::Services);
            collections.push(Collection {
                kind,
                namespace: namespace.clone(),
                selector,
            });
        }
    }
    collections
}
