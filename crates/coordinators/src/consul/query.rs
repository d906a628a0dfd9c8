//! The blocking query of one service, on a seat of its own.
//!
//! A connection may end at any time, when a server or proxy is restarted: a query that worked
//! is asked again on another one before anybody is told.

use std::{sync::Arc, time::Duration};

use portolan_sources::frame::{Ended, NoSeat, Seats};
use tokio::sync::mpsc;

use super::{
    api::{Api, Cursor, Fate},
    crew::Fetched,
    follow::Datacenter,
    patience::{BRIEF, Patience},
};

/// A first question that fails sooner than this without an answer may be one too many.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);
/// How long a seat may take to become free, after the one before was told to leave.
const SEAT_TIMEOUT: Duration = Duration::from_secs(1);
const SEAT_PAUSE: Duration = Duration::from_millis(20);
/// What changes all the time is looked at this often.
const REST: Duration = Duration::from_millis(5);

/// What a query was answered.
pub(super) struct Heard {
    pub(super) name: String,
    /// The watch's, so that nothing is taken for an answer of its successor.
    pub(super) number: u64,
    pub(super) told: Told,
}

pub(super) enum Told {
    /// The service is so now.
    Service(Fetched),
    /// The server may not take so many queries of ours.
    TurnedAway,
    Failed(Failed),
}

/// A query failed, though it was tried twice if it had worked before.
pub(super) struct Failed {
    pub(super) why: Ended,
    /// Nothing was ever answered to this watch, not even by a refusal.
    pub(super) is_silent: bool,
}

/// One service's query.
pub(super) struct One {
    pub(super) datacenter: Datacenter,
    pub(super) seats: Arc<Seats>,
    pub(super) name: String,
    pub(super) number: u64,
    pub(super) sender: mpsc::Sender<Heard>,
}

impl One {
    pub(super) async fn run(self, cursor: Cursor) {
        if let Err(last) = self.follow(cursor).await {
            // Whoever does not listen any more ends this task.
            let _unheard = self.tell(last).await;
        }
    }

    /// Asks until nobody listens.
    async fn follow(&self, mut cursor: Cursor) -> Result<(), Told> {
        let env = &self.datacenter.env;
        let mut dice = env.dice();
        let mut api = self.sit(true).await?;
        let wait = self.datacenter.settings.wait;
        // Only a shared connection is asked by pings whether somebody answers there.
        let most = if self.seats.are_shared() {
            wait
        } else {
            wait.min(BRIEF)
        };
        let mut patience = Patience::new(most);
        // Whether anything was answered at all, or could have been, and on this seat.
        let (mut was_answered, mut is_fresh) = (false, true);
        loop {
            let begun = env.instant();
            // So that not all come back at once.
            let wait = patience.now().mul_f64(1.0 - dice.unit_f64() / 8.0);
            let asked = api.service(&self.name, cursor, wait).await;
            let took = env.instant().saturating_duration_since(begun);
            let is_refused = match api.fate() {
                Fate::Answered => false,
                Fate::Unanswered => !was_answered && took < REFUSED_WITHIN,
                Fate::TooMany => true,
            };
            let (asked, entries) = match asked {
                Ok(asked) => asked,
                Err(_) if is_refused => return Err(Told::TurnedAway),
                // The connection may be over, and nothing else, or somebody cuts what takes so
                // long: another one tells.
                Err(_) if patience.cut(took) || (!is_fresh && took < wait) => {
                    drop(api);
                    api = self.sit(false).await?;
                    // It stood for a while, so it was not one too many.
                    (was_answered, is_fresh) = (true, true);
                    continue;
                }
                Err(why) => {
                    let is_silent = !was_answered && api.fate() == Fate::Unanswered;
                    return Err(Told::Failed(Failed { why, is_silent }));
                }
            };
            (was_answered, is_fresh) = (true, false);
            if entries.is_none() {
                patience.served();
            }
            cursor = asked.cursor;
            if let Some(entries) = entries {
                let fetched = Fetched::new(&self.datacenter, &asked, &entries);
                if self.tell(Told::Service(fetched)).await.is_err() {
                    return Ok(());
                }
                env.sleep(REST).await;
            }
        }
    }

    async fn tell(&self, told: Told) -> Result<(), mpsc::error::SendError<Heard>> {
        let (name, number) = (self.name.clone(), self.number);
        let heard = Heard { name, number, told };
        self.sender.send(heard).await
    }

    /// Takes a seat. All may be taken for a moment, since those who were told to leave have
    /// to get up first.
    async fn sit(&self, is_first: bool) -> Result<Api, Told> {
        let env = &self.datacenter.env;
        let mut since = None;
        loop {
            let now = env.instant();
            match self.seats.take().await {
                Ok(seat) => {
                    let mut api = self.datacenter.api();
                    api.sit(seat);
                    return Ok(api);
                }
                Err(NoSeat::AllTaken) => {
                    let since = *since.get_or_insert(now);
                    if now.saturating_duration_since(since) >= SEAT_TIMEOUT {
                        return Err(Told::TurnedAway);
                    }
                    env.sleep(SEAT_PAUSE).await;
                }
                Err(NoSeat::Refused) => return Err(Told::TurnedAway),
                Err(NoSeat::Lost(why)) => {
                    let is_silent = is_first;
                    return Err(Told::Failed(Failed { why, is_silent }));
                }
            }
        }
    }
}
