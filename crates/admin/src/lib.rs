//! The admin API: reads the view, writes through ports.
//!
//! One handler for the admin listener and a smaller one for the status listener. What is
//! not its own it passes on to the registry's native front, so that both share `/v1`.

mod answer;
mod config;
mod explain;
mod home;
mod pools;
mod readiness;
#[cfg(test)]
mod tests;

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use http::{Method, StatusCode};
use portolan_access::Need;
use portolan_model::{Name, Revision};
use portolan_snapshot::View;
use portolan_wire::serve::{Answering, Handler, Query, Request, Response};
use serde::Serialize;

use answer::{json, method_not_allowed, not_found, refuse, text};
pub use readiness::{Readiness, silent_sources};

/// Every method and path that is served here, besides the registry's.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "/"),
    ("get", "/live"),
    ("get", "/ready"),
    ("get", "/metrics"),
    ("get", "/v1/routes"),
    ("get", "/v1/upstreams"),
    ("get", "/v1/config"),
    ("post", "/v1/config/reload"),
    ("get", "/v1/explain"),
    ("post", "/v1/backup"),
];

/// What a request to one of these paths needs; none if it is none of them.
#[must_use]
pub fn need(path: &str) -> Option<Need> {
    match path {
        "/live" | "/ready" => Some(Need::Nothing),
        "/" | "/metrics" | "/v1/routes" | "/v1/upstreams" | "/v1/config" | "/v1/explain" => {
            Some(Need::Read)
        }
        "/v1/config/reload" | "/v1/backup" => Some(Need::Admin),
        _ => None,
    }
}

/// What a backup is called if nobody says.
const BACKUP: &str = "latest";

/// A reload, later: the revision from which the new configuration holds, or why it does not.
pub type Reloading = Pin<Box<dyn Future<Output = Result<Revision, String>> + Send>>;

/// Reads the configuration anew.
pub trait Reload: Send + Sync {
    /// Called whenever somebody asks; may be called again before it has ended.
    fn reload(&self) -> Reloading;
}

/// A backup that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backed {
    /// The file, on the machine of the program.
    pub file: PathBuf,
    /// The highest revision that it holds.
    pub revision: Revision,
}

/// A backup, later, or why there is none.
pub type BackingUp = Pin<Box<dyn Future<Output = Result<Backed, String>> + Send>>;

/// Copies the store while it is written to.
pub trait Backup: Send + Sync {
    /// Writes a copy of that name into the folder of backups; an older one of the name is
    /// replaced. May be called again before it has ended.
    fn backup(&self, name: &Name) -> BackingUp;
}

/// Writes the metrics.
pub trait Expose: Send + Sync {
    /// Appends everything in Prometheus' text format, version 0.0.4. Must not block.
    fn expose(&self, out: &mut String);
}

/// What the admin API is made of.
pub struct Parts {
    /// What is published.
    pub view: View,
    /// Whether traffic should come.
    pub readiness: Readiness,
    /// The metrics.
    pub metrics: Arc<dyn Expose>,
    /// Reads the configuration anew.
    pub reload: Arc<dyn Reload>,
    /// Copies the store.
    pub backup: Arc<dyn Backup>,
    /// The registry's native front, for every other path under `/v1`.
    pub registry: Arc<dyn Handler>,
}

/// The admin API as a handler.
#[derive(Clone)]
pub struct Admin(Arc<Parts>);

impl Admin {
    /// An admin API over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        let parts = &*self.0;
        let snapshot = parts.view.snapshot();
        let query = request.uri().query().unwrap_or_default();
        Some(match request.uri().path() {
            "/" => home::home(&snapshot, request.headers()),
            "/metrics" => {
                let mut page = String::new();
                parts.metrics.expose(&mut page);
                text("text/plain; version=0.0.4; charset=utf-8", page)
            }
            "/v1/routes" => json(StatusCode::OK, &config::routes(&snapshot)),
            "/v1/upstreams" => json(StatusCode::OK, &pools::upstreams(&snapshot)),
            "/v1/config" => json(StatusCode::OK, &config::config(&snapshot)),
            "/v1/explain" => match explain::explain(&snapshot, query) {
                Ok(explained) => json(StatusCode::OK, &explained),
                Err(detail) => refuse(StatusCode::BAD_REQUEST, "request_malformed", &detail),
            },
            path => return health(&parts.readiness, &parts.view, path),
        })
    }

    async fn reload(self) -> Response {
        match self.0.reload.reload().await {
            Ok(revision) => json(StatusCode::OK, &config::Reloaded { revision }),
            Err(why) => refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                "configuration_invalid",
                &why,
            ),
        }
    }
}

impl Admin {
    async fn backup(self, query: String) -> Response {
        let name = Query::parse(&query)
            .map_err(|error| error.to_string())
            .and_then(|query| {
                let name = query.find("name").unwrap_or(BACKUP);
                Name::parse(name).map_err(|error| error.to_string())
            });
        let name = match name {
            Ok(name) => name,
            Err(why) => return refuse(StatusCode::BAD_REQUEST, "request_malformed", &why),
        };
        match self.0.backup.backup(&name).await {
            Ok(backed) => json(StatusCode::OK, &backed),
            Err(why) => refuse(StatusCode::SERVICE_UNAVAILABLE, "store_failed", &why),
        }
    }
}

impl Handler for Admin {
    fn handle(&self, request: Request) -> Answering {
        let is_post = request.method() == Method::POST;
        let path = request.uri().path();
        if matches!(path, "/v1/config/reload" | "/v1/backup") {
            if !is_post {
                return ready(method_not_allowed("POST"));
            }
            if path == "/v1/backup" {
                let query = request.uri().query().unwrap_or_default().to_owned();
                return Box::pin(self.clone().backup(query));
            }
            return Box::pin(self.clone().reload());
        }
        match self.answer(&request) {
            Some(_) if !is_read(&request) => ready(method_not_allowed("GET")),
            Some(response) => ready(response),
            None if request.uri().path().starts_with("/v1/") => self.0.registry.handle(request),
            None => ready(not_found()),
        }
    }
}

/// Liveness and readiness alone, for a listener that anybody may reach.
#[derive(Clone)]
pub struct Status {
    view: View,
    readiness: Readiness,
}

impl Status {
    /// A status handler.
    #[must_use]
    pub const fn new(view: View, readiness: Readiness) -> Self {
        Self { view, readiness }
    }
}

impl Handler for Status {
    fn handle(&self, request: Request) -> Answering {
        match health(&self.readiness, &self.view, request.uri().path()) {
            Some(_) if !is_read(&request) => ready(method_not_allowed("GET")),
            Some(response) => ready(response),
            None => ready(not_found()),
        }
    }
}

fn health(readiness: &Readiness, view: &View, path: &str) -> Option<Response> {
    match path {
        "/live" => Some(json(StatusCode::OK, &readiness::Live { live: true })),
        "/ready" => Some(readiness.answer(&view.snapshot())),
        _ => None,
    }
}

fn is_read(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn ready(response: Response) -> Answering {
    Box::pin(std::future::ready(response))
}
