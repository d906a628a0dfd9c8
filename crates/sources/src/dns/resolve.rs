//! Asks: the hosts file first, then DNS servers.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RData, RecordType, rdata::SRV},
    },
};

use super::{
    map::Answer,
    records::{RecordsAnswer, ServiceRecord},
    settings::Settings,
};

/// How long an answer holds that does not come from a DNS server.
const FIXED_TTL: Duration = Duration::from_hours(24);
/// Tries of one question.
const ATTEMPTS: usize = 2;

/// An answer, later.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// An answer about the records of a service, later.
pub(super) type AnsweringRecords<'a> = Pin<Box<dyn Future<Output = RecordsAnswer> + Send + 'a>>;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Ipv4,
    Ipv6,
}

/// Somebody who knows addresses of host names.
pub(super) trait Resolve: Send + Sync {
    /// Asks for the addresses of a host. Called again when the answer is over;
    /// cancel-safe, never blocks the thread, and ends within the settings' timeouts.
    fn ask<'a>(&'a self, host: &'a str, version: Version) -> Answering<'a>;

    /// Asks for the records of a service, as [`Self::ask`] does for addresses.
    fn records<'a>(&'a self, name: &'a str) -> AnsweringRecords<'a>;
}

/// Asks the system's files and servers, or the servers of the settings.
pub(super) struct Resolver {
    hosts: Hosts,
    /// Why there is none, if there is none.
    servers: Result<TokioResolver, String>,
}

impl Resolver {
    /// Reads the system's configuration. Blocks for as long as that takes.
    pub(super) fn open(settings: &Settings) -> Self {
        Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            servers: servers(settings).map_err(|error| error.to_string()),
        }
    }

    async fn answer(&self, host: &str, version: Version) -> Answer {
        if let Some(addresses) = self.known(host) {
            let wanted = addresses
                .into_iter()
                .filter(|ip| version.fits(*ip))
                .collect();
            return answer_of(wanted, FIXED_TTL);
        }
        let servers = match &self.servers {
            Ok(servers) => servers,
            Err(reason) => return Answer::Failed(reason.clone()),
        };
        match servers.lookup(host, version.record_type()).await {
            Ok(lookup) => {
                let records = lookup.answers();
                // A chain of names lives as long as its shortest link.
                let ttl = records.iter().map(|record| record.ttl).min();
                let ttl = Duration::from_secs(u64::from(ttl.unwrap_or_default()));
                let addresses = records.iter().filter_map(|record| record.data.ip_addr());
                answer_of(addresses.filter(|ip| version.fits(*ip)).collect(), ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => {
                let ttl = nothing.negative_ttl.map(u64::from);
                Answer::Nothing(ttl.map(Duration::from_secs))
            }
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    async fn answer_records(&self, name: &str) -> RecordsAnswer {
        let servers = match &self.servers {
            Ok(servers) => servers,
            Err(reason) => return RecordsAnswer::Failed(reason.clone()),
        };
        match servers.lookup(name, RecordType::SRV).await {
            Ok(lookup) => {
                let answers = lookup.answers();
                let ttl = answers.iter().map(|record| record.ttl).min();
                let ttl = Duration::from_secs(u64::from(ttl.unwrap_or_default()));
                let records = answers.iter().filter_map(|record| {
                    let RData::SRV(srv) = &record.data else {
                        return None;
                    };
                    Some(ServiceRecord::of(srv))
                });
                // A single target that is the root says that there is no such service.
                let records: Vec<_> = records.filter(|record| !record.host.is_empty()).collect();
                if records.is_empty() {
                    return RecordsAnswer::Nothing(Some(ttl));
                }
                RecordsAnswer::Records(records, ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => {
                let ttl = nothing.negative_ttl.map(u64::from);
                RecordsAnswer::Nothing(ttl.map(Duration::from_secs))
            }
            Err(error) => RecordsAnswer::Failed(error.to_string()),
        }
    }

    /// Addresses that need no DNS: literals, loopback by RFC 6761, the hosts file.
    fn known(&self, host: &str) -> Option<Vec<IpAddr>> {
        if let Ok(ip) = host.parse() {
            return Some(vec![ip]);
        }
        let name = Name::from_ascii(host).ok()?;
        let in_file = [Version::Ipv4, Version::Ipv6].map(|version| {
            let query = Query::query(name.clone(), version.record_type());
            self.hosts.lookup_static_host(&query)
        });
        let records = in_file.iter().flatten().flat_map(Lookup::answers);
        let addresses: Vec<_> = records.filter_map(|record| record.data.ip_addr()).collect();
        if !addresses.is_empty() {
            return Some(addresses);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_loopback = host == "localhost" || host.ends_with(".localhost");
        is_loopback.then(|| {
            let (ipv4, ipv6) = (std::net::Ipv4Addr::LOCALHOST, std::net::Ipv6Addr::LOCALHOST);
            vec![ipv4.into(), ipv6.into()]
        })
    }
}

impl Resolve for Resolver {
    fn ask<'a>(&'a self, host: &'a str, version: Version) -> Answering<'a> {
        Box::pin(self.answer(host, version))
    }

    fn records<'a>(&'a self, name: &'a str) -> AnsweringRecords<'a> {
        Box::pin(self.answer_records(name))
    }
}

impl ServiceRecord {
    fn of(srv: &SRV) -> Self {
        let host = srv.target.to_ascii().to_ascii_lowercase();
        Self {
            host: host.trim_end_matches('.').to_owned(),
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        }
    }
}

impl Version {
    const fn record_type(self) -> RecordType {
        match self {
            Self::Ipv4 => RecordType::A,
            Self::Ipv6 => RecordType::AAAA,
        }
    }

    const fn fits(self, ip: IpAddr) -> bool {
        match self {
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

fn answer_of(addresses: Vec<IpAddr>, ttl: Duration) -> Answer {
    if addresses.is_empty() {
        Answer::Nothing(Some(ttl))
    } else {
        Answer::Addresses(addresses, ttl)
    }
}

fn servers(settings: &Settings) -> Result<TokioResolver, NetError> {
    let mut builder = if settings.resolvers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = settings.resolvers.iter().map(server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = settings.timeout;
    options.attempts = ATTEMPTS;
    // Answers are kept by whoever asks, for as long as they live.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}
