//! The trail outlives the process: its entries go to the store in groups.
//!
//! What an operator changed is stored before it is answered. What programs register all day and
//! what was denied is stored soon after, many entries at a time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use portolan_store::{Ledger, LedgerKey, Operation, StoreError, Transaction};
use tokio::sync::{Notify, watch};

use super::{Added, Entry, RingKind, Unstored};
use crate::{
    keeping::{Access, Fault},
    record::key,
    stored::{all, encoded},
};

/// Where the trail is stored, by ring and first number.
const AUDIT: &str = "access/audit/";
/// Operations of one transaction: together they are well within what a call may have.
const OPERATIONS_MAX: usize = 16;
/// How long entries are gathered that nobody waits for.
const GATHERING: Duration = Duration::from_millis(100);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long a change waits for its entry at most.
const WAITING: Duration = Duration::from_secs(2);

/// Who writes the trail, and how far it has come.
#[derive(Debug)]
pub(crate) struct Clerk {
    is_at_work: AtomicBool,
    is_ill: AtomicBool,
    hurry: Notify,
    /// The number of the last entry that is stored.
    stored: watch::Sender<u64>,
}

impl Default for Clerk {
    fn default() -> Self {
        Self {
            is_at_work: AtomicBool::new(false),
            is_ill: AtomicBool::new(false),
            hurry: Notify::new(),
            stored: watch::Sender::new(0),
        }
    }
}

impl Access {
    /// Remembers a call.
    pub(crate) fn note(&self, entry: Entry, is_routine: bool) -> Added {
        let added = self.trail().add(entry, is_routine);
        self.write_soon();
        added
    }

    /// Waits until an entry is stored, if there is a store that takes it.
    pub(crate) async fn has_stored(&self, sequence: u64) {
        let clerk = self.clerk();
        if self.store().is_none() || clerk.is_ill.load(Ordering::Relaxed) {
            return;
        }
        let mut stored = clerk.stored.subscribe();
        clerk.hurry.notify_one();
        let stored = stored.wait_for(|stored| *stored >= sequence);
        if self.env().timeout(WAITING, stored).await.is_err() {
            tracing::warn!("a change is answered before the audit trail has it: the store is slow");
        }
    }

    /// Has everything stored that is not, while there is a store.
    pub(crate) async fn write_out(&self) {
        self.has_stored(self.trail().last()).await;
    }

    /// Reads what earlier processes stored of the trail.
    pub(crate) async fn read_trail(&self, store: &dyn Ledger) -> Result<(), Fault> {
        let mut found = Vec::new();
        for kind in RingKind::ALL {
            let prefix = format!("{AUDIT}{}/", kind.as_str());
            for (name, value, _) in all(store, &prefix).await? {
                match serde_json::from_slice::<Vec<Entry>>(&value) {
                    Ok(entries) => found.push((kind, entries)),
                    Err(error) => {
                        tracing::warn!(%error, resource = %name, "stored lines of the audit trail can't be read");
                    }
                }
            }
        }
        self.trail().recall(found.into_iter());
        Ok(())
    }

    /// Sees to it that somebody writes.
    pub(crate) fn write_soon(&self) {
        let clerk = self.clerk();
        if self.store().is_none() || clerk.is_at_work.swap(true, Ordering::AcqRel) {
            return;
        }
        let access = self.clone();
        let writing = async move { access.write_trail().await };
        self.env().spawn("audit trail", writing).detach();
    }

    async fn write_trail(&self) {
        let clerk = self.clerk();
        loop {
            // Whoever waits makes it go at once.
            let _hurry = self.env().timeout(GATHERING, clerk.hurry.notified()).await;
            let Some(store) = self.store().clone() else {
                break;
            };
            let Some(unstored) = self.trail().unstored() else {
                break;
            };
            if let Err(error) = write(&*store, &unstored).await {
                self.trail().restore(&unstored);
                if !clerk.is_ill.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the audit trail is kept in memory only");
                }
                self.env().sleep(RETRY).await;
                continue;
            }
            if clerk.is_ill.swap(false, Ordering::Relaxed) {
                tracing::info!("the audit trail is stored again");
            }
            self.trail().forget(unstored.until);
            clerk.stored.send_replace(unstored.until);
        }
        clerk.is_at_work.store(false, Ordering::Release);
        // One that was added just now found somebody at work.
        if self.trail().has_unstored() {
            self.write_soon();
        }
    }
}

async fn write(store: &dyn Ledger, unstored: &Unstored) -> Result<(), StoreError> {
    let removed = unstored.remove.iter();
    let removed = removed.map(|(kind, first)| Operation::Delete(key_of(*kind, *first)));
    let put = unstored.put.iter().map(|segment| {
        let value: Bytes = encoded(&segment.entries);
        Operation::Put(key_of(segment.kind, segment.first()), value)
    });
    let operations: Vec<_> = removed.chain(put).collect();
    for operations in operations.chunks(OPERATIONS_MAX) {
        let transaction = Transaction {
            requirements: Vec::new(),
            operations: operations.to_vec(),
        };
        store.transact(vec![transaction]).await?;
    }
    Ok(())
}

pub(super) fn key_of(kind: RingKind, first: u64) -> LedgerKey {
    key(AUDIT, &format!("{}/{first:016x}", kind.as_str()))
}
