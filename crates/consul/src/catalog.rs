//! Under `catalog/`: reads, and registrations by hand.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use portolan_dialects::consul::{
    CatalogDeparture, CatalogPlace, CatalogRegistration, NodeDefinition, Parameters, Record,
    Refusal, ServiceDefinition,
    answer::{CatalogRow, NodeServices, NodeView, ServiceView},
    filter::Checked,
};
use portolan_wire::serve::Response;
use serde_json::{Value, json};

use super::{
    Parts, answering,
    book::Book,
    clerk::Writing,
    listing::Tags,
    scene::{Scene, has_meta, has_tags},
    terms::{Fact, Holder, Key, Touched},
    waiting::{of_everything, of_names, of_service},
    writing::wait_for,
};

pub(super) async fn answer(
    parts: &Parts,
    place: CatalogPlace,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    match place {
        CatalogPlace::Datacenters => answering::json(&[&parts.home.datacenter]),
        CatalogPlace::Nodes => {
            let filter = parameters.filter_on(&NodeView::SHAPE)?;
            of_everything(parts, parameters, |scene| {
                let mut nodes = nodes(scene, parameters);
                if let Some(filter) = &filter {
                    filter.keep(&mut nodes);
                }
                Ok(nodes)
            })
            .await
        }
        CatalogPlace::Services => {
            let filter = parameters.filter_on(&CatalogRow::SHAPE)?;
            if filter.is_none() && parameters.node_meta.is_empty() {
                return of_names(parts, parameters).await;
            }
            of_everything(parts, parameters, |scene| {
                Ok(services(scene, parameters, filter.as_ref()))
            })
            .await
        }
        CatalogPlace::Service(name) => {
            let filter = parameters.filter_on(&CatalogRow::SHAPE)?;
            of_service(parts, parameters, &name, |scene| {
                let mut rows = rows(scene, &name, parameters)?;
                if let Some(filter) = &filter {
                    filter.keep(&mut rows);
                }
                Ok(rows)
            })
            .await
        }
        CatalogPlace::Connect(name) => {
            let _filter = parameters.filter_on(&CatalogRow::SHAPE)?;
            of_service(parts, parameters, &name, |_| Ok(Vec::<CatalogRow>::new())).await
        }
        CatalogPlace::Node(name) => {
            of_everything(parts, parameters, |scene| {
                if parts.is_without_services {
                    let node = scene.node_named(&name).ok();
                    return Ok(node.map(|node| NodeServices {
                        node: scene.node(node),
                        services: BTreeMap::new(),
                    }));
                }
                node(scene, &name, parameters)
            })
            .await
        }
        CatalogPlace::NodeServices(name) => {
            of_everything(parts, parameters, |scene| {
                let Some(node) = node(scene, &name, parameters)? else {
                    return Ok(Value::Null);
                };
                let services: Vec<_> = node.services.into_values().collect();
                Ok(json!({ "Node": node.node, "Services": services }))
            })
            .await
        }
        CatalogPlace::GatewayServices => answering::json(&Vec::<Value>::new()),
        CatalogPlace::Register | CatalogPlace::Deregister => {
            Err(Refusal::new(405, "method GET not allowed"))
        }
    }
}

fn nodes(scene: &Scene<'_>, parameters: &Parameters) -> Vec<NodeView> {
    let mut nodes: Vec<_> = scene
        .visible_nodes()
        .map(|node| scene.node(node))
        .filter(|node| has_meta(node, &parameters.node_meta))
        .collect();
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    if let Some(near) = &parameters.near {
        // Nobody has measured the ways; oneself is nearest.
        let near = if near == "_agent" {
            &scene.home.node.name
        } else {
            near
        };
        nodes.sort_by_key(|node| *node.node != **near);
    }
    nodes
}

/// Services that have an instance that is wanted, with the tags of all of those.
fn services(
    scene: &Scene<'_>,
    parameters: &Parameters,
    filter: Option<&Checked>,
) -> BTreeMap<String, Tags> {
    let mut all = BTreeMap::<_, Tags>::new();
    for (seen, index) in scene.everywhere() {
        let row = row(scene, &seen, index);
        let node = scene.node(seen.node());
        let is_wanted = has_meta(&node, &parameters.node_meta)
            && filter.is_none_or(|filter| filter.chooses(&row));
        if is_wanted {
            let service = &seen.record.service;
            let tags = all.entry(service.name.clone()).or_default();
            tags.extend(service.tags.iter().cloned());
        }
    }
    all
}

fn row(scene: &Scene<'_>, seen: &portolan_dialects::consul::Registered, index: u64) -> CatalogRow {
    let node = scene.node(seen.node());
    let service = seen.service(&node.address, index);
    CatalogRow::new(node, service)
}

fn rows(
    scene: &Scene<'_>,
    name: &str,
    parameters: &Parameters,
) -> Result<Vec<CatalogRow>, Refusal> {
    let Some(service) = scene.service(name)?.filter(|_| !parameters.has_peer) else {
        return Ok(Vec::new());
    };
    let index = service.modified.as_u64();
    let wanted = scene
        .instances(service)
        .filter(|seen| has_tags(seen, &parameters.tags));
    let rows = wanted
        .filter(|seen| has_meta(&scene.node(seen.node()), &parameters.node_meta))
        .map(|seen| row(scene, &seen, index));
    Ok(rows.collect())
}

/// A node and its services; none if there is no such node.
fn node(
    scene: &Scene<'_>,
    name: &str,
    parameters: &Parameters,
) -> Result<Option<NodeServices>, Refusal> {
    // The filter chooses among the services.
    let filter = parameters.filter_on(&ServiceView::SHAPE)?;
    let Ok(node) = scene.node_named(name) else {
        return Ok(None);
    };
    let view = scene.node(node);
    let on_it = scene.everybody().filter(|(seen, _)| seen.node() == node);
    let views = on_it.map(|(seen, index)| seen.service(&view.address, index));
    let chosen = views.filter(|view| filter.as_ref().is_none_or(|filter| filter.chooses(view)));
    let services = chosen.map(|view| (Arc::clone(&view.id), view)).collect();
    Ok(Some(NodeServices {
        node: view,
        services,
    }))
}

pub(super) async fn register(
    parts: &Parts,
    body: &[u8],
    caller: IpAddr,
) -> Result<Response, Refusal> {
    let (registration, datacenter) = CatalogRegistration::read(body)?;
    check_datacenter(parts, datacenter.as_deref())?;
    let CatalogRegistration {
        node,
        skip_node_update,
        service,
        checks,
    } = registration;
    let is_own = node.name.eq_ignore_ascii_case(&parts.home.node.name);
    let name = (!is_own).then_some(node.name.as_str());
    let mut writings: Vec<Writing> = Vec::new();
    if !is_own {
        writings.extend(put_node(parts, &node, skip_node_update)?);
    }
    if let Some(service) = service {
        let at = name.map(|name| (name, node.address.as_str()));
        writings.extend(put(parts, service, at, caller)?);
    }
    for check in checks {
        writings.extend(parts.clerk.add_check(name, check)?);
    }
    wait_for(writings).await?;
    answering::json(&true)
}

/// A node is registered by hand; one that is known stays as it is if it is to be skipped.
pub(super) fn put_node(
    parts: &Parts,
    node: &NodeDefinition,
    skips_known: bool,
) -> Result<Vec<Writing>, Refusal> {
    let index = parts.clerk.catalog().revision().as_u64();
    parts.clerk.change(|book, _| {
        let nodes = book.nodes();
        let known = nodes.known.get(&node.name).map(|(known, _)| known);
        let facts = vec![Fact::Node(node.name.clone())];
        if known.is_some_and(|known| skips_known || known == node) {
            return Ok(vec![Touched::Kept(facts)]);
        }
        book.put_node(node.clone(), index.max(nodes.index.saturating_add(1)))?;
        Ok(vec![Touched::Node(facts)])
    })
}

pub(super) fn put(
    parts: &Parts,
    service: ServiceDefinition,
    at: Option<(&str, &str)>,
    caller: IpAddr,
) -> Result<Vec<Writing>, Refusal> {
    let record = Record::new(service, at, caller);
    parts.clerk.register(record, false)
}

pub(super) async fn deregister(parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    let gone = CatalogDeparture::read(body)?;
    check_datacenter(parts, gone.datacenter.as_deref())?;
    let is_own = gone.node.eq_ignore_ascii_case(&parts.home.node.name);
    let node = (!is_own).then_some(gone.node.as_str());
    let mut writings = Vec::new();
    if let Some(id) = &gone.service_id {
        let holder = Holder::Service(Key::new(node, id));
        writings.extend(parts.clerk.deregister(&holder)?.unwrap_or_default());
    } else if let Some(id) = &gone.check_id {
        let key = Key::new(node, id);
        let remove = |book: &mut Book, now| Ok(book.remove_check(now, &key).unwrap_or_default());
        writings.extend(parts.clerk.change(remove)?);
    } else if let Some(name) = node {
        writings.extend(remove_node(parts, name)?);
    }
    if writings.is_empty() {
        writings.push(parts.clerk.catch_up());
    }
    wait_for(writings).await?;
    answering::json(&true)
}

/// A node that was registered by hand goes, with everything on it.
pub(super) fn remove_node(parts: &Parts, name: &str) -> Result<Vec<Writing>, Refusal> {
    // A predecessor of this process may have left some.
    parts.clerk.adopt_missing();
    let mut on_it = Vec::new();
    let mut writings = parts.clerk.change(|book, now| {
        on_it = book.services_on(name);
        Ok(book.remove_node(now, name))
    })?;
    for holder in on_it {
        writings.extend(parts.clerk.deregister(&holder)?.unwrap_or_default());
    }
    // Somebody else may have begun with its services.
    writings.push(parts.clerk.catch_up());
    Ok(writings)
}

pub(super) fn check_datacenter(parts: &Parts, named: Option<&str>) -> Result<(), Refusal> {
    let ours = &*parts.home.datacenter;
    if named.is_none_or(|named| named.eq_ignore_ascii_case(ours)) {
        return Ok(());
    }
    Err(Refusal::no_path())
}
