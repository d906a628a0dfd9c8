//! Places for questions that wait for long, on so many connections and no more.

use std::{fmt, sync::Arc};

use portolan_model::{ByteSize, route::Protocol};
use portolan_runtime::Env;
use portolan_wire::{
    call::{Lane, Opened, Scheme, Trunk, Url},
    tls::{ClientTls, Connector},
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::{Ended, ServersSettings};

/// What is known of a server that is spoken to in the clear. Over TLS it says itself what it
/// speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTheClear {
    /// It may not know HTTP/2.
    Http1,
    /// It is known to speak HTTP/2; if it does not after all, HTTP/1 is spoken.
    Http2,
}

/// The seats at one server: each is for one question at a time. Over HTTP/2 a connection has
/// many of them, else each is a connection.
pub struct Seats {
    url: Url,
    settings: ServersSettings,
    answer_max: ByteSize,
    tls: Option<Arc<Connector>>,
    connections: usize,
    manner: Manner,
    env: Env,
}

enum Manner {
    /// A connection each.
    Single(Arc<Semaphore>),
    /// The connections that there are, and how many seats each has.
    Shared(Mutex<Vec<Trunk>>, usize),
}

/// The right to one question at a time; it is given back when this is dropped.
#[derive(Debug)]
pub enum Seat {
    /// On a connection of one's own, with what opens it over TLS.
    Single(OwnedSemaphorePermit, Option<Arc<Connector>>),
    /// On a shared one.
    Shared(Box<Lane>),
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats")
            .field("url", &self.url)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Seats {
    /// Finds out what a server speaks. One that can't be reached has seats for HTTP/1, which
    /// fail as they are used.
    ///
    /// # Errors
    /// [`Ended::Lost`]: a file of the settings for TLS is bad.
    pub(super) async fn find(
        (settings, url): (&ServersSettings, &Url),
        answer_max: ByteSize,
        connections: usize,
        in_the_clear: InTheClear,
        env: &Env,
    ) -> Result<Self, Ended> {
        let is_tls = url.scheme() == Scheme::Https;
        let connector = |protocol| {
            let made = is_tls.then(|| ClientTls::new().connector(&settings.tls, protocol));
            made.transpose().map_err(|error| Ended::by(&error))
        };
        let mut seats = Self {
            url: url.clone(),
            settings: settings.clone(),
            answer_max,
            tls: connector(Protocol::Auto)?,
            connections,
            manner: Manner::Single(Arc::new(Semaphore::new(connections))),
            env: env.clone(),
        };
        let may_share = is_tls || in_the_clear == InTheClear::Http2;
        if may_share
            && let Ok(Opened::Trunk(trunk)) = Trunk::open(url, seats.tls.as_deref(), env).await
        {
            let each = trunk.lanes_max();
            seats.manner = Manner::Shared(Mutex::new(vec![trunk]), each);
            return Ok(seats);
        }
        seats.tls = connector(Protocol::Http1)?;
        Ok(seats)
    }

    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.manner {
            Manner::Single(_) => self.connections,
            Manner::Shared(_, each) => self.connections.saturating_mul(*each),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Ended::Lost`] if all are taken, or the server takes no further connection.
    ///
    /// # Cancellation
    /// Nobody sits.
    pub async fn take(&self) -> Result<Seat, Ended> {
        match &self.manner {
            Manner::Single(seats) => {
                let seat = Arc::clone(seats).try_acquire_owned();
                let seat = seat.map_err(|_| self.all_taken())?;
                Ok(Seat::Single(seat, self.tls.clone()))
            }
            Manner::Shared(trunks, _) => {
                let mut trunks = trunks.lock().await;
                trunks.retain(Trunk::is_open);
                if let Some(lane) = trunks.iter().find_map(Trunk::lane) {
                    return Ok(self.shared(lane));
                }
                if trunks.len() >= self.connections {
                    return Err(self.all_taken());
                }
                let opened = Trunk::open(&self.url, self.tls.as_deref(), &self.env).await;
                let opened = opened.map_err(|error| Ended::by(&error))?;
                let Opened::Trunk(trunk) = opened else {
                    return Err(self.all_taken());
                };
                let lane = trunk.lane().ok_or_else(|| self.all_taken())?;
                trunks.push(trunk);
                Ok(self.shared(lane))
            }
        }
    }

    fn shared(&self, lane: Lane) -> Seat {
        let lane = lane.with_answers_up_to(self.answer_max);
        Seat::Shared(Box::new(lane.with_fields(self.settings.fields.clone())))
    }

    fn all_taken(&self) -> Ended {
        let (url, connections) = (&self.url, self.connections);
        Ended::lost(format!(
            "{url}: all places on the {connections} connections that may be held are taken"
        ))
    }
}
