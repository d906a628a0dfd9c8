//! How the fold hears what was known to processes before this one.

use std::sync::Arc;

use portolan_model::{Instance, Revision, SourceId};
use tokio::sync::{mpsc, oneshot};

use super::{Arrival, Kind, Message, Parcel, Ticket};
use crate::{News, Saying};

/// Tells the fold what sources said to a process before this one; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recollection(mpsc::UnboundedSender<Message>);

impl Recollection {
    pub(super) const fn new(queue: mpsc::UnboundedSender<Message>) -> Self {
        Self(queue)
    }

    /// Hands over what a source said last. It is not taken in, and the ticket fails, if the
    /// source has no inbox.
    #[must_use = "the catalogue has it when the ticket resolves"]
    pub fn remind(&self, source: &SourceId, instances: Vec<Arc<Instance>>) -> Ticket {
        self.tell(source, News::Remembered(instances))
    }

    /// Says how far journals before this process's go, once the catalogue has become again
    /// what it was at their end. It goes by an inbox that is open, that of `source`.
    #[must_use = "the catalogue has it when the ticket resolves"]
    pub fn recall(&self, source: &SourceId, newest: Revision) -> Ticket {
        self.tell(source, News::Recalled(newest))
    }

    fn tell(&self, source: &SourceId, news: News) -> Ticket {
        let (done, ticket) = oneshot::channel();
        let saying = Saying {
            source: source.clone(),
            actor: None,
            news,
        };
        let parcel = Parcel {
            arrival: Arrival {
                saying,
                done: Some(done),
            },
            _room: None,
        };
        // A fold that is gone needs no news.
        let _gone = self.0.send(Message {
            source: source.clone(),
            generation: 0,
            kind: Kind::Recalled(parcel),
        });
        Ticket(ticket)
    }
}
