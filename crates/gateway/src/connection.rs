//! What is known of a client's connection, and what each request of it inherits.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use portolan_config::Listener;
use portolan_model::http::Scheme;
use portolan_wire::h1::HeadLimits;

/// A client's connection, the same for all of its requests.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The listener, by name and settings.
    pub(crate) listener: Arc<Listener>,
    /// Place of the listener among the plan's, as the worker last looked.
    pub(crate) peer: SocketAddr,
    /// Our own end.
    pub(crate) local: SocketAddr,
    /// Whether the peer's word about the client is believed.
    pub(crate) trusted: bool,
    /// The scheme that the client used to us.
    pub(crate) scheme: Scheme,
    /// Version of TLS, for records.
    pub(crate) tls: Option<&'static str>,
    /// The proxies whose word is believed.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// What every request says of the connection.
    pub(crate) texts: Texts,
}

/// What every request of a connection says of it upstream, written once.
#[derive(Debug)]
pub(crate) struct Texts {
    /// The peer's address.
    pub(crate) peer: Box<str>,
    /// Our port.
    pub(crate) port: Box<str>,
    /// The beginning of an element of Forwarded, up to the host.
    pub(crate) forwarded: Box<str>,
}

impl Texts {
    pub(crate) fn new(peer: IpAddr, local: SocketAddr) -> Self {
        let forwarded = if peer.is_ipv6() {
            format!("for=\"[{peer}]\";host=\"")
        } else {
            format!("for={peer};host=\"")
        };
        Self {
            peer: peer.to_string().into(),
            port: local.port().to_string().into(),
            forwarded: forwarded.into(),
        }
    }
}

impl Connection {
    pub(crate) fn head_limits(&self) -> HeadLimits {
        let limits = &self.listener.limits;
        HeadLimits {
            head_bytes_max: limits.head_max.as_usize(),
            fields_max: limits.headers_max as usize,
            target_bytes_max: limits.uri_max.as_usize(),
        }
    }

    pub(crate) fn body_max(&self) -> Option<u64> {
        self.listener
            .limits
            .body_max
            .map(portolan_model::ByteSize::as_bytes)
    }

    pub(crate) fn head_timeout(&self) -> Duration {
        self.listener.timeouts.head
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        self.listener.timeouts.body
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.listener.timeouts.idle
    }
}

/// Whether one of the networks holds the address.
pub(crate) fn is_trusted(proxies: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}
