//! `docker`: the containers of a Docker daemon, or of one that speaks like it, by labels.
//!
//! Settings: `host` (default `unix:///var/run/docker.sock`), the daemon: a socket, or
//! `tcp://host:2376`, which is spoken to over TLS if there is `tls`; `exposed_by_default`
//! (false), whether containers without labels are taken; `use` (`internal`), which address
//! of a container is used: `internal`, its own within a network, or `published`, that on
//! the host; `network`, which network that is, where a container has several;
//! `host_address` (the daemon's IP address, else 127.0.0.1), where the host is reached;
//! `timeout` (10s) for one answer; `resync` (5m), how often everything is read again
//! although events tell what changes.
//!
//! | label | becomes |
//! |---|---|
//! | `portolan.enable` | `true` takes the container, anything else passes it over |
//! | `portolan.service` | the service, and takes the container; else Compose's service, else its name |
//! | `portolan.namespace` | the namespace, else that of the settings |
//! | `portolan.port` | the port within the container; else the lowest TCP port that it exposes |
//! | `portolan.port.<name>` | a further port by that name |
//! | `portolan.network` | the network, in place of the setting |
//! | `portolan.version` | the version; else the label `org.opencontainers.image.version` |
//! | `portolan.zone`, `portolan.weight`, `portolan.tags` | zone, share of traffic, tags with commas between |
//! | `portolan.meta.<key>` | metadata; `container` and `image` are there besides |
//!
//! Health is that of the container's own health check: `starting`, `unhealthy` is critical,
//! anything else passing. A paused container is out of service. One that uses the host's
//! network is reached at `host_address`; one that shares another's has to have its labels
//! there. The id is the first 12 characters of the container's.
//!
//! Expressions may speak of `id`, `name`, `image`, `labels`, `state`, `health`,
//! `network_mode`, `networks` and `ports`, as `docker inspect` shows them.
//!
//! A container whose process ends is gone at once. A daemon that is lost, or silent,
//! changes nothing but makes the source stale; when it is back, everything is read again:
//! who is known to have ended is gone at once, who is merely missing goes by inference.
//!
//! Trust: whoever may start containers there decides where requests go; and whoever may
//! speak to the socket may do anything on that machine, so the user that Portolan runs as
//! is one of them. A proxy that lets only `GET` through is enough.

mod daemon;
mod map;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "docker",
    summary: "containers of a Docker daemon by their labels, followed by its events",
    schema: settings::schema,
    example: "host: unix:///run/docker.sock\nexposed_by_default: false\nuse: published\nhost_address: 10.0.0.4\n",
    bad_example: "host: docker.sock\nuse: both\nhost_address: here\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
