//! What a prepared query finds.

use portolan_dialects::consul::{
    QueryService, Refusal, Registered,
    answer::{CheckView, HealthEntry},
};
use portolan_model::Health;
use portolan_runtime::Dice;
use serde_json::{Value, json};

use super::{Asked, shape::Saved};
use crate::{Parts, scene::Scene};

/// Executes a query. There is one datacentre: what a query says of others to fail over to is
/// kept, and nobody is asked.
pub(super) fn execute(parts: &Parts, saved: &Saved, asked: &Asked<'_>) -> Result<Value, Refusal> {
    let limit = match asked.limit {
        None | Some("") => None,
        Some(text) => {
            let limit = text
                .parse()
                .map_err(|_| Refusal::failed(format!("Bad limit: {text:?}")))?;
            Some(limit).filter(|limit| *limit > 0)
        }
    };
    let scene = Scene::new(parts);
    let service = &saved.query.service;
    let mut entries = if asked.is_mesh {
        Vec::new()
    } else {
        entries(&scene, service)?
    };
    shuffle(&mut entries, &mut parts.env.dice());
    if let Some(node) = nearest(&scene, service, asked) {
        entries.sort_by_key(|entry| *entry.node.node != *node);
    }
    entries.truncate(limit.unwrap_or(usize::MAX));
    Ok(json!({
        "Service": service.service, "Nodes": entries, "DNS": saved.dns(),
        "Datacenter": parts.home.datacenter, "Failovers": 0, "LastContact": 0,
        "KnownLeader": true, "ConsistencyLevel": asked.parameters.consistency.as_str(),
    }))
}

fn entries(scene: &Scene<'_>, wanted: &QueryService) -> Result<Vec<HealthEntry>, Refusal> {
    let Some(service) = scene.service(&wanted.service)? else {
        return Ok(Vec::new());
    };
    let index = service.modified.as_u64();
    let instances = scene.instances(service);
    let chosen = instances.filter(|seen| is_wanted(seen, wanted));
    let entries = chosen.map(|seen| scene.entry(&seen, index));
    let healthy = entries.filter(|entry| is_healthy(&entry.checks, wanted));
    let has_meta = |entry: &HealthEntry| {
        let mut pairs = wanted.node_meta.iter();
        pairs.all(|(key, value)| entry.node.meta.get(key) == Some(value))
    };
    Ok(healthy.filter(has_meta).collect())
}

fn is_wanted(seen: &Registered, wanted: &QueryService) -> bool {
    let service = &seen.record.service;
    let mut pairs = wanted.service_meta.iter();
    wanted.wants_tags(&service.tags)
        && pairs.all(|(key, value)| service.meta.get(key) == Some(value))
}

fn is_healthy(checks: &[CheckView], wanted: &QueryService) -> bool {
    let counts = |check: &&CheckView| !wanted.ignored_checks.contains(&check.id);
    let counted: Vec<_> = checks.iter().filter(counts).cloned().collect();
    match Registered::worst(&counted) {
        Health::Passing => true,
        Health::Warning => !wanted.only_passing,
        Health::Starting | Health::Critical => false,
    }
}

fn shuffle(entries: &mut [HealthEntry], dice: &mut Dice) {
    for last in (1..entries.len()).rev() {
        let most = u32::try_from(last).unwrap_or(u32::MAX - 1);
        let other = dice.u32_below(most + 1) as usize;
        entries.swap(last, other);
    }
}

/// The node that comes first. Nobody has measured the ways to the others.
fn nearest(scene: &Scene<'_>, wanted: &QueryService, asked: &Asked<'_>) -> Option<String> {
    let own = || scene.home.node.name.clone();
    let near = asked.parameters.near.as_deref();
    match near.unwrap_or(&wanted.near) {
        "" => None,
        "_agent" => Some(own()),
        "_ip" => {
            let address = asked.peer?.address.ip().to_canonical();
            let is_there = |text: &str| text.parse() == Ok(address);
            let mut others = scene.nodes.known.iter();
            let other = others.find(|(_, (node, _))| is_there(&node.address));
            match other {
                Some((name, _)) => Some(name.clone()),
                None => is_there(&scene.home.node.address).then(own),
            }
        }
        name => Some(name.to_owned()),
    }
}
