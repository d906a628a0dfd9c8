//! What is known of a client's connection, and what each request of it inherits.

use std::{
    cell::OnceCell,
    fmt::Write,
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use portolan_config::Listener;
use portolan_model::http::{Scheme, Stencil};
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
    /// What the upstream is told of every request, made with the first.
    pub(crate) announced: OnceCell<Stencil>,
}

/// What every request of a connection says of it upstream, written once.
#[derive(Debug)]
pub(crate) struct Texts {
    /// The beginning of an element of Forwarded, up to the host.
    forwarded: Box<str>,
    /// Where the peer's address stands in it.
    peer: Range<usize>,
    /// Our port.
    port: Box<str>,
}

impl Texts {
    pub(crate) fn new(peer: IpAddr, local: SocketAddr) -> Self {
        let (before, after) = if peer.is_ipv6() {
            ("for=\"[", "]\";host=\"")
        } else {
            ("for=", ";host=\"")
        };
        let mut forwarded = String::with_capacity(64);
        forwarded.push_str(before);
        match peer {
            // Most connections; the standard library's way is many times as long.
            IpAddr::V4(address) => {
                for (place, byte) in address.octets().into_iter().enumerate() {
                    forwarded.push_str(if place > 0 { "." } else { "" });
                    push_number(&mut forwarded, u16::from(byte));
                }
            }
            IpAddr::V6(address) => {
                let _infallible = write!(forwarded, "{address}");
            }
        }
        let peer = before.len()..forwarded.len();
        forwarded.push_str(after);
        let mut port = String::with_capacity(5);
        push_number(&mut port, local.port());
        Self {
            forwarded: forwarded.into(),
            peer,
            port: port.into(),
        }
    }

    /// The peer's address.
    pub(crate) fn peer(&self) -> &str {
        self.forwarded.get(self.peer.clone()).unwrap_or_default()
    }

    /// The beginning of an element of Forwarded, up to the host.
    pub(crate) fn forwarded(&self) -> &str {
        &self.forwarded
    }

    /// Our port.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }
}

fn push_number(out: &mut String, number: u16) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(char::from_digit(u32::from(number % 10), 10).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_peer_is_its_address() {
        let said = |peer: &str| {
            let local = SocketAddr::new(peer.parse().unwrap(), 65535);
            let texts = Texts::new(local.ip(), local);
            assert_eq!((texts.peer(), texts.port()), (peer, "65535"));
            texts.forwarded().to_owned()
        };
        assert_eq!(said("10.0.203.7"), "for=10.0.203.7;host=\"");
        assert_eq!(said("255.255.255.255"), "for=255.255.255.255;host=\"");
        assert_eq!(said("2001:db8::7"), "for=\"[2001:db8::7]\";host=\"");
    }
}
