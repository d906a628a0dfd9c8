//! Queries.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use portolan_catalog::Catalog;
use portolan_dialects::eureka::{
    Counts, Format, InstanceInfo, Status, accepts_gzip, app_of, application_piece, kept, show,
    write_application, write_applications, write_instance, write_map,
};
use portolan_model::{Instance, InstanceId, Name, ServiceKey};
use portolan_wire::serve::Response;

use super::{Front, Refusal, bodies, delta, document, text_of};

/// Whether a service is told: Eureka has no namespaces.
pub(super) fn is_served(key: &ServiceKey) -> bool {
    key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE
}

/// The service of an application; `None` if there can't be one.
pub(super) fn key_of(app: &str) -> Option<ServiceKey> {
    Some(ServiceKey {
        namespace: Name::parse(ServiceKey::DEFAULT_NAMESPACE).ok()?,
        name: Name::parse(app).ok()?,
    })
}

/// The instance of an application in the merged catalogue.
pub(super) fn find(catalog: &Catalog, app: &str, id: &str) -> Option<Arc<Instance>> {
    let service = catalog.service(&key_of(app)?)?;
    let id = InstanceId::parse(id).ok()?;
    delta::find(service, &id).map(Arc::clone)
}

/// Everything, or what changed lately.
pub(super) async fn lists(
    front: &Front,
    is_delta: bool,
    format: Format,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    check_warm(front)?;
    let is_zipped = accepts_gzip(text_of(headers, &header::ACCEPT_ENCODING).as_deref());
    let catalog = || front.parts.registry.reader().catalog();
    let body = if is_delta {
        let recent = || {
            let catalog = catalog();
            let after = delta::since(&catalog, front.parts.env.now());
            (catalog, after)
        };
        front.bodies.delta(recent, format, is_zipped).await
    } else {
        front.bodies.all(catalog, format, is_zipped).await
    };
    let mut response = document(format, body);
    let headers = response.headers_mut();
    let vary = HeaderValue::from_static("Accept, Accept-Encoding");
    headers.insert(header::VARY, vary);
    if is_zipped {
        let gzip = HeaderValue::from_static("gzip");
        headers.insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

fn check_warm(front: &Front) -> Result<(), Refusal> {
    if (front.parts.is_warm)() {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::FORBIDDEN, ""))
    }
}

pub(super) fn application(front: &Front, app: &str, format: Format) -> Result<Response, Refusal> {
    check_warm(front)?;
    let catalog = front.parts.registry.reader().catalog();
    let service = key_of(app).and_then(|key| catalog.service(&key).map(Arc::clone));
    let service = service.filter(|service| !service.instances.is_empty());
    let service = service.ok_or_else(Refusal::not_found)?;
    let infos: Vec<_> = service
        .instances
        .iter()
        .map(|instance| show(instance))
        .collect();
    let name = app_of(&service.key);
    Ok(document(format, write_application(format, &name, &infos)))
}

pub(super) fn instance(
    front: &Front,
    app: &str,
    id: &str,
    format: Format,
) -> Result<Response, Refusal> {
    let catalog = front.parts.registry.reader().catalog();
    let found = find(&catalog, app, id).ok_or_else(Refusal::not_found)?;
    Ok(document(format, write_instance(format, &show(&found))))
}

/// The instance of that id, whatever its application.
pub(super) fn any_instance(front: &Front, id: &str, format: Format) -> Result<Response, Refusal> {
    let catalog = front.parts.registry.reader().catalog();
    let id = InstanceId::parse(id).map_err(|_| Refusal::not_found())?;
    let mut services = catalog.services().filter(|service| is_served(&service.key));
    let found = services
        .find_map(|service| delta::find(service, &id))
        .ok_or_else(Refusal::not_found)?;
    Ok(document(format, write_instance(format, &show(found))))
}

/// The instances behind a name; none is an answer, too.
pub(super) fn vip(
    front: &Front,
    format: Format,
    serves: impl Fn(&InstanceInfo) -> bool,
) -> Result<Response, Refusal> {
    check_warm(front)?;
    let catalog = front.parts.registry.reader().catalog();
    let mut found: BTreeMap<Arc<str>, Vec<InstanceInfo>> = BTreeMap::new();
    for service in catalog.services().filter(|service| is_served(&service.key)) {
        let infos = service.instances.iter().map(|instance| show(instance));
        let infos: Vec<_> = infos.filter(|info| serves(info)).collect();
        if !infos.is_empty() {
            found.insert(app_of(&service.key), infos);
        }
    }
    let all = found.values().flatten();
    let counts: Counts = all.map(|info| info.status).collect();
    let pieces: Vec<_> = found
        .iter()
        .map(|(app, infos)| application_piece(format, app, infos))
        .collect();
    let pieces = pieces.iter().map(Vec::as_slice);
    let bytes = write_applications(format, &counts.hash(), pieces);
    Ok(document(format, bytes))
}

/// How the server is, in few words.
pub(super) fn status(front: &Front, format: Format) -> Response {
    let catalog = front.parts.registry.reader().catalog();
    let services = catalog.services().filter(|service| is_served(&service.key));
    let services: Vec<_> = services.collect();
    let instances: usize = services.iter().map(|service| service.instances.len()).sum();
    let entries = [
        ("server", "portolan".to_owned()),
        ("status", "UP".to_owned()),
        ("is-warm", (front.parts.is_warm)().to_string()),
        ("revision", catalog.revision().to_string()),
        ("applications", services.len().to_string()),
        ("instances", instances.to_string()),
        ("apps-hashcode", bodies::counts(&catalog).hash()),
    ];
    let entries = entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    document(format, write_map(format, "status", &entries))
}

/// Every override that is in force, by instance.
pub(super) fn overrides(front: &Front, format: Format) -> Response {
    let catalog = front.parts.registry.reader().catalog();
    let services = catalog.services().filter(|service| is_served(&service.key));
    let instances = services.flat_map(|service| &service.instances);
    let entries = instances.filter_map(|instance| {
        let kept = kept(instance).and_then(|kept| kept.overridden);
        let overridden = Status::of_override(instance.state.overridden).or(kept)?;
        let id = instance.id.as_str().to_owned();
        Some((id, overridden.as_str().to_owned()))
    });
    let entries = entries.collect();
    document(format, write_map(format, "overrides", &entries))
}
