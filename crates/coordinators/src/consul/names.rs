//! The names of services, followed by one blocking query.
//!
//! A Consul answers it whenever anything registers, whether or not a name is new. That is a
//! sign of its own, and many of them are read at a rest from each other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use portolan_runtime::{Env, Task};
use portolan_sources::frame::{Ended, InTheClear, Seats};
use portolan_wire::call::Url;
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
    /// Where the seats are.
    seated: Option<Url>,
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
            seated: None,
        }
    }

    /// Seats for blocking queries at the server that named the services.
    pub(super) async fn seats(&mut self) -> Result<Seats, Ended> {
        self.seated = self.api.url().cloned();
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
                let ended = match self.tell_next(&signs, &env).await {
                    Ok(()) => continue,
                    Err(ended) => ended,
                };
                // Whoever does not listen any more ends this task.
                let _unheard = signs.send(Sign::Lost(ended)).await;
                return;
            }
        })
    }

    async fn tell_next(&mut self, signs: &mpsc::Sender<Sign>, env: &Env) -> Result<(), Ended> {
        let begun = env.instant();
        let changes = self.next().await?;
        let took = env.instant().saturating_duration_since(begun);
        if self.api.url() != self.seated.as_ref() {
            // Queries that wait at the other one may never be answered.
            let seats = self.seats().await?;
            tell(signs, Sign::Moved(Box::new(seats))).await?;
        }
        let is_idle = changes.as_ref().is_some_and(Changes::is_empty);
        self.rest = if is_idle && took < REST_MAX {
            self.rest.saturating_mul(2).min(REST_MAX)
        } else {
            REST
        };
        tell(signs, changes.map_or(Sign::Alive, Sign::Names)).await?;
        env.sleep(self.rest).await;
        Ok(())
    }
}

async fn tell(signs: &mpsc::Sender<Sign>, sign: Sign) -> Result<(), Ended> {
    signs.send(sign).await.map_err(|_| Ended::Closed)
}
