//! Says what changed, and remembers what was said.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use portolan_catalog::{Inbox, InboxClosed};
use portolan_model::{
    Change, Departure, Instance, InstanceId, NodeId, ServiceKey, SourceId, State, Timestamp,
};
use portolan_runtime::Env;

use super::{Unfits, View};

/// A source's voice. Says only what is not known yet, so that repeating oneself is free.
#[derive(Debug)]
pub struct Teller {
    inbox: Arc<Inbox>,
    env: Env,
    told: View,
    mood: Arc<Mood>,
    /// The last doubt, while nothing else was said.
    doubted: Option<String>,
}

/// What a source and whoever keeps it alive know of each other.
#[derive(Debug, Default)]
pub(super) struct Mood {
    /// The source said something that it knows, or that it knows it still, since it was asked.
    pub(super) spoke: AtomicBool,
    /// The last word of the source was that it does not know.
    pub(super) stale: AtomicBool,
    /// Everything was said once.
    whole: AtomicBool,
}

impl Teller {
    pub(super) fn new(inbox: Arc<Inbox>, env: Env, mood: Arc<Mood>) -> Self {
        Self {
            inbox,
            env,
            told: View::default(),
            mood,
            doubted: None,
        }
    }

    /// Whose voice it is.
    #[must_use]
    pub fn source(&self) -> &SourceId {
        self.inbox.source()
    }

    /// Who this Portolan is, if somebody said so.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        self.inbox.node()
    }

    /// What was said so far.
    #[must_use]
    pub const fn told(&self) -> &View {
        &self.told
    }

    /// Here is everything. What was said before and is not in it is gone by inference. A
    /// view that says nothing new is not said, unless somebody was told that it is not known.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn all(&mut self, mut view: View) -> Result<(), InboxClosed> {
        self.pass_over(&view.unfits);
        self.keep_since(&mut view);
        let same = view.services == self.told.services && view.instances == self.told.instances;
        self.told = view;
        if same && self.mood.whole.load(Relaxed) && !self.mood.stale.load(Relaxed) {
            self.confirm();
            return Ok(());
        }
        self.reset().await
    }

    /// Here is everything about one service. What was said of it before and is not in
    /// `instances` is gone, and how that is known is `departure`.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn service(
        &mut self,
        key: &ServiceKey,
        instances: impl IntoIterator<Item = Instance>,
        departure: Departure,
    ) -> Result<(), InboxClosed> {
        let mut gone: BTreeSet<_> = self.told.of_service(key).into_iter().collect();
        for instance in instances {
            gone.remove(&(instance.key.clone(), instance.id.clone()));
            // New ones first, so that the guard can tell a move from an outage.
            self.put(instance).await?;
        }
        for (key, id) in gone {
            self.remove(&key, &id, departure).await?;
        }
        if self.told.services.insert(key.clone()) {
            return self.reset().await;
        }
        self.confirm();
        Ok(())
    }

    /// This instance is so. Says nothing if it was so already.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn put(&mut self, mut instance: Instance) -> Result<(), InboxClosed> {
        let place = (instance.key.clone(), instance.id.clone());
        let told = self.told.instances.get(&place);
        let ages = ages(
            told.map(|told| &told.state),
            &instance.state,
            self.env.now(),
        );
        (instance.state.since, instance.state.first_seen) = ages;
        if told.is_some_and(|told| **told == instance) {
            self.confirm();
            return Ok(());
        }
        let instance = Arc::new(instance);
        self.told.services.insert(instance.key.clone());
        self.told.instances.insert(place, Arc::clone(&instance));
        self.say(Change::Put { instance }).await
    }

    /// This instance is gone. Says nothing if it was never named.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn remove(
        &mut self,
        key: &ServiceKey,
        id: &InstanceId,
        departure: Departure,
    ) -> Result<(), InboxClosed> {
        let (key, id) = (key.clone(), id.clone());
        let place = (key.clone(), id.clone());
        if self.told.instances.remove(&place).is_none() {
            return Ok(());
        }
        self.say(Change::Remove { key, id, departure }).await
    }

    /// This service is gone altogether, with all that it had.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn remove_service(
        &mut self,
        key: &ServiceKey,
        departure: Departure,
    ) -> Result<(), InboxClosed> {
        for (key, id) in self.told.of_service(key) {
            self.remove(&key, &id, departure).await?;
        }
        if self.told.services.remove(key) {
            return self.reset().await;
        }
        Ok(())
    }

    /// These services are there, with or without instances, and those are not any more, of
    /// which no instance is left. Everything is said once, however many they are.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn services(
        &mut self,
        there: impl IntoIterator<Item = ServiceKey>,
        gone: impl IntoIterator<Item = ServiceKey>,
    ) -> Result<(), InboxClosed> {
        let mut changed = false;
        for key in gone {
            changed |= self.told.services.remove(&key);
        }
        for key in there {
            changed |= self.told.services.insert(key);
        }
        if changed {
            return self.reset().await;
        }
        Ok(())
    }

    /// So much of what is read can't be used at this time, for instance this. For sources
    /// that follow single changes; [`Self::all`] tells it of its view.
    pub fn passed_over(&self, count: u64, example: Option<&str>) {
        self.inbox.pulse().pass_over(count, example);
    }

    /// All that was said is so still: what is read is there again, or gave a sign of life.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn still(&mut self) -> Result<(), InboxClosed> {
        if self.mood.stale.load(Relaxed) || !self.mood.whole.load(Relaxed) {
            return self.reset().await;
        }
        self.confirm();
        Ok(())
    }

    /// Part of what is read is not known any more, though the rest is: what was said stays,
    /// marked, until something is said again.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    pub async fn doubt(&mut self, reason: &str) -> Result<(), InboxClosed> {
        self.mood.spoke.store(true, Relaxed);
        if self.doubted.as_deref() == Some(reason) {
            return Ok(());
        }
        self.doubted = Some(reason.to_owned());
        self.inbox.pulse().fail(self.env.now(), reason);
        if !self.mood.stale.swap(true, Relaxed) {
            tracing::warn!(source = %self.source(), reason, "source fails in part; keeping what it said");
        }
        let reason = reason.into();
        self.inbox.send(Change::Stale { reason }).await
    }

    /// So much of what is read can't be used.
    pub fn pass_over(&self, unfits: &Unfits) {
        self.passed_over(unfits.count(), unfits.example());
    }

    /// What is read gave a sign of life, though not all of it: says nothing, and what is in
    /// doubt stays so.
    pub fn still_in_part(&self) {
        self.confirm();
    }

    /// Says everything again.
    async fn reset(&mut self) -> Result<(), InboxClosed> {
        let services = self.told.services.iter().cloned().collect();
        let instances = self.told.instances.values().cloned().collect();
        self.mood.whole.store(true, Relaxed);
        self.say(Change::Reset {
            services,
            instances,
        })
        .await
    }

    async fn say(&mut self, change: Change) -> Result<(), InboxClosed> {
        self.inbox.send(change).await?;
        self.doubted = None;
        self.mood.stale.store(false, Relaxed);
        self.confirm();
        Ok(())
    }

    fn confirm(&self) {
        self.inbox.pulse().confirm(self.env.now());
        self.mood.spoke.store(true, Relaxed);
    }

    /// Instances, and health that did not change, are as old as they were.
    fn keep_since(&self, view: &mut View) {
        let now = self.env.now();
        for (place, instance) in &mut view.instances {
            let told = self.told.instances.get(place).map(|told| &told.state);
            let ages = ages(told, &instance.state, now);
            if (instance.state.since, instance.state.first_seen) != ages {
                let state = &mut Arc::make_mut(instance).state;
                (state.since, state.first_seen) = ages;
            }
        }
    }
}

/// Since when the health of an instance is what it is, and since when it is there.
fn ages(told: Option<&State>, state: &State, now: Timestamp) -> (Timestamp, Timestamp) {
    let since = match told {
        Some(told) if told.health == state.health => told.since,
        Some(_) => now,
        None => state.since,
    };
    (since, told.map_or(now, |told| told.first_seen))
}
