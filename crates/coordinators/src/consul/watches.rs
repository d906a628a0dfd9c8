//! Services that have a blocking query of their own: all of them where there are seats
//! enough, else those that changed last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_runtime::Task;
use portolan_sources::frame::{Ended, Seats};
use tokio::sync::mpsc;

use super::{
    api::Cursor,
    follow::Datacenter,
    query::{Failed, Heard, One},
};

/// Answers that wait to be told.
const HEARD_MAX: usize = 64;
/// Up to so many begin at once; of more, so many a second.
const BURST: usize = 64;
const STARTS_A_SECOND: usize = 500;
/// What changed this lately keeps its query.
const TENURE: Duration = Duration::from_secs(10);
/// The least time between two that give way: with HTTP/1 each costs a connection.
const GIVE_WAY_PAUSE: Duration = Duration::from_millis(100);
/// After being turned away, all seats are tried again after this.
const RELIEF: Duration = Duration::from_mins(10);
/// A query that failed begins again after this, and twice as long each time that it is not
/// answered then.
const FALTER_PAUSE: Duration = Duration::from_secs(1);
const FALTER_PAUSE_MAX: Duration = Duration::from_secs(16);

/// The queries; they end when this is dropped.
pub(super) struct Watches {
    datacenter: Datacenter,
    seats: Arc<Seats>,
    /// How many there may be.
    room: usize,
    running: BTreeMap<String, Watch>,
    /// Those that were turned away, and when they had begun.
    suspects: BTreeMap<String, Instant>,
    /// Those whose query failed, until they are fetched, and how often in a row it did.
    faltered: BTreeMap<String, u32>,
    /// The last watch's number.
    number: u64,
    shrunk: Option<Instant>,
    gave_way: Option<Instant>,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
}

struct Watch {
    number: u64,
    begun: Instant,
    /// How often in a row the one before failed.
    falters: u32,
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
            faltered: BTreeMap::new(),
            number: 0,
            shrunk: None,
            gave_way: None,
            sender,
            heard,
        }
    }

    /// The next answer, of a query that was not ended meanwhile. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = self.heard.recv().await?;
            let watch = self.running.get(&heard.name);
            if watch.is_some_and(|watch| watch.number == heard.number) {
                return Some(heard);
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.running.contains_key(name)
    }

    /// How many services have a query, or will have it again as soon as they are fetched.
    pub(super) fn len(&self) -> usize {
        self.running.len().saturating_add(self.faltered.len())
    }

    /// Ends those of services that are not wanted any more.
    pub(super) fn end(&mut self, gone: &BTreeSet<String>) {
        for name in gone {
            self.running.remove(name);
            self.suspects.remove(name);
            self.faltered.remove(name);
        }
        self.acquit();
    }

    /// Begins as many as there is room for, of these services; each goes on where it was seen
    /// last.
    pub(super) fn fill(&mut self, wanted: &BTreeSet<String>, cursor_of: impl Fn(&str) -> Cursor) {
        let room = self.room.saturating_sub(self.running.len());
        if room == 0 {
            return;
        }
        let is_new = |name: &&String| {
            let is_out = self.suspects.contains_key(*name) || self.faltered.contains_key(*name);
            !is_out && !self.has(name)
        };
        let new: Vec<String> = wanted.iter().filter(is_new).take(room).cloned().collect();
        let spread = spread(new.len());
        let mut dice = self.datacenter.env.dice();
        for name in new {
            let cursor = cursor_of(&name);
            let delay = spread.mul_f64(dice.unit_f64());
            self.start(name, cursor, (delay, 0));
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
        self.start(name.to_owned(), cursor, (Duration::ZERO, 0));
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

    /// The query of this one failed: it is to be fetched, and begins again then.
    ///
    /// # Errors
    /// Why it failed, if the server is not there at all.
    pub(super) fn falter(&mut self, name: &str, failed: Failed) -> Result<(), Ended> {
        let Some(watch) = self.running.remove(name) else {
            return Ok(());
        };
        if !failed.is_silent {
            self.faltered.insert(name.to_owned(), 1);
        } else if watch.falters == 0 || self.seats.is_connected() {
            let falters = watch.falters.saturating_add(1);
            self.faltered.insert(name.to_owned(), falters);
        } else {
            // Others answer that it is so, and this one does not for the second time.
            return Err(failed.why);
        }
        Ok(())
    }

    /// This one was fetched: if its query had failed, it goes on from there.
    pub(super) fn resume(&mut self, name: &str, cursor: Cursor) {
        let Some(falters) = self.faltered.remove(name) else {
            return;
        };
        if self.running.len() < self.room {
            let doublings = falters.saturating_sub(1).min(8);
            let pause = FALTER_PAUSE.saturating_mul(1 << doublings);
            let share = 0.5 + self.datacenter.env.dice().unit_f64() / 2.0;
            let delay = pause.min(FALTER_PAUSE_MAX).mul_f64(share);
            self.start(name.to_owned(), cursor, (delay, falters));
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
        }
        self.acquit();
    }

    /// All seats are there where nobody is under suspicion any more and none turned out to be
    /// one too many: services may be gone before that is known.
    fn acquit(&mut self) {
        if self.suspects.is_empty() && self.shrunk.is_none() {
            self.room = self.seats.count();
        }
    }

    fn start(&mut self, name: String, cursor: Cursor, (delay, falters): (Duration, u32)) {
        self.number = self.number.wrapping_add(1);
        let one = One {
            datacenter: self.datacenter.clone(),
            seats: Arc::clone(&self.seats),
            name: name.clone(),
            number: self.number,
            sender: self.sender.clone(),
        };
        let env = self.datacenter.env.clone();
        let task = self.datacenter.env.spawn("consul service", async move {
            env.sleep(delay).await;
            one.run(cursor).await;
        });
        let watch = Watch {
            number: self.number,
            falters,
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

#[cfg(test)]
mod tests {
    use portolan_model::SourceId;
    use portolan_runtime::Env;
    use portolan_sources::frame::{InTheClear, Provenance};
    use serde_json::json;

    use super::{
        super::{
            api::Good,
            query::Told,
            settings::{self, Settings},
        },
        *,
    };

    /// Four places at a server that is not there.
    async fn four() -> Watches {
        let settings: Settings = settings::read(&json!({"url": "http://127.0.0.1:1"})).unwrap();
        let datacenter = Datacenter {
            settings: Arc::new(settings),
            source: SourceId::new("test:one"),
            env: Env::system(),
            name: None,
            index: 0,
            provenance: Provenance::default(),
            good: Good::default(),
            reports: mpsc::channel(1).0,
        };
        let seats = datacenter.api().seats(4, InTheClear::Http1).await.unwrap();
        Watches::new(&datacenter, seats)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn fill(watches: &mut Watches, wanted: &[&str]) {
        watches.fill(&names(wanted), |_| Cursor::default());
    }

    fn silent() -> Failed {
        Failed {
            why: Ended::lost("silent"),
            is_silent: true,
        }
    }

    #[tokio::test]
    async fn an_answer_is_not_taken_for_one_to_a_later_query() {
        let mut watches = four().await;
        fill(&mut watches, &["a"]);
        let old = Heard {
            name: "a".to_owned(),
            number: watches.running["a"].number,
            told: Told::TurnedAway,
        };
        assert!(watches.sender.try_send(old).is_ok());
        watches.end(&names(&["a"]));
        fill(&mut watches, &["a"]);
        let heard = watches.next().await.unwrap();
        assert_eq!(heard.number, watches.running["a"].number);
    }

    #[tokio::test]
    async fn room_comes_back_when_those_who_were_turned_away_are_gone() {
        let mut watches = four().await;
        fill(&mut watches, &["a", "b", "c", "d"]);
        watches.turn_away("a");
        watches.turn_away("b");
        assert_eq!(watches.room, 2);
        watches.end(&names(&["a"]));
        assert_eq!(watches.room, 2, "it is not known yet of the other one");
        watches.end(&names(&["b"]));
        assert_eq!(watches.room, 4);
        watches.turn_away("c");
        watches.reckon("c");
        watches.end(&names(&["c"]));
        watches.relieve();
        assert!(watches.room < 4, "the server takes fewer");
    }

    #[tokio::test]
    async fn a_query_that_failed_begins_again_once_its_service_is_fetched() {
        let mut watches = four().await;
        fill(&mut watches, &["a"]);
        watches.falter("a", silent()).unwrap();
        fill(&mut watches, &["a"]);
        assert!(!watches.has("a"));
        assert_eq!(watches.len(), 1, "nobody else has to look at it");
        watches.resume("a", Cursor::default());
        assert!(watches.has("a"));
        let why = watches.falter("a", silent());
        assert_eq!(why, Err(Ended::lost("silent")), "the server is away");
    }

    #[test]
    fn few_begin_at_once_and_many_one_after_the_other() {
        assert_eq!(spread(BURST), Duration::ZERO);
        assert_eq!(spread(BURST + 1), Duration::from_secs(1));
        assert_eq!(spread(5000), Duration::from_secs(10));
    }
}
