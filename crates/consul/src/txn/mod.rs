//! Transactions: several operations, all of them or none.
//!
//! Keys stand in the ledger and are one step of it. Nodes, services and checks stand in the
//! catalogue: all their conditions are looked at before anything is written. One transaction is
//! about one of the two, because no commit spans both.

mod catalog;

use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;
use portolan_dialects::consul::{
    CatalogOperation, KvOperation, KvVerb, Refusal, TxnOperation, read_txn,
};
use portolan_ledger::{
    Answer, Input, KEY_BYTES_MAX, Mode, OPERATIONS_MAX, SessionId, TxnAnswer, TxnFault, Verb,
};
use portolan_model::Revision;
use portolan_wire::serve::Response;
use serde_json::{Value, json};

use super::{Parts, acl, answering, asking, kv};

/// An operation that could not be applied: which one, and why.
type Fault = (usize, String);

/// What a transaction came to.
enum Outcome {
    Applied(Vec<Value>),
    Faulted(Vec<Fault>),
}

pub(super) async fn answer(
    parts: &Parts,
    body: &[u8],
    caller: IpAddr,
) -> Result<Response, Refusal> {
    let outcome = match sort(read_txn(body)?)? {
        Sorted::Keys(operations) => of_keys(parts, operations).await?,
        Sorted::Catalog(operations) => catalog::apply(parts, operations, caller).await?,
    };
    match outcome {
        Outcome::Applied(results) => {
            answering::json(&json!({ "Results": results, "Errors": null }))
        }
        Outcome::Faulted(faults) => {
            let faults = faults.into_iter();
            let errors: Vec<_> = faults
                .map(|(operation, what)| json!({ "OpIndex": operation, "What": what }))
                .collect();
            let mut response = answering::json(&json!({ "Results": null, "Errors": errors }))?;
            *response.status_mut() = StatusCode::CONFLICT;
            Ok(response)
        }
    }
}

enum Sorted {
    Keys(Vec<KvOperation>),
    Catalog(Vec<CatalogOperation>),
}

fn sort(operations: Vec<TxnOperation>) -> Result<Sorted, Refusal> {
    let (mut keys, mut catalog) = (Vec::new(), Vec::new());
    for operation in operations {
        match operation {
            TxnOperation::Kv(operation) => keys.push(operation),
            TxnOperation::Catalog(operation) => catalog.push(operation),
        }
    }
    match (keys.is_empty(), catalog.is_empty()) {
        (false, false) => Err(Refusal::bad(
            "Portolan applies a transaction to keys or to nodes, services and checks, not to both",
        )),
        (_, true) => Ok(Sorted::Keys(keys)),
        (true, false) => Ok(Sorted::Catalog(catalog)),
    }
}

async fn of_keys(parts: &Parts, operations: Vec<KvOperation>) -> Result<Outcome, Refusal> {
    let mut faults = Vec::new();
    let mut verbs = Vec::with_capacity(operations.len().min(OPERATIONS_MAX));
    for (at, operation) in operations.into_iter().enumerate() {
        let permitted = acl::vet_keys(&parts.permit, &operation);
        let read = permitted.map_err(|denied| denied.text);
        match read.and_then(|()| verb(operation)) {
            Ok(verb) => verbs.push(verb),
            Err(what) => faults.push((at, what)),
        }
    }
    if !faults.is_empty() {
        return Ok(Outcome::Faulted(faults));
    }
    match asking::step(parts, Input::Txn(verbs)).await? {
        Answer::Txn(TxnAnswer::Applied(entries)) => {
            let results = entries.iter();
            let views = results.map(|(key, entry)| json!({ "KV": kv::view(key, entry) }));
            Ok(Outcome::Applied(views.collect()))
        }
        Answer::Txn(TxnAnswer::Faulted(faults)) => {
            let faults = faults.into_iter();
            let told =
                faults.map(|TxnFault { operation, refusal }| (operation, refusal.to_string()));
            Ok(Outcome::Faulted(told.collect()))
        }
        Answer::Done(_) | Answer::Session(_) | Answer::Refused(_) => {
            Err(Refusal::failed("the ledger answered another question"))
        }
    }
}

/// An operation in the ledger's words, or what is wrong with it whatever is stored.
fn verb(operation: KvOperation) -> Result<Verb, String> {
    let KvOperation {
        verb,
        key,
        value,
        flags,
        index,
        session,
    } = operation;
    if key.len() > KEY_BYTES_MAX {
        return Err(format!("a key is over the limit of {KEY_BYTES_MAX} bytes"));
    }
    let key = key.into();
    let held = || SessionId::new(&session).ok_or_else(|| format!("invalid session {session:?}"));
    let set = |key, mode| Verb::Set {
        key,
        value: Bytes::from(value),
        flags,
        mode,
    };
    Ok(match verb {
        KvVerb::Set => set(key, Mode::Always),
        KvVerb::Cas => set(key, kv::at(index)),
        KvVerb::Lock => set(key, Mode::Acquire(held()?)),
        KvVerb::Unlock => set(key, Mode::Release(held()?)),
        KvVerb::Get => Verb::Get(key),
        KvVerb::GetOrEmpty => Verb::GetOrEmpty(key),
        KvVerb::GetTree => Verb::GetTree(key),
        KvVerb::CheckIndex => Verb::CheckIndex(key, Revision::from_u64(index)),
        KvVerb::CheckSession => Verb::CheckSession(key, held()?),
        KvVerb::CheckNotExists => Verb::CheckAbsent(key),
        KvVerb::Delete => Verb::Delete(key, None),
        KvVerb::DeleteTree => Verb::DeleteTree(key),
        KvVerb::DeleteCas => Verb::Delete(key, Some(Revision::from_u64(index))),
    })
}
