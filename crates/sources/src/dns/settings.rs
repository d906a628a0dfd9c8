//! Settings of the `dns` source.

use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::proto::rr::Name;
use portolan_catalog::{Source, SourceSpec};
use portolan_model::{BadName, Problem, ServiceKey, SourceId, route::HostPort};
use portolan_runtime::Env;
use serde_json::{Value, json};

use super::watch::DnsSource;
use crate::frame::Fields;

/// Most hosts of one source.
pub(super) const HOSTS_MAX: usize = 1000;
/// Most DNS servers of one source.
const RESOLVERS_MAX: usize = 8;
const DNS_PORT: u16 = 53;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) hosts: Vec<Target>,
    /// The system's if empty.
    pub(super) resolvers: Vec<SocketAddr>,
    pub(super) family: Family,
    pub(super) limits: Limits,
    /// For one try.
    pub(super) timeout: Duration,
    /// How long an address stays that answers do not name any more.
    pub(super) keep: Duration,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The addresses of a host.
    Host(HostPort),
    /// The records of a service, `_http._tcp.api.internal`, which name hosts and ports.
    Records(String),
}

impl Target {
    /// The name that is asked for.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Host(host) => &host.host,
            Self::Records(name) => name,
        }
    }

    /// The service that it is.
    pub(super) fn service_key(&self) -> Result<ServiceKey, BadName> {
        match self {
            Self::Host(host) => host.service_key(),
            Self::Records(name) => ServiceKey::parse(&format!("dns/{name}")),
        }
    }
}

/// Between which answers are asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) min_ttl: Duration,
    pub(super) max_ttl: Duration,
}

/// Which addresses are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    PreferIpv4,
    Ipv4,
    Ipv6,
    Both,
}

impl Family {
    const ALL: [(&'static str, Self); 4] = [
        ("prefer_ipv4", Self::PreferIpv4),
        ("ipv4", Self::Ipv4),
        ("ipv6", Self::Ipv6),
        ("both", Self::Both),
    ];

    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|(name, _)| *name).collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            resolvers: Vec::new(),
            family: Family::PreferIpv4,
            limits: Limits {
                min_ttl: SECOND,
                max_ttl: Duration::from_mins(1),
            },
            timeout: Duration::from_secs(5),
            keep: Duration::ZERO,
        }
    }
}

impl SourceSpec for Settings {
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source> {
        Box::new(DnsSource::new(self.clone(), id.clone(), env.clone()))
    }

    fn same_as(&self, other: &dyn SourceSpec) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }
}

/// The source that stands for the host names of upstreams, with the settings of
/// whoever writes none.
#[must_use]
pub fn for_hosts(hosts: &[HostPort]) -> Arc<dyn SourceSpec> {
    Arc::new(Settings {
        hosts: hosts.iter().cloned().map(Target::Host).collect(),
        ..Settings::default()
    })
}

pub(super) fn parse(settings: &Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>> {
    let mut fields = Fields::new(settings);
    let default = Settings::default();
    let hosts = hosts(&mut fields);
    let resolvers = resolvers(&mut fields);
    let family = family(&mut fields);
    let Limits { min_ttl, max_ttl } = default.limits;
    let min_ttl = fields.span("min_ttl", min_ttl, (SECOND, DAY));
    let max_ttl = fields.span("max_ttl", max_ttl.max(min_ttl), (min_ttl, DAY));
    let timeout = (Duration::from_millis(100), Duration::from_mins(1));
    let settings = Settings {
        hosts,
        resolvers,
        family,
        limits: Limits { min_ttl, max_ttl },
        timeout: fields.span("timeout", default.timeout, timeout),
        keep: fields.span("keep", default.keep, (Duration::ZERO, DAY)),
    };
    Ok(Arc::new(fields.finish(settings)?))
}

fn hosts(fields: &mut Fields<'_>) -> Vec<Target> {
    let texts = fields.texts("hosts");
    if texts.is_empty() {
        let problem = Problem::new("/hosts", "a `dns` source needs hosts");
        fields.problem(problem.with_help("write `hosts: [\"api.internal:8080\"]`"));
    }
    if texts.len() > HOSTS_MAX {
        fields.refuse("hosts", format!("there are more than {HOSTS_MAX} hosts"));
    }
    let mut hosts = Vec::new();
    for (index, text) in texts {
        let path = format!("hosts/{index}");
        match parse_target(text) {
            Ok(host) if hosts.contains(&host) => {
                fields.refuse(&path, format!("`{text}` is named twice"));
            }
            Ok(host) => hosts.push(host),
            Err(message) => {
                let problem = Problem::new(format!("/{path}"), message);
                fields.problem(
                    problem.with_help(
                        "write it like `api.internal:8080`, or `_http._tcp.api.internal`",
                    ),
                );
            }
        }
    }
    hosts
}

fn parse_target(text: &str) -> Result<Target, String> {
    if !text.starts_with('_') {
        return parse_host(text).map(Target::Host);
    }
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_service = name
        .split('.')
        .take(2)
        .filter(|label| label.starts_with('_'))
        .count()
        == 2;
    if !is_service || name.contains(':') || Name::from_ascii(&name).is_err() {
        return Err(format!("`{text}` is not the name of a service's records"));
    }
    let target = Target::Records(name);
    match target.service_key() {
        Ok(_) => Ok(target),
        Err(bad) => Err(bad.to_string()),
    }
}

fn parse_host(text: &str) -> Result<HostPort, String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("`{text}` has no port"));
    };
    let port: Option<u16> = port.parse().ok().filter(|port| *port != 0);
    let Some(port) = port else {
        return Err(format!(
            "the port of `{text}` is not a number from 1 to 65535"
        ));
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = literal.unwrap_or(host).to_ascii_lowercase();
    let host = HostPort { host, port };
    let is_name = Name::from_ascii(&host.host).is_ok() && !host.host.contains(':');
    if !is_name && host.host.parse::<IpAddr>().is_err() {
        return Err(format!("`{text}` is not a host name and a port"));
    }
    match host.service_key() {
        Ok(_) => Ok(host),
        Err(bad) => Err(bad.to_string()),
    }
}

fn resolvers(fields: &mut Fields<'_>) -> Vec<SocketAddr> {
    let texts = fields.texts("resolvers");
    if texts.len() > RESOLVERS_MAX {
        fields.refuse(
            "resolvers",
            format!("there are more than {RESOLVERS_MAX} resolvers"),
        );
    }
    let mut resolvers = Vec::new();
    for (index, text) in texts {
        let with_port = text.parse().ok();
        let without = text
            .parse()
            .ok()
            .map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT));
        match with_port.or(without) {
            Some(address) => resolvers.push(address),
            None => fields.refuse(
                &format!("resolvers/{index}"),
                format!("`{text}` is not an IP address, with or without a port"),
            ),
        }
    }
    resolvers
}

fn family(fields: &mut Fields<'_>) -> Family {
    let Some(text) = fields.text("family") else {
        return Family::PreferIpv4;
    };
    let found = Family::ALL.iter().find(|(name, _)| *name == text);
    if let Some((_, family)) = found {
        return *family;
    }
    let help = format!("known are {}", Family::names().join(", "));
    let problem = Problem::new("/family", format!("there is no family `{text}`"));
    fields.problem(problem.with_help(help));
    Family::PreferIpv4
}

pub(super) fn schema() -> Value {
    let text = |default: &str, description: &str| json!({"type": "string", "default": default, "description": description});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["hosts"],
        "properties": {
            "hosts": {
                "type": "array",
                "minItems": 1,
                "maxItems": HOSTS_MAX,
                "items": {"type": "string"},
                "description": "Host names with ports, like api.internal:8080; or names of services, like _http._tcp.api.internal, whose SRV records name hosts and ports."
            },
            "resolvers": {
                "type": "array",
                "maxItems": RESOLVERS_MAX,
                "items": {"type": "string"},
                "description": "Addresses of DNS servers; those of the system by default."
            },
            "family": {
                "enum": Family::names(),
                "default": "prefer_ipv4",
                "description": "Which addresses are used."
            },
            "min_ttl": text("1s", "Answers are asked for again no sooner than this."),
            "max_ttl": text("1m", "Answers are asked for again no later than this."),
            "timeout": text("5s", "Time for one try of two."),
            "keep": text("0s", "How long an address stays that answers do not name any more, for servers that answer with a few out of many.")
        }
    })
}
