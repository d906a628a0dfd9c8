//! Which endpoint a path names. Paths come decoded, as Consul itself takes them: an id may
//! have slashes.

use super::Refusal;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Under `agent/`.
    Agent(AgentPlace),
    /// Under `catalog/`.
    Catalog(CatalogPlace),
    /// Under `health/`.
    Health(HealthPlace),
    /// Under `acl/`.
    Acl(AclPlace),
    /// `status/leader`.
    Leader,
    /// `status/peers`.
    Peers,
    /// `event/fire/{name}`.
    Fire(String),
    /// `event/list`.
    Events,
    /// `kv/{key}`.
    Kv(String),
    /// `session/{what}`, and an id for some.
    Session(&'static str, String),
    /// `txn`.
    Txn,
    /// `query`, with what follows.
    Query(String),
    /// `snapshot`.
    Snapshot,
    /// What is answered the same for everybody.
    Sane(Sane),
}

/// Endpoints under `agent/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentPlace {
    /// `self`.
    Itself,
    /// `host`, `version`, `metrics`.
    Version,
    /// `metrics`.
    Metrics,
    /// `host`.
    Host,
    /// `members`.
    Members,
    /// `services`.
    Services,
    /// `service/{id}`.
    Service(String),
    /// `checks`.
    Checks,
    /// `service/register`.
    RegisterService,
    /// `service/deregister/{id}`.
    DeregisterService(String),
    /// `service/maintenance/{id}`.
    ServiceMaintenance(String),
    /// `maintenance`.
    Maintenance,
    /// `check/register`.
    RegisterCheck,
    /// `check/deregister/{id}`.
    DeregisterCheck(String),
    /// `check/pass/{id}`.
    Pass(String),
    /// `check/warn/{id}`.
    Warn(String),
    /// `check/fail/{id}`.
    Fail(String),
    /// `check/update/{id}`.
    Update(String),
    /// `health/service/name/{name}`.
    HealthByName(String),
    /// `health/service/id/{id}`.
    HealthById(String),
    /// `reload`.
    Reload,
    /// `join/{address}`.
    Join,
    /// `leave`.
    Leave,
    /// `force-leave/{node}`.
    ForceLeave(String),
    /// `monitor`.
    Monitor,
    /// `token/{which}`.
    Token,
}

/// Endpoints under `catalog/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogPlace {
    /// `register`.
    Register,
    /// `deregister`.
    Deregister,
    /// `datacenters`.
    Datacenters,
    /// `nodes`.
    Nodes,
    /// `services`.
    Services,
    /// `service/{name}`.
    Service(String),
    /// `connect/{name}`: services in the mesh.
    Connect(String),
    /// `node/{name}`.
    Node(String),
    /// `node-services/{name}`.
    NodeServices(String),
    /// `gateway-services/{name}`.
    GatewayServices,
}

/// Endpoints under `health/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthPlace {
    /// `service/{name}`.
    Service(String),
    /// `connect/{name}` and `ingress/{name}`: services in the mesh.
    Mesh(String),
    /// `node/{name}`.
    Node(String),
    /// `checks/{service}`.
    Checks(String),
    /// `state/{state}`.
    State(String),
}

/// Endpoints under `acl/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AclPlace {
    /// `bootstrap`.
    Bootstrap,
    /// Whatever else.
    Other(String),
}

/// Endpoints of parts of Consul that we do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sane {
    /// `coordinate/datacenters`.
    CoordinateDatacenters,
    /// `coordinate/nodes` and `coordinate/node/{name}`.
    CoordinateNodes,
    /// `operator/raft/configuration`.
    RaftConfiguration,
    /// `operator/autopilot/configuration`.
    AutopilotConfiguration,
    /// `operator/keyring`.
    Keyring,
    /// `operator/autopilot/health`.
    AutopilotHealth,
    /// `operator/autopilot/state`.
    AutopilotState,
    /// `operator/usage`.
    Usage,
    /// `connect/ca/roots` and `agent/connect/ca/roots`.
    Roots,
    /// `peerings`.
    Peerings,
    /// `config/{kind}` and the like: lists without elements.
    NothingListed,
    /// `config/{kind}/{name}` and the like: single things that are not there.
    NotThere,
}

const UNKNOWN: &str = "Invalid URL path: not a recognized HTTP API endpoint";

impl Place {
    /// The endpoint that a decoded path names.
    ///
    /// # Errors
    /// [`Refusal`]: 404 for a path that is none, 400 for one that lacks its id.
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let unknown = || Refusal::missing(UNKNOWN);
        let rest = path.strip_prefix("/v1/").ok_or_else(unknown)?;
        let (area, rest) = rest.split_once('/').unwrap_or((rest, ""));
        match area {
            "agent" => agent(rest),
            "catalog" => catalog(rest).map(Self::Catalog),
            "health" => health(rest).map(Self::Health),
            "acl" if rest == "bootstrap" => Ok(Self::Acl(AclPlace::Bootstrap)),
            "acl" => Ok(Self::Acl(AclPlace::Other(rest.to_owned()))),
            "kv" => Ok(Self::Kv(rest.to_owned())),
            "session" => session(rest),
            "txn" if rest.is_empty() => Ok(Self::Txn),
            "query" => Ok(Self::Query(rest.to_owned())),
            "snapshot" if rest.is_empty() => Ok(Self::Snapshot),
            "status" if rest == "leader" => Ok(Self::Leader),
            "status" if rest == "peers" => Ok(Self::Peers),
            "event" if rest == "list" => Ok(Self::Events),
            "event" => {
                let name = rest.strip_prefix("fire/").ok_or_else(unknown)?;
                named(name, "Missing name").map(Self::Fire)
            }
            "coordinate" | "operator" | "connect" | "config" | "peerings" | "exported-services"
            | "discovery-chain" | "internal" => sane(area, rest).map(Self::Sane),
            _ => Err(unknown()),
        }
    }

    /// The methods that it takes.
    #[must_use]
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Agent(place) => match place {
                AgentPlace::Itself
                | AgentPlace::Version
                | AgentPlace::Metrics
                | AgentPlace::Host
                | AgentPlace::Members
                | AgentPlace::Services
                | AgentPlace::Service(_)
                | AgentPlace::Checks
                | AgentPlace::HealthByName(_)
                | AgentPlace::HealthById(_)
                | AgentPlace::Monitor => &["GET"],
                AgentPlace::RegisterService
                | AgentPlace::DeregisterService(_)
                | AgentPlace::ServiceMaintenance(_)
                | AgentPlace::Maintenance
                | AgentPlace::RegisterCheck
                | AgentPlace::DeregisterCheck(_)
                | AgentPlace::Pass(_)
                | AgentPlace::Warn(_)
                | AgentPlace::Fail(_)
                | AgentPlace::Update(_)
                | AgentPlace::Reload
                | AgentPlace::Join
                | AgentPlace::Leave
                | AgentPlace::ForceLeave(_)
                | AgentPlace::Token => &["PUT"],
            },
            Self::Catalog(CatalogPlace::Register | CatalogPlace::Deregister)
            | Self::Acl(AclPlace::Bootstrap)
            | Self::Fire(_)
            | Self::Txn => &["PUT"],
            Self::Catalog(_) | Self::Health(_) | Self::Leader | Self::Peers | Self::Events => {
                &["GET"]
            }
            Self::Session(what, _) => match *what {
                "create" | "destroy" | "renew" => &["PUT"],
                _ => &["GET"],
            },
            Self::Kv(_) => &["GET", "PUT", "DELETE"],
            Self::Snapshot => &["GET", "PUT"],
            Self::Acl(AclPlace::Other(_)) | Self::Query(_) | Self::Sane(_) => {
                &["GET", "PUT", "POST", "DELETE"]
            }
        }
    }
}

/// Something that must not be empty.
fn named(text: &str, missing: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        return Err(Refusal::bad(missing));
    }
    Ok(text.to_owned())
}

fn agent(rest: &str) -> Result<Place, Refusal> {
    let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let place = match (first, tail) {
        ("self", "") => AgentPlace::Itself,
        ("version", "") => AgentPlace::Version,
        ("metrics", "") => AgentPlace::Metrics,
        ("host", "") => AgentPlace::Host,
        ("members", "") => AgentPlace::Members,
        ("services", "") => AgentPlace::Services,
        ("checks", "") => AgentPlace::Checks,
        ("maintenance", "") => AgentPlace::Maintenance,
        ("reload", "") => AgentPlace::Reload,
        ("leave", "") => AgentPlace::Leave,
        ("monitor", "") => AgentPlace::Monitor,
        ("join", _) => AgentPlace::Join,
        ("force-leave", node) => AgentPlace::ForceLeave(named(node, "Missing node")?),
        ("token", _) => AgentPlace::Token,
        ("service", tail) => agent_service(tail)?,
        ("check", tail) => agent_check(tail)?,
        ("health", tail) => match tail.split_once('/') {
            Some(("service", tail)) => match tail.split_once('/') {
                Some(("name", name)) => {
                    AgentPlace::HealthByName(named(name, "Missing service Name")?)
                }
                Some(("id", id)) => AgentPlace::HealthById(named(id, "Missing serviceID")?),
                _ => return Err(Refusal::missing(UNKNOWN)),
            },
            _ => return Err(Refusal::missing(UNKNOWN)),
        },
        ("connect", "ca/roots") => return Ok(Place::Sane(Sane::Roots)),
        ("connect", _) => return Ok(Place::Sane(Sane::NotThere)),
        _ => return Err(Refusal::missing(UNKNOWN)),
    };
    Ok(Place::Agent(place))
}

fn agent_service(tail: &str) -> Result<AgentPlace, Refusal> {
    let missing = "Missing service ID.";
    match tail.split_once('/').unwrap_or((tail, "")) {
        ("register", "") => Ok(AgentPlace::RegisterService),
        ("deregister", id) => named(id, missing).map(AgentPlace::DeregisterService),
        ("maintenance", id) => named(id, missing).map(AgentPlace::ServiceMaintenance),
        _ => named(tail, missing).map(AgentPlace::Service),
    }
}

fn agent_check(tail: &str) -> Result<AgentPlace, Refusal> {
    let (what, id) = tail.split_once('/').unwrap_or((tail, ""));
    if what == "register" && id.is_empty() {
        return Ok(AgentPlace::RegisterCheck);
    }
    let place: fn(String) -> AgentPlace = match what {
        "deregister" => AgentPlace::DeregisterCheck,
        "pass" => AgentPlace::Pass,
        "warn" => AgentPlace::Warn,
        "fail" => AgentPlace::Fail,
        "update" => AgentPlace::Update,
        _ => return Err(Refusal::missing(UNKNOWN)),
    };
    named(id, "Missing check ID.").map(place)
}

fn catalog(rest: &str) -> Result<CatalogPlace, Refusal> {
    let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
    match (first, tail) {
        ("register", "") => Ok(CatalogPlace::Register),
        ("deregister", "") => Ok(CatalogPlace::Deregister),
        ("datacenters", "") => Ok(CatalogPlace::Datacenters),
        ("nodes", "") => Ok(CatalogPlace::Nodes),
        ("services", "") => Ok(CatalogPlace::Services),
        ("service", name) => named(name, "Missing service name").map(CatalogPlace::Service),
        ("connect", name) => named(name, "Missing service name").map(CatalogPlace::Connect),
        ("node", name) => named(name, "Missing node name").map(CatalogPlace::Node),
        ("node-services", name) => named(name, "Missing node name").map(CatalogPlace::NodeServices),
        ("gateway-services", _) => Ok(CatalogPlace::GatewayServices),
        _ => Err(Refusal::missing(UNKNOWN)),
    }
}

fn health(rest: &str) -> Result<HealthPlace, Refusal> {
    let (first, tail) = rest.split_once('/').unwrap_or((rest, ""));
    match first {
        "service" => named(tail, "Missing service name").map(HealthPlace::Service),
        "connect" | "ingress" => named(tail, "Missing service name").map(HealthPlace::Mesh),
        "node" => named(tail, "Missing node name").map(HealthPlace::Node),
        "checks" => named(tail, "Missing service name").map(HealthPlace::Checks),
        "state" => named(tail, "Missing check state").map(HealthPlace::State),
        _ => Err(Refusal::missing(UNKNOWN)),
    }
}

fn session(rest: &str) -> Result<Place, Refusal> {
    let (what, id) = rest.split_once('/').unwrap_or((rest, ""));
    let known = ["create", "list", "destroy", "renew", "info", "node"];
    let what = known.into_iter().find(|known| *known == what);
    let what = what.ok_or_else(|| Refusal::missing(UNKNOWN))?;
    let id = match what {
        "create" | "list" => String::new(),
        "node" => named(id, "Missing node name")?,
        _ => named(id, "Missing session")?,
    };
    Ok(Place::Session(what, id))
}

fn sane(area: &str, rest: &str) -> Result<Sane, Refusal> {
    Ok(match (area, rest) {
        ("coordinate", "datacenters") => Sane::CoordinateDatacenters,
        ("coordinate", "nodes") => Sane::CoordinateNodes,
        ("coordinate", rest) if rest.starts_with("node/") => Sane::CoordinateNodes,
        ("operator", "raft/configuration") => Sane::RaftConfiguration,
        ("operator", "autopilot/configuration") => Sane::AutopilotConfiguration,
        ("operator", "autopilot/health") => Sane::AutopilotHealth,
        ("operator", "autopilot/state") => Sane::AutopilotState,
        ("operator", "keyring") => Sane::Keyring,
        ("operator", "usage") => Sane::Usage,
        ("connect", "ca/roots") => Sane::Roots,
        ("connect", "intentions") | ("exported-services", "") => Sane::NothingListed,
        ("peerings", "") => Sane::Peerings,
        ("config", kind) if !kind.is_empty() && !kind.contains('/') => Sane::NothingListed,
        ("config" | "connect" | "discovery-chain" | "coordinate" | "operator" | "internal", _) => {
            Sane::NotThere
        }
        _ => return Err(Refusal::missing(UNKNOWN)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_place() {
        let cases = [
            ("/v1/agent/self", Place::Agent(AgentPlace::Itself)),
            (
                "/v1/agent/service/register",
                Place::Agent(AgentPlace::RegisterService),
            ),
            (
                "/v1/agent/service/a/b",
                Place::Agent(AgentPlace::Service("a/b".to_owned())),
            ),
            (
                "/v1/agent/check/pass/service:web:1",
                Place::Agent(AgentPlace::Pass("service:web:1".to_owned())),
            ),
            (
                "/v1/agent/health/service/name/web",
                Place::Agent(AgentPlace::HealthByName("web".to_owned())),
            ),
            (
                "/v1/health/state/any",
                Place::Health(HealthPlace::State("any".to_owned())),
            ),
            ("/v1/kv/a/b/", Place::Kv("a/b/".to_owned())),
            ("/v1/kv/", Place::Kv(String::new())),
            ("/v1/event/fire/x", Place::Fire("x".to_owned())),
            ("/v1/session/info/1", Place::Session("info", "1".to_owned())),
        ];
        for (path, place) in cases {
            assert_eq!(Place::parse(path), Ok(place), "{path}");
        }
    }

    #[test]
    fn other_paths_are_refused() {
        let cases = [
            ("/", 404),
            ("/v2/agent/self", 404),
            ("/v1/agent/nothing", 404),
            ("/v1/agent/check/dance/x", 404),
            ("/v1/agent/service/deregister/", 400),
            ("/v1/agent/check/pass/", 400),
            ("/v1/health/service/", 400),
            ("/v1/catalog/service/", 400),
            ("/v1/session/dance", 404),
        ];
        for (path, status) in cases {
            assert_eq!(Place::parse(path).unwrap_err().status, status, "{path}");
        }
    }

    #[test]
    fn writes_are_puts_and_reads_are_gets() {
        let methods = |path| Place::parse(path).unwrap().methods();
        assert_eq!(methods("/v1/agent/service/register"), ["PUT"]);
        assert_eq!(methods("/v1/agent/services"), ["GET"]);
        assert_eq!(methods("/v1/catalog/register"), ["PUT"]);
        assert_eq!(methods("/v1/kv/x"), ["GET", "PUT", "DELETE"]);
        assert_eq!(methods("/v1/session/renew/x"), ["PUT"]);
        assert_eq!(methods("/v1/session/list"), ["GET"]);
    }
}
