//! What the DNS server does besides answering by UDP and TCP.

use std::{fmt, net::SocketAddr, num::NonZeroU16, sync::Arc, time::Duration};

use ipnet::IpNet;
use portolan_model::ByteSize;

use crate::ControlTls;

/// Who is asked for names that are not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecursors {
    /// Who is asked; at least one.
    pub addresses: Vec<SocketAddr>,
    /// Whose questions are asked; those of this machine and private networks if there are none.
    pub clients: Vec<IpNet>,
    /// How long an answer may take.
    pub deadline: Duration,
    /// What the remembered answers may take.
    pub cache: ByteSize,
    /// The longest that an answer is remembered.
    pub ttl_max: Duration,
    /// The longest that it is remembered that there is nothing.
    pub negative_ttl_max: Duration,
    /// How long an answer that has outlived its time may be told when there is no better one.
    pub stale: Duration,
}

/// Who may update names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsUpdates {
    /// Keys that updates are signed with.
    pub keys: Vec<DnsKey>,
    /// The port of instances that are registered by an address alone.
    pub port: NonZeroU16,
}

/// A secret that is shared with a client that sends updates.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsKey {
    /// Its name, in small letters.
    pub name: String,
    /// What signatures are made with.
    pub algorithm: DnsAlgorithm,
    /// The secret.
    pub secret: Vec<u8>,
    /// The services that may be updated with it; all if there are none.
    pub services: Vec<Arc<str>>,
}

/// What signatures of updates are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAlgorithm {
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

/// A listener for queries over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsOverTls {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its certificates.
    pub tls: ControlTls,
}

impl fmt::Debug for DnsKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsKey")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
