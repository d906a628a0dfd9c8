//! What must hold for any bytes that a server sends; for fuzz targets, which stand outside.

use crate::{etcd, grpc, nacos, zookeeper};

/// Reads bytes as each protocol of this crate reads what a server sends: they are refused or
/// read, and a stream means the same whole and in pieces.
///
/// # Panics
/// When it does not hold for `input`: a defect.
pub fn read_anything(input: &[u8]) {
    zookeeper::read_anything(input);
    etcd::read_anything(input);
    nacos::read_anything(input);
    grpc::read_anything(input);
}
