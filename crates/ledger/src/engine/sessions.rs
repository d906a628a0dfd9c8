//! Sessions, and what becomes of their locks.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use portolan_model::Revision;
use portolan_store::Operation;

use super::{Answer, Engine, Live, Moment, Refusal, SESSIONS, SESSIONS_MAX, stored_key};
use crate::{
    entry::{Entry, Key},
    session::{Behavior, Session, SessionId, Terms},
};

/// A session ends when it was not renewed for so many times its TTL, as clients of Consul expect.
const TTLS_OF_GRACE: u32 = 2;

impl Engine {
    pub(super) fn begin(
        &mut self,
        now: Moment,
        next: Revision,
        id: SessionId,
        terms: Terms,
    ) -> Answer {
        if self.sessions.contains_key(&id) {
            return Answer::Refused(Refusal::SessionExists(id));
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Answer::Refused(Refusal::TooManySessions(SESSIONS_MAX));
        }
        let session = Session {
            id,
            // What is stored must be what can be read again.
            terms: terms.in_range(),
            created: next,
        };
        let stored = stored_key(SESSIONS, session.id.as_str());
        let text = serde_json::to_vec(&session).unwrap_or_default();
        self.writes.push(Operation::Put(stored, Bytes::from(text)));
        self.sessions_modified = next;
        self.take_in(now, session.clone());
        Answer::Session(Some(session))
    }

    /// Lets a session live, for its whole time.
    pub(super) fn take_in(&mut self, now: Moment, session: Session) {
        let id = session.id.clone();
        let live = Live {
            session,
            deadline: None,
        };
        self.sessions.insert(id.clone(), live);
        let _renewed = self.renew(now, &id);
    }

    pub(super) fn renew(&mut self, now: Moment, id: &SessionId) -> Option<Session> {
        let live = self.sessions.get_mut(id)?;
        if let Some(ttl) = live.session.terms.ttl {
            let deadline = now.uptime.saturating_add(ttl.saturating_mul(TTLS_OF_GRACE));
            if let Some(before) = live.deadline.replace(deadline) {
                self.deadlines.remove(&(before, id.clone()));
            }
            self.deadlines.insert((deadline, id.clone()));
        }
        Some(live.session.clone())
    }

    /// Ends a session; its keys are unlocked or deleted. Answers whether there was one.
    pub(super) fn end(&mut self, now: Moment, next: Revision, id: &SessionId) -> bool {
        let Some(live) = self.sessions.remove(id) else {
            return false;
        };
        if let Some(deadline) = live.deadline {
            self.deadlines.remove(&(deadline, id.clone()));
        }
        let stored = stored_key(SESSIONS, id.as_str());
        self.writes.push(Operation::Delete(stored));
        self.sessions_modified = next;
        for place in self.objects.owned(id) {
            self.put_object(&place, None);
        }
        let Terms {
            lock_delay,
            behavior,
            ..
        } = live.session.terms;
        for key in self.held.remove(id).unwrap_or_default() {
            self.unlock(next, &key, behavior);
            if lock_delay > Duration::ZERO {
                let until = now.uptime.saturating_add(lock_delay);
                self.delayed.insert(key, until);
            }
        }
        true
    }

    fn unlock(&mut self, next: Revision, key: &Key, behavior: Behavior) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let unlocked = Entry {
            session: None,
            modified: next,
            ..entry.clone()
        };
        match behavior {
            Behavior::Release => self.put(key, Some(unlocked)),
            Behavior::Delete => self.put(key, None),
        }
    }

    /// Ends the sessions whose time is up. Answers whether there were any.
    pub(super) fn expire(&mut self, now: Moment, next: Revision) -> bool {
        self.delayed.retain(|_, until| now.uptime < *until);
        let due: BTreeSet<SessionId> = self
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= now.uptime)
            .map(|(_, id)| id.clone())
            .collect();
        for id in &due {
            self.end(now, next, id);
        }
        !due.is_empty()
    }
}
