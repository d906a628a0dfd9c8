//! The names of services, followed by one blocking query.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use portolan_runtime::Task;
use portolan_sources::frame::{Ended, InTheClear, Seats};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    api::{Api, Cursor},
    follow::Datacenter,
    looks::Sign,
    settings::Settings,
};

/// How long the query for the names of services blocks at most: a sign of life.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Consul itself.
const CONSUL: &str = "consul";

pub(super) struct Names {
    api: Api,
    settings: Arc<Settings>,
    cursor: Cursor,
    tags: BTreeMap<String, Value>,
    /// Those whose tags became others.
    retagged: BTreeSet<String>,
    /// Who answers is a Portolan, which speaks HTTP/2 in the clear as well.
    is_portolan: bool,
}

impl Names {
    pub(super) fn new(datacenter: &Datacenter) -> Self {
        Self {
            api: datacenter.api(),
            settings: Arc::clone(&datacenter.settings),
            cursor: Cursor::default(),
            tags: BTreeMap::new(),
            retagged: BTreeSet::new(),
            is_portolan: false,
        }
    }

    /// Seats for blocking queries at the server that named the services.
    pub(super) async fn seats(&self) -> Result<Seats, Ended> {
        let in_the_clear = if self.is_portolan {
            InTheClear::Http2
        } else {
            InTheClear::Http1
        };
        let connections = self.settings.connections_each();
        self.api.seats(connections, in_the_clear).await
    }

    /// The names as they are.
    pub(super) async fn first(&mut self) -> Result<BTreeSet<String>, Ended> {
        self.cursor = Cursor::default();
        loop {
            if let Some(names) = self.next().await? {
                return Ok(names);
            }
        }
    }

    /// The names when something changed about any service; none if nothing did for a while.
    async fn next(&mut self) -> Result<Option<BTreeSet<String>>, Ended> {
        let wait = self.settings.wait.min(SIGN_OF_LIFE);
        let path = "/v1/catalog/services";
        let asked = self.api.blocking(path, self.cursor, wait).await?;
        self.cursor = asked.cursor;
        self.is_portolan = asked.provenance.server().is_some();
        if !asked.is_new {
            return Ok(None);
        }
        let found: BTreeMap<String, Value> = self.api.read(&asked.answer)?;
        if found.keys().all(|name| name == CONSUL) {
            self.api.check_rights(&asked)?;
        }
        let known = |name: &String, tags: &Value| self.tags.get(name).is_none_or(|old| old == tags);
        let others = found.iter().filter(|(name, tags)| !known(name, tags));
        self.retagged.extend(others.map(|(name, _)| name.clone()));
        self.tags.clone_from(&found);
        if !self.settings.services.is_empty() {
            return Ok(Some(self.settings.services.clone()));
        }
        let names = found.into_keys().filter(|name| name != CONSUL);
        Ok(Some(names.collect()))
    }

    /// Follows the names for as long as the task is kept.
    pub(super) fn start(mut self, datacenter: &Datacenter, signs: mpsc::Sender<Sign>) -> Task {
        datacenter.env.spawn("consul names", async move {
            loop {
                let sign = match self.next().await {
                    // Those with other tags are seen at once, though no check tells of them.
                    Ok(Some(wanted)) => Sign::Names(wanted, std::mem::take(&mut self.retagged)),
                    Ok(None) => Sign::Alive,
                    Err(ended) => Sign::Lost(ended),
                };
                let is_over = matches!(sign, Sign::Lost(_));
                if signs.send(sign).await.is_err() || is_over {
                    return;
                }
            }
        })
    }
}
