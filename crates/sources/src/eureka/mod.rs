//! `eureka`: the applications of a Eureka server, all at once and then by deltas.
//!
//! Settings: `url` or `urls`, servers with the path that their API is under
//! (`http://host:8761/eureka`), peers that are asked one after the other until one answers;
//! `username` and `password`, sent as basic authentication; `tls`; `headers`; `interval`
//! (5s), how often deltas are asked for, give or take a twentieth; `namespace`, `zone`,
//! `only` and `map` as in every source. Expressions may speak of `app`, `instanceId`,
//! `hostName`, `ipAddr`, `status`, `overriddenStatus`, `port` and `securePort` (numbers, if
//! they are open), `vipAddress`, `secureVipAddress`, `zone` and `metadata`.
//!
//! Mapping: the service is the application in lower case, the id `instanceId`, or
//! `hostName` without one. The address is `ipAddr`, or `hostName` if that is one; other
//! host names are passed over, which is told. The open port is `default`, the open port
//! with TLS `secure`. Version and zone are `metadata.version` and `metadata.zone`, or
//! Amazon's availability zone. UP is passing, STARTING starting, DOWN and UNKNOWN are
//! critical; `OUT_OF_SERVICE`, also as an override, takes the instance out of service. What
//! only Eureka knows, VIP addresses among it, is kept in metadata under `eureka/`.
//!
//! How it follows: the hash in each delta is checked against what is known; where they
//! differ, or deltas are turned off over there, everything is fetched. Departures are
//! inferred, since Eureka does not tell a cancellation from an eviction: the guard holds
//! what goes in crowds.
//!
//! Loops: instances that a Portolan has told first are marked in the metadata
//! `portolan/origin`; those that are our own are left out.
//!
//! Failure: a server that is warming up (403, 503) or does not answer changes nothing: what
//! was known stays and is marked stale, and the next peer is asked.
//!
//! Trust: whoever may register in Eureka, and by default that is everybody, decides where
//! requests go.

mod local;
mod map;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "eureka",
    summary: "the applications of a Eureka server, by deltas whose hash is checked",
    schema: settings::schema,
    example: "urls: [\"http://127.0.0.1:8761/eureka\"]\nusername: portolan\npassword: secret\ninterval: 3s\n",
    bad_example: "urls: [\"eureka:8761\"]\nusername: portolan\ninterval: soon\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
