//! Wakes the watchers of those services that changed, and nobody else.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use portolan_model::{Revision, ServiceKey};
use portolan_runtime::Running;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{Follow, PerInstance, PerService, Published, Reader, per_instance::PerArc};

/// Subscriptions that may be lined up.
const REQUESTS_MAX: usize = 256;
/// Publications that a watcher of everything may be behind before it compares everything.
const PUBLICATIONS_MAX: usize = 256;
/// Services without watchers that may be kept before they are swept out.
const UNWATCHED_MAX: usize = 1024;

/// Pieces are for the changes of just now.
const PIECES_BYTES_MAX: usize = 1 << 20;
/// Lists keep the instances of services that may have changed since.
const LISTS_BYTES_MAX: usize = 8 << 20;

/// The services that differ from the publication before, as of a revision.
pub(super) type Changes = (Revision, Arc<[ServiceKey]>);

/// Where watchers subscribe; cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    requests: mpsc::Sender<Request>,
    everything: broadcast::Sender<Changes>,
    shared: Arc<Shared>,
}

/// Texts that are made once for everybody who is told them.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Events about instances.
    pub(crate) events: PerInstance<Bytes>,
    /// The same with the word that nothing else has changed, as of a revision.
    pub(crate) pieces: PerInstance<(Revision, Bytes)>,
    /// The instances of services, as lists have them.
    pub(crate) lists: PerService<Bytes>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            events: PerInstance::default(),
            pieces: PerArc::of_size(PIECES_BYTES_MAX),
            lists: PerArc::of_size(LISTS_BYTES_MAX),
        }
    }
}

/// The task behind a hub.
pub struct HubTask {
    follow: Box<dyn Follow>,
    requests: mpsc::Receiver<Request>,
    services: HashMap<ServiceKey, watch::Sender<()>>,
    everything: broadcast::Sender<Changes>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Request {
    key: ServiceKey,
    reply: oneshot::Sender<watch::Receiver<()>>,
}

impl Hub {
    /// A hub over what is published, and the task that runs it.
    #[must_use]
    pub fn new(reader: &dyn Reader) -> (Self, HubTask) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let everything = broadcast::Sender::new(PUBLICATIONS_MAX);
        let hub = Self {
            requests: sender,
            everything: everything.clone(),
            shared: Arc::default(),
        };
        let task = HubTask {
            follow: reader.follow(),
            requests,
            services: HashMap::new(),
            everything,
            sweep_at: UNWATCHED_MAX,
        };
        (hub, task)
    }

    /// What its watchers, and those who ask, are told.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Wakes when the service changes. `None` if the hub has ended.
    pub(super) async fn service(&self, key: &ServiceKey) -> Option<watch::Receiver<()>> {
        let (reply, receiver) = oneshot::channel();
        let key = key.clone();
        self.requests.send(Request { key, reply }).await.ok()?;
        receiver.await.ok()
    }

    /// Wakes when anything changes and says what.
    pub(super) fn everything(&self) -> broadcast::Receiver<Changes> {
        self.everything.subscribe()
    }
}

impl HubTask {
    /// Runs until nothing is published any more or all handles are gone.
    #[must_use]
    pub fn run(self) -> Running {
        Box::pin(self.work())
    }

    async fn work(mut self) {
        loop {
            tokio::select! {
                published = self.follow.next() => match published {
                    Some(Published::Changed(revision, keys)) => self.wake(revision, &keys),
                    Some(Published::Missed) => self.wake_all(),
                    None => return,
                },
                request = self.requests.recv() => match request {
                    Some(request) => self.subscribe(request),
                    None => return,
                },
            }
        }
    }

    fn wake(&mut self, revision: Revision, keys: &Arc<[ServiceKey]>) {
        for key in keys.iter() {
            if let Some(sender) = self.services.get(key) {
                sender.send_replace(());
            }
        }
        // Nobody may watch everything.
        let _watchers = self.everything.send((revision, Arc::clone(keys)));
    }

    fn wake_all(&mut self) {
        for sender in self.services.values() {
            sender.send_replace(());
        }
        let keys: Arc<[ServiceKey]> = Arc::from([]);
        // One more than fit: whoever watches everything learns that it missed some.
        for _ in 0..=PUBLICATIONS_MAX {
            let _watchers = self.everything.send((Revision::FIRST, Arc::clone(&keys)));
        }
    }

    fn subscribe(&mut self, request: Request) {
        if self.services.len() >= self.sweep_at {
            self.services
                .retain(|_, sender| sender.receiver_count() > 0);
            self.sweep_at = self.services.len().saturating_mul(2).max(UNWATCHED_MAX);
        }
        let sender = self.services.entry(request.key).or_default();
        // Who asked may have gone away.
        let _asked = request.reply.send(sender.subscribe());
    }
}
