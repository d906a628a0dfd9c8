//! Ends sessions whose checks fail or are gone, or whose node is.
//!
//! A session names checks; what the catalogue knows of them is looked at whenever something
//! that it may depend on has changed. Sessions with no other check than their node's being
//! alive cost nothing.

use std::{collections::HashSet, sync::Arc, time::Duration};

use portolan_dialects::consul::{Home, answer::CheckView};
use portolan_ledger::{Input, Ledger, LedgerError, Output, Query, Session, SessionId};
use portolan_model::{Health, Revision};
use portolan_runtime::Env;

use super::{acl::Permit, clerk::Clerk, scene::Scene, terms::Key};
use portolan_registry::Published;

/// How long the warden rests after the ledger could not answer.
const REST: Duration = Duration::from_secs(1);
/// The check that says that a node is alive.
const ALIVE: &str = "serfHealth";

/// How a check is, for a session that depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Fine,
    Critical,
    Unknown,
}

/// How a check of a node or of a service on it is.
pub(super) fn standing(scene: &Scene<'_>, node: &str, check: &str) -> Standing {
    let Ok(node) = scene.node_named(node) else {
        return Standing::Unknown;
    };
    let is_it = |view: &CheckView| *view.id == *check;
    let found = scene.node_checks(node).into_iter().find(is_it);
    let found = found.or_else(|| {
        let (seen, index) = scene.find_by_check(&Key::new(node, check))?;
        let name = scene.node(node).node;
        seen.checks(&name, index).into_iter().find(is_it)
    });
    match found.map(|view| view.status) {
        None => Standing::Unknown,
        Some(Health::Critical) => Standing::Critical,
        Some(Health::Passing | Health::Warning | Health::Starting) => Standing::Fine,
    }
}

/// The task.
pub(super) struct Warden {
    pub(super) clerk: Clerk,
    pub(super) home: Arc<Home>,
    pub(super) ledger: Ledger,
    pub(super) env: Env,
}

impl Warden {
    /// Runs until the ledger or the publisher has stopped.
    pub(super) async fn run(&self) {
        let mut publications = self.clerk.registry().reader().follow();
        let mut nodes = self.clerk.watch_nodes();
        let mut watch = Watch::default();
        let everything = Permit::default();
        let mut waiting = Box::pin(self.sessions_after(Revision::FIRST));
        loop {
            tokio::select! {
                (found, index) = &mut waiting => {
                    let Some(found) = found else { return };
                    watch.follow(found, &self.home);
                    waiting = Box::pin(self.sessions_after(index));
                }
                published = publications.next() => match published {
                    Some(Published::Changed(..) | Published::Missed) => {}
                    None => return,
                },
                changed = nodes.changed() => if changed.is_err() {
                    return;
                },
            }
            let lost = watch.lost(|| Scene::of(&self.home, &self.clerk, &everything));
            for id in lost {
                self.end(id).await;
            }
        }
    }

    /// All sessions, once they are others than at that index; none at the end.
    async fn sessions_after(&self, seen: Revision) -> (Option<Vec<Session>>, Revision) {
        loop {
            match self.ledger.wait(Query::Sessions, seen).await {
                Ok((Output::Sessions(sessions), index)) => return (Some(sessions), index),
                Err(LedgerError::Stopped) => return (None, seen),
                Ok(_) | Err(_) => self.env.sleep(REST).await,
            }
        }
    }

    async fn end(&self, id: SessionId) {
        tracing::info!(cause = "check", "session lost what it depends on; ended");
        if let Err(error) = self.ledger.step(Input::End(id)).await {
            // The next change finds it again.
            tracing::warn!(%error, "session could not be ended");
        }
    }
}

/// Sessions that depend on something, and what was there of it.
#[derive(Default)]
struct Watch {
    sessions: Vec<Session>,
    /// What this process has seen. What it never saw may be on its way: right after a start,
    /// or from a predecessor.
    known: HashSet<(String, Arc<str>)>,
}

impl Watch {
    fn follow(&mut self, mut sessions: Vec<Session>, home: &Home) {
        sessions.retain(|session| {
            let is_elsewhere = !session.terms.node.eq_ignore_ascii_case(&home.node.name);
            is_elsewhere || checks_of(session).any(|check| **check != *ALIVE)
        });
        let named: HashSet<_> = sessions.iter().flat_map(places_of).collect();
        self.known.retain(|place| named.contains(place));
        self.sessions = sessions;
    }

    /// Sessions that have lost what they depend on.
    fn lost<'s>(&mut self, scene: impl FnOnce() -> Scene<'s>) -> Vec<SessionId> {
        if self.sessions.is_empty() {
            return Vec::new();
        }
        let scene = scene();
        let mut lost = Vec::new();
        for session in &self.sessions {
            let mut is_lost = false;
            for place in places_of(session) {
                match place_standing(&scene, &place) {
                    Standing::Fine => drop(self.known.insert(place)),
                    Standing::Critical => is_lost = true,
                    Standing::Unknown => is_lost |= self.known.contains(&place),
                }
            }
            if is_lost {
                lost.push(session.id.clone());
            }
        }
        lost
    }
}

fn checks_of(session: &Session) -> impl Iterator<Item = &Arc<str>> {
    let terms = &session.terms;
    terms.node_checks.iter().chain(&terms.service_checks)
}

/// The node itself, which is no check, and its checks.
fn places_of(session: &Session) -> impl Iterator<Item = (String, Arc<str>)> {
    let node = &session.terms.node;
    let checks = checks_of(session).cloned();
    let all = std::iter::once(Arc::from("")).chain(checks);
    all.map(|check| (node.clone(), check))
}

fn place_standing(scene: &Scene<'_>, (node, check): &(String, Arc<str>)) -> Standing {
    match (&**check, scene.node_named(node)) {
        ("", Ok(_)) => Standing::Fine,
        ("", Err(_)) => Standing::Unknown,
        (check, _) => standing(scene, node, check),
    }
}
