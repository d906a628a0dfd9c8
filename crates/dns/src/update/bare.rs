//! What is said to those who are not known: little, and at little cost.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::op::ResponseCode;
use portolan_forwarder::Cursor;

/// Where a message that is an answer says so, and the operation.
const RESPONSE: u16 = 1 << 15;
const OPERATION: u16 = 0xf << 11;
/// An update's operation (RFC 2136, section 2.2).
const UPDATE: u16 = 5 << 11;
/// How often the log says that somebody was not heard.
const SAYING: Duration = Duration::from_mins(1);

/// An answer of the header and the zone as they came; none if the message is no update.
pub(super) fn bare(message: &[u8], code: ResponseCode) -> Option<Vec<u8>> {
    let mut cursor = Cursor {
        bytes: message,
        at: 0,
    };
    let head = cursor.head()?;
    if head.flags & (RESPONSE | OPERATION) != UPDATE {
        return None;
    }
    let start = cursor.at;
    let has_zone = head.questions == 1 && cursor.skip_question().is_some();
    let zone = if has_zone { start..cursor.at } else { 0..0 };
    let flags = RESPONSE | UPDATE | u16::from(code.low());
    let words = [head.id, flags, u16::from(has_zone), 0, 0, 0];
    let header = words.into_iter().flat_map(u16::to_be_bytes);
    let zone = message.get(zone).unwrap_or_default();
    Some(header.chain(zone.iter().copied()).collect())
}

/// Counts messages whose signatures are not good, and says so now and then: anybody can send
/// them, at any rate.
#[derive(Default)]
pub(super) struct Unheard(Mutex<(u64, Option<Instant>)>);

impl Unheard {
    pub(super) fn note(&self, now: Instant, client: IpAddr) {
        // Nothing is left half done by whoever panics.
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, said) = &mut *noted;
        *count = count.saturating_add(1);
        if said.is_none_or(|said| now.saturating_duration_since(said) >= SAYING) {
            tracing::warn!(
                peer = %client,
                "{count} dynamic updates were not signed as they should be, and were not done; \
                 the last one came from this peer"
            );
            (*count, *said) = (0, Some(now));
        }
    }
}
