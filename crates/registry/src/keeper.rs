//! What outlives the process: leases and rulings in a store.
//!
//! The desk publishes at once and hands the facts of a step here; callers are answered when
//! they are synced. If a commit fails, the registry goes on with what it has in memory; as
//! soon as the store is healthy again, it is made to hold the same.
//!
//! A lease that ended by inference stays in the store while the guard holds its instance: a
//! restart in that time must not be what takes it away.
//!
//! Revisions must not go back over a restart, even if the clock was set back meanwhile, and
//! most of them are not the registry's. What the store remembers therefore runs ahead: with
//! each batch, and by itself when the catalogue has come closer than half of the way.
//!
//! Invariant: facts reach the store in the order of the steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use portolan_model::{Departure, InstanceId, Name, Revision, RevisionClock, Timestamp};
use portolan_store::{
    BATCH_BYTES_MAX, Batch, Condition, FactKey, Facts, Later, Loaded, StoreError,
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::core::{Fact, Handed, Subject};

/// The kind of facts that are leases.
const LEASE: &str = "lease";
/// The kind of facts that are operators' rulings.
const RULING: &str = "ruling";
/// How far what the store remembers is ahead of the revisions that are handed out: a crash
/// costs as much of their range.
const AHEAD: Duration = Duration::from_mins(1);
/// Most bytes of one batch when everything is written again.
const REWRITE_BYTES: usize = BATCH_BYTES_MAX / 16;

/// A store, and what was in it.
#[derive(Debug)]
pub struct Stored {
    /// The store.
    pub facts: Arc<dyn Facts>,
    /// What was in it.
    pub loaded: Loaded,
}

/// The desk's end of a store.
pub(crate) struct Keeper {
    facts: Arc<dyn Facts>,
    condition: watch::Receiver<Condition>,
    kinds: Kinds,
    /// Instances whose lease has ended by inference, and that the store still holds.
    ghosts: BTreeSet<Subject>,
    /// The revision that the store has been told to remember.
    reached: Revision,
    /// The store lacks something that it will not show to have failed.
    is_behind: bool,
    /// How it went when the store was made to hold the same as memory, each time.
    rewritten: watch::Sender<Result<(), StoreError>>,
}

/// How far revisions have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// The catalogue's.
    pub(crate) revision: Revision,
    /// What the next one will be made of.
    pub(crate) now: Timestamp,
}

struct Kinds {
    lease: Name,
    ruling: Name,
}

impl Keeper {
    /// A keeper over a store.
    pub(crate) fn new(facts: Arc<dyn Facts>) -> Option<Self> {
        let kinds = Kinds {
            lease: Name::parse(LEASE).ok()?,
            ruling: Name::parse(RULING).ok()?,
        };
        Some(Self {
            condition: facts.condition(),
            facts,
            kinds,
            ghosts: BTreeSet::new(),
            reached: Revision::FIRST,
            is_behind: false,
            rewritten: watch::Sender::new(Ok(())),
        })
    }

    /// Writes the facts of a step; nothing if there are none that have to be written now.
    pub(crate) fn keep(&mut self, facts: &[Fact], reached: Reached) -> Option<Later<()>> {
        let mut batch = Batch::new();
        for fact in facts {
            match fact {
                Fact::NoLease(subject, Departure::Inferred) => {
                    self.ghosts.insert(subject.clone());
                    continue;
                }
                Fact::NoLease(subject, Departure::Explicit) => {
                    self.ghosts.remove(subject);
                }
                Fact::Lease(record) => {
                    self.ghosts.remove(&record.subject());
                }
                Fact::Ruling(_) | Fact::NoRuling(_) => {}
            }
            let (key, value) = self.kinds.write(fact);
            match value {
                Some(value) => batch.put(key, value),
                None => batch.remove(key),
            };
        }
        if batch.is_empty() {
            return None;
        }
        self.reach(&mut batch, reached);
        Some(self.commit(batch))
    }

    /// Resolves when all that was to be kept by now would survive a crash: what is committed
    /// later is stored later. What failed before, and nobody heard of, is waited for until it
    /// was written again.
    pub(crate) fn mark(&mut self, reached: Reached) -> Later<()> {
        let (condition, was_behind) = (self.condition.clone(), self.is_behind);
        let facts = Arc::clone(&self.facts);
        let mut rewritten = self.rewritten.subscribe();
        let mut batch = Batch::new();
        self.reach(&mut batch, reached);
        let stored = self.commit(batch);
        Box::pin(async move {
            stored.await?;
            // The store shows a failure before it answers those whose commit failed, and them
            // before this one. A store that is gone was closed after it had answered.
            if was_behind || condition.has_changed().unwrap_or(false) {
                // If the disk is ill again, nobody waits until it is well.
                facts.commit(Batch::new()).await?;
                rewritten.changed().await.map_err(|_| StoreError::Closed)?;
                rewritten.borrow().clone()?;
            }
            Ok(())
        })
    }

    fn commit(&mut self, batch: Batch) -> Later<()> {
        let mut later = self.facts.commit(batch);
        match later.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => later,
            Poll::Ready(done) => {
                // It has too much to do and is healthy all the same.
                self.is_behind |= matches!(done, Err(StoreError::Busy { .. }));
                Box::pin(ready(done))
            }
        }
    }

    /// Whether the store has to be written anew although it was healthy all along.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind && *self.condition.borrow() == Condition::Healthy
    }

    /// Makes the store remember more revisions if the catalogue has come close to those that
    /// it does.
    pub(crate) fn run_ahead(&mut self, reached: Reached) {
        if reached.revision.ahead(AHEAD / 2) > self.reached {
            let mut batch = Batch::new();
            self.reach(&mut batch, reached);
            // It is put right with everything else if it fails.
            drop(self.commit(batch));
        }
    }

    fn reach(&mut self, batch: &mut Batch, reached: Reached) {
        let next = RevisionClock::new(reached.revision).next(reached.now);
        self.reached = self.reached.max(next.ahead(AHEAD));
        batch.reach(self.reached);
    }

    /// Leaves in the store what it holds of these, whose lease has ended.
    pub(crate) fn spare(&mut self, held: impl Iterator<Item = Subject>) {
        self.ghosts.extend(held);
    }

    /// Whether somebody has to look after ghosts.
    pub(crate) fn has_ghosts(&self) -> bool {
        !self.ghosts.is_empty()
    }

    /// Forgets the ghosts that nobody holds any more.
    pub(crate) fn lay(&mut self, reached: Reached, is_held: impl Fn(&Subject) -> bool) {
        let mut batch = Batch::new();
        self.ghosts.retain(|ghost| {
            let is_held = is_held(ghost);
            if !is_held {
                batch.remove(key_of(&self.kinds.lease, ghost));
            }
            is_held
        });
        if !batch.is_empty() {
            self.reach(&mut batch, reached);
            // It is put right with everything else if it fails.
            drop(self.commit(batch));
        }
    }

    /// Resolves when the store has become healthy after it was not, so that what it missed
    /// has to be written. Cancel-safe.
    pub(crate) async fn recovered(&mut self) {
        loop {
            if self.condition.changed().await.is_err() {
                return std::future::pending().await;
            }
            // Any change that ends here was preceded by another condition, seen or not.
            if *self.condition.borrow_and_update() == Condition::Healthy {
                return;
            }
        }
    }

    /// Makes the store hold these facts, and no others.
    pub(crate) async fn rewrite(&mut self, facts: Vec<Fact>, reached: Reached) {
        let done = self.write_all(facts, reached).await;
        self.is_behind = done.is_err();
        self.rewritten.send_modify(|before| *before = done);
    }

    async fn write_all(&mut self, facts: Vec<Fact>, reached: Reached) -> Result<(), StoreError> {
        // What was taken before is not there before it is committed.
        self.facts.commit(Batch::new()).await?;
        let loaded = self.facts.load().await.inspect_err(|error| {
            tracing::error!(%error, "the store can't be read; it may miss registrations");
        })?;
        let there = loaded.facts;
        let mut surplus: BTreeMap<FactKey, Bytes> = there.into_iter().collect();
        surplus.retain(|key, _| self.kinds.owns(key) && !self.is_ghost(key));
        let mut changes = Vec::new();
        for fact in facts {
            let (key, value) = self.kinds.write(&fact);
            if surplus.remove(&key) != value {
                changes.push((key, value));
            }
        }
        changes.extend(surplus.into_keys().map(|key| (key, None)));
        let written = changes.len();
        let mut batch = Batch::new();
        let mut bytes = 0;
        for (key, value) in changes {
            bytes += value.as_ref().map_or(0, Bytes::len);
            match value {
                Some(value) => batch.put(key, value),
                None => batch.remove(key),
            };
            if bytes >= REWRITE_BYTES {
                // If it fails, all of this begins anew.
                self.facts.commit(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        self.reach(&mut batch, reached);
        self.facts.commit(batch).await?;
        tracing::info!(written, "the store holds what is in memory again");
        Ok(())
    }

    fn is_ghost(&self, key: &FactKey) -> bool {
        let subject = key.id.as_ref().map(|id| Subject {
            key: key.service.clone(),
            id: InstanceId::clone(id),
        });
        key.kind == self.kinds.lease
            && subject.is_some_and(|subject| self.ghosts.contains(&subject))
    }
}

fn key_of(kind: &Name, subject: &Subject) -> FactKey {
    FactKey {
        kind: kind.clone(),
        service: subject.key.clone(),
        id: Some(subject.id.clone()),
    }
}

impl Kinds {
    fn owns(&self, key: &FactKey) -> bool {
        key.kind == self.lease || key.kind == self.ruling
    }

    fn write(&self, fact: &Fact) -> (FactKey, Option<Bytes>) {
        // The shapes are ours and have JSON.
        match fact {
            Fact::Lease(record) => {
                let value = serde_json::to_vec(record).unwrap_or_default();
                (key_of(&self.lease, &record.subject()), Some(value.into()))
            }
            Fact::Ruling(record) => {
                let value = serde_json::to_vec(record).unwrap_or_default();
                (key_of(&self.ruling, &record.subject), Some(value.into()))
            }
            Fact::NoLease(subject, _) => (key_of(&self.lease, subject), None),
            Fact::NoRuling(subject) => (key_of(&self.ruling, subject), None),
        }
    }
}

/// What a store held, to be adopted. A record that can't be read is left where it is and
/// told: the others must not wait for it.
pub(crate) fn read(loaded: &Loaded) -> Handed {
    let mut handed = Handed::default();
    for (key, value) in &loaded.facts {
        match key.kind.as_str() {
            LEASE => handed.take(parse(key, value).map(|record| Fact::Lease(Box::new(record)))),
            RULING => handed.take(parse(key, value).map(Fact::Ruling)),
            _ => {}
        }
    }
    handed
}

fn parse<T: DeserializeOwned>(key: &FactKey, value: &[u8]) -> Option<T> {
    let parsed = serde_json::from_slice(value);
    if let Err(error) = &parsed {
        let instance = key.id.as_ref().map_or("", |id| id.as_str());
        tracing::error!(service = %key.service, instance, %error, "a stored record can't be read; it is left out");
    }
    parsed.ok()
}
