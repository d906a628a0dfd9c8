//! What the operations of a transaction must be permitted before any is done.

use portolan_access::{Level, Resource};
use portolan_dialects::consul::{
    CatalogOperation, CatalogPart, CatalogVerb, KvOperation, KvVerb, Refusal, TxnOperation,
    read_txn,
};

use super::{
    Permit,
    vet::{node_of, vet_check_definition, vet_definition},
};
use crate::Parts;

use Level::{Read, Write};

/// Refuses a transaction of which an operation is not permitted.
///
/// # Errors
/// 403. A body that can't be read is left to whoever reads it.
pub(crate) fn vet_txn(parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    if parts.permit.is_open() {
        return Ok(());
    }
    let Ok(operations) = read_txn(body) else {
        return Ok(());
    };
    operations.iter().try_for_each(|operation| match operation {
        TxnOperation::Kv(operation) => vet_key(&parts.permit, operation),
        TxnOperation::Catalog(operation) => vet_part(parts, operation),
    })
}

fn vet_key(permit: &Permit, operation: &KvOperation) -> Result<(), Refusal> {
    let key = &operation.key;
    match operation.verb {
        KvVerb::Get
        | KvVerb::GetOrEmpty
        | KvVerb::CheckIndex
        | KvVerb::CheckSession
        | KvVerb::CheckNotExists => permit.require(Resource::Key, key, Read),
        KvVerb::GetTree => permit.require_tree(Resource::Key, key, Read),
        KvVerb::Set
        | KvVerb::Cas
        | KvVerb::Lock
        | KvVerb::Unlock
        | KvVerb::Delete
        | KvVerb::DeleteCas => permit.require(Resource::Key, key, Write),
        KvVerb::DeleteTree => permit.require_tree(Resource::Key, key, Write),
    }
}

fn vet_part(parts: &Parts, operation: &CatalogOperation) -> Result<(), Refusal> {
    let permit = &parts.permit;
    let is_read = operation.verb == CatalogVerb::Get;
    match &operation.part {
        CatalogPart::Node(node) => {
            let level = if is_read { Read } else { Write };
            permit.require(Resource::Node, &node.name, level)
        }
        CatalogPart::Service(node, service) if is_read => {
            permit.require(Resource::Node, node, Read)?;
            permit.require(Resource::Service, &service.name, Read)
        }
        CatalogPart::Service(node, service) => vet_definition(parts, node_of(parts, node), service),
        CatalogPart::Check(node, _, _) if is_read => permit.require(Resource::Node, node, Read),
        CatalogPart::Check(node, check, _) => {
            vet_check_definition(parts, node_of(parts, node), check)
        }
    }
}
