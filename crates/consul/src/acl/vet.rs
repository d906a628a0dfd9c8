//! What requests must be permitted before anything is done.

use http::Method;
use portolan_access::{Level, Need, Resource};
use portolan_dialects::consul::{
    AclPlace, AgentPlace, CatalogDeparture, CatalogPlace, CatalogRegistration, CheckDefinition,
    Place, Refusal, Sane, ServiceDefinition,
};

use super::Permit;
use crate::{Parts, terms::Key};

use Level::{Read, Write};

/// Refuses what the path alone tells is not permitted.
///
/// # Errors
/// 403.
pub(crate) fn vet(parts: &Parts, place: &Place, method: &Method) -> Result<(), Refusal> {
    let permit = &parts.permit;
    if permit.is_open() {
        return Ok(());
    }
    let is_read = *method == Method::GET;
    match place {
        Place::Agent(place) => vet_agent_path(parts, place),
        Place::Fire(name) => permit.require(Resource::Event, name, Write),
        Place::Kv(key) if !is_read => permit.require(Resource::Key, key, Write),
        // A snapshot holds what every rule is about.
        Place::Snapshot => permit.require(Resource::Acl, "", Write),
        Place::Sane(sane) => vet_sane(permit, *sane, is_read),
        // Those that look after these ask, since they know what a request is about.
        Place::Acl(AclPlace::Bootstrap | AclPlace::Other(_))
        | Place::Session(..)
        | Place::Txn
        | Place::Query(_)
        // What is read is filtered instead, and bodies say what is written.
        | Place::Kv(_)
        | Place::Catalog(_)
        | Place::Health(_)
        | Place::Leader
        | Place::Peers
        | Place::Events => Ok(()),
    }
}

fn vet_sane(permit: &Permit, sane: Sane, is_read: bool) -> Result<(), Refusal> {
    let level = if is_read { Read } else { Write };
    match sane {
        Sane::RaftConfiguration
        | Sane::AutopilotConfiguration
        | Sane::AutopilotHealth
        | Sane::AutopilotState
        | Sane::Usage => permit.require(Resource::Operator, "", level),
        Sane::Keyring => permit.require(Resource::Keyring, "", level),
        Sane::Peerings => permit.require(Resource::Peering, "", level),
        Sane::CoordinateDatacenters
        | Sane::CoordinateNodes
        | Sane::Roots
        | Sane::NothingListed
        | Sane::NotThere => Ok(()),
    }
}

fn vet_agent_path(parts: &Parts, place: &AgentPlace) -> Result<(), Refusal> {
    let (permit, node) = (&parts.permit, &*parts.home.node.name);
    match place {
        AgentPlace::Itself | AgentPlace::Metrics | AgentPlace::Monitor => {
            permit.require(Resource::Agent, node, Read)
        }
        AgentPlace::Host => permit.require(Resource::Operator, "", Read),
        AgentPlace::Reload | AgentPlace::Join | AgentPlace::Leave | AgentPlace::Token => {
            permit.require(Resource::Agent, node, Write)
        }
        AgentPlace::ForceLeave(_) => permit.require(Resource::Operator, "", Write),
        // Who may write services, even all of them, is not who may take the node out.
        AgentPlace::Maintenance if permit.caller().may(&Need::Operate) => Ok(()),
        AgentPlace::Maintenance => permit.require(Resource::Node, node, Write),
        AgentPlace::DeregisterService(id) => vet_service(parts, id),
        AgentPlace::ServiceMaintenance(id) => match service_name(parts, id) {
            Some(name) => permit.require_maintenance(&name),
            None => Ok(()),
        },
        AgentPlace::HealthByName(name) => permit.require(Resource::Service, name, Read),
        AgentPlace::Service(id) | AgentPlace::HealthById(id) => match service_name(parts, id) {
            Some(name) => permit.require(Resource::Service, &name, Read),
            None => Ok(()),
        },
        AgentPlace::DeregisterCheck(id)
        | AgentPlace::Pass(id)
        | AgentPlace::Warn(id)
        | AgentPlace::Fail(id)
        | AgentPlace::Update(id) => vet_check(parts, &Key::new(None, id)),
        AgentPlace::Version
        | AgentPlace::Members
        | AgentPlace::Services
        | AgentPlace::Checks
        | AgentPlace::RegisterService
        | AgentPlace::RegisterCheck => Ok(()),
    }
}

/// Refuses registrations of what the caller may not write.
///
/// # Errors
/// 403. A body that can't be read is left to whoever reads it.
pub(crate) fn vet_agent(parts: &Parts, place: &AgentPlace, body: &[u8]) -> Result<(), Refusal> {
    if parts.permit.is_open() {
        return Ok(());
    }
    if *place == AgentPlace::RegisterService
        && let Ok(service) = ServiceDefinition::read(body)
    {
        return vet_definition(parts, None, &service);
    }
    if *place == AgentPlace::RegisterCheck
        && let Ok(check) = CheckDefinition::read(body)
    {
        return vet_check_definition(parts, None, &check);
    }
    Ok(())
}

/// Refuses registrations and deregistrations by hand of what the caller may not write.
///
/// # Errors
/// 403. A body that can't be read is left to whoever reads it.
pub(crate) fn vet_catalog(parts: &Parts, place: &CatalogPlace, body: &[u8]) -> Result<(), Refusal> {
    if parts.permit.is_open() {
        return Ok(());
    }
    if *place == CatalogPlace::Register
        && let Ok((registration, _)) = CatalogRegistration::read(body)
    {
        return vet_registration(parts, &registration);
    }
    if *place == CatalogPlace::Deregister
        && let Ok(departure) = CatalogDeparture::read(body)
    {
        return vet_departure(parts, &departure);
    }
    Ok(())
}

fn vet_registration(parts: &Parts, registration: &CatalogRegistration) -> Result<(), Refusal> {
    let permit = &parts.permit;
    let node = &*registration.node.name;
    let at = node_of(parts, node);
    if writes_node(parts, registration) {
        permit.require(Resource::Node, node, Write)?;
    }
    if let Some(service) = &registration.service {
        vet_definition(parts, at, service)?;
    }
    for check in &registration.checks {
        // One of the service beside it, too, may take its id away from another service.
        vet_check_definition(parts, at, check)?;
    }
    Ok(())
}

/// Whether a registration may change its node, or is about nothing else.
fn writes_node(parts: &Parts, registration: &CatalogRegistration) -> bool {
    let CatalogRegistration {
        node,
        skip_node_update,
        service,
        checks,
    } = registration;
    if service.is_none() && checks.is_empty() {
        return true;
    }
    // The agent's own node is not changed by hand.
    if node_of(parts, &node.name).is_none() {
        return false;
    }
    // There is nothing to skip of a node that is new.
    !skip_node_update || !parts.clerk.book().nodes().known.contains_key(&node.name)
}

fn vet_departure(parts: &Parts, departure: &CatalogDeparture) -> Result<(), Refusal> {
    let (permit, node) = (&parts.permit, &*departure.node);
    if permit.allows(Resource::Node, node, Write) {
        return Ok(());
    }
    let at = node_of(parts, node);
    match (&departure.service_id, &departure.check_id) {
        (Some(id), _) => vet_record(parts, &Key::new(at, id), node),
        (None, Some(id)) => vet_check(parts, &Key::new(at, id)),
        (None, None) => permit.require(Resource::Node, node, Write),
    }
}

/// A service needs its name; one that nobody registered needs its node.
pub(super) fn vet_record(parts: &Parts, key: &Key, node: &str) -> Result<(), Refusal> {
    match record_name(parts, key) {
        Some(name) => parts.permit.require(Resource::Service, &name, Write),
        None => parts.permit.require(Resource::Node, node, Write),
    }
}

/// Registering a service needs its name, and that of the service whose id it takes over.
pub(super) fn vet_definition(
    parts: &Parts,
    node: Option<&str>,
    service: &ServiceDefinition,
) -> Result<(), Refusal> {
    let permit = &parts.permit;
    permit.require(Resource::Service, &service.name, Write)?;
    for check in &service.checks {
        vet_taken(parts, node, &check.id)?;
    }
    match record_name(parts, &Key::new(node, &service.id)) {
        Some(before) => permit.require(Resource::Service, &before, Write),
        None => Ok(()),
    }
}

pub(super) fn vet_check_definition(
    parts: &Parts,
    node: Option<&str>,
    check: &CheckDefinition,
) -> Result<(), Refusal> {
    let permit = &parts.permit;
    let home = node.unwrap_or(&parts.home.node.name);
    vet_taken(parts, node, &check.id)?;
    if check.service_id.is_empty() {
        return permit.require(Resource::Node, home, Write);
    }
    match record_name(parts, &Key::new(node, &check.service_id)) {
        Some(name) => permit.require(Resource::Service, &name, Write),
        // Whoever takes it says that there is no such service.
        None => Ok(()),
    }
}

/// An id that is another check's already is taken away from it.
fn vet_taken(parts: &Parts, node: Option<&str>, check: &str) -> Result<(), Refusal> {
    let key = Key::new(node, check);
    if parts.clerk.book().check(&key).is_none() {
        return Ok(());
    }
    vet_check(parts, &key)
}

pub(super) fn vet_check(parts: &Parts, check: &Key) -> Result<(), Refusal> {
    let service = {
        let book = parts.clerk.book();
        let record = book.service_of(check).and_then(|key| book.record(key));
        record.map(|record| record.service.name.clone())
    };
    if let Some(name) = service {
        return parts.permit.require(Resource::Service, &name, Write);
    }
    let node = check.node.as_deref().unwrap_or(&parts.home.node.name);
    parts.permit.require(Resource::Node, node, Write)
}

fn vet_service(parts: &Parts, id: &str) -> Result<(), Refusal> {
    match service_name(parts, id) {
        Some(name) => parts.permit.require(Resource::Service, &name, Write),
        // Whoever looks for it says that there is none.
        None => Ok(()),
    }
}

/// The name of a service of the agent's.
fn service_name(parts: &Parts, id: &str) -> Option<String> {
    record_name(parts, &Key::new(None, id))
}

fn record_name(parts: &Parts, key: &Key) -> Option<String> {
    if parts.clerk.book().record(key).is_none() {
        // A predecessor of this process may have left it.
        parts.clerk.adopt_missing();
    }
    let book = parts.clerk.book();
    book.record(key).map(|record| record.service.name.clone())
}

/// A node by its name; none stands for the agent's own.
pub(super) fn node_of<'n>(parts: &Parts, name: &'n str) -> Option<&'n str> {
    (!name.eq_ignore_ascii_case(&parts.home.node.name)).then_some(name)
}
