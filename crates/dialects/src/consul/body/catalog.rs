//! What is written to the catalogue by hand, past any agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    CheckDefinition, Locality, ServiceDefinition, check::checks_of, meta::validate_meta,
    service::locality,
};
use crate::consul::{
    Refusal,
    loose::{self, Fields, Pairs},
};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDefinition {
    /// Its id, a UUID; may be empty.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Where it is, by realm.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Key-value labels.
    pub meta: Pairs,
    /// Where it runs.
    pub locality: Option<Locality>,
}

/// The body of `catalog/register`.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogRegistration {
    /// The node.
    pub node: NodeDefinition,
    /// Whether a node that is known stays as it is.
    pub skip_node_update: bool,
    /// A service on it.
    pub service: Option<ServiceDefinition>,
    /// Checks, of the node or of services that they name.
    pub checks: Vec<CheckDefinition>,
}

/// The body of `catalog/deregister`: a check, a service, or the whole node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogDeparture {
    /// The node.
    pub node: String,
    /// Only this service of it.
    pub service_id: Option<String>,
    /// Only this check of it.
    pub check_id: Option<String>,
    /// The datacenter, if it is named.
    pub datacenter: Option<String>,
}

impl CatalogRegistration {
    /// Reads the body and the datacenter that it names.
    ///
    /// # Errors
    /// [`Refusal`]: 400, or 500 if node or address are missing.
    pub fn read(body: &[u8]) -> Result<(Self, Option<String>), Refusal> {
        let value = loose::parse(body)?;
        let fields = Fields::of(&value)?;
        let node = NodeDefinition::of(fields, "NodeMeta")?;
        if node.name.is_empty() || node.address.is_empty() {
            return Err(Refusal::failed("Must provide node and address"));
        }
        let service = fields.object("Service")?;
        let mut service = service
            .map(|service| ServiceDefinition::of(service, "Service"))
            .transpose()?;
        if let Some(service) = &mut service
            && service.name.is_empty()
        {
            // An id alone stands for the name, too.
            service.name.clone_from(&service.id);
        }
        if service
            .as_ref()
            .is_some_and(|service| service.name.is_empty())
        {
            return Err(Refusal::failed(
                "Must provide service name (Service.Service) when service ID is provided",
            ));
        }
        let checks = checks_of(fields, CheckDefinition::listed)?;
        let registration = Self {
            node,
            skip_node_update: fields.truth("SkipNodeUpdate")?,
            service,
            checks,
        };
        Ok((registration, datacenter(fields)?))
    }
}

impl NodeDefinition {
    /// A node, whose labels have that name.
    pub(super) fn of(fields: Fields<'_>, meta: &str) -> Result<Self, Refusal> {
        let node = Self {
            id: fields.text("ID")?,
            name: fields.text("Node")?,
            address: fields.text("Address")?,
            tagged_addresses: realms(fields)?,
            meta: fields.pairs(meta)?,
            locality: locality(fields)?,
        };
        validate_meta(&node.meta)
            .map_err(|text| Refusal::bad(format!("Invalid Node Meta: {text}")))?;
        Ok(node)
    }
}

impl CheckDefinition {
    /// A check that somebody else runs, unless its settings, which stand under `Definition`,
    /// say how.
    pub(super) fn listed(fields: Fields<'_>) -> Result<Self, Refusal> {
        let mut check = Self::of_any(fields)?;
        if check.id.is_empty() {
            check.id.clone_from(&check.name);
        }
        let Some(definition) = fields.object("Definition")? else {
            return Ok(check.or_external());
        };
        let inner = Self::of_any(definition)?;
        let check = Self {
            kind: inner.kind,
            interval: inner.interval.or(check.interval),
            timeout: inner.timeout.or(check.timeout),
            deregister_after: inner.deregister_after.or(check.deregister_after),
            ..check
        };
        Ok(check.or_external())
    }
}

fn realms(fields: Fields<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let pairs = fields.pairs("TaggedAddresses")?;
    let owned = pairs.iter();
    Ok(owned
        .map(|(realm, address)| (realm.to_string(), address.to_string()))
        .collect())
}

fn datacenter(fields: Fields<'_>) -> Result<Option<String>, Refusal> {
    let text = fields.text("Datacenter")?;
    Ok((!text.is_empty()).then_some(text))
}

impl CatalogDeparture {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Refusal`]: 400, or 500 if the node is missing.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body)?;
        let fields = Fields::of(&value)?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let departure = Self {
            node: fields.text("Node")?,
            service_id: some(fields.text("ServiceID")?),
            check_id: some(fields.text("CheckID")?),
            datacenter: datacenter(fields)?,
        };
        if departure.node.is_empty() {
            return Err(Refusal::failed("Must provide node"));
        }
        Ok(departure)
    }
}
