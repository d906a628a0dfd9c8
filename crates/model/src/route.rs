//! What a configuration says about traffic: routes and upstreams.
//!
//! These are nouns as a person wrote them, checked but not compiled. The router
//! compiles matches, the plan freezes policies, the snapshot resolves targets.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{BadName, ByteSize, Metadata, Name, ServiceKey, Spec, http::Method};

mod check;

pub use check::{AnswerMatch, BadCheck, Check, HttpMeans, Means, Place, Probe};

/// A route: which requests, what happens to them, where they go.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name, unique among routes.
    pub name: Name,
    /// The listeners that it serves; all if empty.
    pub listeners: Vec<Name>,
    /// The hosts that it serves; any if empty.
    pub hosts: Vec<HostMatch>,
    /// The requests that it serves, any of these; all if empty.
    pub matches: Vec<Match>,
    /// What happens to a request; the order is the shelf's, not this one.
    pub policies: Vec<Spec>,
    /// Where a request goes; may be empty when a policy always answers.
    pub targets: Vec<Target>,
}

/// A host that a route serves. Texts are lower-case and have no port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// This host.
    Exact(String),
    /// Any host that ends in this and has at least one more label; begins with a dot.
    Suffix(String),
}

/// One condition over a request; every part that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// The method, any of these; all if empty.
    pub methods: Vec<Method>,
    /// Header fields, all of these. A field that stands several times matches as
    /// its values joined by commas.
    pub headers: Vec<FieldMatch>,
    /// Query parameters, all of these; the first value of a parameter counts.
    pub query: Vec<FieldMatch>,
    /// The body; the router asks for it only when everything else holds.
    pub body: Option<BodyMatch>,
}

/// A condition over a path, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments from the start: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// Segments with captures: `/users/{id}/files/{*rest}`.
    Template(String),
    /// A regular expression over the whole path; named groups are captures.
    Regex(String),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// A condition over a whole request body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyMatch {
    /// The largest body that is looked at; a larger one does not match.
    pub limit: ByteSize,
    /// The body; [`TextMatch::Present`] wants at least one byte.
    pub value: TextMatch,
}

/// A condition over a header field or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldMatch {
    /// The name; a header's is compared without case.
    pub name: String,
    /// The value.
    pub value: TextMatch,
}

/// A condition over a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextMatch {
    /// Equal to this.
    Exact(String),
    /// A regular expression over the whole text.
    Regex(String),
    /// There, whatever it is.
    Present,
}

/// Where a share of a route's requests goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The upstream.
    pub upstream: Name,
    /// Share relative to the route's other targets; zero gets nothing.
    pub weight: u32,
    /// Only instances with these labels, besides what the upstream asks for.
    pub subset: Metadata,
}

/// Where requests can go, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name, unique among upstreams.
    pub name: Name,
    /// The instances.
    pub destination: Destination,
    /// The named port; the instance's first if none.
    pub port: Option<Name>,
    /// Only instances with these labels.
    pub subset: Metadata,
    /// The balancing algorithm.
    pub balance: Spec,
    /// The protocol spoken to the instances.
    pub protocol: Protocol,
    /// The timers.
    pub timeouts: Timeouts,
    /// When to try another instance.
    pub retry: Retry,
    /// TLS to the instances.
    pub tls: Option<UpstreamTls>,
    /// A health check besides what the instances bring.
    pub check: Option<Check>,
    /// Announce the client's address by the PROXY protocol on each new connection.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Most connections to one instance, from the whole process.
    pub connections_max: Option<NonZeroU32>,
    /// Send the client's Host (`true`, the default) or the instance's address.
    pub preserve_host: bool,
}

/// Which instances an upstream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Those of a service of the catalogue.
    Service(ServiceKey),
    /// These addresses, which always exist.
    Addresses(Vec<SocketAddr>),
    /// What these names resolve to: shorthand for a `dns` source.
    Hosts(Vec<HostPort>),
}

/// A host name and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// The name, lower-case.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Namespace of the services that stand for host names.
    pub const NAMESPACE: &'static str = "dns";

    /// The service whose instances are what the name resolves to: `dns/<host>:<port>`.
    ///
    /// # Errors
    /// [`BadName`] if the host is longer than a name can be, or is not a host name.
    pub fn service_key(&self) -> Result<ServiceKey, BadName> {
        Ok(ServiceKey {
            namespace: Name::parse(Self::NAMESPACE)?,
            name: Name::parse(&format!("{}:{}", self.host, self.port))?,
        })
    }
}

/// What is spoken to an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Over TLS what ALPN settles; HTTP/1.1 in the clear, but HTTP/2 for gRPC.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by prior knowledge in the clear.
    Http2,
}

/// Timers of a request to an upstream. None of them runs while data moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To have a connection, TLS included.
    pub connect: Duration,
    /// From the request being sent to the first byte of the answer.
    pub first_byte: Duration,
    /// Without a byte in either direction of a body or tunnel.
    pub idle: Duration,
    /// For the whole exchange; off by default, because it cuts streams.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(1),
            idle: Duration::from_mins(5),
            total: None,
        }
    }
}

/// When a request that was not sent goes to another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Most tries of one request, the first included.
    pub attempts_max: u32,
    /// Retries allowed as a share of requests, in percent.
    pub budget_percent: u32,
    /// Retries allowed besides that, a second.
    pub budget_per_second: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts_max: 2,
            budget_percent: 20,
            budget_per_second: 10,
        }
    }
}

/// TLS to the instances of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamTls {
    /// The name to ask for and to verify; the host of the destination if none.
    pub server_name: Option<String>,
    /// Trust these roots (PEM) instead of the system's.
    pub ca: Option<PathBuf>,
    /// Show this certificate chain (PEM) and key (PEM).
    pub certificate: Option<CertificateFiles>,
    /// Whether the instance's certificate is verified. Anything but `Full` is said aloud at start.
    pub verify: Verify,
}

/// How much of a server's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Chain and name.
    #[default]
    Full,
    /// Nothing.
    Off,
}

/// A certificate chain and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// The chain, leaf first (PEM).
    pub certificate: PathBuf,
    /// The private key (PEM: PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}
