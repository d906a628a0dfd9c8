//! One query in, one answer out.
//!
//! What the table knows is answered at once, into a buffer that is used again: nothing is
//! allocated for it, of whatever type the question is. Two things are, once: room, where an
//! answer is the largest so far, and what nobody asked of a service lately (see
//! [`zone`](crate::zone)). What others know is answered later, by a future.

mod cookie;
mod hand;
mod later;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use portolan_runtime::Env;
use portolan_snapshot::View;

pub(crate) use self::hand::Hand;
use crate::{
    Beyond, Directory, Meters, Peer, Transport, Updates,
    answer::{Pen, put_names, resolve, reversed},
    limiter::{Limiter, Verdict},
    meters::Dropped,
    settings::Settings,
    wire::{Bad, Closing, Code, Cookies, Message, Query, kind},
    zone::{Key, Tables},
};

/// Longest message by TCP, and the room of a buffer.
pub(crate) const MESSAGE_BYTES_MAX: usize = u16::MAX as usize;
/// Records that a client without EDNS gets where answers are cut silently.
const SILENT_RECORDS: usize = 3;
/// Classes that are answered: IN and ANY.
const CLASSES: [u16; 2] = [1, 255];

/// Those who know what the table does not.
#[derive(Clone, Default)]
pub struct Others {
    /// Names in none of our zones; such queries are refused without.
    pub beyond: Option<Arc<dyn Beyond>>,
    /// Dynamic updates; there are none without.
    pub updates: Option<Arc<dyn Updates>>,
    /// Nodes and prepared queries; nothing is known of them without.
    pub directory: Option<Arc<dyn Directory>>,
}

/// What all workers share.
pub(crate) struct Engine {
    pub(crate) env: Env,
    pub(crate) tables: Tables,
    settings: ArcSwap<Settings>,
    pub(crate) others: ArcSwap<Others>,
    /// Raised when settings or others change.
    epoch: AtomicU64,
    cookies: Cookies,
    limiter: Limiter,
    pub(crate) meters: Arc<Meters>,
    /// Hands of those who are no workers. Guards the list; held for no await.
    spare: Mutex<Vec<Hand>>,
}

/// What becomes of a query.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It gets no answer.
    Silent,
    /// The answer is in the hand.
    Now,
    /// Somebody else knows.
    Later(Task),
}

/// What becomes of a query of somebody who is no worker.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It was answered, or gets no answer.
    Done,
    /// Somebody else knows.
    Later(Task),
}

/// What somebody else is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Beyond,
    Update,
    Node(String),
    /// A prepared query, for that client.
    Query(String, IpAddr),
}

/// A query as it came.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'m> {
    pub(crate) message: &'m [u8],
    pub(crate) peer: Peer,
    /// The address that it came to.
    pub(crate) local: IpAddr,
    pub(crate) now: Instant,
}

impl Engine {
    pub(crate) fn new(env: Env, view: &View, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self {
            tables: Tables::new(view, env.clone(), Arc::clone(&settings)),
            limiter: Limiter::new(env.instant()),
            env,
            settings: ArcSwap::new(settings),
            others: ArcSwap::default(),
            epoch: AtomicU64::new(1),
            cookies: Cookies::new(),
            meters: Arc::default(),
            spare: Mutex::default(),
        }
    }

    /// Puts other settings in force.
    pub(crate) fn set(&self, settings: Settings) {
        let settings = Arc::new(settings);
        self.settings.store(Arc::clone(&settings));
        self.tables.set(settings);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Says who knows what the table does not.
    pub(crate) fn set_others(&self, others: Others) {
        self.others.store(Arc::new(others));
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Answers from the table.
    pub(crate) fn answer(&self, hand: &mut Hand, asked: Asked<'_>) -> Outcome {
        self.refresh(hand);
        let read = hand.query.read(asked.message);
        match read {
            Err(Bad::Silent) => {
                hand.counters.dropped(Dropped::Malformed);
                return Outcome::Silent;
            }
            // What could be read is said back, and OPT with it (RFC 6891, section 7).
            Err(Bad::Form) if hand.query.has_question() => {}
            Err(Bad::Update | Bad::Operation | Bad::Form) => hand.query.forget(),
            Ok(()) => {}
        }
        if self.is_limited(hand, &asked) {
            return self.limited(hand, &asked);
        }
        if read == Err(Bad::Update) && hand.others.updates.is_some() {
            return Outcome::Later(Task::Update);
        }
        let refused = match read {
            Ok(()) => check(&hand.query).err(),
            Err(Bad::Form) => Some(Code::FormErr),
            Err(_) => Some(Code::NotImp),
        };
        match refused {
            Some(code) => self.close(hand, &asked, code),
            None if !hand.query.has_question() => self.close(hand, &asked, Code::NoError),
            None => self.find(hand, &asked),
        }
    }

    /// Answers a question.
    fn find(&self, hand: &mut Hand, asked: &Asked<'_>) -> Outcome {
        let limit = hand.limit(asked.peer);
        let is_silent = hand.is_silent(asked.peer);
        let knows = hand.others.directory.is_some();
        let Some((zone, place, subject)) = resolve(&hand.query.name, &hand.table, &hand.settings)
        else {
            return self.outside(hand, asked);
        };
        let client = client(&hand.query, asked.peer);
        if let Some(task) = subject.task(client).filter(|_| knows) {
            return Outcome::Later(task);
        }
        let message = Message::new(&mut hand.out, asked.message, &hand.query, limit);
        let mut pen = Pen {
            query: &hand.query,
            zone,
            place,
            local: asked.local,
            near: near(&hand.query, &hand.settings, asked.peer),
            records_max: if is_silent {
                SILENT_RECORDS
            } else {
                usize::MAX
            },
            message,
            order: &mut hand.order,
            targets: &mut hand.targets,
        };
        let code = pen.write(&subject);
        let message = pen.message;
        let closing = self.closing((&hand.query, &hand.settings, &hand.others), asked);
        let closing = Closing {
            code: code.number(),
            is_authoritative: true,
            ..closing
        };
        let is_cut = message.finish(&hand.query, &closing, is_silent);
        let counters = &hand.counters;
        counters.answered(hand.query.kind, code.number(), is_cut);
        Outcome::Now
    }

    /// A name in none of our zones: an address of ours, or somebody else's.
    fn outside(&self, hand: &mut Hand, asked: &Asked<'_>) -> Outcome {
        if let Some(ip) = reversed(&hand.query.name) {
            let is_ours = !hand.table.of_address(ip).is_empty();
            if is_ours {
                return self.names(hand, asked, ip);
            }
        }
        if hand.others.beyond.is_some() {
            return Outcome::Later(Task::Beyond);
        }
        self.close(hand, asked, Code::Refused)
    }

    /// The names of an address of ours.
    fn names(&self, hand: &mut Hand, asked: &Asked<'_>, ip: IpAddr) -> Outcome {
        let limit = hand.limit(asked.peer);
        let mut message = Message::new(&mut hand.out, asked.message, &hand.query, limit);
        let wants = matches!(hand.query.kind, kind::PTR | kind::ANY);
        let keys = hand.table.of_address(ip).iter().filter(|_| wants);
        for service in keys.filter_map(|key| hand.table.find(&Key::of(key))) {
            for zone in &hand.settings.zones {
                put_names(&mut message, zone, service, ip);
            }
        }
        let closing = self.closing((&hand.query, &hand.settings, &hand.others), asked);
        let closing = Closing {
            is_authoritative: true,
            ..closing
        };
        let is_cut = message.finish(&hand.query, &closing, false);
        hand.counters.answered(hand.query.kind, 0, is_cut);
        Outcome::Now
    }

    /// An answer without records.
    fn close(&self, hand: &mut Hand, asked: &Asked<'_>, code: Code) -> Outcome {
        let limit = hand.limit(asked.peer);
        let message = Message::new(&mut hand.out, asked.message, &hand.query, limit);
        let closing = self.closing((&hand.query, &hand.settings, &hand.others), asked);
        let closing = Closing {
            code: code.number(),
            ..closing
        };
        message.finish(&hand.query, &closing, false);
        hand.counters
            .answered(hand.query.kind, code.number(), false);
        Outcome::Now
    }

    fn closing(
        &self,
        (query, settings, others): (&Query, &Settings, &Others),
        asked: &Asked<'_>,
    ) -> Closing {
        let edns = query.edns.as_ref();
        let cookie = edns.and_then(|edns| edns.cookie).map(|cookie| {
            let made = self
                .cookies
                .make(cookie.client, asked.peer.address.ip(), self.seconds());
            (cookie.client, made)
        });
        // A network that is not looked at is of no matter to the answer (RFC 7871, 7.2.1).
        let subnet = edns
            .and_then(|edns| edns.subnet)
            .map(|subnet| (subnet, settings.scope(subnet.address)));
        Closing {
            is_recursive: others.beyond.is_some(),
            udp_bytes: settings.udp_bytes_max,
            cookie,
            subnet,
            ..Closing::default()
        }
    }

    /// Whether the answer is beyond what its network gets: of those who may be somebody else.
    fn is_limited(&self, hand: &Hand, asked: &Asked<'_>) -> bool {
        if asked.peer.transport != Transport::Udp {
            return false;
        }
        let client = asked.peer.address.ip();
        let cookie = hand.query.edns.as_ref().and_then(|edns| edns.cookie);
        if cookie.is_some_and(|cookie| self.cookies.knows(&cookie, client, self.seconds())) {
            return false;
        }
        let verdict = self.limiter.judge(client, asked.now, &hand.settings.rate);
        verdict == Verdict::Limit
    }

    /// Drops an answer, or sends it cut, so that a real client asks by TCP.
    fn limited(&self, hand: &mut Hand, asked: &Asked<'_>) -> Outcome {
        hand.limited = hand.limited.wrapping_add(1);
        let slip = u64::from(hand.settings.rate.slip);
        if hand.limited.checked_rem(slip) != Some(0) {
            hand.counters.dropped(Dropped::Limited);
            return Outcome::Silent;
        }
        hand.counters.dropped(Dropped::Slipped);
        let limit = hand.limit(asked.peer);
        let mut message = Message::new(&mut hand.out, asked.message, &hand.query, limit);
        message.cut();
        let closing = self.closing((&hand.query, &hand.settings, &hand.others), asked);
        message.finish(&hand.query, &closing, false);
        Outcome::Now
    }

    /// Takes what is newest into the hand.
    fn refresh(&self, hand: &mut Hand) {
        let epoch = self.epoch.load(Ordering::Acquire);
        let generation = self.tables.generation();
        if hand.epoch == epoch && hand.generation == generation {
            return;
        }
        hand.settings = self.settings.load_full();
        hand.others = self.others.load_full();
        hand.table = self.tables.newest();
        (hand.epoch, hand.generation) = (epoch, generation);
    }

    fn seconds(&self) -> u64 {
        self.env.now().as_millis() / 1000
    }
}

/// The zone of whoever asks, as far as somebody knows.
fn near<'s>(query: &Query, settings: &'s Settings, peer: Peer) -> Option<&'s str> {
    settings.zone_of(client(query, peer)).map(|zone| &**zone)
}

/// Who asks, as far as a resolver says.
fn client(query: &Query, peer: Peer) -> IpAddr {
    let subnet = query.edns.as_ref().and_then(|edns| edns.subnet);
    let client = subnet.map_or(peer.address.ip(), |subnet| subnet.address);
    client.to_canonical()
}

/// What can't be answered, whatever the name is.
fn check(query: &Query) -> Result<(), Code> {
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Err(Code::BadVers);
    }
    if !query.has_question() {
        return Ok(());
    }
    match query.kind {
        0 | kind::OPT => return Err(Code::FormErr),
        // Keys, signatures, transfers and mailboxes.
        kind::TKEY..=kind::MAILA => return Err(Code::NotImp),
        _ => {}
    }
    if CLASSES.contains(&query.class) {
        Ok(())
    } else {
        Err(Code::Refused)
    }
}
