//! Reads of the last committed state.

use std::{collections::HashMap, ops::Bound, path::Path};

use bytes::Bytes;
use portolan_model::{Revision, Timestamp};
use redb::{Error, ReadTransaction, ReadableTable};

use super::tables::{FACTS, JOURNAL, LEDGER, META, REVISION};
use crate::{
    FactKey, JOURNAL_TAIL_MAX, JournalLine, LedgerKey, Loaded, Page, RANGE_MAX, Record, Span,
    StoreError,
};

pub(super) fn load(transaction: &ReadTransaction, path: &Path) -> Result<Loaded, StoreError> {
    let engine = |error: Error| StoreError::of_engine(path, error);
    let mut facts = Vec::new();
    for (key, value) in raw_facts(transaction).map_err(engine)? {
        let key =
            FactKey::decode(&key).map_err(|error| StoreError::damaged(path, error.to_string()))?;
        facts.push((key, value));
    }
    Ok(Loaded {
        facts,
        journaled: journaled(transaction).map_err(engine)?,
        revision: revision(transaction).map_err(engine)?,
    })
}

/// The facts that count, by their stored keys.
fn raw_facts(transaction: &ReadTransaction) -> Result<Vec<(Bytes, Bytes)>, Error> {
    let mut newest = HashMap::new();
    for row in transaction.open_table(FACTS)?.iter()? {
        let (_, row) = row?;
        match row.value() {
            (key, Some(value)) => {
                newest.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            }
            (key, None) => drop(newest.remove(key)),
        }
    }
    let mut facts: Vec<_> = newest.into_iter().collect();
    facts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(facts)
}

/// The journal's latest lines, oldest first.
pub(super) fn tail(transaction: &ReadTransaction) -> Result<Vec<JournalLine>, Error> {
    let mut lines = Vec::new();
    let table = transaction.open_table(JOURNAL)?;
    for row in table.iter()?.rev().take(JOURNAL_TAIL_MAX) {
        let (revision, entry) = row?;
        let (at, text) = entry.value();
        lines.push(JournalLine {
            revision: Revision::from_u64(revision.value()),
            at: Timestamp::from_millis(at),
            text: Bytes::copy_from_slice(text),
        });
    }
    lines.reverse();
    Ok(lines)
}

fn journaled(transaction: &ReadTransaction) -> Result<Revision, Error> {
    let table = transaction.open_table(JOURNAL)?;
    let last = table.last()?;
    Ok(last.map_or(Revision::FIRST, |(revision, _)| {
        Revision::from_u64(revision.value())
    }))
}

/// The bytes of all lines of the journal.
pub(super) fn journal_bytes(transaction: &ReadTransaction) -> Result<u64, Error> {
    let mut bytes = 0;
    for row in transaction.open_table(JOURNAL)?.iter()? {
        bytes += row?.1.value().1.len() as u64;
    }
    Ok(bytes)
}

pub(super) fn revision(transaction: &ReadTransaction) -> Result<Revision, Error> {
    let found = transaction.open_table(META)?.get(REVISION)?;
    Ok(found.map_or(Revision::FIRST, |raw| Revision::from_u64(raw.value())))
}

pub(super) fn record(
    transaction: &ReadTransaction,
    key: &LedgerKey,
) -> Result<Option<Record>, Error> {
    let found = transaction.open_table(LEDGER)?.get(key.as_bytes())?;
    Ok(found.map(|entry| record_of(entry.value())))
}

pub(super) fn page(transaction: &ReadTransaction, span: &Span) -> Result<Page, Error> {
    let limit = span.limit.min(RANGE_MAX);
    let from = match &span.after {
        Some(after) if after >= &span.prefix => Bound::Excluded(after.as_bytes()),
        _ => Bound::Included(span.prefix.as_bytes()),
    };
    let end = span.prefix.after_prefix();
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut page = Page::default();
    if let (Bound::Excluded(from), Bound::Excluded(end)) = (from, end)
        && from >= end
    {
        return Ok(page);
    }
    let table = transaction.open_table(LEDGER)?;
    for row in table.range::<&[u8]>((from, end))? {
        let (key, entry) = row?;
        if page.records.len() == limit {
            page.has_more = true;
            break;
        }
        let key = LedgerKey::stored(key.value());
        page.records.push((key, record_of(entry.value())));
    }
    Ok(page)
}

fn record_of((created, modified, value): (u64, u64, &[u8])) -> Record {
    Record {
        value: Bytes::copy_from_slice(value),
        created: Revision::from_u64(created),
        modified: Revision::from_u64(modified),
    }
}
