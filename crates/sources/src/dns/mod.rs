//! `dns`: host names as services, followed by the lifetime of their records.
//!
//! Settings: `hosts`, a list of `host:port`, or of names like `_http._tcp.api.internal`,
//! whose SRV records name hosts, ports and weights; `resolvers`, addresses of DNS servers like
//! `127.0.0.1:53` (default: those of the system, with its search list); `family`, which
//! addresses to use (default `prefer_ipv4`: IPv6 only where there is no IPv4; or `ipv4`,
//! `ipv6`, `both`); `min_ttl` (1s) and `max_ttl` (1m), between which answers are asked
//! for again; `timeout` (5s) for one try of two; `keep` (0s), how long an address stays
//! that answers do not name any more.
//!
//! The service of a host is `dns/<host>:<port>`; its instances are its addresses. That of
//! SRV records is `dns/_http._tcp.api.internal`; its instances are the addresses of the
//! hosts of the lowest priority that has any, with the records' ports and weights, and
//! `host` and `priority` as metadata. An answer that was truncated is asked for over TCP. The
//! system's hosts file counts first, and both it and the list of DNS servers are
//! followed. A name that has no addresses any more says so once its last answer is
//! over; the guard holds what it had for a while. A server that fails, or does not
//! answer, changes nothing but makes the source stale.
//!
//! Trust: whoever answers the DNS queries decides where requests go.

mod linger;
mod map;
mod records;
mod resolve;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

pub use self::settings::for_hosts;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "dns",
    summary: "host names as services, asked for again when their answers expire",
    schema: settings::schema,
    example: "hosts: [\"api.internal:8080\", _http._tcp.users.internal]\nresolvers: [\"127.0.0.1:5353\"]\n",
    bad_example: "hosts: [api.internal]\nfamily: ipx\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
