//! Signed messages that came already: done once, however often they come.
//!
//! A signature holds for some minutes, so whoever saw a message on its way could send it again.
//! A client whose answer was lost does so in good faith, and gets the same answer again.
//!
//! Source: RFC 8945, sections 5.2.3 and 10.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use hickory_proto::{op::ResponseCode, rr::Name};

use super::tsig::{FUDGE, Verified};

/// Messages that are remembered for each key; of more, the oldest are too old to be taken.
const SEEN_MAX: usize = 4096;

/// What came of an update: its code, and the lease that was granted.
pub(super) type Done = (ResponseCode, Option<u32>);

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be done.
    New,
    /// It is being done; whoever sent it first is answered.
    UnderWay,
    /// It was done.
    Done(Done),
    /// It is older than what can be remembered.
    Late,
}

/// What came, by key.
#[derive(Default)]
pub(super) struct Replays(Mutex<BTreeMap<Name, Seen>>);

#[derive(Default)]
struct Seen {
    /// By the time of the signature, so that the oldest goes first.
    messages: BTreeMap<(u64, Vec<u8>), Option<Done>>,
    /// Signatures up to here were forgotten before their time.
    forgotten: Option<u64>,
}

impl Replays {
    /// Judges a message, whose signature's time is within bounds, at that time in seconds.
    pub(super) fn judge(&self, message: &Verified<'_>, now: u64) -> Verdict {
        self.with(message, |seen, place| {
            let oldest = now.saturating_sub(FUDGE.into());
            seen.messages = seen.messages.split_off(&(oldest, Vec::new()));
            if let Some(known) = seen.messages.get(&place) {
                return known.map_or(Verdict::UnderWay, Verdict::Done);
            }
            if seen.forgotten.is_some_and(|time| place.0 <= time) {
                return Verdict::Late;
            }
            seen.messages.insert(place, None);
            if seen.messages.len() > SEEN_MAX
                && let Some(((time, _), _)) = seen.messages.pop_first()
            {
                seen.forgotten = seen.forgotten.max(Some(time));
            }
            Verdict::New
        })
    }

    /// Remembers what came of it.
    pub(super) fn note(&self, message: &Verified<'_>, done: Done) {
        self.with(message, |seen, place| {
            if let Some(known) = seen.messages.get_mut(&place) {
                *known = Some(done);
            }
        });
    }

    fn with<T>(
        &self,
        message: &Verified<'_>,
        act: impl FnOnce(&mut Seen, (u64, Vec<u8>)) -> T,
    ) -> T {
        // Nothing is left half done by whoever panics.
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = keys.entry(message.key.name().clone()).or_default();
        act(seen, (message.asked.time, message.asked.mac.clone()))
    }
}
