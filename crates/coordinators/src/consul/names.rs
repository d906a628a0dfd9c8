//! The names of services, followed by one blocking query.
//!
//! A Consul answers it whenever anything registers, whether or not a name is new. That is a
//! sign of its own, and many of them are read at a rest from each other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use portolan_runtime::Task;
use portolan_sources::frame::{Ended, InTheClear, Seats};
use tokio::sync::mpsc;

use super::{
    api::{Api, Cursor},
    follow::Datacenter,
    looks::Sign,
    roll::{self, Changes, Roll},
    settings::Settings,
};

/// How long the query for the names of services blocks at most: a sign of life.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// The rest after an answer. It doubles while answers that change no name come one after the
/// other, since all names of a large Consul are work for it.
const REST: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_millis(160);

pub(super) struct Names {
    api: Api,
    settings: Arc<Settings>,
    cursor: Cursor,
    roll: Roll,
    rest: Duration,
    /// Who answers is a Portolan, which speaks HTTP/2 in the clear as well.
    is_portolan: bool,
}

impl Names {
    pub(super) fn new(datacenter: &Datacenter) -> Self {
        Self {
            api: datacenter.api(),
            settings: Arc::clone(&datacenter.settings),
            cursor: Cursor::default(),
            roll: Roll::default(),
            rest: REST,
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
        while self.next().await?.is_none() {}
        if !self.settings.services.is_empty() {
            return Ok(self.settings.services.clone());
        }
        Ok(self.roll.names().cloned().collect())
    }

    /// What is different about the names when something registered or left; none if nothing
    /// did for a while.
    async fn next(&mut self) -> Result<Option<Changes>, Ended> {
        let wait = self.settings.wait.min(SIGN_OF_LIFE);
        let path = "/v1/catalog/services";
        let asked = self.api.blocking(path, self.cursor, wait).await?;
        self.cursor = asked.cursor;
        self.is_portolan = asked.provenance.server().is_some();
        if !asked.is_new {
            return Ok(None);
        }
        let names: roll::Names<'_> = self.api.read(&asked.answer)?;
        let mut changes = self.roll.take(&names);
        if self.roll.is_empty() {
            self.api.check_rights(&asked)?;
        }
        if !self.settings.services.is_empty() {
            // Those are followed whether or not they are there.
            changes.came.clear();
            changes.gone.clear();
        }
        Ok(Some(changes))
    }

    /// Follows the names for as long as the task is kept.
    pub(super) fn start(mut self, datacenter: &Datacenter, signs: mpsc::Sender<Sign>) -> Task {
        let env = datacenter.env.clone();
        datacenter.env.spawn("consul names", async move {
            loop {
                let asked = env.instant();
                let next = self.next().await;
                let took = env.instant().saturating_duration_since(asked);
                self.rest = match &next {
                    Ok(Some(changes)) if changes.is_empty() && took < REST_MAX => {
                        self.rest.saturating_mul(2).min(REST_MAX)
                    }
                    Ok(_) | Err(_) => REST,
                };
                let sign = match next {
                    Ok(Some(changes)) => Sign::Names(changes),
                    Ok(None) => Sign::Alive,
                    Err(ended) => Sign::Lost(ended),
                };
                let is_over = matches!(sign, Sign::Lost(_));
                if signs.send(sign).await.is_err() || is_over {
                    return;
                }
                env.sleep(self.rest).await;
            }
        })
    }
}
