//! Eureka's REST protocol, for clients that speak nothing else.
//!
//! Every path, status and shape is that of Eureka's server, save for what its users
//! complain of: there is no cache that lags behind by half a minute, a lease lasts as long
//! as it says, and the guard decides on expiries. Writes are answered once they are
//! visible to every reader; all lists and their hash are cut from one immutable catalogue,
//! so they always agree.
//!
//! It serves the namespace `default`, since Eureka knows no other, and all sources: an
//! instance that registered otherwise is found by the name of its service.

mod bodies;
mod delta;
mod need;
mod operate;
mod read;
mod replicate;
mod turns;
mod write;

use std::{fmt::Write as _, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use portolan_dialects::eureka::{Format, Place, Sender};
use portolan_runtime::Env;
use portolan_wire::serve::{Answering, Handler, Query, Request, Response, empty, full};

pub use self::need::{kind, need};
use self::{bodies::Bodies, turns::Turns};
use portolan_registry::{Registry, RegistryError};

/// Set by a peer that tells what it was told.
const REPLICATION: HeaderName = HeaderName::from_static("x-netflix-discovery-replication");

/// Every method and path that is served, under each of the bases.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "apps"),
    ("get", "apps/delta"),
    ("get", "apps/{app}"),
    ("post", "apps/{app}"),
    ("get", "apps/{app}/{id}"),
    ("put", "apps/{app}/{id}"),
    ("delete", "apps/{app}/{id}"),
    ("put", "apps/{app}/{id}/status"),
    ("delete", "apps/{app}/{id}/status"),
    ("put", "apps/{app}/{id}/metadata"),
    ("get", "instances/{id}"),
    ("get", "vips/{vip}"),
    ("get", "svips/{vip}"),
    ("put", "asg/{group}/status"),
    ("get", "status"),
    ("get", "serverinfo/statusoverrides"),
    ("post", "peerreplication/batch"),
];

/// Whether everything is known that is to be known at the start.
pub type Warm = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the front is made of.
pub struct Parts {
    /// The registry.
    pub registry: Registry,
    /// The clock.
    pub env: Env,
    /// Until it says yes, lists are refused as Eureka does while it warms up: half a list
    /// would look to a client as if everybody else had gone.
    pub is_warm: Warm,
}

/// The protocol as a handler.
#[derive(Clone)]
pub struct Eureka(Arc<Front>);

struct Front {
    parts: Parts,
    bodies: Bodies,
    turns: Turns,
}

impl Eureka {
    /// A front over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Front {
            parts,
            bodies: Bodies::default(),
            turns: Turns::default(),
        }))
    }

    async fn answer(self, request: Request) -> Response {
        match self.0.dispatch(request).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }
}

impl Handler for Eureka {
    fn handle(&self, request: Request) -> Answering {
        Box::pin(self.clone().answer(request))
    }
}

impl Front {
    async fn dispatch(&self, request: Request) -> Result<Response, Refusal> {
        let (place, method) = place_of(&request)?;
        let headers = request.headers();
        let (format, sender) = (format_of(headers), sender_of(headers));
        let uri = request.uri().clone();
        let text = uri.query().unwrap_or_default();
        let query = Query::parse(text)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        match place {
            Place::Apps | Place::Delta => {
                let is_delta = place == Place::Delta;
                read::lists(self, is_delta, format, headers).await
            }
            Place::App(app) if method == Method::POST => {
                write::register(self, &app, sender, request).await
            }
            Place::App(app) => read::application(self, &app, format),
            Place::Instance(app, id) => match method {
                Method::PUT => {
                    let beat = write::Beat::read(&query)?;
                    let caller = write::caller(&request);
                    write::heartbeat(self, (&app, &id), beat, sender, &caller)
                        .await
                        .map(|beaten| beaten.into_response(format))
                }
                Method::DELETE => {
                    let caller = write::caller(&request);
                    write::cancel(self, &app, &id, &caller).await.map(done)
                }
                _ => read::instance(self, &app, &id, format),
            },
            Place::Override(app, id) => {
                let change = if method == Method::PUT {
                    operate::Change::overrule(&query)?
                } else {
                    operate::Change::release(&query)?
                };
                let caller = write::caller(&request);
                operate::change(self, &app, &id, change, &caller)
                    .await
                    .map(done)
            }
            Place::Metadata(app, id) => {
                let change = operate::Change::label(text)?;
                let caller = write::caller(&request);
                operate::change(self, &app, &id, change, &caller)
                    .await
                    .map(done)
            }
            Place::AnyInstance(id) => read::any_instance(self, &id, format),
            Place::Vip(vip) => read::vip(self, format, |info| info.serves(&vip)),
            Place::SecureVip(vip) => read::vip(self, format, |info| info.serves_securely(&vip)),
            Place::Asg(_) => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "there are no scaling groups here: this is not Amazon\n",
            )),
            Place::Status => Ok(read::status(self, format)),
            Place::Overrides => Ok(read::overrides(self, format)),
            Place::Batch => replicate::batch(self, format, request).await,
        }
    }
}

/// What a request is about, and how; that there is such a thing.
fn place_of(request: &Request) -> Result<(Place, Method), Refusal> {
    let place = Place::parse(request.uri().path()).ok_or_else(|| {
        let text = "no such path; Eureka's are under /eureka\n";
        Refusal::new(StatusCode::NOT_FOUND, text)
    })?;
    let method = match *request.method() {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    let allowed = place.methods();
    if allowed.iter().any(|allowed| method == *allowed) {
        Ok((place, method))
    } else {
        Err(Refusal::method(allowed))
    }
}

/// Why a request is not served, in plain text.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    text: String,
    allow: Option<&'static [&'static str]>,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            allow: None,
        }
    }

    fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "")
    }

    fn method(allow: &'static [&'static str]) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "")
        }
    }

    fn into_response(self) -> Response {
        let mut response = if self.text.is_empty() {
            Response::new(empty())
        } else {
            typed("text/plain", self.text.into_bytes())
        };
        *response.status_mut() = self.status;
        if let Some(allow) = self.allow {
            let mut list = String::new();
            for method in allow {
                let comma = if list.is_empty() { "" } else { ", " };
                // Writing to a string can't fail.
                let _written = write!(list, "{comma}{method}");
            }
            if let Ok(list) = HeaderValue::from_str(&list) {
                response.headers_mut().insert(header::ALLOW, list);
            }
        }
        response
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        use portolan_registry::core::Refusal as Refused;
        let status = match &error {
            RegistryError::Unknown | RegistryError::NoRuling => return Self::not_found(),
            RegistryError::Refused(Refused::Ttl { .. }) => StatusCode::BAD_REQUEST,
            RegistryError::Refused(_) | RegistryError::NotStored(_) | RegistryError::Stopped => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, format!("{error}\n"))
    }
}

/// The format of an answer.
fn format_of(headers: &HeaderMap) -> Format {
    Format::of_answer(text_of(headers, &header::ACCEPT).as_deref())
}

fn sender_of(headers: &HeaderMap) -> Sender {
    let replicated = headers.get(REPLICATION);
    if replicated.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
        Sender::Peer
    } else {
        Sender::Client
    }
}

/// All values of a header that is a list.
fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    let texts: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// 200 without anything.
fn done((): ()) -> Response {
    Response::new(empty())
}

fn document(format: Format, bytes: impl Into<bytes::Bytes>) -> Response {
    typed(format.media_type(), bytes)
}

fn typed(content_type: &'static str, bytes: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(full(bytes));
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_a_place_that_takes_its_method() {
        for (method, path) in ROUTES {
            let path = format!("/eureka/{}", path.replace(['{', '}'], ""));
            let place = Place::parse(&path).unwrap();
            let method = method.to_uppercase();
            assert!(place.methods().contains(&&*method), "{method} {path}");
        }
        let methods = |path: &str| Place::parse(path).unwrap().methods().len();
        let paths: std::collections::BTreeSet<_> = ROUTES
            .iter()
            .map(|(_, path)| format!("/eureka/{}", path.replace(['{', '}'], "")))
            .collect();
        let served: usize = paths.iter().map(|path| methods(path)).sum();
        assert_eq!(served, ROUTES.len(), "and there is no other");
    }
}
