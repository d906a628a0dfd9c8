//! What clients keep in the ledger, and what comes back from it.

use std::time::Duration;

use bytes::Bytes;
use portolan_consul::Template;
use portolan_dialects::consul::{SavedQuery, TxnOperation, read_txn};
use portolan_ledger::{Engine, Moment, OPERATIONS_MAX, Output, Query, Snapshot, VALUE_BYTES_MAX};
use portolan_model::Timestamp;
use portolan_store::LedgerKey;

/// Any body of a transaction or prepared query is read or refused within the limits; a query comes
/// back from how it is stored, and a template makes one of any name. Any snapshot or stored record
/// is read or refused, and what was read comes back whole.
///
/// # Panics
/// When it does not hold for `input`.
pub fn ledger(input: &[u8]) {
    if let Ok(operations) = read_txn(input) {
        assert!(operations.len() <= OPERATIONS_MAX);
        let large = |operation: &TxnOperation| match operation {
            TxnOperation::Kv(operation) => operation.value.len() > VALUE_BYTES_MAX,
            TxnOperation::Catalog(_) => false,
        };
        assert!(!operations.iter().any(large));
    }
    if let Ok(query) = SavedQuery::read(input) {
        let stored = serde_json::to_string(&query).expect("a query that was read is written");
        let again: SavedQuery = serde_json::from_str(&stored).expect("and read again");
        assert_eq!(again, query);
        if let Ok(template) = Template::compile(&query) {
            for name in ["", "geo-web", "é", &query.name] {
                let made = template.render(name);
                assert_eq!(made.name, query.name);
            }
        }
    }
    let bytes = Bytes::copy_from_slice(input);
    if let Ok(snapshot) = Snapshot::read(&bytes) {
        let written: Vec<u8> = snapshot.clone().chunks().flatten().collect();
        assert_eq!(Snapshot::read(&written.into()), Ok(snapshot));
    }
    for folder in ["kv/k", "session/s", "query/q", "node/n", "index"] {
        record(folder, &bytes);
    }
}

fn record(key: &'static str, value: &Bytes) {
    let now = Moment {
        uptime: Duration::ZERO,
        at: Timestamp::from_millis(1_800_000_000_000),
    };
    let key = LedgerKey::new(key).expect("a short key");
    let Ok(engine) = Engine::restore(now, [(key, value.clone())]) else {
        return;
    };
    let again = Engine::restore(now, engine.records()).expect("what is written is read");
    let seen = |engine: &Engine| -> [Output; 2] {
        [Query::Tree("".into()), Query::Sessions].map(|query| engine.look(&query).0)
    };
    assert_eq!(seen(&again), seen(&engine));
}
