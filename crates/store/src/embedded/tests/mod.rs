//! The engine on disks that lose power, are full, or damaged.

mod commits;
mod copies;
mod crash;
mod damage;
mod full;
mod platter;

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use portolan_model::{ByteSize, InstanceId, Name, Revision, ServiceKey, Timestamp};
use portolan_runtime::Env;
use tokio::sync::oneshot;

use super::{
    Retention,
    queue::{Done, Job, Moment, Work},
};
use crate::{Batch, FactKey, JournalLine, LedgerKey, StoreError};

type Reply = oneshot::Receiver<Result<Done, StoreError>>;

const RETENTION: Retention = Retention {
    lines: 8,
    bytes: ByteSize::from_bytes(1 << 20),
    age: Duration::from_mins(1),
};

/// So many milliseconds after some point in time.
fn moment(millis: u64) -> Moment {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let start = START.get_or_init(|| Env::system().instant());
    Moment {
        now: Timestamp::from_millis(1_800_000_000_000 + millis),
        instant: *start + Duration::from_millis(millis),
    }
}

fn job(at: Moment, work: Work) -> (Job, Reply) {
    let (reply, answer) = oneshot::channel();
    (Job { at, work, reply }, answer)
}

fn fact(id: &str) -> FactKey {
    FactKey {
        kind: Name::parse("lease").unwrap(),
        service: ServiceKey::parse("shop/orders").unwrap(),
        id: Some(InstanceId::parse(id).unwrap()),
    }
}

fn key(text: &str) -> LedgerKey {
    LedgerKey::new(text.as_bytes().to_vec()).unwrap()
}

fn line(revision: u64, seconds: u64) -> JournalLine {
    JournalLine {
        revision: Revision::from_u64(revision),
        at: Timestamp::from_millis(seconds * 1000),
        text: Bytes::from(format!("line {revision}")),
    }
}

fn put(id: &str, value: &'static str) -> Batch {
    let mut batch = Batch::new();
    batch.put(fact(id), value);
    batch
}
