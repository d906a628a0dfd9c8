//! Looks after services that registered through Consul: their leases, the checks that are
//! not told in time, and those that were critical for too long.

use std::{sync::Arc, time::Duration};

use portolan_model::{Health, Timestamp};
use portolan_runtime::Env;

use super::{
    clerk::{Clerk, Writing},
    nodes,
    terms::Key,
    warden::Warden,
};
use portolan_registry::core::Subject;

/// How often leases are renewed and the book is held against the catalogue.
const ROUND: Duration = Duration::from_secs(20);
/// Leases that are renewed by one call.
const RENEWED_MAX: usize = 1000;

/// The task behind a front.
pub struct Keeper {
    pub(super) clerk: Arc<Clerk>,
    pub(super) env: Env,
    pub(super) warden: Warden,
}

impl Keeper {
    /// Runs until the registry or the ledger has stopped.
    pub async fn run(self) {
        let (clerk, env) = (Arc::clone(&self.clerk), self.env.clone());
        tokio::select! {
            () = self.warden.run() => {}
            () = nodes::follow(&clerk, &env) => {}
            () = self.look_after() => {}
        }
    }

    async fn look_after(&self) {
        let mut next_round = self.env.instant();
        loop {
            let now = self.env.instant();
            if now >= next_round {
                next_round = now + ROUND;
                if !self.round().await {
                    return;
                }
            }
            settle(self.ring()).await;
            let alarm = self.clerk.book().next();
            let alarm = alarm.map(|uptime| self.clerk.at(uptime));
            let until = alarm.map_or(next_round, |alarm| alarm.min(next_round));
            tokio::select! {
                () = self.env.sleep_until(until) => {}
                () = self.clerk.hurry.notified() => {}
            }
        }
    }

    /// What is due by now.
    fn ring(&self) -> Vec<Writing> {
        let mut writings = Vec::new();
        let hopeless = {
            let mut book = self.clerk.book();
            let (touched, hopeless) = book.ring(self.clerk.now());
            for touched in touched {
                // A record that was written before can be written again.
                writings.extend(self.clerk.tell(&mut book, touched).ok().flatten());
            }
            hopeless
        };
        for key in hopeless {
            writings.extend(self.give_up(&key));
        }
        writings
    }

    fn give_up(&self, key: &Key) -> Vec<Writing> {
        tracing::info!(instance = %key.id, "service was critical for too long; deregistered");
        self.clerk
            .deregister(key)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Whether the registry is still there.
    async fn round(&self) -> bool {
        self.clerk.adopt_missing();
        let subjects = {
            let mut book = self.clerk.book();
            book.forget(self.clerk.now());
            book.subjects()
        };
        for some in subjects.chunks(RENEWED_MAX) {
            match self.clerk.registry().renew_all(some.to_vec()).await {
                Ok(missing) => self.drop_missing(&missing),
                Err(portolan_registry::RegistryError::Stopped) => return false,
                // A successor has them; if it fails, the next round finds them here.
                Err(_) => {}
            }
        }
        let hopeless = self.hopeless();
        let writings = hopeless.iter().flat_map(|key| self.give_up(key));
        settle(writings.collect()).await;
        true
    }

    /// Somebody else deregistered them.
    fn drop_missing(&self, missing: &[Subject]) {
        let mut book = self.clerk.book();
        for subject in missing {
            if let Some(key) = book.key(subject).cloned() {
                book.remove(&key);
            }
        }
    }

    /// Services whose probed check was critical for as long as it allows.
    fn hopeless(&self) -> Vec<Key> {
        let (catalog, now) = (self.clerk.catalog(), self.env.now());
        let book = self.clerk.book();
        let probed = book.records().filter_map(|record| {
            let after = record.probed()?.0.definition.deregister_after?;
            Some((record, after))
        });
        let is_hopeless = |subject: &Subject, after: Duration| {
            let service = catalog.service(&subject.key);
            let mut instances = service.into_iter().flat_map(|service| &service.instances);
            instances.any(|instance| {
                let state = &instance.state;
                instance.id == subject.id
                    && state.health == Health::Critical
                    && state.since != Timestamp::default()
                    && now.since(state.since) >= after
            })
        };
        let hopeless = probed.filter(|(record, after)| {
            super::clerk::subject(record).is_ok_and(|subject| is_hopeless(&subject, *after))
        });
        hopeless.map(|(record, _)| Key::of(record)).collect()
    }
}

/// Waits until all of them are visible. Whoever is not is told of by the registry's end.
pub(super) async fn settle(writings: Vec<Writing>) {
    for writing in writings {
        if let Err(error) = writing.await {
            tracing::warn!(%error, "registry did not take what a check became");
        }
    }
}
