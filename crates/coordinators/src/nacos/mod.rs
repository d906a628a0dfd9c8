//! `nacos`: services of a Nacos server, by its gRPC protocol with pushes, or by polling.
//!
//! Settings: `urls` (or `url`), servers of one cluster, like `http://127.0.0.1:8848`, with
//! `/nacos` for a path where they have none; `username` and `password`; `tls`; `headers`, sent
//! with every HTTP call; `protocol` (default `grpc`): `grpc` subscribes at the HTTP port plus
//! 1000 (or `grpc_port`), for servers from 2.0 on; `http` polls the v1 API, which all have.
//! There is no falling back from one to the other: it would hide a closed port behind
//! slower news. `namespaces` (default `["public"]`), by their ids; `groups` (default
//! `["DEFAULT_GROUP"]`); `refresh` (5s), how often new services are looked for, and with
//! `http` all instances. Besides those of all sources: `namespace`, `zone`, `only`, `map`.
//!
//! Mapping: services of the namespace `public` are in the source's own `namespace`, those of
//! another in one of its name. A group but `DEFAULT_GROUP` is a scope within: `orders` of
//! the group `G1` is in `default.g1`. An instance's id is `<ip>:<port>`, with `~<cluster>` where that is not
//! `DEFAULT`. A weight of 1.0 is 100; 0 takes it out of service, as `enabled: false` does;
//! `healthy: false` is critical. `version` and `zone` of the metadata are the instance's, and
//! `cluster` and `ephemeral` are added to the metadata. Expressions may speak of `namespace`, `group`,
//! `service`, and `host`, the instance as Nacos writes it.
//!
//! Where a service reached its protection threshold, Nacos lists sick instances as healthy: all
//! are kept, and each says so in its note. Whoever is missing from a list is not heard of any
//! more: whether it was taken away or its heartbeats ended can't be told, so the guard judges;
//! that is what an empty list of a server that starts comes to. A server that resets its
//! connections, or falls silent, is left for the next; all is subscribed to anew, compared,
//! and there is no empty moment.
//!
//! Trust: whoever can register with Nacos decides where requests go.

mod calls;
mod map;
mod messages;
mod poll;
mod settings;
mod subscribe;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

pub(crate) use messages::read_anything;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "nacos",
    summary: "services of a Nacos server, pushed over gRPC or polled over HTTP",
    schema: settings::schema,
    example: "url: http://127.0.0.1:8848\nnamespaces: [public, dev]\ngroups: [DEFAULT_GROUP, SHOP]\n",
    bad_example: "url: 127.0.0.1:8848\nprotocol: udp\nrefresh: 1ms\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
