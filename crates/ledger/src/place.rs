//! Where the ledger stands in the store.
//!
//! There are two halves, and one of them counts. A restore writes the other one, in as many
//! commits as it takes, and then turns round in one: whenever the program is cut off, there is
//! all of what was before or all of what is restored.

use std::sync::Arc;

use bytes::Bytes;
use portolan_store::{
    self as store, LedgerKey, Operation, RANGE_MAX, Span, StoreError, Transaction,
};

use crate::{LedgerError, Step, shell::Records};

/// Which half counts; the first if nothing is stored.
const COUNTS: &str = "ledger";
/// Operations that are put into one transaction of the store.
const OPERATIONS_PER_TRANSACTION: usize = store::TRANSACTIONS_MAX;
/// Bytes of one call of the store.
const CALL_BYTES_MAX: usize = store::BATCH_BYTES_MAX / 2;
/// Operations of one call of the store.
const CALL_OPERATIONS_MAX: usize = OPERATIONS_PER_TRANSACTION * store::TRANSACTIONS_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

impl Half {
    const fn prefix(self) -> &'static str {
        match self {
            Self::First => "ledger-1/",
            Self::Second => "ledger-2/",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Place {
    seam: Arc<dyn store::Ledger>,
    half: Half,
}

impl Place {
    pub(crate) const fn new(seam: Arc<dyn store::Ledger>) -> Self {
        Self {
            seam,
            half: Half::First,
        }
    }

    /// Finds the half that counts, and reads it.
    pub(crate) async fn load(&mut self) -> Result<Records, LedgerError> {
        let counts = self.seam.read(LedgerKey::new(COUNTS)?).await?;
        let second = Half::Second.prefix().as_bytes();
        self.half = match counts {
            Some(record) if record.value == second => Half::Second,
            Some(_) | None => Half::First,
        };
        let prefix = LedgerKey::new(self.half.prefix())?;
        let mut records = Records::new();
        let mut after = None;
        loop {
            let span = Span {
                prefix: prefix.clone(),
                after,
                limit: RANGE_MAX,
            };
            let page = self.seam.range(span).await?;
            after = page.records.last().map(|(key, _)| key.clone());
            for (key, record) in page.records {
                let name = key.as_bytes().get(prefix.as_bytes().len()..);
                let name = Bytes::copy_from_slice(name.unwrap_or_default());
                records.push((LedgerKey::new(name)?, record.value));
            }
            if !page.has_more {
                return Ok(records);
            }
        }
    }

    /// Frees the room of a restore that came to nothing.
    pub(crate) async fn sweep(&self) -> Result<(), StoreError> {
        let other = LedgerKey::new(self.half.other().prefix())?;
        let span = Span {
            prefix: other.clone(),
            after: None,
            limit: 1,
        };
        if self.seam.range(span).await?.records.is_empty() {
            return Ok(());
        }
        let sweeping = Transaction {
            requirements: Vec::new(),
            operations: vec![Operation::DeletePrefix(other)],
        };
        self.seam.transact(vec![sweeping]).await.map(drop)
    }

    /// Writes what steps came to.
    pub(crate) async fn write(&self, steps: &[Step]) -> Result<(), StoreError> {
        let mut calls = Calls::default();
        for operation in steps.iter().flat_map(|step| &step.writes) {
            calls.add(placed(self.half, operation.clone())?);
        }
        for call in calls.0 {
            self.seam.transact(call.transactions).await?;
        }
        Ok(())
    }

    /// Puts those records in place of everything.
    pub(crate) async fn rewrite(
        &mut self,
        records: impl Iterator<Item = (LedgerKey, Bytes)>,
    ) -> Result<(), StoreError> {
        let other = self.half.other();
        let mut calls = Calls::default();
        // What an earlier attempt left behind.
        calls.add(Operation::DeletePrefix(LedgerKey::new(other.prefix())?));
        for (key, value) in records {
            calls.add(placed(other, Operation::Put(key, value))?);
            if calls.0.len() > 1 {
                let full = calls.0.remove(0);
                self.seam.transact(full.transactions).await?;
            }
        }
        for call in calls.0 {
            self.seam.transact(call.transactions).await?;
        }
        let turn = Transaction {
            requirements: Vec::new(),
            operations: vec![
                Operation::Put(LedgerKey::new(COUNTS)?, other.prefix().into()),
                Operation::DeletePrefix(LedgerKey::new(self.half.prefix())?),
            ],
        };
        self.seam.transact(vec![turn]).await?;
        self.half = other;
        Ok(())
    }
}

fn placed(half: Half, operation: Operation) -> Result<Operation, StoreError> {
    let place = |key: &LedgerKey| {
        let mut name = Vec::with_capacity(half.prefix().len() + key.as_bytes().len());
        name.extend_from_slice(half.prefix().as_bytes());
        name.extend_from_slice(key.as_bytes());
        LedgerKey::new(name)
    };
    Ok(match operation {
        Operation::Put(key, value) => Operation::Put(place(&key)?, value),
        Operation::Delete(key) => Operation::Delete(place(&key)?),
        Operation::DeletePrefix(key) => Operation::DeletePrefix(place(&key)?),
    })
}

pub(crate) fn bytes_of(operation: &Operation) -> usize {
    match operation {
        Operation::Put(key, value) => key.as_bytes().len() + value.len(),
        Operation::Delete(key) | Operation::DeletePrefix(key) => key.as_bytes().len(),
    }
}

/// One call of the store is one commit, however many transactions it has. Only a session that
/// ends while it holds many large values, and a restore, take more than one.
#[derive(Default)]
struct Calls(Vec<Call>);

#[derive(Default)]
struct Call {
    transactions: Vec<Transaction>,
    operations: usize,
    bytes: usize,
}

impl Calls {
    fn add(&mut self, operation: Operation) {
        let size = bytes_of(&operation);
        let has_room = self.0.last().is_some_and(|call| {
            call.bytes + size <= CALL_BYTES_MAX && call.operations < CALL_OPERATIONS_MAX
        });
        if !has_room {
            self.0.push(Call::default());
        }
        if let Some(call) = self.0.last_mut() {
            call.bytes += size;
            call.operations += 1;
            call.add(operation);
        }
    }
}

impl Call {
    fn add(&mut self, operation: Operation) {
        match self.transactions.last_mut() {
            Some(last) if last.operations.len() < OPERATIONS_PER_TRANSACTION => {
                last.operations.push(operation);
            }
            _ => self.transactions.push(Transaction {
                requirements: Vec::new(),
                operations: vec![operation],
            }),
        }
    }
}
