//! The native API: JSON over HTTP, mounted on the admin listener under `/v1`.
//!
//! Writes are answered once they are visible to every reader and carry the catalogue's
//! revision; reads show the merged catalogue of all sources. Errors are
//! `application/problem+json` with a stable `cause`. `docs/reference/openapi.json`
//! describes it all; a test holds it against [`ROUTES`].

mod checks;
mod confirmed;
mod events;
mod filter;
mod guard;
mod need;
mod overrides;
mod path;
mod query;
mod read;
mod watch;
mod write;

use portolan_catalog::Pulses;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use portolan_dialects::native::{Misfit, Written};
use portolan_model::ServiceKey;
use portolan_runtime::{Env, drain::DrainWatch};
use portolan_store::StoreError;
use portolan_wire::serve::{Answering, Body, Handler, Query, Request, Response, full, problem};
use serde::Serialize;

pub use self::need::{kind, need};
use self::path::{Place, ServicePlace};
use crate::{Registry, RegistryError, check::Checks, core::Subject, watch::Hub};

/// Every method and path that is served, with the parameters in braces. Each path under
/// `/v1/services` exists under `/v1/namespaces/{namespace}/services`, too.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/services"),
    ("get", "/v1/services/{service}"),
    ("get", "/v1/services/{service}/instances"),
    ("post", "/v1/services/{service}/instances"),
    ("get", "/v1/services/{service}/instances/{id}"),
    ("put", "/v1/services/{service}/instances/{id}"),
    ("patch", "/v1/services/{service}/instances/{id}"),
    ("delete", "/v1/services/{service}/instances/{id}"),
    ("put", "/v1/services/{service}/instances/{id}/heartbeat"),
    ("get", "/v1/services/{service}/instances/{id}/checks"),
    (
        "get",
        "/v1/services/{service}/instances/{id}/checks/{check}",
    ),
    (
        "put",
        "/v1/services/{service}/instances/{id}/checks/{check}",
    ),
    ("get", "/v1/services/{service}/instances/{id}/override"),
    ("put", "/v1/services/{service}/instances/{id}/override"),
    ("delete", "/v1/services/{service}/instances/{id}/override"),
    ("post", "/v1/heartbeats"),
    ("get", "/v1/overrides"),
    ("get", "/v1/guard"),
    ("post", "/v1/guard/resolve"),
    ("get", "/v1/watch"),
    ("get", "/v1/events"),
    ("get", "/v1/sources"),
];

/// Where the gateway serves a service by name, if it does.
pub type Links = Arc<dyn Fn(&ServiceKey) -> Option<String> + Send + Sync>;

/// What the front is made of.
pub struct Parts {
    /// The registry.
    pub registry: Registry,
    /// The watches.
    pub hub: Hub,
    /// The checks.
    pub checks: Checks,
    /// How the sources are getting on.
    pub pulses: Pulses,
    /// Where services are served.
    pub links: Links,
    /// Ends watches when the program drains.
    pub drain: DrainWatch,
    /// The clock.
    pub env: Env,
}

/// The native API as a handler.
#[derive(Clone)]
pub struct Native(Arc<Parts>);

impl Native {
    /// A front over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    async fn answer(self, request: Request) -> Response {
        match self.dispatch(request).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn dispatch(&self, request: Request) -> Result<Response, Refusal> {
        let parts = &*self.0;
        // The query borrows from it, and writers take the request whole.
        let uri = request.uri().clone();
        let place = Place::parse(uri.path())?;
        let query = Query::parse(uri.query().unwrap_or_default())?;
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        };
        let allowed = place.methods();
        if !allowed.iter().any(|allowed| method == *allowed) {
            return Err(Refusal::method(allowed));
        }
        match place {
            Place::Sources => read::sources(parts),
            Place::Events => events::events(parts, &query).await,
            Place::Watch => watch::watch(parts, &query, request.headers()).await,
            Place::Services(namespace) => read::services(parts, namespace.as_ref()),
            Place::Heartbeats => write::heartbeats(parts, request).await,
            Place::Overrides => overrides::list(parts).await,
            Place::Guard => guard::show(parts),
            Place::Resolve => guard::resolve(parts, request).await,
            Place::Service(key, at) => self.serve(key, at, (method, query), request).await,
        }
    }

    async fn serve(
        &self,
        key: ServiceKey,
        at: ServicePlace,
        (method, query): (Method, Query<'_>),
        request: Request,
    ) -> Result<Response, Refusal> {
        let parts = &*self.0;
        match (at, method) {
            (ServicePlace::Whole, _) => read::service(parts, &key).await,
            (ServicePlace::Instances, Method::POST) => {
                write::register(parts, key, None, request).await
            }
            (ServicePlace::Instances, _) => read::instances(parts, &key, &query).await,
            (ServicePlace::Instance(id), Method::PUT) => {
                write::register(parts, key, Some(id), request).await
            }
            (ServicePlace::Instance(id), Method::PATCH) => {
                write::patch(parts, Subject { key, id }, request).await
            }
            (ServicePlace::Instance(id), Method::DELETE) => {
                let caller = write::caller(&request);
                write::deregister(parts, Subject { key, id }, &query, &caller).await
            }
            (ServicePlace::Instance(id), _) => read::instance(parts, &key, &id).await,
            (ServicePlace::Heartbeat(id), _) => {
                write::heartbeat(parts, Subject { key, id }, request).await
            }
            (ServicePlace::Checks(id), _) => checks::list(parts, &Subject { key, id }),
            (ServicePlace::Check(id, check), Method::PUT) => {
                checks::report(parts, Subject { key, id }, &check, request).await
            }
            (ServicePlace::Check(id, check), _) => {
                checks::show(parts, &Subject { key, id }, &check)
            }
            (ServicePlace::Override(id), Method::PUT) => {
                overrides::set(parts, Subject { key, id }, request).await
            }
            (ServicePlace::Override(id), Method::DELETE) => {
                let caller = write::caller(&request);
                overrides::clear(parts, Subject { key, id }, &caller).await
            }
            (ServicePlace::Override(id), _) => overrides::show(parts, Subject { key, id }).await,
        }
    }
}

impl Handler for Native {
    fn handle(&self, request: Request) -> Answering {
        Box::pin(self.clone().answer(request))
    }
}

/// Why a request is not served.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    cause: &'static str,
    detail: String,
    allow: Option<&'static [&'static str]>,
}

impl Refusal {
    fn new(status: StatusCode, cause: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            cause,
            detail: detail.into(),
            allow: None,
        }
    }

    /// A request that can't be understood.
    fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request_malformed", detail)
    }

    fn service_unknown(key: &ServiceKey) -> Self {
        let detail = format!("no service `{key}`; nobody ever named it, or it was forgotten");
        Self::new(StatusCode::NOT_FOUND, "service_not_found", detail)
    }

    /// A question about what is no longer remembered.
    fn forgotten(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "history_forgotten", detail)
    }

    fn method(allow: &'static [&'static str]) -> Self {
        let detail = format!("this path takes {}", allow.join(", "));
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        }
    }

    fn into_response(self) -> Response {
        let mut response = problem(self.status, self.cause, &self.detail);
        let allow = self
            .allow
            .and_then(|allow| HeaderValue::from_str(&allow.join(", ")).ok());
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        let detail = misfit.to_string();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "field_invalid", detail)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        use crate::core::Refusal as Refused;
        let (status, cause) = match &error {
            RegistryError::Unknown => (StatusCode::NOT_FOUND, "instance_not_found"),
            RegistryError::NoRuling => (StatusCode::NOT_FOUND, "override_not_found"),
            RegistryError::Refused(Refused::Ttl { .. } | Refused::Misfit(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "field_invalid")
            }
            RegistryError::Refused(Refused::Full { .. } | Refused::RulingsFull { .. }) => {
                (StatusCode::INSUFFICIENT_STORAGE, "registry_full")
            }
            RegistryError::Refused(Refused::HandedOver) => {
                (StatusCode::SERVICE_UNAVAILABLE, "registry_handed_over")
            }
            RegistryError::NotStored(StoreError::Full { .. }) => {
                (StatusCode::INSUFFICIENT_STORAGE, "store_full")
            }
            RegistryError::NotStored(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_failed"),
            RegistryError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "registry_stopped"),
        };
        Self::new(status, cause, error.to_string())
    }
}

/// The answer to a write.
fn written_json(status: StatusCode, written: &Written) -> Response {
    let mut text = written.to_json();
    text.push(b'\n');
    response(status, "application/json", full(text))
}

fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Refusal> {
    let mut text = serde_json::to_vec(value).map_err(|_| {
        let detail = "a defect of Portolan: an answer has no JSON";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    })?;
    // A terminal's prompt wants a line of its own.
    text.push(b'\n');
    Ok(response(status, "application/json", full(text)))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Where the paths under this lie in namespaces.
    const SERVICES: &str = "/v1/services";
    const NAMESPACED: &str = "/v1/namespaces/{namespace}/services";

    #[test]
    fn the_reference_describes_every_route_and_no_other() {
        let text = include_str!("../../../../../docs/reference/openapi.json");
        let document: Value = serde_json::from_str(text).unwrap();
        let mut described = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                // Those of the admin API and of access control are held against their own lists.
                let tags = &operation["tags"];
                if *tags != json!(["admin"]) && *tags != json!(["access"]) {
                    described.push((method.clone(), path.clone()));
                }
            }
        }
        described.sort_unstable();
        let mut routes = Vec::new();
        for (method, path) in ROUTES {
            routes.push(((*method).to_owned(), (*path).to_owned()));
            if let Some(rest) = path.strip_prefix(SERVICES) {
                routes.push(((*method).to_owned(), format!("{NAMESPACED}{rest}")));
            }
        }
        routes.sort_unstable();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_route_is_a_place_that_takes_its_method() {
        for (method, path) in ROUTES {
            let path = path.replace(['{', '}'], "");
            let place = Place::parse(&path).unwrap();
            let method = method.to_uppercase();
            assert!(place.methods().contains(&&*method), "{method} {path}");
        }
    }
}
