//! The journal outlives the process: what the catalogue became is stored line by line.
//!
//! A recorder follows what is published and writes the journal's new entries, a group in one
//! commit; while a commit is under way the next group gathers. Heartbeats make no entry, and so
//! no write. Whoever changed something that is stored is answered after its entry is.
//!
//! What is stored is read when somebody looks further back than memory reaches.

use std::{error::Error, sync::Arc, time::Duration};

use portolan_catalog::{Line, Past, Recollection};
use portolan_model::{Revision, SourceId};
use portolan_registry::{Archive, Reading};
use portolan_runtime::Env;
use portolan_snapshot::View;
use portolan_store::{Batch, Condition, Embedded, Facts, JournalLine, StoreError};
use tokio::sync::{
    Mutex,
    broadcast::{self, error::RecvError},
    watch,
};

use crate::load::chain;

/// Most bytes of one commit, the last line's apart.
const BATCH_BYTES: usize = 1 << 20;
/// How long it is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How long what was read of the store is kept for the next who looks back.
const KEPT: Duration = Duration::from_secs(5);
/// Nobody waits for entries to be stored.
const NOT_AWAITED: Revision = Revision::from_u64(u64::MAX);

/// The journal's way to the store.
pub(crate) struct History {
    env: Env,
    recollection: Recollection,
    /// Until it begins.
    recorder: Option<Recorder>,
    stored: watch::Receiver<Revision>,
}

/// Writes the journal.
struct Recorder {
    env: Env,
    view: View,
    /// The store, while this process has it.
    store: watch::Receiver<Option<Embedded>>,
    /// The store has everything up to this revision.
    written: Revision,
    /// What the first commit begins with.
    start: Option<Line>,
    stored: watch::Sender<Revision>,
}

impl History {
    /// A history that is not written yet.
    pub(crate) fn new(
        env: &Env,
        view: &View,
        recollection: Recollection,
        store: watch::Receiver<Option<Embedded>>,
    ) -> Self {
        let (sender, stored) = watch::channel(NOT_AWAITED);
        let recorder = Recorder {
            env: env.clone(),
            view: view.clone(),
            store,
            written: Revision::FIRST,
            start: None,
            stored: sender,
        };
        Self {
            env: env.clone(),
            recollection,
            recorder: Some(recorder),
            stored,
        }
    }

    /// Until which revision the journal is in the store. Beyond all of them while nobody should
    /// wait, because there is no store or it is ill.
    pub(crate) fn stored(&self) -> watch::Receiver<Revision> {
        self.stored.clone()
    }

    /// What was stored, for whoever looks back.
    pub(crate) fn archive(
        &self,
        view: &View,
        store: watch::Receiver<Option<Embedded>>,
    ) -> StoredLines {
        StoredLines {
            env: self.env.clone(),
            view: view.clone(),
            store,
            stored: self.stored(),
            latest: Arc::default(),
        }
    }

    /// Begins to write, once: the catalogue must have become again what it was, and the inbox
    /// of `source` be open. `journaled` is the last revision that was stored before, the first of all
    /// if there is none.
    pub(crate) async fn begin(&mut self, journaled: Revision, source: &SourceId) {
        let Some(mut recorder) = self.recorder.take() else {
            return;
        };
        // What is published from there on is stored. A fold that is gone ends with the program.
        let recalled = self.recollection.recall(source, journaled).await;
        recorder.written = recalled.unwrap_or(journaled);
        let began_at = recorder.view.snapshot().catalog.journal().began_at();
        recorder.start = Some(Line::start(recorder.written, began_at, self.env.now()));
        // Whoever looks back from now on waits for that line.
        recorder.stored.send_replace(Revision::FIRST);
        self.env.spawn("history", recorder.run()).detach();
    }

    /// Waits until what was published by now is stored, if it can be. Cancel-safe.
    pub(crate) async fn caught_up(&mut self, revision: Revision) {
        // A recorder that is gone stores nothing more.
        let _gone = self
            .stored
            .wait_for(|stored| *stored >= revision)
            .await
            .is_ok();
    }
}

/// Reads what is stored.
#[derive(Debug)]
pub(crate) struct StoredLines {
    env: Env,
    view: View,
    store: watch::Receiver<Option<Embedded>>,
    stored: watch::Receiver<Revision>,
    /// What was read last, for [`KEPT`]: who looks back looks again, and many at a time are
    /// no more work than one. Taken by the one who reads.
    latest: Arc<Mutex<Option<Arc<Past>>>>,
}

impl Archive for StoredLines {
    fn past(&self, reaching: Revision) -> Reading<'_> {
        Box::pin(async move {
            let mut latest = self.latest.lock().await;
            if let Some(past) = latest.as_ref().filter(|past| past.newest() >= reaching) {
                return Some(Arc::clone(past));
            }
            let published = self.view.snapshot().revision();
            let mut stored = self.stored.clone();
            // A recorder that is gone stores nothing more.
            let _gone = stored.wait_for(|stored| *stored >= published).await.is_ok();
            let store = self.store.borrow().clone()?;
            match read(&store).await {
                Ok(past) => {
                    let past = Arc::new(past?);
                    *latest = Some(Arc::clone(&past));
                    self.forget_later(&past);
                    Some(past)
                }
                Err(error) => {
                    tracing::error!(error = chain(&*error), "the stored journal can't be read");
                    None
                }
            }
        })
    }
}

impl StoredLines {
    /// Lets go of what was read, unless it was read again.
    fn forget_later(&self, past: &Arc<Past>) {
        let (env, latest, past) = (self.env.clone(), Arc::clone(&self.latest), Arc::clone(past));
        let forgetting = async move {
            env.sleep(KEPT).await;
            let mut latest = latest.lock().await;
            latest.take_if(|latest| Arc::ptr_eq(latest, &past));
        };
        self.env.spawn("history-reader", forgetting).detach();
    }
}

async fn read(store: &Embedded) -> Result<Option<Past>, Box<dyn Error + Send + Sync>> {
    let lines = store.journal().await?.into_iter();
    let lines: Vec<_> = lines
        .map(|line| Line {
            revision: line.revision,
            at: line.at,
            text: line.text.into(),
        })
        .collect();
    // It takes the processor for a while.
    let (past, bad) = tokio::task::spawn_blocking(move || Past::read(&lines)).await?;
    if let Some(bad) = bad {
        tracing::warn!(error = chain(&bad), "history is known only since then");
    }
    Ok(past)
}

impl Recorder {
    /// Writes what is published, for as long as the program runs.
    async fn run(mut self) {
        let mut news = self.view.changes();
        loop {
            let store = self.store.borrow_and_update().clone();
            let Some(store) = store else {
                self.stored.send_replace(NOT_AWAITED);
                if self.store.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if let Err(error) = self.write(&store).await {
                self.stored.send_replace(NOT_AWAITED);
                tracing::warn!(error = chain(&error), "what happens is not kept for later");
                self.env.sleep(PAUSE).await;
                if self.healed(&store).await.is_err() {
                    return;
                }
                continue;
            }
            tokio::select! {
                published = news.recv() => match published {
                    Ok(_) | Err(RecvError::Lagged(_)) => drain(&mut news),
                    Err(RecvError::Closed) => return,
                },
                gone = self.store.changed() => if gone.is_err() {
                    return;
                },
            }
        }
    }

    /// Writes all entries that the store does not have.
    async fn write(&mut self, store: &Embedded) -> Result<(), StoreError> {
        let snapshot = self.view.snapshot();
        let revision = snapshot.revision();
        let mut batch = Batch::new();
        let mut bytes = 0;
        let lines = snapshot.catalog.journal().lines_since(self.written);
        for line in self.start.clone().into_iter().chain(lines) {
            bytes += line.text.len();
            let written = line.revision;
            batch.write(JournalLine {
                revision: written,
                at: line.at,
                text: line.text.into(),
            });
            if bytes >= BATCH_BYTES {
                store.commit(std::mem::take(&mut batch)).await?;
                (self.start, self.written, bytes) = (None, written, 0);
            }
        }
        if !batch.is_empty() {
            store.commit(batch).await?;
            self.start = None;
        }
        self.written = revision;
        self.stored.send_replace(revision);
        Ok(())
    }

    /// Waits until the store takes writes again, or there is another.
    async fn healed(&mut self, store: &Embedded) -> Result<(), watch::error::RecvError> {
        let mut condition = store.condition();
        let healthy = async {
            let healthy = condition.wait_for(|condition| *condition == Condition::Healthy);
            if healthy.await.is_err() {
                // It is closed.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = healthy => Ok(()),
            changed = self.store.changed() => changed,
        }
    }
}

/// All that is waiting is written together.
fn drain<T: Clone>(news: &mut broadcast::Receiver<T>) {
    while !matches!(
        news.try_recv(),
        Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
    ) {}
}
