//! Transactions: several operations at once.

use data_encoding::BASE64;
use serde_json::Value;

use super::{CatalogDeparture, CheckDefinition, ServiceDefinition};
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
    /// On a node; the verb and the node as they were sent.
    Node(String, Value),
    /// On a service of a node; the verb, the node and the service.
    Service(String, String, Box<ServiceDefinition>),
    /// On a check of a node; the verb, the node and the check.
    Check(String, String, Box<CheckDefinition>),
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
    if let Some(node) = fields.object("Node")? {
        let inner = node.raw("Node").unwrap_or_default();
        return Ok(TxnOperation::Node(node.text("Verb")?, inner));
    }
    if let Some(service) = fields.object("Service")? {
        let (verb, node) = (service.text("Verb")?, service.text("Node")?);
        let inner = service
            .object("Service")?
            .ok_or_else(|| Refusal::decode("'Service' is missing"))?;
        let inner = Box::new(ServiceDefinition::of(inner, "Service")?);
        return Ok(TxnOperation::Service(verb, node, inner));
    }
    if let Some(check) = fields.object("Check")? {
        let verb = check.text("Verb")?;
        let inner = check
            .object("Check")?
            .ok_or_else(|| Refusal::decode("'Check' is missing"))?;
        let node = inner.text("Node")?;
        let inner = Box::new(CheckDefinition::of_any(inner)?);
        return Ok(TxnOperation::Check(verb, node, inner));
    }
    Err(Refusal::decode(
        "an operation is one of KV, Node, Service and Check",
    ))
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
