//! Who may have a connection: so many of all, and so many of each client. A newcomer to a
//! full server takes the place of whoever was silent for longest.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use portolan_runtime::drain::{DrainWatch, Hold};
use portolan_wire::serve::PerClient;
use tokio::sync::Notify;

/// The part of all connections that one client may have, if nobody says how many.
const PART_OF_CLIENT: usize = 4;
/// What a connection with queries under way has instead of a time.
const BUSY: u64 = u64::MAX;
/// What of an IPv6 address tells clients apart: a machine has as many addresses as it likes
/// within.
const NETWORK: Ipv6Addr = Ipv6Addr::new(0xffff, 0xffff, 0xffff, 0xffff, 0, 0, 0, 0);

/// Places for connections; a reload may change how many there are.
#[derive(Debug)]
pub(crate) struct Room {
    most: AtomicUsize,
    per_client: Option<PerClient<usize>>,
    began: Instant,
    /// Guards the list; held for no await.
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<u64, (IpAddr, Arc<Pulse>)>,
    clients: HashMap<IpAddr, usize>,
    next: u64,
}

/// What a connection and its room tell each other.
#[derive(Debug)]
struct Pulse {
    /// Milliseconds since the room opened at which it fell silent, or [`BUSY`].
    silent_since: AtomicU64,
    leave: Notify,
}

/// The place of a connection; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<Room>,
    number: u64,
    pulse: Arc<Pulse>,
}

/// How long a connection may stay.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) drain: DrainWatch,
    pub(crate) seat: Seat,
    /// A stop waits for the connection.
    _hold: Hold,
}

/// Why a connection may stay no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server stops.
    Stop,
    /// Another connection has its place.
    SentAway,
}

impl Room {
    /// Places for so many connections, and so many of each client; without a word on those,
    /// a quarter of all.
    pub(crate) fn new(most: usize, per_client: Option<PerClient<usize>>, now: Instant) -> Self {
        Self {
            most: AtomicUsize::new(most),
            per_client,
            began: now,
            seats: Mutex::default(),
        }
    }

    /// Changes how many places there are. Whoever has one keeps it.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A place for a client's connection; none if it has its share, or if all are busy.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr, now: Instant) -> Option<Seat> {
        let most = self.most.load(Ordering::Relaxed);
        let share = self.per_client.unwrap_or(PerClient {
            limit: most.div_ceil(PART_OF_CLIENT),
            includes_this_machine: false,
        });
        let limit = share.of(client.to_canonical());
        let client = network(client);
        let mut seats = self.seats();
        let own = seats.clients.get(&client).copied().unwrap_or_default();
        if limit.is_some_and(|limit| own >= limit) {
            return None;
        }
        if seats.taken.len() >= most {
            seats.make_room()?;
        }
        let pulse = Arc::new(Pulse {
            silent_since: AtomicU64::new(self.at(now)),
            leave: Notify::new(),
        });
        let number = seats.next;
        seats.next = number.wrapping_add(1);
        seats.taken.insert(number, (client, Arc::clone(&pulse)));
        let own = seats.clients.entry(client).or_default();
        *own = own.saturating_add(1);
        drop(seats);
        Some(Seat {
            room: Arc::clone(self),
            number,
            pulse,
        })
    }

    fn at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_millis();
        u64::try_from(since).unwrap_or(BUSY).min(BUSY - 1)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Sends away whoever was silent for longest; none if nobody is.
    fn make_room(&mut self) -> Option<()> {
        let silent = self.taken.iter().filter_map(|(number, (_, pulse))| {
            let since = pulse.silent_since.load(Ordering::Relaxed);
            (since != BUSY).then_some((since, *number))
        });
        let (_, number) = silent.min()?;
        let pulse = self.free(number)?;
        pulse.leave.notify_one();
        Some(())
    }

    fn free(&mut self, number: u64) -> Option<Arc<Pulse>> {
        let (client, pulse) = self.taken.remove(&number)?;
        if let Some(own) = self.clients.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.clients.remove(&client);
            }
        }
        Some(pulse)
    }
}

impl Seat {
    /// Says whether queries are under way, at that time.
    pub(crate) fn tell(&self, is_busy: bool, now: Instant) {
        let since = if is_busy { BUSY } else { self.room.at(now) };
        self.pulse.silent_since.store(since, Ordering::Relaxed);
    }

    /// Resolves once when another connection got the place. Cancel-safe.
    pub(crate) async fn sent_away(&self) {
        self.pulse.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // One that was sent away has no place any more.
        let _freed = self.room.seats().free(self.number);
    }
}

impl Stay {
    /// Of a connection that was just accepted: a stop waits for it from here on, and not only
    /// once its task has begun.
    pub(crate) fn new(drain: DrainWatch, seat: Seat) -> Self {
        let hold = drain.hold();
        Self {
            drain,
            seat,
            _hold: hold,
        }
    }

    /// Resolves when the connection is to end. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> End {
        tokio::select! {
            biased;
            () = self.seat.sent_away() => End::SentAway,
            () = self.drain.draining() => End::Stop,
        }
    }
}

/// What tells clients apart.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => (ip & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_runtime::Env;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_share_and_no_more() {
        let now = Env::virtual_time(1).instant();
        let room = Arc::new(Room::new(8, None, now));
        let [one, _two] = [(), ()].map(|()| room.enter(ip("192.0.2.1"), now).unwrap());
        assert!(room.enter(ip("192.0.2.1"), now).is_none());
        assert!(room.enter(ip("::ffff:192.0.2.1"), now).is_none());
        let _other = room.enter(ip("192.0.2.2"), now).unwrap();
        drop(one);
        let _again = room.enter(ip("192.0.2.1"), now).unwrap();
        let _six = ["2001:db8::1", "2001:db8::2"].map(|six| room.enter(ip(six), now).unwrap());
        assert!(room.enter(ip("2001:db8::3"), now).is_none());
        let _here: Vec<_> = (0..3)
            .map(|_| room.enter(ip("127.0.0.1"), now).unwrap())
            .collect();
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_longest_silent() {
        let now = Env::virtual_time(1).instant();
        let later = |seconds| now + Duration::from_secs(seconds);
        let room = Arc::new(Room::new(2, None, now));
        let first = room.enter(ip("192.0.2.1"), now).unwrap();
        let second = room.enter(ip("192.0.2.2"), later(1)).unwrap();
        first.tell(true, later(2));
        let third = room.enter(ip("192.0.2.3"), later(3)).unwrap();
        // The second, which was sent away, gives nothing back.
        drop(second);
        third.tell(true, later(4));
        assert!(room.enter(ip("192.0.2.4"), later(5)).is_none(), "all busy");
        first.tell(false, later(6));
        assert!(room.enter(ip("192.0.2.4"), later(7)).is_some());
        drop(first);
        room.set_most(3);
        let _more = room.enter(ip("192.0.2.5"), later(8)).unwrap();
        assert_eq!(room.seats().clients.len(), 2);
    }
}
