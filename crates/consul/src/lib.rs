//! The HTTP API of Consul: programs that register with, or read from, a Consul agent do so
//! with us unchanged.
//!
//! There is one agent for all callers and one node of its own; nodes that are registered
//! by hand stand beside it. Reads show the merged catalogue of all sources, in Consul's
//! shapes; writes are answered once they are visible. The [`book`] remembers what the
//! catalogue does not, the [`clerk`] writes, the prober runs the checks and hears what
//! services say of themselves, the [`Keeper`] sees to leases.
//!
//! Keys, sessions, prepared queries, events and nodes stand in the ledger, and are answered
//! when they would survive a restart. Each area of the API is one module whose functions get
//! what they are about (a key, a session, a query, an event, a node) before they do anything.
//! What a caller may see and do is asked of its [`acl`] permit.

mod acl;
mod agent;
mod answering;
mod asking;
mod book;
mod catalog;
mod clerk;
mod events;
mod found;
mod health;
mod keeper;
mod kv;
mod listing;
mod maintenance;
mod nodes;
mod office;
mod query;
mod sane;
mod scene;
mod session;
mod snapshot;
mod terms;
mod txn;
mod waiting;
mod warden;
mod writing;

use std::{ops::Deref, sync::Arc};

use http::{HeaderValue, Method, header};
use portolan_auth::Access;
use portolan_dialects::consul::{
    CatalogPlace, Home, KvParameters, Parameters, Place, Refusal, answer::ItselfConfig,
};
use portolan_ledger::Ledger;
use portolan_model::ByteSize;
use portolan_runtime::{Env, drain::DrainWatch};
use portolan_wire::serve::{Answering, Handler, Peer, Query, Request, Response, decode};
use tokio::sync::Semaphore;

use self::{acl::Permit, clerk::Clerk, office::Desk, query::Asked, warden::Warden};
pub use self::{
    acl::{kind, need},
    keeper::Keeper,
    query::{BadTemplate, Template},
};
use portolan_registry::{Registry, check::Checks, watch::Hub};

/// The version of Consul whose API this is.
const VERSION: &str = "1.20.0";
/// The largest body that a listener of this front must let through: a snapshot.
pub const BODY_MAX: ByteSize = snapshot::BODY_MAX;

/// Whether checks may run programs of this machine, as things stand.
pub type Programs = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the front is made of.
pub struct Settings {
    /// The registry.
    pub registry: Registry,
    /// The watches.
    pub hub: Hub,
    /// What checks found.
    pub checks: Checks,
    /// Whether script and Docker checks are taken.
    pub programs: Programs,
    /// Keys, sessions and what else must survive a restart.
    pub ledger: Ledger,
    /// Ends blocking queries when the program drains.
    pub drain: DrainWatch,
    /// The clock.
    pub env: Env,
    /// The agent's node and datacenter.
    pub home: Home,
    /// Tokens and policies.
    pub access: Access,
}

/// What all requests share.
struct Shared {
    registry: Registry,
    hub: Hub,
    ledger: Ledger,
    drain: DrainWatch,
    env: Env,
    home: Arc<Home>,
    clerk: Clerk,
    access: Access,
    /// Who may save or restore a snapshot.
    snapshots: Arc<Semaphore>,
}

/// Among the extensions of a request for a node: the node itself is wanted, without what runs
/// on it.
#[derive(Clone, Copy, Debug)]
pub struct WithoutServices;

/// What one request has: all that is shared, and what its caller may do.
struct Parts {
    shared: Arc<Shared>,
    permit: Permit,
    /// Writes on the caller's behalf.
    clerk: Clerk,
    /// See [`WithoutServices`].
    is_without_services: bool,
}

impl Deref for Parts {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Consul's API as a handler.
#[derive(Clone)]
pub struct Consul(Arc<Shared>);

impl Consul {
    /// A front, and the task that looks after what registered through it.
    #[must_use]
    pub fn new(settings: Settings) -> (Self, Keeper) {
        let Settings {
            registry,
            hub,
            checks,
            programs,
            ledger,
            drain,
            env,
            home,
            access,
        } = settings;
        let home = Arc::new(home);
        let clerk = Clerk::new(Desk {
            registry: registry.clone(),
            ledger: ledger.clone(),
            checks,
            programs,
            home: home.node.name.clone(),
            env: env.clone(),
        });
        let keeper = Keeper {
            warden: Warden {
                clerk: clerk.clone(),
                home: Arc::clone(&home),
                ledger: ledger.clone(),
                env: env.clone(),
            },
            clerk: clerk.clone(),
            env: env.clone(),
        };
        let front = Self(Arc::new(Shared {
            registry,
            hub,
            ledger,
            drain,
            env,
            home,
            clerk,
            access,
            snapshots: Arc::new(Semaphore::new(snapshot::SNAPSHOTS_MAX)),
        }));
        (front, keeper)
    }

    async fn answer(self, request: Request) -> Response {
        let permit = Permit::of(&request);
        let parts = Parts {
            clerk: self.0.clerk.on_behalf_of(&permit),
            permit,
            is_without_services: request.extensions().get::<WithoutServices>().is_some(),
            shared: self.0,
        };
        let answered = parts.dispatch(request).await;
        let response = answering::finished(answered.unwrap_or_else(answering::refused));
        parts.permit.finished(response)
    }
}

impl Parts {
    async fn dispatch(&self, request: Request) -> Result<Response, Refusal> {
        let bad = |error: portolan_wire::serve::BadEncoding| Refusal::bad(error.to_string());
        let path = decode(request.uri().path()).map_err(bad)?.into_owned();
        if path == "/" {
            // Whoever checks that there is an agent asks for no more.
            return Ok(answering::text(200, "Portolan, as a Consul agent\n"));
        }
        let place = Place::parse(&path)?;
        let text = request.uri().query().unwrap_or_default().to_owned();
        let query = Query::parse(&text).map_err(bad)?;
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        };
        let allowed = if let Place::Query(rest) = &place {
            query::methods(rest)
        } else {
            place.methods()
        };
        if !allowed.iter().any(|allowed| method == *allowed) {
            return Ok(not_allowed(&method, allowed));
        }
        let mut parameters =
            Parameters::read(|name| query.all(name).collect(), &self.home.datacenter)?;
        parameters.blocking.index = self.permit.seen(parameters.blocking.index);
        acl::vet(self, &place, &method)?;
        if method == Method::GET {
            let peer = request.extensions().get::<Peer>().copied();
            self.read(place, &parameters, (&query, peer)).await
        } else {
            self.write(place, (&method, &query), request).await
        }
    }

    async fn read(
        &self,
        place: Place,
        parameters: &Parameters,
        (query, peer): (&Query<'_>, Option<Peer>),
    ) -> Result<Response, Refusal> {
        let parts = self;
        match place {
            Place::Kv(key) => {
                let wanted = KvParameters::read(|name| query.find(name))?;
                kv::read(parts, &key, parameters, wanted).await
            }
            Place::Session(what, id) => session::read(parts, (what, &id), parameters).await,
            Place::Query(rest) => {
                let asked = Asked {
                    parameters,
                    limit: query.find("limit"),
                    is_mesh: query.find("connect") == Some("true"),
                    peer,
                };
                query::read(parts, &rest, &asked).await
            }
            Place::Snapshot => snapshot::save(parts).await,
            Place::Agent(place) => agent::read(parts, &place, parameters, query).await,
            Place::Catalog(place) => catalog::answer(parts, place, parameters).await,
            Place::Health(place) => health::answer(parts, place, parameters).await,
            Place::Leader => answering::json(&leader(parts)),
            Place::Peers => answering::json(&[leader(parts)]),
            Place::Events => events::list(parts, parameters, query).await,
            Place::Sane(sane) => {
                let index = parts.clerk.catalog().revision().as_u64();
                let response = sane::answer(parts, sane)?;
                Ok(answering::indexed(response, index, parameters.consistency))
            }
            Place::Acl(place) => acl::read(parts, &place),
            Place::Txn | Place::Fire(_) => Err(Refusal::new(405, "method GET not allowed")),
        }
    }

    async fn write(
        &self,
        place: Place,
        (method, query): (&Method, &Query<'_>),
        request: Request,
    ) -> Result<Response, Refusal> {
        let parts = self;
        let caller = writing::caller(&request);
        match place {
            Place::Kv(key) => {
                let wanted = KvParameters::read(|name| query.find(name))?;
                if method == Method::DELETE {
                    return kv::delete(parts, &key, &wanted).await;
                }
                let value = writing::body(request).await?;
                // It is kept for long, and what was read may be a part of a far larger buffer.
                let value = bytes::Bytes::copy_from_slice(&value);
                kv::write(parts, &key, wanted, value).await
            }
            Place::Session("create", _) => {
                let body = writing::body(request).await?;
                session::create(parts, &body).await
            }
            Place::Session("destroy", id) => session::destroy(parts, &id).await,
            Place::Session(_, id) => session::renew(parts, &id).await,
            Place::Txn => {
                let body = writing::body(request).await?;
                txn::answer(parts, &body, caller).await
            }
            Place::Query(rest) => {
                let body = writing::body(request).await?;
                query::write(parts, &rest, (method, &body)).await
            }
            Place::Snapshot => snapshot::restore(parts, request).await,
            Place::Agent(place) => {
                let body = writing::body(request).await?;
                acl::vet_agent(parts, &place, &body)?;
                agent::write(parts, place, (query, &body), caller).await
            }
            Place::Catalog(CatalogPlace::Register) => {
                let body = writing::body(request).await?;
                acl::vet_catalog(parts, &CatalogPlace::Register, &body)?;
                catalog::register(parts, &body, caller).await
            }
            Place::Catalog(CatalogPlace::Deregister) => {
                let body = writing::body(request).await?;
                acl::vet_catalog(parts, &CatalogPlace::Deregister, &body)?;
                catalog::deregister(parts, &body).await
            }
            Place::Fire(name) => {
                let body = writing::body(request).await?;
                events::fire(parts, &name, (query, &body)).await
            }
            Place::Acl(place) => {
                let deed = acl::Deed::of(&request, place);
                let body = writing::body(request).await?;
                acl::write(parts, deed, &body).await
            }
            Place::Sane(_) => Err(Refusal::failed(
                "Portolan has no such part of Consul to change",
            )),
            Place::Catalog(_) | Place::Health(_) | Place::Leader | Place::Peers | Place::Events => {
                Ok(not_allowed(method, place.methods()))
            }
        }
    }
}

impl Handler for Consul {
    fn handle(&self, request: Request) -> Answering {
        Box::pin(self.clone().answer(request))
    }
}

fn not_allowed(method: &Method, allowed: &[&'static str]) -> Response {
    let mut response = answering::text(405, format!("method {method} not allowed"));
    if let Ok(value) = HeaderValue::from_str(&allowed.join(",")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// Where the leader is: we are.
fn leader(parts: &Parts) -> String {
    format!("{}:8300", parts.home.node.address)
}

fn config(parts: &Parts) -> ItselfConfig {
    ItselfConfig {
        datacenter: Arc::clone(&parts.home.datacenter),
        primary_datacenter: Arc::clone(&parts.home.datacenter),
        node_name: parts.home.node.name.as_str().into(),
        node_id: parts.home.node.id.as_str().into(),
        server: true,
        revision: "",
        version: VERSION,
    }
}
