//! Checks by somebody else's health.
//!
//! Two that look at each other would keep each other critical for ever, so whoever looks
//! at itself in the end is told so.

use std::collections::HashSet;

use portolan_catalog::Catalog;
use portolan_model::{Health, Instance, InstanceId, ServiceKey, Traffic, route::Means};

use super::{Judgement, Roster, Target, millis};
use crate::{check::Outcome, core::Subject};

/// Longest chain of aliases.
const STEPS_MAX: usize = 64;

impl Roster {
    /// Everybody who looks at that service.
    pub(in crate::check) fn watchers(&self, key: &ServiceKey) -> Vec<u64> {
        let watchers = self.aliases.get(key).into_iter().flatten();
        watchers.copied().collect()
    }

    /// The services that somebody looks at.
    pub(in crate::check) fn watched(&self) -> Vec<ServiceKey> {
        self.aliases.keys().cloned().collect()
    }

    /// Looks up the health of whom an alias is for.
    pub(in crate::check) fn look(
        &mut self,
        now: u64,
        serial: u64,
        catalog: &Catalog,
    ) -> Option<Judgement> {
        let subject = self.serials.get(&serial)?;
        let target = self.targets(subject).iter().find(|t| t.serial == serial)?;
        let (key, id) = looks_at(target)?;
        let outcome = if self.is_circle(subject, key, id) {
            Outcome::bad("the aliases go in a circle")
        } else {
            health(catalog, subject, key, id)
        };
        let target = self.find(serial)?;
        let before = (target.at, serial);
        target.at = now.saturating_add(millis(target.probe.interval));
        let due = (target.at, serial);
        self.due.remove(&before);
        self.due.insert(due);
        self.take(now, serial, &outcome)
    }

    fn is_circle(&self, start: &Subject, key: &ServiceKey, id: Option<&InstanceId>) -> bool {
        let mut ahead = self.aliased(key, id);
        if id.is_none() {
            // Whoever looks at all of its own service looks at the others.
            ahead.retain(|subject| *subject != start);
        }
        let mut seen = HashSet::new();
        while let Some(subject) = ahead.pop() {
            if subject == start {
                return true;
            }
            if seen.len() >= STEPS_MAX || !seen.insert(subject) {
                continue;
            }
            for (key, id) in self.targets(subject).iter().filter_map(looks_at) {
                ahead.extend(self.aliased(key, id));
            }
        }
        false
    }

    /// Those of the instances that have aliases themselves.
    fn aliased(&self, key: &ServiceKey, id: Option<&InstanceId>) -> Vec<&Subject> {
        let everybody = self.aliases.values().flatten();
        everybody
            .filter_map(|serial| self.serials.get(serial))
            .filter(|subject| subject.key == *key && id.is_none_or(|id| subject.id == *id))
            .collect()
    }
}

fn looks_at(target: &Target) -> Option<(&ServiceKey, Option<&InstanceId>)> {
    match &target.probe.means {
        Means::Alias { service, instance } => Some((service, instance.as_ref())),
        Means::Http(_)
        | Means::Tcp { .. }
        | Means::Udp { .. }
        | Means::Grpc { .. }
        | Means::H2Ping { .. }
        | Means::Ttl(_)
        | Means::Script { .. }
        | Means::Docker { .. } => None,
    }
}

/// The worst of the instances that are looked at; whoever looks does not count.
fn health(
    catalog: &Catalog,
    subject: &Subject,
    key: &ServiceKey,
    id: Option<&InstanceId>,
) -> Outcome {
    let service = catalog.service(key);
    let instances = service.into_iter().flat_map(|service| &service.instances);
    let mut worst: Option<(Health, &Instance)> = None;
    for instance in instances {
        let is_it = id.is_none_or(|id| instance.id == *id);
        let is_self = subject.id == instance.id && subject.key == *key;
        let health = health_of(instance);
        let is_worse = worst.is_none_or(|(known, _)| health.severity() > known.severity());
        if is_it && !is_self && is_worse {
            worst = Some((health, instance));
        }
    }
    let Some((health, instance)) = worst else {
        let who = id.map_or_else(|| key.to_string(), |id| format!("{key}/{id}"));
        return Outcome::bad(format!("{who} is not there"));
    };
    let who = format!("{key}/{}", instance.id);
    match health {
        Health::Passing => Outcome::good(format!("{who} is passing")),
        Health::Warning => Outcome::warning(format!("{who} has a complaint")),
        Health::Starting | Health::Critical => Outcome::bad(format!("{who} gets no traffic")),
    }
}

fn health_of(instance: &Instance) -> Health {
    match instance.state.traffic() {
        Traffic::Full => Health::Passing,
        Traffic::Reduced => Health::Warning,
        Traffic::Starting | Traffic::Critical | Traffic::Overridden | Traffic::Leaving => {
            Health::Critical
        }
    }
}
