//! `zookeeper`: instances that stand as nodes in ZooKeeper, followed by watches.
//!
//! Settings: `servers`, like `10.0.0.1:2181`, of which one is asked until it fails; `chroot`,
//! a path that stands before all others; `username` and `password`, shown by the scheme
//! `digest`; `tls`, which turns TLS on; `session_timeout` (10s), what a server may let pass
//! without a sign of life; `layout` (required), how nodes are written; `base`, the node
//! under which they stand (`/services`; for `dubbo` `/dubbo`; `curator` needs one);
//! `watches` (default `recursive`; `single` arms one watch a node, as servers before 3.6
//! need it, and is fallen back to where a server knows no other). Besides those of all
//! sources: `namespace`, `zone`, `only`, `map`.
//!
//! | layout | node below the base | read |
//! |---|---|---|
//! | `curator` | `<service>/<id>` | JSON of Curator's service discovery |
//! | `spring` | `<service>/<id>` | the same, with Spring Cloud's `ZookeeperInstance` for a payload |
//! | `dubbo` | `<interface>/providers/<URL>` | Dubbo's interface level: the encoded URL itself |
//! | `dubbo-app` | `<application>/<host:port>` | Dubbo's application level: as `spring`, with `dubbo.endpoints` |
//!
//! Mapping: `address`, `port` and, as port `secure`, `sslPort`; `enabled: false` is out of
//! service. Labels of the payload become metadata, and `version`, `zone` and `weight` among
//! them are the instance's. `spring`: `instance_status` `OUT_OF_SERVICE` is out of service,
//! `DOWN` critical, `STARTING` starting. `dubbo`: the port is named by the protocol; the URL's
//! parameters are metadata, `version`, `weight` and `zone` among them the instance's;
//! `disabled=true` and `enabled=false` are out of service. `dubbo-app`: each of the
//! `dubbo.endpoints` is a port named by its protocol. Expressions may speak of `path`, a
//! text, and `data`, what was read as JSON, for `dubbo` the URL in parts: `protocol`, `host`,
//! `port`, `path`, `parameters`.
//!
//! A service whose node is empty is known, with no instances. A node that does not go with the
//! session of its maker and is deleted is an instance that was taken away. Of all others,
//! and of Dubbo's providers, it can't be told whether they were taken away or their session
//! expired, so the guard judges. After an outage, whose length does not matter,
//! the tree is read anew from a server that has caught up, and compared: there is no empty
//! moment. Pauses between tries grow and are drawn by chance, so that many who lost
//! the same server do not come back together. A node that can't be read is passed over and
//! told, and keeps what it said before.
//!
//! Trust: whoever can write below the base decides where requests go.

mod dirty;
#[cfg(test)]
mod fake;
mod jute;
mod map;
mod read;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

use portolan_catalog::SourceKind;

pub(crate) use jute::read_anything;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "zookeeper",
    summary: "instances that stand as nodes in ZooKeeper: Curator's, Spring Cloud's and Dubbo's layouts",
    schema: settings::schema,
    example: "servers: [\"10.0.0.1:2181\", \"10.0.0.2:2181\"]\nlayout: spring\n",
    bad_example: "servers: [\"zk\"]\nlayout: curator\nchroot: apps\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
