//! The fold's end of all inboxes: a line for each source, taken from in turns.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use portolan_model::{Change, SourceId};
use tokio::sync::mpsc;

use super::{Arrival, Kind, Message, Parcel, Turn};
use crate::{News, Saying};

/// The fold's end.
#[derive(Debug)]
pub struct Inflow {
    queue: mpsc::UnboundedReceiver<Message>,
    lines: BTreeMap<SourceId, Line>,
    /// Parcels in all lines.
    waiting: usize,
    /// Whose turn it was last.
    last: Option<SourceId>,
}

/// What waits of one source.
#[derive(Debug)]
struct Line {
    turn: Turn,
    generation: u64,
    closed: bool,
    parcels: VecDeque<Parcel>,
}

impl Inflow {
    pub(super) fn new(queue: mpsc::UnboundedReceiver<Message>) -> Self {
        Self {
            queue,
            lines: BTreeMap::new(),
            waiting: 0,
            last: None,
        }
    }

    /// Waits for something to be said and takes up to `max` arrivals: inboxes of the
    /// first turn fill up to half, then every source has one at a time. Empty when
    /// the hub and all inboxes are gone.
    ///
    /// # Cancellation
    /// Safe: nothing is lost.
    pub async fn batch(&mut self, max: usize) -> Vec<Arrival> {
        while let Ok(message) = self.queue.try_recv() {
            self.sort_in(message);
        }
        while self.waiting == 0 {
            let Some(message) = self.queue.recv().await else {
                return Vec::new();
            };
            self.sort_in(message);
        }
        let mut batch = Vec::new();
        self.take_first(&mut batch, max.div_ceil(2));
        self.take_fairly(&mut batch, max);
        self.take_first(&mut batch, max);
        self.lines
            .retain(|_, line| !line.closed || !line.parcels.is_empty());
        batch
    }

    fn sort_in(&mut self, message: Message) {
        let Message {
            source,
            generation,
            kind,
        } = message;
        match kind {
            Kind::Open(turn) => self.open(source, generation, turn),
            Kind::Said(parcel) => self.line_up(&source, generation, parcel),
            Kind::Ended => {
                let reason = Arc::from("the source stopped");
                let news = News::Said(Change::Stale { reason });
                self.line_up(&source, generation, own_words(&source, news));
            }
            Kind::Recalled(parcel) => {
                if let Some(line) = self.lines.get_mut(&source).filter(|line| !line.closed) {
                    line.parcels.push_back(parcel);
                    self.waiting += 1;
                }
            }
            Kind::Close => {
                let words = own_words(&source, News::Closed);
                if let Some(line) = self.lines.get_mut(&source).filter(|line| !line.closed) {
                    line.closed = true;
                    line.parcels.push_back(words);
                    self.waiting += 1;
                }
            }
        }
    }

    fn open(&mut self, source: SourceId, generation: u64, turn: Turn) {
        let Some(line) = self.lines.get_mut(&source) else {
            let line = Line {
                turn,
                generation,
                closed: false,
                parcels: VecDeque::new(),
            };
            self.lines.insert(source, line);
            return;
        };
        let replaced = !line.closed;
        (line.turn, line.generation, line.closed) = (turn, generation, false);
        if replaced {
            line.parcels.push_back(own_words(&source, News::Replaced));
            self.waiting += 1;
        }
    }

    fn line_up(&mut self, source: &SourceId, generation: u64, parcel: Parcel) {
        let line = self.lines.get_mut(source);
        // Words of a closed or replaced inbox come too late.
        let current = line.filter(|line| !line.closed && line.generation == generation);
        if let Some(line) = current {
            line.parcels.push_back(parcel);
            self.waiting += 1;
        }
    }

    fn take_first(&mut self, batch: &mut Vec<Arrival>, max: usize) {
        let first = self
            .lines
            .values_mut()
            .filter(|line| line.turn == Turn::First);
        for line in first {
            while batch.len() < max {
                let Some(parcel) = line.parcels.pop_front() else {
                    break;
                };
                self.waiting -= 1;
                batch.push(parcel.arrival);
            }
        }
    }

    fn take_fairly(&mut self, batch: &mut Vec<Arrival>, max: usize) {
        let fair = self
            .lines
            .iter_mut()
            .filter(|(_, line)| line.turn == Turn::Fair);
        let mut fair: Vec<_> = fair.filter(|(_, line)| !line.parcels.is_empty()).collect();
        let after_last = fair.partition_point(|(source, _)| self.last.as_ref() >= Some(*source));
        fair.rotate_left(after_last);
        while batch.len() < max && !fair.is_empty() {
            for (source, line) in &mut fair {
                if batch.len() >= max {
                    return;
                }
                let Some(parcel) = line.parcels.pop_front() else {
                    continue;
                };
                self.waiting -= 1;
                self.last = Some((*source).clone());
                batch.push(parcel.arrival);
            }
            fair.retain(|(_, line)| !line.parcels.is_empty());
        }
    }
}

fn own_words(source: &SourceId, news: News) -> Parcel {
    let saying = Saying {
        source: source.clone(),
        actor: None,
        news,
    };
    Parcel {
        arrival: Arrival { saying, done: None },
        _room: None,
    }
}
