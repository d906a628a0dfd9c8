//! Inboxes: how what sources say reaches the fold.
//!
//! Every source has an inbox of its own with room for [`INBOX_CHANGES_MAX`] changes;
//! a source that is too fast waits for itself and for nobody else. The fold takes
//! batches, fairly. Messages carry a permit of their inbox, so that the one queue
//! behind all inboxes is bounded by them.

mod inflow;
mod pulse;
mod recollection;
#[cfg(test)]
mod tests;
mod ticket;

use std::{collections::BTreeMap, sync::Arc};

use portolan_model::{Change, NodeId, Revision, SourceId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub use self::{
    inflow::Inflow,
    pulse::{Failure, Pulse, PulseReport, Pulses, SAMPLING},
    recollection::Recollection,
    ticket::Ticket,
};
use crate::{Judgement, News, Resolution, Ruled, Saying, Seen, fold::Bequest};

/// Most changes that wait in one inbox.
pub const INBOX_CHANGES_MAX: usize = 1024;

/// The inbox is closed: its source left the configuration, or the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the inbox is closed")]
pub struct InboxClosed;

/// Which turn an inbox has in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Before the others: up to half of a batch, more if there is room. For the registry.
    First,
    /// One change at a time, in rotation.
    Fair,
}

/// One saying for the fold, and who waits for it.
#[derive(Debug)]
pub struct Arrival {
    /// What was said.
    pub saying: Saying,
    /// Resolve this with the revision once readers see it; dropping it says that
    /// the change was not taken in.
    pub done: Option<oneshot::Sender<Revision>>,
}

/// A source's end.
#[derive(Debug)]
pub struct Inbox {
    source: SourceId,
    generation: u64,
    room: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<Message>,
    pulse: Arc<Pulse>,
    node: Option<NodeId>,
}

/// Hands out inboxes.
#[derive(Debug)]
pub struct InboxHub {
    queue: mpsc::UnboundedSender<Message>,
    open: BTreeMap<SourceId, Arc<Semaphore>>,
    generations: u64,
    pulses: Pulses,
    node: Option<NodeId>,
}

#[derive(Debug)]
struct Message {
    source: SourceId,
    generation: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Open(Turn),
    Said(Parcel),
    /// Told about the source, not by it.
    Recalled(Parcel),
    /// The inbox was dropped; the source ended by itself.
    Ended,
    Close,
}

#[derive(Debug)]
struct Parcel {
    arrival: Arrival,
    /// Gives the room back when the arrival is taken. `None` for our own words.
    _room: Option<OwnedSemaphorePermit>,
}

/// Makes the hub and the fold's end of all its inboxes.
#[must_use]
pub fn inboxes() -> (InboxHub, Inflow) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let hub = InboxHub {
        queue: sender,
        open: BTreeMap::new(),
        generations: 0,
        pulses: Pulses::default(),
        node: None,
    };
    (hub, Inflow::new(receiver))
}

impl InboxHub {
    /// Says who this Portolan is; inboxes that are opened from now on know it.
    #[must_use]
    pub fn of_node(self, node: NodeId) -> Self {
        let node = Some(node);
        Self { node, ..self }
    }

    /// Opens an inbox. If the source has one, it is replaced: the old one is closed,
    /// the source's instances stay until the new one's first `Reset`, and what that
    /// does not name goes at once, because the configuration said so.
    pub fn open(&mut self, source: &SourceId, turn: Turn) -> Inbox {
        self.generations += 1;
        let room = Arc::new(Semaphore::new(INBOX_CHANGES_MAX));
        if let Some(replaced) = self.open.insert(source.clone(), Arc::clone(&room)) {
            replaced.close();
        }
        let inbox = Inbox {
            source: source.clone(),
            generation: self.generations,
            room,
            queue: self.queue.clone(),
            pulse: self.pulses.of(source),
            node: self.node.clone(),
        };
        inbox.tell(Kind::Open(turn));
        inbox
    }

    /// Closes an inbox: the source left the configuration, and all of its instances
    /// leave the catalogue at once.
    pub fn close(&mut self, source: &SourceId) {
        let Some(room) = self.open.remove(source) else {
            return;
        };
        room.close();
        self.pulses.forget(source);
        // A fold that is gone needs no news.
        let _gone = self.queue.send(Message {
            source: source.clone(),
            generation: self.generations,
            kind: Kind::Close,
        });
    }
}

impl InboxHub {
    /// A way to remind the fold of what sources said before.
    #[must_use]
    pub fn recollection(&self) -> Recollection {
        Recollection::new(self.queue.clone())
    }

    /// How the sources that have inboxes are getting on.
    #[must_use]
    pub fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }
}

impl Inbox {
    /// How the source is getting on.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Whose inbox it is.
    #[must_use]
    pub const fn source(&self) -> &SourceId {
        &self.source
    }

    /// Who this Portolan is, so that a source knows what it told others itself; none where
    /// nobody said so.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeId> {
        self.node.as_ref()
    }

    /// Says something. Waits while the inbox is full.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn send(&self, change: Change) -> Result<(), InboxClosed> {
        self.put(None, News::Said(change), None).await
    }

    /// Says that the source has the last word about what was remembered of it, because it is
    /// a person's: what its next `Reset` does not name goes at once.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn overrule(&self) -> Result<(), InboxClosed> {
        self.put(None, News::Replaced, None).await
    }

    /// Says what the prober found about an instance of any source.
    ///
    /// # Errors
    /// [`InboxClosed`]: the prober should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn judge(&self, judgement: Judgement) -> Result<(), InboxClosed> {
        self.put(None, News::Judged(judgement), None).await
    }

    /// Says what an operator ruled about an instance of any source, and hands out a ticket
    /// to wait with.
    ///
    /// # Errors
    /// [`InboxClosed`]: the registry should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn rule(&self, actor: Option<Arc<str>>, ruled: Ruled) -> Result<Ticket, InboxClosed> {
        let (done, ticket) = oneshot::channel();
        self.put(actor, News::Ruled(ruled), Some(done)).await?;
        Ok(Ticket(ticket))
    }

    /// Says something on behalf of `actor` and hands out a ticket to wait with, so that
    /// the next change can follow in order meanwhile.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn post(
        &self,
        actor: Option<Arc<str>>,
        change: Change,
    ) -> Result<Ticket, InboxClosed> {
        let (done, ticket) = oneshot::channel();
        self.put(actor, News::Said(change), Some(done)).await?;
        Ok(Ticket(ticket))
    }

    /// Says what a predecessor of this process knew beyond what words say, and hands out
    /// a ticket to wait with.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn bequeath(&self, bequest: Bequest) -> Result<Ticket, InboxClosed> {
        let (done, ticket) = oneshot::channel();
        self.put(None, News::Bequeathed(bequest), Some(done))
            .await?;
        Ok(Ticket(ticket))
    }

    /// Says what somebody found out about an instance of which the source does not speak
    /// any more.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end.
    ///
    /// # Cancellation
    /// Nothing is said unless it resolves.
    pub async fn sight(&self, seen: Seen) -> Result<(), InboxClosed> {
        self.put(None, News::Seen(seen), None).await
    }

    /// Says what `actor` decided about holds of any source, and waits until readers see it.
    ///
    /// # Errors
    /// [`InboxClosed`]; whether it was taken in is unknown.
    ///
    /// # Cancellation
    /// It may have been said.
    pub async fn resolve(
        &self,
        actor: Option<Arc<str>>,
        resolution: Resolution,
    ) -> Result<Revision, InboxClosed> {
        let (done, ticket) = oneshot::channel();
        let news = News::Resolved(resolution);
        self.put(actor, news, Some(done)).await?;
        Ticket(ticket).await
    }

    /// Says something and waits until readers see it.
    ///
    /// # Errors
    /// [`InboxClosed`]: the source should end; whether the change was taken in is unknown.
    ///
    /// # Cancellation
    /// The change may have been said.
    pub async fn commit(
        &self,
        actor: Option<Arc<str>>,
        change: Change,
    ) -> Result<Revision, InboxClosed> {
        self.post(actor, change).await?.await
    }

    async fn put(
        &self,
        actor: Option<Arc<str>>,
        news: News,
        done: Option<oneshot::Sender<Revision>>,
    ) -> Result<(), InboxClosed> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        if let News::Said(change) = &news {
            self.pulse.count(change);
        }
        let saying = Saying {
            source: self.source.clone(),
            actor,
            news,
        };
        let message = Message {
            source: self.source.clone(),
            generation: self.generation,
            kind: Kind::Said(Parcel {
                arrival: Arrival { saying, done },
                _room: Some(room.map_err(|_| InboxClosed)?),
            }),
        };
        self.queue.send(message).map_err(|_| InboxClosed)
    }

    fn tell(&self, kind: Kind) {
        // A fold that is gone needs no news.
        let _gone = self.queue.send(Message {
            source: self.source.clone(),
            generation: self.generation,
            kind,
        });
    }
}

/// A source that ends without being closed, by a panic say, is marked stale.
impl Drop for Inbox {
    fn drop(&mut self) {
        self.tell(Kind::Ended);
    }
}
