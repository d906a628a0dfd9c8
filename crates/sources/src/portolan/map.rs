//! Instances of the native API as ours. Pure.

use portolan_dialects::native::InstanceView;
use portolan_model::{Instance, Override, SourceId};
use serde_json::{Map, Value};

use super::settings::Settings;
use crate::frame::{Found, Provenance, Unfit};

/// The instance; `None` if it is not wanted, or is our own.
pub(super) fn instance(
    settings: &Settings,
    source: &SourceId,
    provenance: &Provenance,
    view: &InstanceView,
) -> Result<Option<Instance>, Unfit> {
    let Some(namespace) = settings.namespace(&view.namespace) else {
        return Ok(None);
    };
    let mut found = found(view, namespace);
    if !provenance.admit(&mut found) {
        return Ok(None);
    }
    let made = settings.basics.instance(source, found, || object(view))?;
    Ok(made.map(|instance| finish(instance, view)))
}

fn found(view: &InstanceView, namespace: &str) -> Found {
    let is_first = |name: &str| name == &*view.port;
    let mut ports: Vec<_> = view
        .endpoints
        .iter()
        .map(|(name, address)| ((**name).to_owned(), address.port()))
        .collect();
    ports.sort_by_key(|(name, _)| !is_first(name));
    let first = view.endpoints.get(&view.port);
    let first = first.or_else(|| view.endpoints.values().next());
    let ruled = view.ruling.as_ref().and_then(|ruling| ruling.weight);
    Found {
        service: (*view.service).to_owned(),
        namespace: Some(namespace.to_owned()),
        id: (*view.id).to_owned(),
        address: first.map(std::net::SocketAddr::ip),
        ports,
        zone: view.zone.as_deref().map(str::to_owned),
        version: view.version.as_deref().map(str::to_owned),
        weight: Some(ruled.unwrap_or(view.weight)),
        health: view.status,
        note: view.note.as_deref().map(str::to_owned),
        out_of_service: view.overridden == Override::Maintenance,
        leaving: view.leaving,
        tags: view.tags.iter().map(|tag| (**tag).to_owned()).collect(),
        metadata: view
            .metadata
            .iter()
            .map(|(key, value)| ((**key).to_owned(), (**value).to_owned()))
            .collect(),
    }
}

/// What only another Portolan can say: a drain, and ports at addresses of their own.
fn finish(mut instance: Instance, view: &InstanceView) -> Instance {
    if instance.state.overridden == Override::None {
        instance.state.overridden = view.overridden;
    }
    let first = view.endpoints.get(&view.port).map(std::net::SocketAddr::ip);
    for endpoint in &mut instance.endpoints {
        let theirs = view.endpoints.get(endpoint.name.as_str());
        let is_unmapped = Some(endpoint.address.ip()) == first;
        if let Some(theirs) = theirs.filter(|theirs| theirs.port() == endpoint.address.port())
            && is_unmapped
        {
            endpoint.address = *theirs;
        }
    }
    instance
}

fn object(view: &InstanceView) -> Map<String, Value> {
    match serde_json::to_value(view) {
        Ok(Value::Object(object)) => object,
        // The shape is ours and has JSON.
        _ => Map::new(),
    }
}
