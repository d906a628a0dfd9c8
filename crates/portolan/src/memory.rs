//! Last known good: what sources said outlives the process.
//!
//! A recorder follows what is published and keeps what each source said of the instances
//! that are in the catalogue; those of the registry have facts of their own. It writes
//! once a second at most, off the path of changes, and before the store is closed: what a
//! crash loses is said again by the source. When the store opens, at the start or after a hand-over, the fold is reminded of
//! what was kept, and takes it in for sources that have not said everything themselves yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use portolan_catalog::{Catalog, Recollection};
use portolan_model::{
    Change, Event, Guard, Instance, InstanceId, Name, Override, Revision, ServiceKey, SourceId,
};
use portolan_runtime::Env;
use portolan_snapshot::{Publication, View};
use portolan_store::{BATCH_BYTES_MAX, Batch, Embedded, FactKey, Facts, Loaded, StoreError};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, oneshot, watch,
};

/// What the kinds of these facts begin with; the source's name follows.
const KIND: &str = "said:";
/// Changes are gathered for so long.
const GATHERING: Duration = Duration::from_secs(1);
/// How long the start waits for what sources said before.
const REMINDING: Duration = Duration::from_secs(10);
/// How long the store may take before it is closed.
const FLUSHING: Duration = Duration::from_secs(2);
/// Most bytes of one batch.
const BATCH_BYTES: usize = BATCH_BYTES_MAX / 16;

/// Which instance of a service, and who said so.
type Place = (InstanceId, SourceId);

/// What sources said of the instances of each service.
type Words = BTreeMap<ServiceKey, BTreeMap<Place, Arc<Instance>>>;

/// What the store has to hold from now on of a place; `None` is nothing.
type Difference = (ServiceKey, Place, Option<Arc<Instance>>);

/// What sources said before, and what they say now for the next start.
pub(crate) struct Memory {
    env: Env,
    /// Until it begins.
    recorder: Option<Recorder>,
    is_reminded: watch::Receiver<bool>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
}

/// Keeps what sources say.
struct Recorder {
    env: Env,
    view: View,
    recollection: Recollection,
    /// The store, while this process has it.
    store: watch::Receiver<Option<Embedded>>,
    /// What the store holds.
    kept: Words,
    /// Until where the journal was read.
    read_until: Revision,
    /// The catalogue has what the store held.
    is_reminded: watch::Sender<bool>,
    /// Who wants everything written now.
    flushes: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Memory {
    /// A memory of nothing yet.
    pub(crate) fn new(
        env: &Env,
        view: &View,
        recollection: Recollection,
        store: watch::Receiver<Option<Embedded>>,
    ) -> Self {
        let (is_reminded, reminded) = watch::channel(false);
        let (flush, flushes) = mpsc::channel(1);
        let recorder = Recorder {
            env: env.clone(),
            view: view.clone(),
            recollection,
            store,
            kept: Words::new(),
            read_until: view.snapshot().revision(),
            is_reminded,
            flushes,
        };
        Self {
            env: env.clone(),
            recorder: Some(recorder),
            is_reminded: reminded,
            flushes: flush,
        }
    }

    /// Writes what was said by now, if the store takes it soon.
    pub(crate) async fn flush(&self) {
        if !*self.is_reminded.borrow() {
            // What the store holds is not known yet, and nothing was written over it.
            return;
        }
        let (done, written) = oneshot::channel();
        let flushing = async {
            // A recorder that could not write has said so.
            self.flushes.send(done).await.is_ok() && written.await.is_ok()
        };
        if self.env.timeout(FLUSHING, flushing).await.is_err() {
            tracing::warn!("what sources said last is not kept: the store is slow");
        }
    }

    /// Begins, once: the inboxes of the sources must be open.
    pub(crate) fn begin(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            self.env.spawn("memory", recorder.run()).detach();
        }
    }

    /// Waits, for a while, until the catalogue has what the store held.
    pub(crate) async fn wait(&mut self) {
        let reminded = self.is_reminded.wait_for(|is_reminded| *is_reminded);
        if self.env.timeout(REMINDING, reminded).await.is_err() {
            tracing::warn!("starting without what sources said before: the store is slow");
        }
    }
}

impl Recorder {
    /// Keeps what sources say, for as long as the program runs.
    async fn run(mut self) {
        loop {
            let store = self.store.borrow_and_update().clone();
            let Some(store) = store else {
                if self.store.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if let Err(error) = self.keep(&store).await {
                tracing::warn!(%error, "what sources say is not kept for the next start");
                // Whoever closed the store opens it again, or another; a full disk may have
                // room again by then.
                let changed = self.env.timeout(GATHERING * 30, self.store.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
            }
        }
    }

    /// Keeps it in this store, until that fails or is closed.
    async fn keep(&mut self, store: &Embedded) -> Result<(), StoreError> {
        let mut news = self.view.changes();
        self.kept = read(&store.load().await?);
        self.remind().await;
        self.is_reminded.send_replace(true);
        let mut changed = Changed::All;
        loop {
            self.write(store, std::mem::take(&mut changed)).await?;
            changed = tokio::select! {
                changed = gather(&self.env, &mut news) => changed,
                Some(done) = self.flushes.recv() => {
                    self.write(store, Changed::All).await?;
                    // Whoever asked may have given up.
                    let _gone = done.send(());
                    continue;
                }
                gone = self.store.changed() => {
                    return gone.map_err(|_| StoreError::Closed);
                }
            };
        }
    }

    /// Reminds the fold of what is kept, and waits until it has taken that in.
    async fn remind(&self) {
        let mut by_source: BTreeMap<&SourceId, Vec<Arc<Instance>>> = BTreeMap::new();
        for ((_, source), instance) in self.kept.values().flatten() {
            by_source
                .entry(source)
                .or_default()
                .push(Arc::clone(instance));
        }
        for (source, instances) in by_source {
            // Nothing is taken in for a source that is not configured any more.
            let _dropped = self.recollection.remind(source, instances).await;
        }
    }

    async fn write(&mut self, store: &Embedded, changed: Changed) -> Result<(), StoreError> {
        let snapshot = self.view.snapshot();
        let catalog = &snapshot.catalog;
        let (said, is_complete) = said_since(catalog, self.read_until);
        let mut batch = Batch::new();
        let mut bytes = 0;
        for difference in self.differences(catalog, changed, (&said, is_complete)) {
            bytes += self.put(&mut batch, difference);
            if bytes >= BATCH_BYTES {
                store.commit(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            store.commit(batch).await?;
        }
        // What could not be written is read again.
        self.read_until = catalog.revision();
        Ok(())
    }

    /// Puts a difference into a batch; gives the bytes that it takes there.
    fn put(&mut self, batch: &mut Batch, (service, place, word): Difference) -> usize {
        let Some(key) = key_of(&service, &place) else {
            return 0;
        };
        let Some(word) = word else {
            batch.remove(key);
            if let Some(words) = self.kept.get_mut(&service) {
                words.remove(&place);
            }
            return 0;
        };
        let value = serde_json::to_vec(&*word).unwrap_or_default();
        let bytes = value.len();
        batch.put(key, value);
        self.kept.entry(service).or_default().insert(place, word);
        bytes
    }

    /// How what the store has to hold differs from what it does.
    fn differences(
        &self,
        catalog: &Catalog,
        changed: Changed,
        (said, is_complete): (&Words, bool),
    ) -> Vec<Difference> {
        let services = match changed {
            Changed::All => {
                let there = catalog.services().map(|service| service.key.clone());
                there.chain(self.kept.keys().cloned()).collect()
            }
            Changed::Some(services) => services,
        };
        let (mut differences, nothing) = (Vec::new(), BTreeMap::new());
        for key in services {
            let kept = self.kept.get(&key).unwrap_or(&nothing);
            let said = said.get(&key).unwrap_or(&nothing);
            let service = catalog.service(&key);
            let there = service.map_or(&[][..], |service| &service.instances);
            let mut gone: BTreeSet<_> = kept.keys().collect();
            for instance in there.iter().filter(|there| is_remembered(&there.source)) {
                let place = (instance.id.clone(), instance.source.clone());
                gone.remove(&place);
                let known = kept.get(&place);
                let word = match (said.get(&place), known) {
                    (Some(word), _) => seen_when(word, instance),
                    // What lies over it changed, not what its source says.
                    (None, Some(_)) if is_complete => continue,
                    (None, _) => bare(instance),
                };
                if known != Some(&word) {
                    differences.push((key.clone(), place, Some(word)));
                }
            }
            let gone = gone.into_iter().cloned();
            differences.extend(gone.map(|place| (key.clone(), place, None)));
        }
        differences
    }
}

/// Which services may differ from what is kept.
enum Changed {
    All,
    Some(BTreeSet<ServiceKey>),
}

impl Default for Changed {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Changed {
    fn add(&mut self, news: Result<Publication, RecvError>) {
        match (news, &mut *self) {
            (Ok(publication), Self::Some(services)) => {
                services.extend(publication.changed.iter().cloned());
            }
            (Ok(_), Self::All) => {}
            (Err(_), _) => *self = Self::All,
        }
    }
}

/// Waits for a change, and then for more of them.
async fn gather(env: &Env, news: &mut broadcast::Receiver<Publication>) -> Changed {
    let mut changed = Changed::default();
    changed.add(news.recv().await);
    let more = async {
        loop {
            changed.add(news.recv().await);
        }
    };
    let _over = env.timeout(GATHERING, more).await;
    changed
}

/// The program's own source has its own facts, and fixed addresses are in the configuration;
/// all others have their kind in their names.
fn is_remembered(source: &SourceId) -> bool {
    source.as_str().contains(':')
}

/// What sources said of instances since that revision, the last word of each, and whether
/// that is all that they said: what the journal has forgotten has to be read off the catalogue.
fn said_since(catalog: &Catalog, revision: Revision) -> (Words, bool) {
    let mut said = Words::new();
    let mut hear = |source: &SourceId, instance: &Arc<Instance>| {
        let words = said.entry(instance.key.clone()).or_default();
        words.insert((instance.id.clone(), source.clone()), bare(instance));
    };
    let events = catalog.journal().since(revision);
    let is_complete = events.is_ok();
    for Event { origin, change, .. } in events.unwrap_or_default() {
        if !is_remembered(&origin.source) {
            continue;
        }
        match &change {
            Change::Put { instance } => hear(&origin.source, instance),
            Change::Reset { instances, .. } => {
                for instance in instances {
                    hear(&origin.source, instance);
                }
            }
            Change::Remove { .. } | Change::Stale { .. } => {}
        }
    }
    (said, is_complete)
}

/// The instance without what others than its source say of it.
fn bare(instance: &Arc<Instance>) -> Arc<Instance> {
    let state = &instance.state;
    let is_bare = !state.stale && state.guard == Guard::None && state.ruling.is_none();
    if is_bare {
        return Arc::clone(instance);
    }
    let mut bare = Instance::clone(instance);
    bare.state.stale = false;
    bare.state.guard = Guard::None;
    if bare.state.ruling.take().is_some() {
        bare.state.overridden = Override::None;
    }
    bare.into()
}

/// What was said, of an instance that is there since when the catalogue says so.
fn seen_when(word: &Arc<Instance>, there: &Instance) -> Arc<Instance> {
    let mut word = Arc::clone(word);
    if word.state.first_seen != there.state.first_seen {
        Arc::make_mut(&mut word).state.first_seen = there.state.first_seen;
    }
    word
}

fn key_of(key: &ServiceKey, (id, source): &Place) -> Option<FactKey> {
    Some(FactKey {
        kind: Name::parse(&format!("{KIND}{source}")).ok()?,
        service: key.clone(),
        id: Some(id.clone()),
    })
}

/// What a store holds of this. A record that can't be read is told; its source says it again.
fn read(loaded: &Loaded) -> Words {
    let facts = loaded.facts.iter();
    let said = facts.filter(|(key, _)| key.kind.as_str().starts_with(KIND));
    let mut kept = Words::new();
    for (key, value) in said {
        match serde_json::from_slice::<Instance>(value) {
            Ok(instance) => {
                let place = (instance.id.clone(), instance.source.clone());
                let words = kept.entry(instance.key.clone()).or_default();
                words.insert(place, Arc::new(instance));
            }
            Err(error) => {
                let service = &key.service;
                tracing::warn!(%service, %error, "what a source said before can't be read");
            }
        }
    }
    kept
}
