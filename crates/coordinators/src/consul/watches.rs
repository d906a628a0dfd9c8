//! Services that have a blocking query of their own: all of them where there are seats
//! enough, else those that changed last.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_runtime::Task;
use portolan_sources::frame::{Ended, Seat, Seats};
use tokio::sync::mpsc;

use super::{
    api::{Cursor, Fate},
    crew::Fetched,
    follow::Datacenter,
};

/// Answers that wait to be told.
const HEARD_MAX: usize = 64;
/// Up to so many begin at once; of more, so many a second.
const BURST: usize = 64;
const STARTS_A_SECOND: usize = 500;
/// With more than [`BURST`], queries block for longer, up to this: each answer that says
/// nothing new is whole. Still shorter than what firewalls keep a silent connection for.
const WAIT_MAX: Duration = Duration::from_mins(2);
/// What changed this lately keeps its query.
const TENURE: Duration = Duration::from_secs(10);
/// The least time between two that give way: with HTTP/1 each costs a connection.
const GIVE_WAY_PAUSE: Duration = Duration::from_millis(100);
/// A first question that fails sooner than this without an answer may be one too many.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// How long a seat may take to become free, after the one before was told to leave.
const SEAT_TIMEOUT: Duration = Duration::from_secs(1);
const SEAT_PAUSE: Duration = Duration::from_millis(20);
/// After being turned away, all seats are tried again after this.
const RELIEF: Duration = Duration::from_mins(10);
/// What changes all the time is looked at this often.
const REST: Duration = Duration::from_millis(5);

/// What a query was answered.
pub(super) enum Heard {
    /// The service is so now.
    Service(String, Fetched),
    /// The server may not take so many queries of ours.
    TurnedAway(String),
    Lost(Ended),
}

/// The queries; they end when this is dropped.
pub(super) struct Watches {
    datacenter: Datacenter,
    seats: Arc<Seats>,
    /// How many there may be.
    room: usize,
    running: BTreeMap<String, Watch>,
    /// Those that were turned away, and when they had begun.
    suspects: BTreeMap<String, Instant>,
    shrunk: Option<Instant>,
    gave_way: Option<Instant>,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
}

struct Watch {
    begun: Instant,
    /// When something about it was new.
    changed: Option<Instant>,
    _task: Task,
}

impl Watches {
    pub(super) fn new(datacenter: &Datacenter, seats: Seats) -> Self {
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        Self {
            datacenter: datacenter.clone(),
            room: seats.count(),
            seats: Arc::new(seats),
            running: BTreeMap::new(),
            suspects: BTreeMap::new(),
            shrunk: None,
            gave_way: None,
            sender,
            heard,
        }
    }

    /// The next answer. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Ends those of services that are not wanted any more.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<String>) {
        self.running.retain(|name, _| wanted.contains(name));
        self.suspects.retain(|name, _| wanted.contains(name));
    }

    /// Begins as many as there is room for; each goes on where the service was seen last.
    pub(super) fn fill(&mut self, wanted: &BTreeSet<String>, cursor_of: impl Fn(&str) -> Cursor) {
        let room = self.room.saturating_sub(self.running.len());
        if room == 0 || self.running.len() >= wanted.len() {
            return;
        }
        let new = wanted.iter().filter(|name| !self.has(name)).take(room);
        let new: Vec<String> = new.cloned().collect();
        let spread = spread(new.len());
        let wait = self.wait(self.running.len().saturating_add(new.len()));
        let mut dice = self.datacenter.env.dice();
        for name in new {
            let cursor = cursor_of(&name);
            let delay = spread.mul_f64(dice.unit_f64());
            self.start(name, cursor, (delay, wait));
        }
    }

    /// A service without a query changed: it gets one, if there is one that may give way,
    /// which is named.
    pub(super) fn admit(&mut self, name: &str, cursor: Cursor) -> Option<String> {
        let now = self.datacenter.env.instant();
        let is_soon = |then: Option<Instant>, span| {
            then.is_some_and(|then| now.saturating_duration_since(then) < span)
        };
        if self.room == 0 || self.has(name) || is_soon(self.gave_way, GIVE_WAY_PAUSE) {
            return None;
        }
        let mut gives_way = None;
        if self.running.len() >= self.room {
            let others = self.running.iter();
            let others = others.filter(|(_, watch)| !is_soon(watch.changed, TENURE));
            let (last, _) = others.min_by_key(|(_, watch)| watch.changed)?;
            let last = last.clone();
            self.running.remove(&last);
            gives_way = Some(last);
            self.gave_way = Some(now);
        }
        let wait = self.wait(self.running.len());
        self.start(name.to_owned(), cursor, (Duration::ZERO, wait));
        self.touch(name);
        gives_way
    }

    /// Something about this one was new.
    pub(super) fn touch(&mut self, name: &str) {
        if let Some(watch) = self.running.get_mut(name) {
            watch.changed = Some(self.datacenter.env.instant());
        }
    }

    /// One was turned away: no more are begun until it is known why.
    pub(super) fn turn_away(&mut self, name: &str) {
        if let Some(watch) = self.running.remove(name) {
            self.suspects.insert(name.to_owned(), watch.begun);
            self.room = self.running.len();
        }
    }

    /// This one was answered without a query of its own. If it was turned away, it is the
    /// number of queries that the server does not take: from now on there are fewer. Names
    /// those that give way.
    pub(super) fn reckon(&mut self, name: &str) -> Vec<String> {
        let Some(begun) = self.suspects.remove(name) else {
            return Vec::new();
        };
        // Those who came together are turned away together, which counts once.
        if self.shrunk.is_some_and(|shrunk| begun <= shrunk) {
            return Vec::new();
        }
        self.shrunk = Some(self.datacenter.env.instant());
        self.room = self.running.len().saturating_sub(self.running.len() / 4);
        let mut oldest: Vec<_> = self
            .running
            .iter()
            .map(|(name, watch)| (watch.changed, name.clone()))
            .collect();
        oldest.sort();
        let surplus = self.running.len().saturating_sub(self.room);
        let gone: Vec<_> = oldest
            .into_iter()
            .take(surplus)
            .map(|(_, name)| name)
            .collect();
        for name in &gone {
            self.running.remove(name);
        }
        tracing::warn!(
            source = %self.datacenter.source,
            limit = self.room,
            "Consul takes no more queries of this client; fewer services are followed by a query each. \
             Lower `connections` of the source, or raise `limits.http_max_conns_per_client` of the Consul"
        );
        gone
    }

    /// Gives all seats another try, some time after being turned away.
    pub(super) fn relieve(&mut self) {
        let now = self.datacenter.env.instant();
        let is_over = |shrunk: Instant| now.saturating_duration_since(shrunk) >= RELIEF;
        if self.shrunk.is_some_and(is_over) {
            self.shrunk = None;
            self.room = self.seats.count();
        }
    }

    fn wait(&self, count: usize) -> Duration {
        let wait = self.datacenter.settings.wait;
        let factor = u32::try_from(count / BURST).unwrap_or(u32::MAX);
        wait.saturating_mul(factor).min(WAIT_MAX).max(wait)
    }

    fn start(&mut self, name: String, cursor: Cursor, (delay, wait): (Duration, Duration)) {
        let one = One {
            datacenter: self.datacenter.clone(),
            seats: Arc::clone(&self.seats),
            name: name.clone(),
            wait,
            sender: self.sender.clone(),
        };
        let env = self.datacenter.env.clone();
        let task = self.datacenter.env.spawn("consul service", async move {
            env.sleep(delay).await;
            one.run(cursor).await;
        });
        let watch = Watch {
            begun: self.datacenter.env.instant(),
            changed: None,
            _task: task,
        };
        self.running.insert(name, watch);
    }
}

/// The time over which so many begin.
fn spread(count: usize) -> Duration {
    if count <= BURST {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(count.div_ceil(STARTS_A_SECOND)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds)
}

/// One service's query.
struct One {
    datacenter: Datacenter,
    seats: Arc<Seats>,
    name: String,
    wait: Duration,
    sender: mpsc::Sender<Heard>,
}

impl One {
    async fn run(self, cursor: Cursor) {
        let Err(last) = self.follow(cursor).await;
        // Whoever does not listen any more ends this task.
        let _unheard = self.sender.send(last).await;
    }

    async fn follow(&self, mut cursor: Cursor) -> Result<Infallible, Heard> {
        let env = &self.datacenter.env;
        let mut api = self.datacenter.api();
        api.sit(self.take_seat().await?);
        let mut dice = env.dice();
        let mut is_first = true;
        loop {
            let begun = env.instant();
            // So that not all come back at once.
            let wait = self.wait.mul_f64(1.0 - dice.unit_f64() / 8.0);
            let asked = api.service(&self.name, cursor, wait).await;
            let took = env.instant().saturating_duration_since(begun);
            let is_refused = match api.fate() {
                Fate::Answered => false,
                Fate::Unanswered => is_first && took < REFUSED_WITHIN,
                Fate::TooMany => true,
            };
            let (asked, entries) = match asked {
                Err(_) if is_refused => return Err(Heard::TurnedAway(self.name.clone())),
                asked => asked.map_err(Heard::Lost)?,
            };
            is_first = false;
            cursor = asked.cursor;
            if let Some(entries) = entries {
                let fetched = Fetched::new(&self.datacenter, &asked, &entries);
                let heard = Heard::Service(self.name.clone(), fetched);
                let sent = self.sender.send(heard).await;
                sent.map_err(|_| Heard::Lost(Ended::Closed))?;
                env.sleep(REST).await;
            }
        }
    }

    async fn take_seat(&self) -> Result<Seat, Heard> {
        let env = &self.datacenter.env;
        let taking = async {
            loop {
                match self.seats.take().await {
                    Ok(seat) => return seat,
                    Err(_) => env.sleep(SEAT_PAUSE).await,
                }
            }
        };
        let taken = env.timeout(SEAT_TIMEOUT, taking).await;
        taken.map_err(|_| Heard::TurnedAway(self.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_begin_at_once_and_many_one_after_the_other() {
        assert_eq!(spread(BURST), Duration::ZERO);
        assert_eq!(spread(BURST + 1), Duration::from_secs(1));
        assert_eq!(spread(5000), Duration::from_secs(10));
    }
}
