//! `consul`: the services of a Consul, by blocking queries.
//!
//! Settings: `url` or `urls`, agents or servers that are asked one after the other until
//! one answers; `token`, sent as `X-Consul-Token`; `tls`; `headers`; `datacenters` (the
//! agent's own by default); `services`, names to take (all by default, Consul's own
//! `consul` aside); `tags`, all of which an instance must have; `stale` (true), whether any
//! server may answer, or only the leader; `wait` (5m), how long a query may block;
//! `connections` (64), how many the blocking queries of single services may hold; `queries`, names of prepared
//! queries, each of which becomes a service of its name, their failover included, asked
//! again every `query_interval` (10s). `namespace`, `zone`, `only` and `map` as in every
//! source; expressions may speak of `Node`, `Service` and `Checks`, as Consul's
//! `/v1/health/service` answers them.
//!
//! Mapping: service, tags and metadata are `Service.Service`, `.Tags` and `.Meta`; tags
//! like `key=value` are metadata, too. The id is `Service.ID`, followed by `@` and
//! `Node.Node`, since ids are unique on a node only, and by `.` and the datacenter if
//! several are read; a Portolan's own ids are kept. The address is `Service.Address`, or
//! `Node.Address`; a host name is passed over, which is told. The port is `Service.Port`;
//! metadata like `port-admin: 9000` are more ports. The version is `Meta.version`, the zone
//! `Meta.zone` or the locality's, the weight 100 times that of `Service.Weights` for its
//! health. The health is that of the worst check; maintenance mode takes an instance out of
//! service without being a failure. With several datacenters, metadata say which: `dc`.
//! Proxies and gateways of the mesh are left out.
//!
//! How it follows: the names of services by one blocking query, and each service by one of
//! its own as long as there are places on `connections`: 100 on each where the server speaks
//! HTTP/2, which a Consul does over TLS and a Portolan always, else one. Several datacenters
//! share them. A Consul takes 200 connections of a client (`limits.http_max_conns_per_client`),
//! with those of everybody else at that address; whoever raises `connections` beyond raises
//! that as well. If it takes fewer, that is told in the log, a quarter less is held, and all
//! are tried again after 10m. Many queries begin one after the other, 500 a second. Each
//! answer that says nothing new is whole, so over HTTP/2 a query waits for long (over HTTP/1,
//! where nobody would notice that a server hangs, for 30s at most); where a proxy in between
//! cuts what takes so long, it is asked again for 30s, and for twice as long each time as long
//! as that goes well. A query whose connection ends is asked again on another one; if that fails
//! too, the service is fetched without blocking, and only if that fails it is an outage. That a
//! server is silent is noticed within 30s: by the query for names, which blocks for 10s at most,
//! by pings of HTTP/2, and by TCP's own signs of life.
//!
//! Where there are more services than places, those that changed last have them. For the
//! others, two blocking queries, for the names and for all checks, tell which ones changed,
//! and only those are asked for, 8 at a time, of the leader, since another server may lag
//! behind what was told; while there is none, any server will do. All checks of a large Consul
//! are megabytes, which takes its time to read; from 1 MiB on, those that are critical or warn
//! are followed besides. An instance that is registered anew with another address, port or
//! weight changes no check: whenever any service was registered, of which a Portolan tells only
//! if a name or tag is new, and every minute, the others are looked at, 32 or a sixtieth of
//! them a second. Those without checks come first then, and those with other tags are looked
//! at at once. A service that is not answered for is asked for again for 5s before it is an
//! outage.
//!
//! After each answer with the names there is a rest of 5ms, which grows to 160ms while they
//! stay the same. When another server answers for them, the queries begin anew: on its shared
//! connections, or over HTTP/1 at the server that answered last.
//!
//! Departures are inferred, since Consul does not say why an instance is gone: the guard
//! holds what goes in crowds.
//!
//! Loops: instances that a Portolan has told first are marked in the metadata
//! `portolan/origin`; those that are our own are left out.
//!
//! Failure: what was known stays and is marked stale; a datacenter or query that does not
//! answer does not take the others down. Until it does, what changes elsewhere is told
//! together, once a second; what was never heard at all keeps everything that is remembered
//! from being taken for gone. An index that goes back begins anew; `Retry-After` is
//! honoured.
//!
//! Trust: whoever may register in Consul decides where requests go.

mod api;
mod crew;
mod crowd;
mod follow;
mod looks;
mod map;
mod names;
mod patience;
mod query;
mod roll;
mod settings;
mod shape;
#[cfg(test)]
mod tests;
mod watch;
mod watches;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "consul",
    summary: "the services of a Consul and their health, followed live by blocking queries",
    schema: settings::schema,
    example: "urls: [\"http://127.0.0.1:8500\"]\ntoken: secret\ndatacenters: [dc1, dc2]\nwait: 1m\n",
    bad_example: "urls: [\"127.0.0.1:8500\"]\nwait: 1h\ndatacenters: dc1\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
