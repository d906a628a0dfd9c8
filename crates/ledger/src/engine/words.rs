//! What goes into the engine and what comes out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use portolan_model::{Revision, Timestamp};
use portolan_store::Operation;

use crate::{Entry, Kind, OBJECT_BYTES_MAX, Object, Session, SessionId, Terms};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 2_048;
/// Longest value, in bytes: 512 KiB, as clients of Consul know it.
pub const VALUE_BYTES_MAX: usize = 512 << 10;
/// Most operations in a transaction.
pub const OPERATIONS_MAX: usize = 128;
/// Most bytes of values in a transaction; and most bytes of what it finds, counted as those of
/// [`LEDGER_BYTES_MAX`].
pub const TXN_BYTES_MAX: usize = 4 << 20;
/// Most sessions at a time.
pub const SESSIONS_MAX: usize = 100_000;
/// Most bytes of keys, values and objects together, with 128 for each key: all of them are in
/// memory.
pub const LEDGER_BYTES_MAX: usize = 256 << 20;

/// A point in time on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the engine began, on the monotonic clock.
    pub uptime: Duration,
    /// The time on the wall.
    pub at: Timestamp,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Writes a key.
    Set {
        /// The key.
        key: Arc<str>,
        /// Its value from now on.
        value: Bytes,
        /// A number that the client keeps with it.
        flags: u64,
        /// On which condition.
        mode: Mode,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The index that it must have, if any.
        index: Option<Revision>,
    },
    /// Deletes all keys that begin so.
    DeleteTree {
        /// The beginning.
        prefix: Arc<str>,
    },
    /// All of it or nothing.
    Txn(Vec<Verb>),
    /// Makes a session.
    Begin {
        /// Its id, drawn by the caller.
        id: SessionId,
        /// What it is made with.
        terms: Terms,
    },
    /// Gives a session its whole time again. Nothing is written.
    Renew(SessionId),
    /// Ends a session; one that is not there is no error.
    End(SessionId),
    /// Keeps and forgets objects, all of it or nothing.
    Alter(Vec<Alteration>),
    /// Time has passed: sessions whose time is up end.
    Tick,
}

/// On which condition a key is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On none.
    Always,
    /// If it is not there.
    Absent,
    /// If it has this index.
    At(Revision),
    /// If this session can lock it, which it does.
    Acquire(SessionId),
    /// If this session holds its lock, which it lets go.
    Release(SessionId),
}

/// What is done to an object: of which kind, its id, and what must hold of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// Writes it.
    Keep(Kind, Arc<str>, Kept, Expectation),
    /// Deletes it; one that is not there is gone as it should be.
    Forget(Kind, Arc<str>, Expectation),
}

/// What is kept of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// A name that no other object of its kind may have, nor may it be an id of one.
    pub alias: Option<Arc<str>>,
    /// The session that it ends with.
    pub session: Option<SessionId>,
    /// What the front knows of it.
    pub body: Arc<str>,
}

/// What must hold of an object before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Whatever it is.
    Nothing,
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It has this index.
    At(Revision),
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Writes a key; a condition that does not hold fails the transaction.
    Set {
        /// The key.
        key: Arc<str>,
        /// Its value from now on.
        value: Bytes,
        /// A number that the client keeps with it.
        flags: u64,
        /// On which condition.
        mode: Mode,
    },
    /// Reads a key, which must be there.
    Get(Arc<str>),
    /// Reads a key, if it is there.
    GetOrEmpty(Arc<str>),
    /// Reads all keys that begin so.
    GetTree(Arc<str>),
    /// The key must have this index.
    CheckIndex(Arc<str>, Revision),
    /// This session must hold the key's lock.
    CheckSession(Arc<str>, SessionId),
    /// The key must not be there.
    CheckAbsent(Arc<str>),
    /// Deletes a key, which must have the index if one is given.
    Delete(Arc<str>, Option<Revision>),
    /// Deletes all keys that begin so.
    DeleteTree(Arc<str>),
}

/// What an input came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whether the condition held.
    Done(bool),
    /// The session; none if there is no such session.
    Session(Option<Session>),
    /// What the transaction came to.
    Txn(TxnAnswer),
    /// It can't be done, whatever the state of the key.
    Refused(Refusal),
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnAnswer {
    /// All of it was applied; entries that were written, without their values, and entries that
    /// were read, in order. A key that need not be there and is not has an entry of zeros.
    Applied(Vec<(Arc<str>, Entry)>),
    /// Nothing was applied; all operations that could not be.
    Faulted(Vec<TxnFault>),
}

/// Why an operation of a transaction could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnFault {
    /// Which one, counted from 0.
    pub operation: usize,
    /// Why.
    pub refusal: Refusal,
}

/// Why something can't be done. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such session.
    #[error("invalid session \"{0:?}\"")]
    NoSession(SessionId),
    /// There is one with that id.
    #[error("session {0:?} exists")]
    SessionExists(SessionId),
    /// There are as many sessions as there may be.
    #[error("there are {0} sessions, which is the limit")]
    TooManySessions(usize),
    /// A key is empty.
    #[error("a key is missing")]
    NoKey,
    /// Longer than the limit.
    #[error("a key of {0} bytes is over the limit of {KEY_BYTES_MAX}")]
    KeyTooLong(usize),
    /// Larger than the limit.
    #[error("a value of {0} bytes is over the limit of {VALUE_BYTES_MAX}")]
    ValueTooLarge(usize),
    /// More operations than the limit.
    #[error("a transaction of {0} operations is over the limit of {OPERATIONS_MAX}")]
    TooManyOperations(usize),
    /// Larger than the limit.
    #[error("a transaction that writes or reads {0} bytes is over the limit of {TXN_BYTES_MAX}")]
    TxnTooLarge(usize),
    /// There is no room for more.
    #[error("keys and values together are over the limit of {LEDGER_BYTES_MAX} bytes")]
    Full,
    /// The index is another.
    #[error("failed to set key {0:?}, index is stale")]
    StaleIndex(Arc<str>),
    /// The index is another.
    #[error("failed to delete key {0:?}, index is stale")]
    StaleDelete(Arc<str>),
    /// The lock is somebody else's, or delayed.
    #[error("failed to lock key {0:?}, lock is already held")]
    LockHeld(Arc<str>),
    /// The lock is not the session's.
    #[error("failed to unlock key {0:?}, lock isn't held, or is held by another session")]
    LockNotHeld(Arc<str>),
    /// The key is not there.
    #[error("key {0:?} doesn't exist")]
    NoSuchKey(Arc<str>),
    /// The key is there.
    #[error("key {0:?} exists")]
    KeyExists(Arc<str>),
    /// The object is not as it was expected.
    #[error("object {0:?} is not as expected")]
    Unexpected(Arc<str>),
    /// Another object has that name.
    #[error("name {0:?} is another object's")]
    AliasTaken(Arc<str>),
    /// The name is the id of an object.
    #[error("name {0:?} is an object's id")]
    AliasIsId(Arc<str>),
    /// Larger than the limit.
    #[error("an object of {0} bytes is over the limit of {OBJECT_BYTES_MAX}")]
    ObjectTooLarge(usize),
    /// There are as many of the kind as there may be.
    #[error("there are {0} objects of that kind, which is the limit")]
    TooManyObjects(usize),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// For whoever asked, once the writes are committed.
    pub answer: Answer,
    /// Keys that changed, sorted.
    pub changed: Vec<Arc<str>>,
    /// Whether a session began or ended.
    pub sessions_changed: bool,
    /// Kinds of which an object changed.
    pub kinds_changed: Vec<Kind>,
    /// What must be committed, together and in order; nothing if nothing changed.
    pub writes: Vec<Operation>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A key.
    Key(Arc<str>),
    /// All keys that begin so.
    Tree(Arc<str>),
    /// Their names, cut after the first separator that follows the prefix.
    Names {
        /// The beginning.
        prefix: Arc<str>,
        /// Where names end; nothing if they don't.
        separator: String,
    },
    /// A session.
    Session(SessionId),
    /// All sessions.
    Sessions,
    /// All objects of a kind.
    Objects(Kind),
}

/// What a question found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The key's entry.
    Entry(Option<Entry>),
    /// Keys and their entries, in order.
    Entries(Vec<(Arc<str>, Entry)>),
    /// Names, in order.
    Names(Vec<Arc<str>>),
    /// Sessions, in the order of their ids.
    Sessions(Vec<Session>),
    /// Ids and objects, in the order of their ids.
    Objects(Vec<(Arc<str>, Object)>),
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys.
    pub keys: usize,
    /// Sessions.
    pub sessions: usize,
    /// Objects of every kind.
    pub objects: usize,
    /// Bytes of keys, values and objects.
    pub bytes: usize,
}
