//! `file`: services from a YAML or JSON file, or from a folder of them.
//!
//! Settings: `path`, a file or a folder (its `*.yaml`, `*.yml` and `*.json`, hidden ones
//! aside); `poll` (default 10s), how often it is looked at besides the system's
//! notifications. The format:
//!
//! ```yaml
//! services:
//!   orders:                  # or namespace/orders; may be empty
//!     instances:
//!       - address: 10.0.0.7  # an IP address
//!         port: 9001
//!         id: a              # default: address:port
//!         ports: {grpc: 9002}
//!         metadata: {env: prod}
//!         tags: [blue]
//!         version: v2
//!         zone: eu-1
//!         weight: 100
//! ```
//!
//! The file is the word of its author: what a sound file does not name any more is gone
//! at once, without the guard. What can't be read keeps its last good state and makes
//! the source stale, with file, line and reason: the whole file if it is not YAML, the
//! service or the instance if the mistake is there.
//!
//! Trust: whoever can write the file decides where requests go.

mod files;
mod map;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "file",
    summary: "services from a YAML or JSON file, or from a folder of them, followed live",
    schema: settings::schema,
    example: "path: services.yaml\npoll: 30s\n",
    bad_example: "path: \"\"\npoll: soon\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
