//! Transactions about nodes, services and checks.

use std::{collections::BTreeSet, net::IpAddr};

use portolan_dialects::consul::{
    CatalogOperation, CatalogPart, CatalogVerb, CheckDefinition, NodeDefinition, Refusal,
    answer::{CheckView, NodeView, ServiceView},
};
use serde_json::{Value, json};

use super::{Fault, Outcome};
use crate::{
    Parts, acl, catalog,
    clerk::Writing,
    scene::Scene,
    terms::{Holder, Key},
    writing::wait_for,
};

/// What earlier operations of the same transaction will have made.
#[derive(Default)]
struct Planned {
    nodes: BTreeSet<String>,
    services: BTreeSet<Key>,
}

pub(super) async fn apply(
    parts: &Parts,
    operations: Vec<CatalogOperation>,
    caller: IpAddr,
) -> Result<Outcome, Refusal> {
    let (read, faults) = check(parts, &operations);
    if !faults.is_empty() {
        return Ok(Outcome::Faulted(faults));
    }
    let mut writings = Vec::new();
    for operation in &operations {
        writings.extend(write(parts, operation, caller)?);
    }
    wait_for(writings).await?;
    let scene = Scene::new(parts);
    let told = operations.iter().zip(read);
    let results = told.filter_map(|(operation, read)| match operation.verb {
        CatalogVerb::Get => read,
        CatalogVerb::Set | CatalogVerb::Cas => show(&scene, &operation.part),
        CatalogVerb::Delete | CatalogVerb::DeleteCas => None,
    });
    Ok(Outcome::Applied(results.collect()))
}

/// Looks at every permission and condition; also gives what is read.
fn check(parts: &Parts, operations: &[CatalogOperation]) -> (Vec<Option<Value>>, Vec<Fault>) {
    let scene = &Scene::new(parts);
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    let mut planned = Planned::default();
    for (at, operation) in operations.iter().enumerate() {
        let permitted = acl::vet_part(parts, operation).map_err(|denied| denied.text);
        let checked = permitted.and_then(|()| check_one(scene, operation, &mut planned));
        if let Err(what) = checked {
            faults.push((at, what));
        }
        read.push(match operation.verb {
            CatalogVerb::Get => show(scene, &operation.part),
            CatalogVerb::Set | CatalogVerb::Cas | CatalogVerb::Delete | CatalogVerb::DeleteCas => {
                None
            }
        });
    }
    (read, faults)
}

fn check_one(
    scene: &Scene<'_>,
    operation: &CatalogOperation,
    planned: &mut Planned,
) -> Result<(), String> {
    let CatalogOperation { verb, index, part } = operation;
    let what = name_of(part);
    let found = index_of(scene, part);
    match verb {
        CatalogVerb::Get if found.is_none() => return Err(format!("{what} doesn't exist")),
        CatalogVerb::Cas if found.unwrap_or(0) != *index => {
            return Err(format!("failed to set {what}, index is stale"));
        }
        CatalogVerb::DeleteCas if found.is_some_and(|found| found != *index) => {
            return Err(format!("failed to delete {what}, index is stale"));
        }
        CatalogVerb::Get => return Ok(()),
        CatalogVerb::Delete | CatalogVerb::DeleteCas => return check_departure(scene, part),
        CatalogVerb::Set | CatalogVerb::Cas => {}
    }
    match part {
        CatalogPart::Node(node) if node.name.is_empty() || node.address.is_empty() => {
            return Err("Must provide node and address".to_owned());
        }
        CatalogPart::Node(node) => drop(planned.nodes.insert(node.name.clone())),
        CatalogPart::Service(node, service) => {
            if service.name.is_empty() {
                return Err("Must provide service name".to_owned());
            }
            check_node(scene, node, planned)?;
            planned.services.insert(key(scene, node, &service.id));
        }
        CatalogPart::Check(node, check) => {
            check_node(scene, node, planned)?;
            check_check(scene, node, check, planned)?;
        }
    }
    Ok(())
}

fn check_node(scene: &Scene<'_>, node: &str, planned: &Planned) -> Result<(), String> {
    if planned.nodes.contains(node) || scene.node_named(node).is_ok() {
        return Ok(());
    }
    Err("Missing node registration".to_owned())
}

fn check_check(
    scene: &Scene<'_>,
    node: &str,
    check: &CheckDefinition,
    planned: &Planned,
) -> Result<(), String> {
    if check.id.is_empty() {
        return Err("Must provide a check ID or name".to_owned());
    }
    let service = key(scene, node, &check.service_id);
    let is_there = check.service_id.is_empty()
        || planned.services.contains(&service)
        || scene.find_by_key(&service).is_some();
    is_there
        .then_some(())
        .ok_or_else(|| "Missing service registration".to_owned())
}

fn check_departure(scene: &Scene<'_>, part: &CatalogPart) -> Result<(), String> {
    match part {
        CatalogPart::Node(node) if is_own(scene, &node.name) => {
            Err(format!("{} is the agent's own and stays", name_of(part)))
        }
        CatalogPart::Node(_) | CatalogPart::Service(..) | CatalogPart::Check(..) => Ok(()),
    }
}

fn is_own(scene: &Scene<'_>, node: &str) -> bool {
    node.eq_ignore_ascii_case(&scene.home.node.name)
}

/// A service or check of a node.
fn key(scene: &Scene<'_>, node: &str, id: &str) -> Key {
    Key::new((!is_own(scene, node)).then_some(node), id)
}

fn name_of(part: &CatalogPart) -> String {
    match part {
        CatalogPart::Node(node) => format!("node {:?}", node.name),
        CatalogPart::Service(node, service) => format!("service {:?} on node {node:?}", service.id),
        CatalogPart::Check(node, check) => format!("check {:?} on node {node:?}", check.id),
    }
}

fn node_view(scene: &Scene<'_>, node: &NodeDefinition) -> Option<NodeView> {
    let named = scene.node_named(&node.name).ok()?;
    Some(scene.node(named))
}

fn service_view(scene: &Scene<'_>, node: &str, id: &str) -> Option<ServiceView> {
    let (seen, index) = scene.find_by_key(&key(scene, node, id))?;
    let node = scene.node(seen.node());
    Some(seen.service(&node.address, index))
}

fn check_view(scene: &Scene<'_>, node: &str, id: &str) -> Option<CheckView> {
    let key = key(scene, node, id);
    let is_it = |view: &CheckView| *view.id == *id;
    let of_node = scene.node_checks(key.node.as_deref());
    of_node.into_iter().find(is_it).or_else(|| {
        let (seen, index) = scene.find_by_check(&key)?;
        let name = scene.node(seen.node()).node;
        seen.checks(&name, index).into_iter().find(is_it)
    })
}

/// The index of a part; none if it is not there.
fn index_of(scene: &Scene<'_>, part: &CatalogPart) -> Option<u64> {
    let indexes = match part {
        CatalogPart::Node(node) => node_view(scene, node)?.indexes,
        CatalogPart::Service(node, service) => service_view(scene, node, &service.id)?.indexes,
        CatalogPart::Check(node, check) => check_view(scene, node, &check.id)?.indexes,
    };
    Some(indexes.modify_index)
}

/// A part as clients see it.
fn show(scene: &Scene<'_>, part: &CatalogPart) -> Option<Value> {
    Some(match part {
        CatalogPart::Node(node) => json!({ "Node": node_view(scene, node)? }),
        CatalogPart::Service(node, service) => {
            json!({ "Service": service_view(scene, node, &service.id)? })
        }
        CatalogPart::Check(node, check) => {
            json!({ "Check": check_view(scene, node, &check.id)? })
        }
    })
}

fn write(
    parts: &Parts,
    operation: &CatalogOperation,
    caller: IpAddr,
) -> Result<Vec<Writing>, Refusal> {
    match operation.verb {
        CatalogVerb::Get => Ok(Vec::new()),
        CatalogVerb::Set | CatalogVerb::Cas => set(parts, &operation.part, caller),
        CatalogVerb::Delete | CatalogVerb::DeleteCas => delete(parts, &operation.part),
    }
}

fn set(parts: &Parts, part: &CatalogPart, caller: IpAddr) -> Result<Vec<Writing>, Refusal> {
    // Made anew each time: an earlier operation may have made its node.
    let scene = Scene::new(parts);
    match part {
        CatalogPart::Node(node) if is_own(&scene, &node.name) => Ok(Vec::new()),
        CatalogPart::Node(node) => catalog::put_node(parts, node, false),
        CatalogPart::Service(node, service) => {
            let address = scene.node(scene.node_named(node).ok().flatten()).address;
            let at = (!is_own(&scene, node)).then_some((node.as_str(), &*address));
            catalog::put(parts, (**service).clone(), at, caller)
        }
        CatalogPart::Check(node, check) => {
            let at = (!is_own(&scene, node)).then_some(node.as_str());
            parts.clerk.add_check(at, (**check).clone())
        }
    }
}

fn delete(parts: &Parts, part: &CatalogPart) -> Result<Vec<Writing>, Refusal> {
    let scene = Scene::new(parts);
    match part {
        CatalogPart::Node(node) => catalog::remove_node(parts, &node.name),
        CatalogPart::Service(node, service) => {
            let holder = Holder::Service(key(&scene, node, &service.id));
            let gone = || vec![parts.clerk.catch_up()];
            Ok(parts.clerk.deregister(&holder)?.unwrap_or_else(gone))
        }
        CatalogPart::Check(node, check) => {
            let key = key(&scene, node, &check.id);
            let mut writings = parts
                .clerk
                .change(|book, now| Ok(book.remove_check(now, &key).unwrap_or_default()))?;
            if writings.is_empty() {
                writings.push(parts.clerk.catch_up());
            }
            Ok(writings)
        }
    }
}
