//! Places for questions that wait for long, on so many connections and no more.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_model::{ByteSize, route::Protocol};
use portolan_runtime::{Env, Task};
use portolan_wire::{
    call::{CallError, Lane, Opened, Scheme, Trunk, Url},
    tls::{ClientTls, Connector},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Ended, ServersSettings};

/// A further connection that fails sooner than this, while others stand, may be one more than
/// the server takes; a dial that runs into its own time limit takes longer.
const REFUSED_WITHIN: Duration = Duration::from_millis(1500);

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
    /// Connections that have so many seats each.
    Shared(Mutex<Trunks>, usize),
}

/// The connections that there are, and the one that is being made.
struct Trunks {
    open: Vec<Trunk>,
    opening: Option<Opening>,
}

/// What came of connecting, once that is known.
type Outcome = watch::Receiver<Option<Result<Trunk, NoSeat>>>;

enum Found {
    Lane(Lane),
    Opening(Outcome),
}

/// A connection in the making, for all who wait for it.
struct Opening {
    outcome: Outcome,
    _task: Task,
}

/// Why there is no seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// All are taken; one may become free.
    AllTaken,
    /// The server takes no further connection, though those that there are stand.
    Refused,
    /// The server can't be reached, or is too slow.
    Lost(Ended),
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
            let trunks = Trunks {
                open: vec![trunk],
                opening: None,
            };
            seats.manner = Manner::Shared(Mutex::new(trunks), each);
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

    /// Whether many seats are on one connection, which tells soon that its server hangs.
    #[must_use]
    pub const fn are_shared(&self) -> bool {
        matches!(self.manner, Manner::Shared(..))
    }

    /// Whether there is a connection that seats can be had on. Where each seat is a connection
    /// of its own, nobody knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.manner {
            Manner::Single(_) => false,
            Manner::Shared(trunks, _) => lock(trunks).open.iter().any(Trunk::is_open),
        }
    }

    /// Takes one. A further connection that is needed for it is made once, for all who wait.
    ///
    /// # Errors
    /// [`NoSeat`].
    ///
    /// # Cancellation
    /// Nobody sits. A connection that is being made is there for those who come next.
    pub async fn take(&self) -> Result<Seat, NoSeat> {
        let trunks = match &self.manner {
            Manner::Single(seats) => {
                let seat = Arc::clone(seats).try_acquire_owned();
                let seat = seat.map_err(|_| NoSeat::AllTaken)?;
                return Ok(Seat::Single(seat, self.tls.clone()));
            }
            Manner::Shared(trunks, _) => trunks,
        };
        loop {
            let mut outcome = match self.look(&mut lock(trunks))? {
                Found::Lane(lane) => return Ok(self.shared(lane)),
                Found::Opening(outcome) => outcome,
            };
            let opened = match outcome.wait_for(Option::is_some).await {
                Ok(opened) => opened.clone(),
                Err(_) => None,
            };
            let gave_up = || Err(self.lost("connecting was given up"));
            if !opened.unwrap_or_else(gave_up)?.is_open() {
                return Err(self.lost("the connection was closed at once"));
            }
        }
    }

    /// A lane that is free, or the connection to wait for.
    fn look(&self, trunks: &mut Trunks) -> Result<Found, NoSeat> {
        trunks.harvest();
        if let Some(lane) = trunks.open.iter().find_map(Trunk::lane) {
            return Ok(Found::Lane(lane));
        }
        if trunks.opening.is_none() && trunks.open.len() >= self.connections {
            return Err(NoSeat::AllTaken);
        }
        let other = trunks.open.first().cloned();
        let opening = trunks.opening.get_or_insert_with(|| self.open(other));
        Ok(Found::Opening(opening.outcome.clone()))
    }

    /// Begins to make a further connection beside another one.
    fn open(&self, other: Option<Trunk>) -> Opening {
        let (sender, outcome) = watch::channel(None);
        let (url, tls, env) = (self.url.clone(), self.tls.clone(), self.env.clone());
        let task = self.env.spawn("seats", async move {
            let begun = env.instant();
            let opened = Trunk::open(&url, tls.as_deref(), &env).await;
            let took = env.instant().saturating_duration_since(begun);
            let stands = other.is_some_and(|other| other.is_open());
            let may_be_refused = stands && took < REFUSED_WITHIN;
            let opened = match opened {
                Ok(Opened::Trunk(trunk)) => Ok(trunk),
                Ok(Opened::Line(_)) => Err(lost(&url, "HTTP/2 is not spoken any more")),
                Err(_) if may_be_refused => Err(NoSeat::Refused),
                Err(error) => Err(failed(&url, &error)),
            };
            sender.send_replace(Some(opened));
        });
        Opening {
            outcome,
            _task: task,
        }
    }

    fn shared(&self, lane: Lane) -> Seat {
        let lane = lane.with_answers_up_to(self.answer_max);
        Seat::Shared(Box::new(lane.with_fields(self.settings.fields.clone())))
    }

    fn lost(&self, what: &str) -> NoSeat {
        lost(&self.url, what)
    }
}

impl Trunks {
    /// Forgets those that take no more calls, and takes in the one that was made meanwhile.
    fn harvest(&mut self) {
        self.open.retain(Trunk::is_open);
        let opened = self.opening.as_ref().and_then(Opening::outcome);
        if let Some(opened) = opened {
            self.opening = None;
            self.open.extend(opened.ok().filter(Trunk::is_open));
        }
    }
}

impl Opening {
    /// What came of it, if anything did. One whose task ended without a word failed.
    fn outcome(&self) -> Option<Result<Trunk, NoSeat>> {
        let gave_up = || Err(NoSeat::Lost(Ended::lost("connecting was given up")));
        let outcome = self.outcome.borrow().clone();
        outcome.or_else(|| self.outcome.has_changed().is_err().then(gave_up))
    }
}

fn lock(trunks: &Mutex<Trunks>) -> MutexGuard<'_, Trunks> {
    trunks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost(url: &Url, what: &str) -> NoSeat {
    NoSeat::Lost(Ended::lost(format!("{url}: {what}")))
}

fn failed(url: &Url, error: &CallError) -> NoSeat {
    match Ended::by(error) {
        Ended::Lost { reason, .. } => lost(url, &reason),
        Ended::Closed => NoSeat::Lost(Ended::Closed),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderMap;
    use portolan_model::route::{UpstreamTls, Verify};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A server that takes one call at a time on each connection.
    struct Server {
        listener: TcpListener,
        env: Env,
    }

    /// A connection, for as long as this is kept.
    struct Greeted(#[expect(dead_code, reason = "kept, not read")] Task);

    impl Server {
        async fn accept(&self) -> TcpStream {
            self.listener.accept().await.unwrap().0
        }

        fn greet(&self, mut stream: TcpStream) -> Greeted {
            Greeted(self.env.spawn("server", async move {
                let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1];
                stream.write_all(&settings).await.unwrap();
                let _read = stream.read_to_end(&mut Vec::new()).await;
            }))
        }
    }

    /// The seats on two connections of a server, and the first connection.
    async fn two() -> (Server, Seats, Greeted) {
        let env = Env::system();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let settings = ServersSettings {
            urls: vec![url.clone()],
            tls: UpstreamTls {
                server_name: None,
                ca: None,
                certificate: None,
                verify: Verify::Full,
            },
            fields: HeaderMap::new(),
        };
        let server = Server {
            listener,
            env: env.clone(),
        };
        let limit = ByteSize::from_bytes(1 << 10);
        let finding = Seats::find((&settings, &url), limit, 2, InTheClear::Http2, &env);
        let accepting = async { server.greet(server.accept().await) };
        let (seats, first) = tokio::join!(finding, accepting);
        let seats = seats.unwrap();
        assert_eq!(seats.count(), 2);
        (server, seats, first)
    }

    #[tokio::test]
    async fn a_connection_is_made_once_for_all_who_wait() {
        let (server, seats, _first) = two().await;
        let _sitting = seats.take().await.unwrap();
        let serving = async {
            let slow = server.accept().await;
            tokio::task::yield_now().await;
            server.greet(slow)
        };
        let (one, other, _second) = tokio::join!(seats.take(), seats.take(), serving);
        let mut outcomes = [one.err(), other.err()];
        outcomes.sort_by_key(Option::is_some);
        assert_eq!(outcomes, [None, Some(NoSeat::AllTaken)]);
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_from_a_server_that_is_away() {
        let (server, seats, first) = two().await;
        let sitting = seats.take().await.unwrap();
        let refusing = async { drop(server.accept().await) };
        let (refused, ()) = tokio::join!(seats.take(), refusing);
        assert_eq!(refused.err(), Some(NoSeat::Refused));
        assert!(seats.is_connected());
        drop((first, server));
        while seats.is_connected() {
            tokio::task::yield_now().await;
        }
        let away = seats.take().await.err();
        assert!(matches!(away, Some(NoSeat::Lost(_))), "{away:?}");
        drop(sitting);
    }
}
