//! What goes to the store and comes from it.

use bytes::Bytes;
use portolan_model::Revision;
use portolan_store::{
    Ledger, LedgerKey, Operation, Outcome as Stored, Requirement, Span, StoreError, Transaction,
};

use crate::{
    book::Book,
    keeping::{Access, Fault},
    record::{self, BOOTSTRAP, BadRecord, key},
};

/// Records that are read at a time.
const PAGE: usize = 1_000;

impl Access {
    pub(crate) async fn read(&self, store: &dyn Ledger) -> Result<(), Fault> {
        let mut fresh = Book::default();
        for (name, value, modified) in all(store, record::TOKENS).await? {
            let read = serde_json::from_slice(&value).map_err(|_| BadRecord);
            let taken = read.and_then(|token| fresh.put_token(token, modified));
            taken.inspect_err(|_| tracing::error!(instance = %name, "a stored token is none"))?;
        }
        for (name, value, modified) in all(store, record::POLICIES).await? {
            let policy = serde_json::from_slice(&value).map_err(|_| BadRecord);
            let taken = policy.and_then(|policy| fresh.put_policy(policy, modified));
            taken.inspect_err(|_| tracing::error!(policy = %name, "a stored policy is none"))?;
        }
        let bootstrap = store.read(key(BOOTSTRAP, "")).await?;
        self.change(|book| {
            book.tokens = fresh.tokens;
            book.policies = fresh.policies;
            book.is_bootstrapped = bootstrap.is_some();
        });
        Ok(())
    }

    pub(crate) async fn put(
        &self,
        before: Option<Revision>,
        key: LedgerKey,
        record: &impl serde::Serialize,
    ) -> Result<Revision, Fault> {
        let requirement = match before {
            Some(revision) => Requirement::At(key.clone(), revision),
            None => Requirement::Absent(key.clone()),
        };
        let operations = vec![Operation::Put(key, encoded(record))];
        self.commit(vec![requirement], operations).await
    }

    pub(crate) async fn commit(
        &self,
        requirements: Vec<Requirement>,
        operations: Vec<Operation>,
    ) -> Result<Revision, Fault> {
        let store = self.store().clone().ok_or(Fault::NoStore)?;
        let transaction = Transaction {
            requirements,
            operations,
        };
        let outcomes = store.transact(vec![transaction]).await?;
        match outcomes.first() {
            Some(Stored::Committed(revision)) => Ok(*revision),
            Some(Stored::Refused { .. }) | None => Err(Fault::Raced),
        }
    }
}

pub(crate) fn encoded(record: &impl serde::Serialize) -> Bytes {
    // Texts and numbers are always JSON.
    serde_json::to_vec(record).unwrap_or_default().into()
}

/// All records whose keys begin so: the rest of the key, the value, the revision.
pub(crate) async fn all(
    store: &dyn Ledger,
    prefix: &str,
) -> Result<Vec<(String, Bytes, Revision)>, StoreError> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let span = Span {
            prefix: key(prefix, ""),
            after: after.take(),
            limit: PAGE,
        };
        let page = store.range(span).await?;
        after = page.records.last().map(|(key, _)| key.clone());
        found.extend(page.records.into_iter().map(|(key, record)| {
            let name = String::from_utf8_lossy(key.as_bytes());
            let name = name.strip_prefix(prefix).unwrap_or_default().to_owned();
            (name, record.value, record.modified)
        }));
        if !page.has_more {
            return Ok(found);
        }
    }
}
