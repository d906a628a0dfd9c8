//! `portolan`: the catalogue of another Portolan, by its native watch.
//!
//! Of all sources the quickest and the most exact: what changes over there is here within
//! milliseconds, and a connection that broke is taken up where it ended.
//!
//! Settings: `url` or `urls`, admin listeners of that Portolan, which are asked one after
//! the other until one answers; `token`, which may read its catalogue; `tls`; `headers`;
//! `namespaces`, a map from their namespaces to ours: only those that it names are taken.
//! Without it all are taken under their own names, except those that speak of the other
//! Portolan's own surroundings: `dns`, its host names, and `consul-nodes`.
//! `namespace`, `zone`, `only` and `map` as in every source; expressions may speak of the
//! fields of an instance in the native API, and of `namespace`.
//!
//! Mapping: everything is taken as it is: id, endpoints, zone, version, weight (that of an
//! operator's ruling, if there is one), tags, metadata, health and why, what an operator
//! ruled, and whether it leaves. What the other guard holds stays open here, too.
//!
//! An instance that is told to be gone while the watch is on is gone at once: the other
//! Portolan's guard has judged that already. What is missing after a restart, or when the
//! watch begins anew, is gone by inference, which our own guard may hold.
//!
//! An instance that can't be read is passed over and told, and keeps what it said before.
//! Where `namespaces` or `map` make one instance of two, it is gone when both are.
//!
//! Loops: instances are marked with the Portolan that had them first, in the metadata
//! `portolan/origin`; those that are our own are left out, and a Portolan that is told to
//! read itself says so and takes nothing.
//!
//! Failure: a stream that breaks off, or is silent for 45 seconds though it says every 15
//! that it is there, is opened again; what was known stays, and is marked stale unless it
//! is back within 2 seconds.
//!
//! Trust: the other Portolan decides where requests for its services go. Keep it to
//! namespaces that are its own with `namespaces` or `only`.

mod claims;
mod events;
mod map;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

pub use events::read_any_events;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "portolan",
    summary: "the services of another Portolan, followed live and resumed by revision",
    schema: settings::schema,
    example: "urls: [\"https://registry.other.example:9070\"]\ntoken: secret\nnamespaces: {default: other}\n",
    bad_example: "urls: [\"registry:9070\"]\nnamespaces: {default: \"a b\"}\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
