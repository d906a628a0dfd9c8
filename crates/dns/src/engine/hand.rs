//! What one worker has in its hands, and uses again and again.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError},
};

use super::{Engine, MESSAGE_BYTES_MAX, Others};
use crate::{
    Peer, Transport, answer::Order, meters::Counters, settings::Settings, wire::Query, zone::Table,
};

/// What a client without EDNS can take by UDP (RFC 1035, section 4.2.1).
const PLAIN_UDP_BYTES: usize = 512;

/// What one worker has in its hands.
pub(crate) struct Hand {
    pub(super) table: Arc<Table>,
    pub(super) settings: Arc<Settings>,
    pub(super) others: Arc<Others>,
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) query: Query,
    pub(super) order: Order,
    pub(super) targets: Vec<(usize, IpAddr)>,
    /// The answer, after [`Outcome::Now`].
    pub(crate) out: Vec<u8>,
    pub(crate) counters: Arc<Counters>,
    pub(super) limited: u64,
}

impl Engine {
    pub(crate) fn hand(&self) -> Hand {
        Hand {
            table: Arc::default(),
            settings: self.settings.load_full(),
            others: self.others.load_full(),
            generation: 0,
            epoch: 0,
            query: Query::new(),
            order: Order::new(self.env.dice()),
            targets: Vec::new(),
            // A record that does not fit is written before it is known.
            out: Vec::with_capacity(MESSAGE_BYTES_MAX.saturating_mul(2)),
            counters: self.meters.worker(),
            limited: 0,
        }
    }

    pub(super) fn spare(&self) -> Hand {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        spare.unwrap_or_else(|| self.hand())
    }

    pub(super) fn put_back(&self, hand: Hand) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(hand);
    }
}

impl Hand {
    /// Most bytes of the answer.
    pub(super) fn limit(&self, peer: Peer) -> usize {
        if peer.transport != Transport::Udp {
            return MESSAGE_BYTES_MAX;
        }
        let most = usize::from(self.settings.udp_bytes_max);
        match &self.query.edns {
            Some(edns) => usize::from(edns.udp_bytes).clamp(PLAIN_UDP_BYTES, most),
            None => PLAIN_UDP_BYTES,
        }
    }

    /// Counts an answer that somebody else wrote. An update asks for no type.
    pub(super) fn answered(&mut self, asked: &[u8], answer: &[u8]) {
        let kind = self.query.read(asked).map_or(0, |()| self.query.kind);
        let [_, _, flags, codes, ..] = *answer else {
            return;
        };
        let is_cut = flags & 0x02 != 0;
        self.counters.answered(kind, codes & 0xf, is_cut);
    }

    /// Whether what does not fit is not told of.
    pub(super) fn is_silent(&self, peer: Peer) -> bool {
        let is_plain = peer.transport == Transport::Udp && self.query.edns.is_none();
        is_plain && self.settings.cuts_silently
    }
}
