//! What servers of foreign registries send to the sources that read them.

/// Any bytes are refused or read by the protocols of etcd, ZooKeeper, Nacos and our own watch;
/// a stream means the same whole and in pieces, and a message the same once it is written.
///
/// # Panics
/// When it does not hold for `input`.
pub fn sources(input: &[u8]) {
    portolan_coordinators::read_anything(input);
    portolan_sources::read_any_events(input);
}
