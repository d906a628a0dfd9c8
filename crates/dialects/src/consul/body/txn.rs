//! Transactions: several operations at once.

use data_encoding::BASE64;
use serde_json::Value;

use super::{CatalogDeparture, CheckDefinition, NodeDefinition, ServiceDefinition};
use crate::consul::{
    Refusal,
    loose::{self, Fields},
};

/// Most operations of a transaction.
const OPERATIONS_MAX: usize = 128;
/// The largest value of a key.
const VALUE_BYTES_MAX: usize = 512 << 10;

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnOperation {
    /// On a key.
    Kv(KvOperation),
    /// On a part of the catalogue.
    Catalog(CatalogOperation),
}

/// An operation on a part of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogOperation {
    /// What is done.
    pub verb: CatalogVerb,
    /// The index that the part must have.
    pub index: u64,
    /// The part.
    pub part: CatalogPart,
}

/// A part of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogPart {
    /// A node.
    Node(Box<NodeDefinition>),
    /// A service on the node of that name.
    Service(String, Box<ServiceDefinition>),
    /// A check on the node of that name, and what it said.
    Check(String, Box<CheckDefinition>),
}

/// What is done to a part of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogVerb {
    /// Read.
    Get,
    /// Write.
    Set,
    /// Write if it has the index.
    Cas,
    /// Delete.
    Delete,
    /// Delete if it has the index.
    DeleteCas,
}

impl CatalogVerb {
    fn of(fields: Fields<'_>, what: &str) -> Result<Self, Refusal> {
        Ok(match fields.text("Verb")?.as_str() {
            "get" => Self::Get,
            "set" => Self::Set,
            "cas" => Self::Cas,
            "delete" => Self::Delete,
            "delete-cas" => Self::DeleteCas,
            other => return Err(Refusal::bad(format!("unknown {what} verb {other:?}"))),
        })
    }
}

/// An operation on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvOperation {
    /// What is done.
    pub verb: KvVerb,
    /// The key.
    pub key: String,
    /// Its value from now on.
    pub value: Vec<u8>,
    /// A number that the client keeps with it.
    pub flags: u64,
    /// The index that it must have.
    pub index: u64,
    /// The session that locks or unlocks.
    pub session: String,
}

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVerb {
    /// Write.
    Set,
    /// Write if it has the index.
    Cas,
    /// Lock and write.
    Lock,
    /// Unlock and write.
    Unlock,
    /// Read.
    Get,
    /// Read; a key that is not there is no error.
    GetOrEmpty,
    /// Read all keys that begin so.
    GetTree,
    /// Check the index.
    CheckIndex,
    /// Check who holds the lock.
    CheckSession,
    /// Check that it is not there.
    CheckNotExists,
    /// Delete.
    Delete,
    /// Delete all keys that begin so.
    DeleteTree,
    /// Delete if it has the index.
    DeleteCas,
}

impl KvVerb {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "set" => Self::Set,
            "cas" => Self::Cas,
            "lock" => Self::Lock,
            "unlock" => Self::Unlock,
            "get" => Self::Get,
            "get-or-empty" => Self::GetOrEmpty,
            "get-tree" => Self::GetTree,
            "check-index" => Self::CheckIndex,
            "check-session" => Self::CheckSession,
            "check-not-exists" => Self::CheckNotExists,
            "delete" => Self::Delete,
            "delete-tree" => Self::DeleteTree,
            "delete-cas" => Self::DeleteCas,
            _ => return None,
        })
    }

    /// Whether nothing changes by it.
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(
            self,
            Self::Get
                | Self::GetOrEmpty
                | Self::GetTree
                | Self::CheckIndex
                | Self::CheckSession
                | Self::CheckNotExists
        )
    }
}

/// Reads the body of `txn`.
///
/// # Errors
/// [`Refusal`]: 400, or 413 if it is too large.
pub fn read_txn(body: &[u8]) -> Result<Vec<TxnOperation>, Refusal> {
    let value = loose::parse(body)?;
    let list = value
        .as_array()
        .ok_or_else(|| Refusal::decode("a list is expected"))?;
    if list.len() > OPERATIONS_MAX {
        return Err(Refusal::new(
            413,
            format!(
                "Transaction contains too many operations ({} > {OPERATIONS_MAX})",
                list.len()
            ),
        ));
    }
    list.iter().map(operation).collect()
}

fn operation(value: &Value) -> Result<TxnOperation, Refusal> {
    let fields = Fields::of(value)?;
    if let Some(kv) = fields.object("KV")? {
        return kv_operation(kv).map(TxnOperation::Kv);
    }
    for what in ["Node", "Service", "Check"] {
        if let Some(fields) = fields.object(what)? {
            return catalog_operation(what, fields).map(TxnOperation::Catalog);
        }
    }
    Err(Refusal::decode(
        "an operation is one of KV, Node, Service and Check",
    ))
}

fn catalog_operation(what: &str, fields: Fields<'_>) -> Result<CatalogOperation, Refusal> {
    let verb = CatalogVerb::of(fields, what)?;
    let inner = fields
        .object(what)?
        .ok_or_else(|| Refusal::decode(format!("'{what}' is missing")))?;
    let index = inner.number("ModifyIndex")?.unwrap_or(0);
    let index = u64::try_from(index)
        .map_err(|_| Refusal::decode("'ModifyIndex' expected a number from 0"))?;
    let part = match what {
        "Node" => CatalogPart::Node(Box::new(NodeDefinition::of(inner, "Meta")?)),
        "Service" => {
            let service = ServiceDefinition::of(inner, "Service")?;
            CatalogPart::Service(fields.text("Node")?, Box::new(service))
        }
        _ => {
            let check = CheckDefinition::listed(inner)?;
            CatalogPart::Check(inner.text("Node")?, Box::new(check))
        }
    };
    Ok(CatalogOperation { verb, index, part })
}

fn kv_operation(fields: Fields<'_>) -> Result<KvOperation, Refusal> {
    let verb = fields.text("Verb")?;
    let verb = KvVerb::parse(&verb)
        .ok_or_else(|| Refusal::bad(format!("unknown KV operation {verb:?}")))?;
    let value = match fields.find("Value") {
        None => Vec::new(),
        Some(Value::String(text)) => BASE64
            .decode(text.as_bytes())
            .map_err(|_| Refusal::decode("illegal base64 data in 'Value'"))?,
        Some(_) => return Err(Refusal::decode("'Value' expected base64")),
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(Refusal::new(
            413,
            format!(
                "Value for key {:?} is too large ({} > {VALUE_BYTES_MAX} bytes)",
                fields.text("Key")?,
                value.len()
            ),
        ));
    }
    let number = |name: &str| match fields.find(name) {
        None => Ok(0),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| Refusal::decode(format!("'{name}' expected a number"))),
    };
    Ok(KvOperation {
        verb,
        key: fields.text("Key")?,
        value,
        flags: number("Flags")?,
        index: number("Index")?,
        session: fields.text("Session")?,
    })
}

impl CatalogDeparture {
    /// Whether the whole node is to go.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.service_id.is_none() && self.check_id.is_none()
    }
}
