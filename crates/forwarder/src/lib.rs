//! Names that are not ours: asked for at recursors, and remembered for as long as it holds.
//!
//! No open resolver: only clients in the allowed networks are answered, and only when they
//! ask for recursion. Equal questions are asked once. A recursor that does not answer in its
//! usual time is not waited for alone: the next one is asked as well, and the first good
//! answer counts. Everything is bounded: questions under way, clients that wait, tries, time,
//! and the bytes of the cache.
//!
//! Invariant: whoever is in `allow` gets one answer within the deadline, be it SERVFAIL.
//!
//! Source: RFC 5625; RFC 5452; RFC 8767 for stale answers.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod answer;
mod cache;
mod cursor;
mod exchange;
mod figures;
mod flights;
mod message;
mod port;
mod settings;
#[cfg(test)]
mod tests;
mod upstreams;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use portolan_runtime::{Env, Task};
use tokio::sync::{Semaphore, mpsc};

use answer::{Answer, Lifetime};
use cache::{Bounds, Cache, Known};
use exchange::{AskError, Exchange, Sockets};
use figures::Counts;
use flights::{Boarded, Flight, Flights, Landing, Outcome};
use message::{Asked, Note, Query, REFUSED, SERVFAIL};
use upstreams::Upstreams;

pub use cursor::{Cursor, Head, Record};
pub use figures::Figures;
pub use port::{Beyond, Later, Peer, Transport};
pub use settings::{Settings, near};

/// What the option of a cookie takes in all (RFC 7873): whoever asks puts one into our answers,
/// which leave room for it.
pub const COOKIE_BYTES: u16 = 28;
/// What a client without EDNS can take by UDP (RFC 1035, section 4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;
/// Most tries of a question, over all recursors.
const TRIES_MAX: usize = 8;
/// Fewest tries: a datagram may be lost.
const TRIES_MIN: usize = 3;
/// How long a client waits when there is a stale answer (RFC 8767, section 5).
const STALE_PATIENCE: Duration = Duration::from_millis(1800);
/// How long a stale answer may be kept by whoever gets it (RFC 8767, section 4).
const STALE_TTL: u32 = 30;

/// Asks recursors; cheap to clone.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    settings: Settings,
    env: Env,
    exchange: Box<dyn Exchange>,
    cache: Mutex<Cache>,
    upstreams: Mutex<Upstreams>,
    flights: Arc<Flights>,
    waiting: Semaphore,
    counts: Counts,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Forwarder").field(&self.0.settings).finish()
    }
}

impl Forwarder {
    /// Asks by sockets.
    #[must_use]
    pub fn new(settings: Settings, env: Env) -> Self {
        Self::over(settings, env, Box::new(Sockets))
    }

    fn over(settings: Settings, env: Env, exchange: Box<dyn Exchange>) -> Self {
        let bounds = Bounds {
            bytes: usize::try_from(settings.cache.as_bytes()).unwrap_or(usize::MAX),
            ttl_max: settings.ttl_max,
            negative_ttl_max: settings.negative_ttl_max,
            stale: settings.stale,
        };
        let upstreams = Upstreams::new(&settings.recursors, env.dice());
        Self(Arc::new(Inner {
            exchange,
            cache: Mutex::new(Cache::new(bounds)),
            upstreams: Mutex::new(upstreams),
            flights: Flights::new(settings.questions_max),
            waiting: Semaphore::new(settings.waiting_max),
            counts: Counts::default(),
            settings,
            env,
        }))
    }

    /// The answer to a query; none if it is no query that can be forwarded.
    async fn find_answer(&self, query: &[u8], peer: Peer) -> Option<Vec<u8>> {
        let query = Query::read(query)?;
        let inner = &*self.0;
        if !inner.may_ask(peer.address.ip()) || !query.is_recursion_desired {
            count(&inner.counts.refused);
            return Some(query.failed(REFUSED, Note::Prohibited));
        }
        let Some((answer, lifetime)) = self.find(&query.asked()).await else {
            count(&inner.counts.failures);
            return Some(query.failed(SERVFAIL, Note::NoAnswer));
        };
        Some(answer.told(&query, lifetime, inner.limit(&query, peer.transport)))
    }

    /// How forwarding gets on.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let inner = &*self.0;
        let counts = &inner.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            hits: read(&counts.hits),
            misses: read(&counts.misses),
            stale: read(&counts.stale),
            failures: read(&counts.failures),
            refused: read(&counts.refused),
            entries: inner.cache().len(),
            recursors: inner.upstreams().here(),
        }
    }

    async fn find(&self, asked: &Asked) -> Option<(Arc<Answer>, Lifetime)> {
        let inner = &*self.0;
        let key = asked.key();
        let known = inner.cache().find(&key, inner.env.instant());
        let stale = match known {
            Known::Fresh(answer, age) => {
                count(&inner.counts.hits);
                let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
                let lifetime = inner.lifetime(&answer, age);
                return Some((answer, lifetime));
            }
            Known::Failed(stale) => return stale.map(|answer| inner.stale(answer)),
            Known::Stale(stale) => Some(stale),
            Known::Nothing => None,
        };
        count(&inner.counts.misses);
        match self.ask(asked, stale.is_some()).await {
            Some(answer) => {
                let lifetime = inner.lifetime(&answer, 0);
                Some((answer, lifetime))
            }
            None => stale.map(|answer| inner.stale(answer)),
        }
    }

    /// Asks, or waits for whoever asks the same. With something to fall back on, the wait is
    /// shorter than the question's own deadline.
    async fn ask(&self, asked: &Asked, has_stale: bool) -> Outcome {
        let inner = &*self.0;
        let _place = inner.waiting.try_acquire().ok()?;
        let landing = match inner.flights.board(&asked.key()) {
            Boarded::Joined(landing) => landing,
            Boarded::First(flight, landing) => {
                let (forwarder, asked) = (self.clone(), asked.clone());
                let asking = async move { forwarder.0.fly(flight, &asked).await };
                // It ends with its deadline, whoever still waits for it.
                inner.env.spawn("dns question", asking).detach();
                landing
            }
            Boarded::Full => return None,
        };
        let patience = if has_stale {
            STALE_PATIENCE.min(inner.settings.deadline)
        } else {
            inner.settings.deadline
        };
        inner.env.timeout(patience, landed(landing)).await.ok()?
    }
}

/// What came of it, once it has come to its end.
async fn landed(mut landing: Landing) -> Outcome {
    let end = landing.wait_for(Option::is_some).await.ok()?;
    end.clone().flatten()
}

/// A client that goes away does not end a question that others wait for.
impl Beyond for Forwarder {
    fn answer(&self, query: Bytes, peer: Peer) -> Later<'_, Option<Bytes>> {
        Box::pin(async move { self.find_answer(&query, peer).await.map(Bytes::from) })
    }
}

impl Inner {
    /// Most bytes of an answer.
    fn limit(&self, query: &Query, transport: Transport) -> usize {
        match (transport, query.edns) {
            (Transport::Stream, _) => usize::from(u16::MAX - COOKIE_BYTES),
            (Transport::Udp, Some(edns)) => {
                let most = self.settings.udp_bytes_max.max(PLAIN_UDP_BYTES);
                let taken = if edns.has_options { COOKIE_BYTES } else { 0 };
                let most = edns.udp_bytes.clamp(PLAIN_UDP_BYTES, most);
                most.saturating_sub(taken).into()
            }
            (Transport::Udp, None) => PLAIN_UDP_BYTES.into(),
        }
    }

    fn may_ask(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.settings.allow.iter().any(|net| net.contains(&client))
    }

    fn lifetime(&self, answer: &Answer, age: u32) -> Lifetime {
        let longest = self.cache().longest(answer).as_secs();
        Lifetime::Aged(age, u32::try_from(longest).unwrap_or(u32::MAX))
    }

    fn stale(&self, answer: Arc<Answer>) -> (Arc<Answer>, Lifetime) {
        count(&self.counts.stale);
        (answer, Lifetime::Stale(STALE_TTL))
    }

    /// Asks, remembers what came of it, and tells everybody who waits.
    async fn fly(self: Arc<Self>, flight: Flight, asked: &Asked) {
        let outcome = self.resolve(asked).await.map(Arc::new);
        let (key, now) = (asked.key(), self.env.instant());
        match &outcome {
            Some(answer) => self.cache().keep(&key, answer, now),
            None => self.cache().fail(&key, now),
        }
        flight.land(outcome);
    }

    /// Asks one recursor after the other until one answers.
    async fn resolve(self: &Arc<Self>, asked: &Asked) -> Option<Answer> {
        let begin = self.env.instant();
        let deadline = begin.checked_add(self.settings.deadline).unwrap_or(begin);
        let order = self.upstreams().order(begin);
        let tries = tries(order.places.len());
        let mut next = order.places.iter().copied().cycle().take(tries);
        let (told, mut tellings) = mpsc::channel(TRIES_MAX.saturating_add(1));
        let mut tasks = Vec::new();
        if let Some(place) = order.trial {
            // Whether it answers is what counts; its pause is longer if it does not.
            self.try_one(place, asked, None).detach();
        }
        let mut under_way = 0_usize;
        let mut newest = None;
        let mut is_next_due = true;
        let mut patience = deadline;
        loop {
            if std::mem::take(&mut is_next_due) {
                patience = deadline;
                if let Some(place) = next.next() {
                    tasks.push(self.try_one(place, asked, Some(told.clone())));
                    under_way = under_way.saturating_add(1);
                    newest = Some(place);
                    patience = self.patience(place, deadline);
                } else if under_way == 0 {
                    return None;
                }
            }
            tokio::select! {
                Some(answer) = tellings.recv() => {
                    if answer.is_some() {
                        return answer;
                    }
                    under_way = under_way.saturating_sub(1);
                    is_next_due = true;
                }
                () = self.env.sleep_until(patience) => {
                    self.note_late(newest.take());
                    if patience >= deadline {
                        return None;
                    }
                    is_next_due = true;
                }
            }
        }
    }

    /// Asks one, and tells what it said; nothing if it did not answer the question.
    fn try_one(
        self: &Arc<Self>,
        place: usize,
        asked: &Asked,
        told: Option<mpsc::Sender<Option<Answer>>>,
    ) -> Task {
        let (inner, asked) = (Arc::clone(self), asked.clone());
        self.env.spawn("dns try", async move {
            let Some(address) = inner.upstreams().address(place) else {
                return;
            };
            let begin = inner.env.instant();
            let asking = inner.exchange.ask(address, &asked);
            let Ok(answer) = inner.env.timeout(inner.settings.deadline, asking).await else {
                return;
            };
            let answer = inner.judge(place, begin, answer);
            if let Some(told) = told {
                // Whoever does not listen any more has an answer.
                let _heard = told.send(answer).await;
            }
        })
    }

    fn judge(
        &self,
        place: usize,
        begin: Instant,
        answer: Result<Answer, AskError>,
    ) -> Option<Answer> {
        let now = self.env.instant();
        let mut upstreams = self.upstreams();
        let recursor = upstreams.address(place);
        match answer {
            Ok(answer) => {
                if upstreams.answered(place, now.saturating_duration_since(begin)) {
                    tracing::info!(address = ?recursor, "recursor answers again");
                }
                answer.is_final().then_some(answer)
            }
            Err(error) => {
                if upstreams.failed(place, now) {
                    tracing::warn!(%error, address = ?recursor, "recursor does not answer; left alone for a while");
                }
                None
            }
        }
    }

    fn patience(&self, place: usize, deadline: Instant) -> Instant {
        let patience = self.upstreams().patience(place);
        let now = self.env.instant();
        now.checked_add(patience).unwrap_or(now).min(deadline)
    }

    fn note_late(&self, place: Option<usize>) {
        let Some(place) = place else { return };
        let mut upstreams = self.upstreams();
        if upstreams.was_late(place, self.env.instant()) {
            let recursor = upstreams.address(place);
            tracing::warn!(address = ?recursor, "recursor is silent; left alone for a while");
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Nothing is left half done by whoever panics.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Most sockets that questions take at the same time, with so many recursors.
#[must_use]
pub fn sockets_max(settings: &Settings) -> u64 {
    let tries = tries(settings.recursors.len());
    u64::try_from(settings.questions_max.saturating_mul(tries)).unwrap_or(u64::MAX)
}

/// Tries of a question, over so many recursors.
fn tries(recursors: usize) -> usize {
    recursors.saturating_mul(2).clamp(TRIES_MIN, TRIES_MAX)
}

/// How long an answer to a query may be kept, in seconds, as its records say; none if they
/// don't, or if it is no answer to that.
#[must_use]
pub fn lifetime(query: &[u8], answer: &[u8]) -> Option<u32> {
    Answer::read(query, answer).ok()?.ttl
}
