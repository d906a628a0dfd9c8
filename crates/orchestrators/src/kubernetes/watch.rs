//! Keeps a cluster in step with its watchers, and says what follows from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_catalog::{Inbox, Source, SourceRun};
use portolan_model::{Departure, InstanceId, ServiceKey, SourceId};
use portolan_runtime::{Env, Task};
use portolan_sources::frame::{Ended, Follow, Teller, follow};
use tokio::sync::mpsc;

use super::{
    api::Api,
    cluster::{Cluster, Everything, Kind, Made, OBJECTS_MAX, Place, key_of},
    collection::Collection,
    settings::Settings,
    watcher::{Event, News, Told, Watcher, ping},
};

/// News that wait to be taken.
const NEWS_MAX: usize = 1024;
/// How long an endpoint that went is waited for: it may only move to another slice.
const MOVE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct KubernetesSource {
    settings: Settings,
    id: SourceId,
    env: Env,
    world: World,
}

/// What is known, and from which points on it is watched.
#[derive(Debug, Default)]
pub(super) struct World {
    cluster: Cluster,
    versions: Vec<Option<String>>,
    /// What was said of each Service.
    said: BTreeMap<Place, BTreeSet<(ServiceKey, InstanceId)>>,
    /// Services of which something can't be used.
    unfit: BTreeSet<Place>,
    /// What of it no slice names any more, and since when.
    missing: BTreeMap<Place, BTreeMap<(ServiceKey, InstanceId), Instant>>,
    /// Services that changed, and when what has gone of them is settled.
    due: BTreeMap<Place, Instant>,
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
        let Everything { view, said, unfit } = self.world.cluster.view(&self.settings, &self.id);
        (self.world.said, self.world.unfit) = (said, unfit);
        self.world.missing.clear();
        self.world.due.clear();
        Ok(teller.all(view).await?)
    }

    /// Says what is there now of these Services; what is not there any more is settled later.
    async fn tell_changed(
        &mut self,
        changed: Vec<Place>,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let now = self.env.instant();
        let at = now.checked_add(MOVE).unwrap_or(now);
        for place in changed {
            let made = self.world.cluster.made(&place, &self.settings, &self.id);
            let there = self.world.note(&place, made.as_ref(), now);
            for instance in made.unwrap_or_default().instances {
                teller.put(instance).await?;
            }
            self.world
                .said
                .entry(place.clone())
                .or_default()
                .extend(there);
            self.world.due.entry(place).or_insert(at);
        }
        Ok(())
    }

    /// When the next Service is to be settled.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        self.world.due.values().min().copied()
    }

    /// Says what has gone of the Services that are due.
    pub(super) async fn settle(&mut self, teller: &mut Teller) -> Result<(), Ended> {
        let now = self.env.instant();
        let due = self.world.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(place, _)| place.clone()).collect();
        for place in due {
            self.world.due.remove(&place);
            self.settle_one(&place, teller).await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self, place: &Place, teller: &mut Teller) -> Result<(), Ended> {
        let now = self.env.instant();
        for (key, id) in self.world.gone(place, now) {
            teller.remove(&key, &id, Departure::Explicit).await?;
        }
        if let Some(next) = self.world.next_of(place) {
            self.world.due.insert(place.clone(), next);
        }
        let made = self.world.cluster.made(place, &self.settings, &self.id);
        let is_known = made.as_ref().is_some_and(|made| !made.is_external);
        if let Some(key) = key_of(place) {
            if is_known && !teller.told().has_service(&key) {
                teller.service(&key, [], Departure::Explicit).await?;
            }
            // Another Service may be mapped to the same name.
            let is_used = teller.told().instances().any(|one| one.key == key);
            if !is_known && !is_used {
                teller.remove_service(&key, Departure::Explicit).await?;
            }
        }
        let is_unfit = made.is_some_and(|made| !made.unfit.is_empty());
        // Operators are told by the count that only a whole view brings.
        if is_unfit && !self.world.unfit.contains(place) {
            return self.tell_all(teller).await;
        }
        Ok(())
    }
}

impl World {
    /// Notes which instances of a Service are there, and which are missing; gives the former.
    fn note(
        &mut self,
        place: &Place,
        made: Option<&Made>,
        now: Instant,
    ) -> BTreeSet<(ServiceKey, InstanceId)> {
        let instances = made.into_iter().flat_map(|made| &made.instances);
        let there = instances.map(|one| (one.key.clone(), one.id.clone()));
        let there: BTreeSet<_> = there.collect();
        let said = self.said.get(place).into_iter().flatten();
        let mut before = self.missing.remove(place).unwrap_or_default();
        let missing: BTreeMap<_, _> = said
            .filter(|one| !there.contains(*one))
            .map(|one| (one.clone(), before.remove(one).unwrap_or(now)))
            .collect();
        if !missing.is_empty() {
            self.missing.insert(place.clone(), missing);
        }
        there
    }

    /// Takes out what has been missing for long enough to be gone.
    fn gone(&mut self, place: &Place, now: Instant) -> Vec<(ServiceKey, InstanceId)> {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= MOVE;
        let missing = self.missing.get(place).into_iter().flatten();
        let over = missing.filter(|(_, since)| is_over(**since));
        let over: Vec<_> = over.map(|(one, _)| one.clone()).collect();
        for one in &over {
            if let Some(missing) = self.missing.get_mut(place) {
                missing.remove(one);
            }
            if let Some(said) = self.said.get_mut(place) {
                said.remove(one);
            }
        }
        self.missing.retain(|_, missing| !missing.is_empty());
        self.said
            .retain(|other, said| other != place || !said.is_empty());
        over
    }

    /// When the next missing instance of a Service will have been missing for long enough.
    fn next_of(&self, place: &Place) -> Option<Instant> {
        let since = self.missing.get(place)?.values().min()?;
        since.checked_add(MOVE)
    }
}

impl Follow for KubernetesSource {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let api = Arc::new(Api::open(&self.settings, &self.env).await?);
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

impl Source for KubernetesSource {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        let env = self.env.clone();
        Box::pin(follow(*self, inbox, env))
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
