//! Signs of what changed about services that have no blocking query of their own.
//!
//! All checks tell it, but a large Consul has megabytes of them. There, those that are
//! critical or warn are followed besides: they are few, and nearly all that is worth knowing
//! soon is about one that comes or goes.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    convert::Infallible,
    hash::{Hash as _, Hasher as _},
    time::Duration,
};

use portolan_runtime::Task;
use portolan_sources::frame::{Ended, Seats};
use tokio::sync::mpsc;

use super::{
    api::{Api, Asked, Cursor},
    follow::Datacenter,
    patience::BRIEF,
    roll::Changes,
    shape::Check,
};

/// The least rest between two looks at checks.
const REST: Duration = Duration::from_millis(20);
/// Where all checks together have so many bytes, the few that do not pass are followed
/// besides.
const LARGE: usize = 1 << 20;
const ALL: &str = "/v1/health/state/any";
const FEW: [&str; 2] = ["/v1/health/state/critical", "/v1/health/state/warning"];

/// A sign that something may have changed.
pub(super) enum Sign {
    /// These services, and those on these nodes.
    Checks(BTreeSet<String>, BTreeSet<String>),
    /// Something registered or left, and this is different about the names.
    Names(Changes),
    /// Another server answers; the places for queries are there.
    Moved(Box<Seats>),
    /// Changes are seen from now on, and not before.
    Begun,
    /// Nothing is new about any service.
    Alive,
    Lost(Ended),
}

/// What checks look like: a fingerprint for each service and each node, where following them
/// goes on, and how many bytes they had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    services: BTreeMap<String, u64>,
    nodes: BTreeMap<String, u64>,
    cursor: Cursor,
    size: usize,
}

impl Datacenter {
    /// What all checks look like now.
    pub(super) async fn look(&self) -> Result<Looks, Ended> {
        look(&mut self.api(), ALL).await
    }

    /// Looks at checks for as long as the tasks are kept: on from what was seen, or from now.
    pub(super) fn start_looking(
        &self,
        seen: Option<Looks>,
        signs: &mpsc::Sender<Sign>,
    ) -> Vec<Task> {
        let is_large = seen.as_ref().is_none_or(|looks| looks.size >= LARGE);
        let few = FEW.iter().filter(|_| is_large);
        let mut tasks: Vec<_> = few.map(|path| self.start_look(path, None, signs)).collect();
        tasks.push(self.start_look(ALL, seen, signs));
        tasks
    }

    fn start_look(
        &self,
        path: &'static str,
        seen: Option<Looks>,
        signs: &mpsc::Sender<Sign>,
    ) -> Task {
        let (this, signs) = (self.clone(), signs.clone());
        self.env.spawn("consul checks", async move {
            let Err(ended) = this.look_on(path, seen, &signs).await;
            // Whoever does not listen any more ends this task.
            let _unheard = signs.send(Sign::Lost(ended)).await;
        })
    }

    async fn look_on(
        &self,
        path: &'static str,
        seen: Option<Looks>,
        signs: &mpsc::Sender<Sign>,
    ) -> Result<Infallible, Ended> {
        let mut api = self.api();
        let mut looks = if let Some(seen) = seen {
            seen
        } else {
            let looks = look(&mut api, path).await?;
            if path == ALL {
                signs.send(Sign::Begun).await.map_err(|_| Ended::Closed)?;
            }
            looks
        };
        // One that is cut ends everything, so it does not wait for longer than most allow.
        let wait = self.settings.wait.min(BRIEF);
        loop {
            let asked = api.blocking(path, looks.cursor, wait).await?;
            looks.cursor = asked.cursor;
            if !asked.is_new {
                continue;
            }
            let begun = self.env.instant();
            let next = Looks::read(&mut api, &asked)?;
            let services = differing(&looks.services, &next.services);
            let nodes = differing(&looks.nodes, &next.nodes);
            looks = next;
            if !services.is_empty() || !nodes.is_empty() {
                let sign = Sign::Checks(services, nodes);
                signs.send(sign).await.map_err(|_| Ended::Closed)?;
            }
            // As much rest as work: a Consul that changes all the time is read half of it.
            let work = self.env.instant().saturating_duration_since(begun);
            self.env.sleep(REST.max(work)).await;
        }
    }
}

async fn look(api: &mut Api, path: &str) -> Result<Looks, Ended> {
    let asked = api
        .blocking(path, Cursor::default(), Duration::ZERO)
        .await?;
    Looks::read(api, &asked)
}

impl Looks {
    fn read(api: &mut Api, asked: &Asked) -> Result<Self, Ended> {
        let checks: Vec<Check> = api.read(&asked.answer)?;
        Ok(Self {
            cursor: asked.cursor,
            size: asked.answer.body.len(),
            ..Self::of(&checks)
        })
    }

    fn of(checks: &[Check]) -> Self {
        let mut looks = Self::default();
        for check in checks {
            let mut hasher = DefaultHasher::new();
            let facts = (&check.node, &check.id, &check.status, check.modify_index);
            facts.hash(&mut hasher);
            let print = if check.service_name.is_empty() {
                looks.nodes.entry(check.node.clone()).or_default()
            } else {
                looks
                    .services
                    .entry(check.service_name.clone())
                    .or_default()
            };
            // Checks come in any order.
            *print = print.wrapping_add(hasher.finish());
        }
        looks
    }
}

/// Names whose fingerprint is another one, or that only one side has.
fn differing(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeSet<String> {
    let changed = after
        .iter()
        .filter(|(name, print)| before.get(*name) != Some(print));
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changed.map(|(name, _)| name).chain(gone).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(node: &str, service: &str, index: u64) -> Check {
        Check {
            node: node.to_owned(),
            id: "c".to_owned(),
            service_name: service.to_owned(),
            status: "passing".to_owned(),
            modify_index: index,
            ..Check::default()
        }
    }

    #[test]
    fn a_change_of_a_check_tells_its_service_or_node() {
        let before = [check("n1", "a", 1), check("n1", "b", 1), check("n1", "", 1)];
        let mut after = before.clone();
        after.reverse();
        assert_eq!(Looks::of(&before), Looks::of(&after), "order means nothing");
        after[1].modify_index = 2;
        let (before, after) = (Looks::of(&before), Looks::of(&after));
        let changed = differing(&before.services, &after.services);
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["b"]);
        assert!(differing(&before.nodes, &after.nodes).is_empty());
        let none = Looks::default();
        assert_eq!(differing(&before.services, &none.services).len(), 2);
        assert_eq!(differing(&before.nodes, &none.nodes).len(), 1);
    }
}
