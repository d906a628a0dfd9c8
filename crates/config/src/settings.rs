//! The settings of the program itself: gateway, listeners, admin, logs, registry.
//!
//! Plain data without defaults: a default is stated once, in the table of fields.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use portolan_access::{Scopes, SecretHash};
use portolan_model::{ByteSize, Metadata, Name, route::CertificateFiles};

use crate::{Digest, DnsOverTls, DnsRecursors, DnsUpdates, PlannedPolicy};

/// What holds for the gateway as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Worker threads; one per core if none.
    pub workers: Option<NonZeroUsize>,
    /// Deadline of a graceful stop.
    pub drain: Duration,
    /// The built-in lane that routes by a service's name.
    pub automatic: Automatic,
    /// Whose forwarding headers and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The zone that the gateway stands in.
    pub zone: Option<Arc<str>>,
}

/// The built-in lane: `/<service>/...` and `<service>.localhost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automatic {
    /// Whether it is there; by default when no routes are configured.
    pub is_enabled: bool,
    /// Only instances with these labels.
    pub filter: Metadata,
}

/// A listener of the gateway.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, unique among listeners.
    pub name: Name,
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// The protocols spoken.
    pub protocols: Protocols,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyHeader,
    /// TLS, or none for plain text.
    pub tls: Option<ListenerTls>,
    /// What a client may cost.
    pub limits: Limits,
    /// How long a client may take.
    pub timeouts: ClientTimeouts,
    /// Policies of every route on this listener.
    pub policies: Vec<PlannedPolicy>,
    /// Digest of what was written.
    pub digest: Digest,
}

/// The protocols of a listener; at least one is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.0 and HTTP/1.1.
    pub http1: bool,
    /// HTTP/2: by ALPN over TLS, by prior knowledge in the clear.
    pub http2: bool,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Never.
    Off,
    /// From trusted proxies it may be there; otherwise it is not looked for.
    Optional,
    /// It must be there, and the sender must be a trusted proxy.
    Required,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificates, at least one; the first is for clients that name no host or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// TLS 1.2 is spoken.
    pub tls12: bool,
    /// TLS 1.3 is spoken.
    pub tls13: bool,
}

/// What a client of a listener may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers together.
    pub head_max: ByteSize,
    /// Header fields of a request.
    pub headers_max: u32,
    /// The request's target.
    pub uri_max: ByteSize,
    /// A request's body; unlimited if none.
    pub body_max: Option<ByteSize>,
    /// Connections of the listener, over all workers.
    pub connections_max: NonZeroU32,
    /// Concurrent HTTP/2 streams of a connection.
    pub streams_max: NonZeroU32,
    /// HTTP/2 streams of a connection that may end within a second without an answer, beyond
    /// those that were answered; one more ends the connection.
    pub resets_max: NonZeroU32,
}

/// How long a client of a listener may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the connection, or the first byte of a later request, to a whole head; TLS included.
    pub head: Duration,
    /// Between two requests of a connection.
    pub idle: Duration,
    /// Between two bytes of a request's body.
    pub body: Duration,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// Host names that it answers to besides localhost and addresses; lower-case, without port.
    pub hosts: Vec<String>,
    /// Who gets in, and at what cost.
    pub security: Security,
}

/// Who gets into a control listener, and at what cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// TLS, or none for plain text.
    pub tls: Option<ControlTls>,
    /// What a client may cost.
    pub limits: ControlLimits,
    /// Somebody wrote down that anybody may get in from anywhere.
    pub is_insecure: bool,
}

/// TLS of a control listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlTls {
    /// As of any listener.
    pub served: ListenerTls,
    /// Whose certificates clients show; none if they show none.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is let in.
    pub is_certificate_optional: bool,
}

/// What a client of a control listener may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlLimits {
    /// Request line and headers together.
    pub head_max: ByteSize,
    /// Header fields of a request.
    pub headers_max: u32,
    /// A request's body.
    pub body_max: ByteSize,
    /// Connections of the listener.
    pub connections_max: NonZeroU32,
    /// Connections of one client; if nobody said, [`CONNECTIONS_PER_CLIENT`] for those of
    /// other machines.
    pub connections_per_client: Option<NonZeroU32>,
    /// Requests of one client in a second; if nobody said, [`REQUESTS_PER_CLIENT`] for those
    /// of other machines.
    pub requests_per_client: Option<NonZeroU32>,
    /// Requests of one client at once, after a pause; twice those of a second if none.
    pub burst: Option<NonZeroU32>,
}

/// Connections of one client on another machine, if nobody says otherwise.
pub const CONNECTIONS_PER_CLIENT: u32 = 512;
/// Requests in a second of one client on another machine, if nobody says otherwise.
pub const REQUESTS_PER_CLIENT: u32 = 5_000;

/// Access control; everybody may do everything where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What a caller without a token or certificate may do.
    pub anonymous: Scopes,
    /// Tokens that are declared rather than made.
    pub tokens: Vec<DeclaredToken>,
    /// What the owner of a client certificate may do, by a name that the certificate carries.
    pub certificates: BTreeMap<String, Scopes>,
}

/// A token of which the configuration knows the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredToken {
    /// What it is called.
    pub name: Name,
    /// The hash of its secret.
    pub hash: SecretHash,
    /// What it is for.
    pub scopes: Scopes,
}

/// The listener for liveness and readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Whether there are any; if nobody said, the program decides: on without a
    /// configuration file on a terminal, else off.
    pub is_enabled: Option<bool>,
    /// How a record is written.
    pub format: LogFormat,
    /// Where to.
    pub path: LogPath,
}

/// How an access record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPath {
    /// Standard output.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

/// The registry: its limits and the foreign protocols that it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// How long an instance that does not say may be silent.
    pub ttl_default: Duration,
    /// The shortest that it may ask for.
    pub ttl_min: Duration,
    /// The longest that it may ask for.
    pub ttl_max: Duration,
    /// Instances in all.
    pub instances_max: NonZeroUsize,
    /// The listener for clients of Eureka.
    pub eureka: Front,
    /// The listener for clients of Consul.
    pub consul: Front,
    /// What checks may do.
    pub checks: Checks,
}

/// A listener for clients of a foreign registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// Whether it is there.
    pub is_enabled: bool,
    /// Where it listens.
    pub address: SocketAddr,
    /// Host names that it answers to besides localhost and addresses; lower-case, without port.
    pub hosts: Vec<String>,
    /// Who gets in, and at what cost.
    pub security: Security,
}

/// The DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whether it is there.
    pub is_enabled: bool,
    /// Where it listens, by UDP and TCP.
    pub address: SocketAddr,
    /// Threads that answer; if nobody said, one per core, but at most four.
    pub workers: Option<NonZeroUsize>,
    /// The zones and the shapes of their names.
    pub zones: DnsZones,
    /// How long an answer may be kept.
    pub ttl: Duration,
    /// The same for services whose keys are, or begin like, these (`web-*`); lower-case.
    pub ttls: Vec<(Arc<str>, Duration)>,
    /// How long at least an answer may be kept whose source no longer knows.
    pub stale_ttl: Duration,
    /// How long it may be remembered that there is no such name.
    pub negative_ttl: Duration,
    /// Most bytes of an answer by UDP.
    pub udp_bytes_max: u16,
    /// Whether clients without EDNS get three records at most and are not told of more.
    pub cuts_silently: bool,
    /// The zone of clients of which the networks say nothing.
    pub zone: Option<Arc<str>>,
    /// The zones of clients by their network.
    pub networks: BTreeMap<IpNet, Arc<str>>,
    /// Addresses of the gateway; those of its first listener if there are none.
    pub gateway: Vec<IpAddr>,
    /// How much is answered by UDP.
    pub rate: DnsRate,
    /// TCP connections.
    pub connections_max: NonZeroUsize,
    /// Who is asked for names that are not ours.
    pub recursors: Option<DnsRecursors>,
    /// Who may update names.
    pub updates: Option<DnsUpdates>,
    /// The listener for queries over TLS.
    pub over_tls: Option<DnsOverTls>,
    /// Whether the admin listener answers queries over HTTPS.
    pub is_over_https: bool,
}

/// Zones by the shape of their names; lower-case, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsZones {
    /// `orders.service.<zone>`, as Consul's.
    pub consul: Vec<String>,
    /// The datacentre in Consul's names.
    pub datacenter: String,
    /// `orders.shop.svc.<zone>`, as those of Kubernetes.
    pub kubernetes: Vec<String>,
    /// `orders.shop.<zone>`.
    pub plain: Vec<String>,
}

/// How much is answered by UDP to clients of one network that show no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsRate {
    /// Answers in a second; if nobody said, 1,000 to clients of other machines.
    pub responses_per_second: Option<u32>,
    /// Each so many-th answer beyond is sent cut, the others are dropped; all if zero.
    pub slip: u8,
}

/// What health checks may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Run programs.
    pub runs_programs: bool,
    /// The socket of the Docker engine.
    pub docker: PathBuf,
    /// Roots (PEM) to trust instead of the system's, where a check names none.
    pub ca: Option<PathBuf>,
}
