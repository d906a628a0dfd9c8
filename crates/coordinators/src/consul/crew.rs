//! A few who fetch services, whatever their number: nobody asks for thousands at once.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use portolan_runtime::Task;
use tokio::sync::{Mutex, mpsc};

use super::{
    api::{Api, Asked, Cursor},
    follow::Datacenter,
    map::Entries,
};
use portolan_sources::frame::{Backoff, Ended, View};

/// Services that are asked for at a time.
const FETCHES_MAX: usize = 8;

/// A service as it was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) view: View,
    /// Where following it goes on.
    pub(super) cursor: Cursor,
    /// The nodes that it is on.
    pub(super) nodes: BTreeSet<String>,
    /// No check tells when it changes.
    pub(super) is_unchecked: bool,
    /// A fingerprint of the answer.
    pub(super) print: u64,
}

impl Fetched {
    pub(super) fn new(datacenter: &Datacenter, asked: &Asked, entries: &Entries) -> Self {
        Self {
            view: datacenter.view(entries),
            cursor: asked.cursor,
            nodes: entries.nodes(),
            is_unchecked: entries.is_unchecked(),
            print: print(asked),
        }
    }
}

/// A service that can't be fetched is tried again for this long, so that one answer does not
/// throw the others away.
const TRYING: Duration = Duration::from_secs(5);
/// How a Consul without a leader says so.
const NO_LEADER: &str = "No cluster leader";

/// What one of them came back with.
type Back = (String, Result<Fetched, Ended>);

/// Those who fetch; they end when this is dropped.
pub(super) struct Crew {
    jobs: mpsc::Sender<String>,
    done: mpsc::Receiver<Back>,
    /// Those that are being fetched.
    out: BTreeSet<String>,
    _tasks: Vec<Task>,
}

impl Crew {
    pub(super) fn new(datacenter: &Datacenter) -> Self {
        let (jobs, waiting) = mpsc::channel(FETCHES_MAX);
        let (sender, done) = mpsc::channel(FETCHES_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |_| {
            let work = work(datacenter.clone(), Arc::clone(&waiting), sender.clone());
            datacenter.env.spawn("consul fetch", work)
        };
        Self {
            jobs,
            done,
            out: BTreeSet::new(),
            _tasks: (0..FETCHES_MAX).map(start).collect(),
        }
    }

    /// Fetches all of these.
    ///
    /// # Cancellation
    /// The crew is of no more use.
    pub(super) async fn fetch(
        &mut self,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Fetched>, Ended> {
        let mut fetched = BTreeMap::new();
        let mut names = names.iter();
        loop {
            while self.has_room()
                && let Some(name) = names.next()
            {
                self.send(name.clone()).await?;
            }
            if self.out.is_empty() {
                return Ok(fetched);
            }
            fetched.extend([self.next().await?]);
        }
    }

    /// Whether somebody has nothing to do.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < FETCHES_MAX
    }

    /// Whether this one is being fetched.
    pub(super) fn is_out(&self, name: &str) -> bool {
        self.out.contains(name)
    }

    /// Has one fetched, by one who has nothing to do.
    pub(super) async fn send(&mut self, name: String) -> Result<(), Ended> {
        // As many as are out fit in.
        self.jobs.send(name.clone()).await.map_err(|_| no_crew())?;
        self.out.insert(name);
        Ok(())
    }

    /// The next one that was fetched. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(String, Fetched), Ended> {
        let (name, back) = self.done.recv().await.ok_or_else(no_crew)?;
        self.out.remove(&name);
        Ok((name, back?))
    }
}

async fn work(
    datacenter: Datacenter,
    waiting: Arc<Mutex<mpsc::Receiver<String>>>,
    done: mpsc::Sender<Back>,
) {
    let mut api = datacenter.api();
    loop {
        let job = waiting.lock().await.recv().await;
        let Some(name) = job else { return };
        let asked = persist(&datacenter, &mut api, &name).await;
        let back = asked.map(|(asked, entries)| {
            let entries = entries.unwrap_or_default();
            Fetched::new(&datacenter, &asked, &entries)
        });
        if done.send((name, back)).await.is_err() {
            return;
        }
    }
}

/// Asks until it is answered, or it lasts too long.
async fn persist(
    datacenter: &Datacenter,
    api: &mut Api,
    name: &str,
) -> Result<(Asked, Option<Entries>), Ended> {
    let env = &datacenter.env;
    let begun = env.instant();
    let mut backoff = Backoff::new(env.dice());
    loop {
        let asked = ask(api, name).await;
        let Err(Ended::Lost { after, .. }) = &asked else {
            return asked;
        };
        let pause = backoff.next(*after);
        let waited = env.instant().saturating_duration_since(begun);
        if waited.saturating_add(pause) > TRYING {
            return asked;
        }
        env.sleep(pause).await;
    }
}

/// Asks the leader: another server may not know yet of what there was a sign. Without a
/// leader there are no changes, and any server will do.
async fn ask(api: &mut Api, name: &str) -> Result<(Asked, Option<Entries>), Ended> {
    api.allow_stale(false);
    let asked = api.service(name, Cursor::default(), Duration::ZERO).await;
    match &asked {
        Err(Ended::Lost { reason, .. }) if reason.contains(NO_LEADER) => {
            api.allow_stale(true);
            api.service(name, Cursor::default(), Duration::ZERO).await
        }
        _ => asked,
    }
}

fn print(asked: &Asked) -> u64 {
    let mut hasher = DefaultHasher::new();
    asked.answer.body.hash(&mut hasher);
    let server = asked.provenance.server();
    server.map(portolan_model::NodeId::as_str).hash(&mut hasher);
    hasher.finish()
}

fn no_crew() -> Ended {
    Ended::lost("a defect of Portolan: nobody fetches services")
}

impl Entries {
    /// The nodes that they are on.
    fn nodes(&self) -> BTreeSet<String> {
        let nodes = self.list.iter().filter_map(|entry| {
            let node = entry.pointer("/Node/Node")?;
            node.as_str().map(str::to_owned)
        });
        nodes.collect()
    }

    /// Whether there is one that no check of its own tells about.
    fn is_unchecked(&self) -> bool {
        let has_own = |entry: &serde_json::Value| {
            let checks = entry
                .pointer("/Checks")
                .and_then(|checks| checks.as_array());
            let own = checks.into_iter().flatten().find(|check| {
                let service = check.pointer("/ServiceName");
                service
                    .and_then(|name| name.as_str())
                    .is_some_and(|name| !name.is_empty())
            });
            own.is_some()
        };
        self.list.is_empty() || !self.list.iter().all(has_own)
    }
}
