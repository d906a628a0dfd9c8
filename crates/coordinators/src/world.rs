//! What a source under test says, folded.

use std::{collections::BTreeSet, time::Duration};

use portolan_catalog::{InboxHub, Inflow, News, Turn, inboxes};
use portolan_model::{Change, SourceId};
use portolan_runtime::{Env, Task};
use portolan_sources::frame::{Follow, following};

/// How long anything may take.
const WITHIN: Duration = Duration::from_secs(20);

/// A source at work, and what it said.
pub(crate) struct World {
    env: Env,
    _hub: InboxHub,
    inflow: Inflow,
    ids: BTreeSet<String>,
    stale: Vec<String>,
    was_empty: bool,
    _task: Task,
}

impl World {
    pub(crate) fn new(env: &Env, id: &SourceId, source: impl Follow + 'static) -> Self {
        let (mut hub, inflow) = inboxes();
        let inbox = hub.open(id, Turn::Fair);
        let task = env.spawn("source", following(source, env).run(inbox));
        Self {
            env: env.clone(),
            _hub: hub,
            inflow,
            ids: BTreeSet::new(),
            stale: Vec::new(),
            was_empty: false,
            _task: task,
        }
    }

    /// Listens until exactly these ids are known.
    pub(crate) async fn until(&mut self, ids: &str) {
        let env = self.env.clone();
        let listening = async {
            while self.names() != ids {
                let arrivals = self.inflow.batch(64).await.into_iter();
                arrivals.for_each(|arrival| self.take(&arrival.saying.news));
            }
        };
        let heard = env.timeout(WITHIN, listening).await;
        assert!(
            heard.is_ok(),
            "{ids}: {:?}, stale {:?}",
            self.ids,
            self.stale
        );
    }

    /// The reasons why it did not know.
    pub(crate) fn stale(&self) -> &[String] {
        &self.stale
    }

    /// Whether it once knew somebody, and then nobody.
    pub(crate) const fn was_empty(&self) -> bool {
        self.was_empty
    }

    fn names(&self) -> String {
        let ids: Vec<_> = self.ids.iter().map(String::as_str).collect();
        ids.join(" ")
    }

    fn take(&mut self, news: &News) {
        let News::Said(change) = news else {
            return;
        };
        match change {
            Change::Reset { instances, .. } => {
                let ids = instances.iter().map(|instance| instance.id.to_string());
                self.ids = ids.collect();
            }
            Change::Put { instance } => {
                self.ids.insert(instance.id.to_string());
            }
            Change::Remove { id, .. } => {
                self.ids.remove(id.as_str());
            }
            Change::Stale { reason } => return self.stale.push(reason.to_string()),
        }
        self.was_empty |= self.ids.is_empty();
    }
}
