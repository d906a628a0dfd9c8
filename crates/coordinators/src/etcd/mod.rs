//! `etcd`: instances that stand as keys in etcd, followed by a watch on their prefix.
//!
//! Settings: `urls` (or `url`), the members, like `http://127.0.0.1:2379`, of which one is
//! asked until it fails; `username` and `password`; `tls`; `headers`, sent with every call;
//! `layout` (default `grpc`), how keys and values are written; `prefix`, what all keys begin
//! with (`/skydns` for `skydns`, `/portolan/services` for `portolan`; `grpc` needs one, `""`
//! is everything). Besides those of all sources: `namespace`, `zone`, `only`, `map`.
//!
//! | layout | key after the prefix | value |
//! |---|---|---|
//! | `grpc` | `<service>/<id>` | `{"Op":0,"Addr":"host:port","Metadata":…}`, as gRPC's naming package of etcd writes it |
//! | `skydns` | the reversed name, `local/cluster/orders/<id>` | `{"host":…,"port":…,"priority":…,"weight":…,"text":…,"ttl":…,"group":…}` |
//! | `portolan` | `<namespace>/<service>/<id>` | what the native API takes as a registration |
//!
//! Where a key of `grpc` holds nothing but an id, the service is the prefix's last word. The
//! service of `skydns` is the name without its first label, below the prefix: `orders` with
//! the prefix `/skydns/local/cluster`.
//!
//! Mapping: version, zone and weight are the labels `version`, `zone` and `weight` of
//! `Metadata` (`grpc`), or the fields of these names; the other labels are metadata. The
//! weight of `skydns` is taken as it is, 0 and none are the normal 100; `priority`, `text`,
//! `ttl` and `group` become metadata. Health is `passing`, but for `status` in `portolan`. Expressions may
//! speak of `key`, a text, and `value`, what was read as JSON.
//!
//! All keys are read at one revision, in pages, and watched from the next on. An outage is
//! taken up where it began; where that revision is compacted away, or it is another
//! cluster, all is read again and compared, so there is no empty moment. A member without a
//! leader is left for the next. A value that can't be read is passed over and told, and
//! keeps what it said before. A key without a lease that is deleted is an instance that was
//! taken away; one with a lease is not heard of any more: whether it was taken away or its
//! lease ran out can't be told, so the guard judges.
//!
//! Trust: whoever can write under the prefix decides where requests go.

mod map;
mod proto;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use portolan_catalog::SourceKind;

pub(crate) use proto::read_anything;

/// The row in the shelf.
pub(crate) const KIND: SourceKind = SourceKind {
    name: "etcd",
    summary: "instances that stand as keys in etcd: gRPC's naming layout, SkyDNS's, or our own",
    schema: settings::schema,
    example: "urls: [\"http://10.0.0.1:2379\", \"http://10.0.0.2:2379\"]\nlayout: grpc\nprefix: services\n",
    bad_example: "urls: [\"10.0.0.1:2379\"]\nlayout: zone_file\nusername: root\n",
    mapping: include_str!("mapping.txt"),
    parse: settings::parse,
};
