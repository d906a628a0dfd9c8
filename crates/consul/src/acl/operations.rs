//! What operations of a transaction and prepared queries must be permitted.

use portolan_access::{Level, Resource};
use portolan_dialects::consul::{
    CatalogOperation, CatalogPart, CatalogVerb, KvOperation, KvVerb, Refusal, SavedQuery,
};

use super::{
    Permit,
    vet::{node_of, vet_check, vet_check_definition, vet_definition, vet_record},
};
use crate::{Parts, terms::Key};

use Level::{Read, Write};

/// Refuses an operation on keys.
///
/// # Errors
/// 403.
pub(crate) fn vet_keys(permit: &Permit, operation: &KvOperation) -> Result<(), Refusal> {
    let KvOperation { verb, key, .. } = operation;
    let level = if verb.is_read() { Read } else { Write };
    if matches!(verb, KvVerb::GetTree | KvVerb::DeleteTree) {
        permit.require_tree(Resource::Key, key, level)
    } else {
        permit.require(Resource::Key, key, level)
    }
}

/// Refuses an operation on a part of the catalogue that would change it. What is read is
/// filtered.
///
/// # Errors
/// 403.
pub(crate) fn vet_part(parts: &Parts, operation: &CatalogOperation) -> Result<(), Refusal> {
    if parts.permit.is_open() || operation.verb == CatalogVerb::Get {
        return Ok(());
    }
    let is_set = matches!(operation.verb, CatalogVerb::Set | CatalogVerb::Cas);
    match &operation.part {
        CatalogPart::Node(node) => parts.permit.require(Resource::Node, &node.name, Write),
        CatalogPart::Service(node, service) if is_set => {
            vet_definition(parts, node_of(parts, node), service)
        }
        CatalogPart::Service(node, service) => {
            let key = Key::new(node_of(parts, node), &service.id);
            vet_record(parts, &key, node)
        }
        CatalogPart::Check(node, check) => {
            let at = node_of(parts, node);
            if is_set {
                vet_check_definition(parts, at, check)?;
            }
            // The one that it takes the place of, too.
            vet_check(parts, &Key::new(at, &check.id))
        }
    }
}

/// Refuses a level of a prepared query. One without a name is everybody's who knows its id.
///
/// # Errors
/// 403.
pub(crate) fn vet_query(permit: &Permit, query: &SavedQuery, level: Level) -> Result<(), Refusal> {
    if is_named(query) {
        permit.require(Resource::Query, &query.name, level)
    } else {
        Ok(())
    }
}

/// Whether a prepared query is listed. One without a name is a secret of whoever made it.
pub(crate) fn lists_query(permit: &Permit, query: &SavedQuery) -> bool {
    if is_named(query) {
        permit.shows(Resource::Query, &query.name)
    } else {
        permit.shows(Resource::Acl, "")
    }
}

fn is_named(query: &SavedQuery) -> bool {
    !query.name.is_empty() || query.template.is_some()
}
