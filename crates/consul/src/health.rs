//! Reads under `health/`.

use portolan_dialects::consul::{
    HealthPlace, Parameters, Refusal,
    answer::{CheckView, HealthEntry},
};
use portolan_wire::serve::Response;

use super::{
    Parts,
    scene::{Scene, has_meta, has_tags, is_passing},
    waiting::{of_everything, of_service},
};

pub(super) async fn answer(
    parts: &Parts,
    place: HealthPlace,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    match place {
        HealthPlace::Service(name) => {
            let filter = parameters.filter_on(&HealthEntry::SHAPE)?;
            of_service(parts, parameters, &name, |scene| {
                let mut entries = entries(scene, &name, parameters)?;
                if let Some(filter) = &filter {
                    filter.keep(&mut entries);
                }
                Ok(entries)
            })
            .await
        }
        HealthPlace::Mesh(name) => {
            let _filter = parameters.filter_on(&HealthEntry::SHAPE)?;
            of_service(parts, parameters, &name, |_| Ok(Vec::<HealthEntry>::new())).await
        }
        HealthPlace::Checks(name) => {
            of_service(parts, parameters, &name, |scene| {
                chosen(parameters, checks_of(scene, &name, parameters)?)
            })
            .await
        }
        HealthPlace::Node(name) => {
            of_everything(parts, parameters, |scene| {
                chosen(parameters, checks_on(scene, &name))
            })
            .await
        }
        HealthPlace::State(state) => {
            let known = ["any", "passing", "warning", "critical", "maintenance"];
            if !known.contains(&state.as_str()) {
                return Err(Refusal::bad(format!("Invalid check state: {state:?}")));
            }
            of_everything(parts, parameters, |scene| {
                chosen(parameters, checks_in(scene, &state, parameters))
            })
            .await
        }
    }
}

fn chosen(parameters: &Parameters, mut checks: Vec<CheckView>) -> Result<Vec<CheckView>, Refusal> {
    if let Some(filter) = parameters.filter_on(&CheckView::SHAPE)? {
        filter.keep(&mut checks);
    }
    Ok(checks)
}

fn entries(
    scene: &Scene<'_>,
    name: &str,
    parameters: &Parameters,
) -> Result<Vec<HealthEntry>, Refusal> {
    let Some(service) = scene.service(name)?.filter(|_| !parameters.has_peer) else {
        return Ok(Vec::new());
    };
    let index = service.modified.as_u64();
    let wanted = scene
        .instances(service)
        .filter(|seen| has_tags(seen, &parameters.tags));
    let entries = wanted
        .map(|seen| scene.entry(&seen, index))
        .filter(|entry| has_meta(&entry.node, &parameters.node_meta))
        .filter(|entry| !parameters.passing || is_passing(&entry.checks));
    Ok(entries.collect())
}

fn checks_of(
    scene: &Scene<'_>,
    name: &str,
    parameters: &Parameters,
) -> Result<Vec<CheckView>, Refusal> {
    let Some(service) = scene.service(name)? else {
        return Ok(Vec::new());
    };
    let index = service.modified.as_u64();
    let mut checks = Vec::new();
    for seen in scene.instances(service) {
        let node = scene.node(seen.node());
        if has_meta(&node, &parameters.node_meta) {
            checks.extend(seen.checks(&node.node, index));
        }
    }
    Ok(checks)
}

fn checks_on(scene: &Scene<'_>, name: &str) -> Vec<CheckView> {
    let Ok(node) = scene.node_named(name) else {
        return Vec::new();
    };
    let mut checks = scene.node_checks(node);
    let view = scene.node(node);
    let on_it = scene.everybody().filter(|(seen, _)| seen.node() == node);
    checks.extend(on_it.flat_map(|(seen, index)| seen.checks(&view.node, index)));
    checks
}

fn checks_in(scene: &Scene<'_>, state: &str, parameters: &Parameters) -> Vec<CheckView> {
    let mut checks: Vec<CheckView> = scene
        .visible_nodes()
        .filter(|node| has_meta(&scene.node(*node), &parameters.node_meta))
        .flat_map(|node| scene.node_checks(node))
        .collect();
    for (seen, index) in scene.everybody() {
        let node = scene.node(seen.node());
        if has_meta(&node, &parameters.node_meta) {
            checks.extend(seen.checks(&node.node, index));
        }
    }
    checks.retain(|check| check.is(state));
    checks
}
