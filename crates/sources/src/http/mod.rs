//! `http`: instances from any JSON that a server answers.
//!
//! Settings: `url` or `urls`, asked one after the other until one answers; `query`, what
//! comes after their path; `interval` (30s), how often, give or take a twentieth; `headers`; `tls`; `size_max` (8MiB), the
//! largest answer; `items`, a CEL expression about `document` that comes to the list of
//! instances (the document itself by default); `service`, the name of the service of items
//! that name none; `namespace`, `zone`, `only` and `map` as in every source, with
//! expressions about `item`.
//!
//! Mapping: fields of the same names are taken from each item: `service`, `id` (by default
//! address and port), `address`, `port`, `ports` (numbers by name), `zone`, `version`,
//! `weight`, `tags`, `metadata` and `health` (`passing`, `warning`, `starting`, `critical`,
//! or true and false). An item that comes to no instance is passed over, which is told; an
//! answer of which no item can be used is a failure.
//!
//! The answer is asked for only if it changed, by `ETag` or `Last-Modified`, where the
//! server says one. Departures are inferred: the guard holds what goes in crowds.
//!
//! Failure: whatever is not 200 or 304, is too large, or is no JSON changes nothing: what
//! was known stays and is marked stale. `Retry-After` is honoured.
//!
//! Trust: the server decides where requests go.

mod map;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "http",
    summary: "instances from any JSON that a server answers, by expressions",
    schema: settings::schema,
    example: "url: https://inventory.example/hosts\ninterval: 10s\nitems: document.hosts\nmap:\n  service: item.role\n  address: item.ip\n  port: \"8080\"\n",
    bad_example: "interval: soon\nitems: document.\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
