//! Reads what the DNS server does besides answering by UDP and TCP.

use std::{num::NonZeroU16, sync::Arc};

use data_encoding::BASE64;
use portolan_model::Problem;

use super::{Reader, dns::members};
use crate::{
    DnsAlgorithm, DnsKey, DnsOverTls, DnsRecursors, DnsUpdates, leaf,
    tree::{Node, Span},
};

/// The shortest secret of a key, in bytes.
const SECRET_BYTES_MIN: usize = 16;

pub(super) fn recursors(node: &Node) -> Option<DnsRecursors> {
    Some(DnsRecursors {
        addresses: node.read_all("addresses", leaf::address)?,
        clients: node.read_all("clients", leaf::network)?,
        deadline: node.read("deadline", leaf::duration)?,
        cache: node.read("cache", leaf::size)?,
        ttl_max: node.read("ttl_max", leaf::duration)?,
        negative_ttl_max: node.read("negative_ttl_max", leaf::duration)?,
        stale: node.read("stale", leaf::duration_or_zero)?,
    })
}

impl Reader<'_> {
    pub(super) fn updates(&mut self, node: &Node, at: Span) -> Option<DnsUpdates> {
        let mut keys = Vec::new();
        for (name, key) in members(node, "keys")? {
            keys.push(self.key(name, key, at)?);
        }
        Some(DnsUpdates {
            keys,
            port: NonZeroU16::new(node.count("port")?)?,
        })
    }

    fn key(&mut self, name: &str, node: &Node, at: Span) -> Option<DnsKey> {
        let text = node.get("secret")?.scalar()?;
        let secret = BASE64.decode(text.trim().as_bytes()).ok();
        let Some(secret) = secret.filter(|secret| secret.len() >= SECRET_BYTES_MIN) else {
            let message = format!("the secret is not base64 of {SECRET_BYTES_MIN} bytes or more");
            let problem =
                Problem::new("", message).with_help("make one: `openssl rand -base64 32`");
            self.error(node, "/secret", at, problem);
            return None;
        };
        let services = node.read_all("services", |text| Ok(text.to_ascii_lowercase()))?;
        for pattern in &services {
            if !self.is_pattern(pattern, node, "/services", at) {
                return None;
            }
        }
        Some(DnsKey {
            name: name.to_ascii_lowercase(),
            algorithm: node.word("algorithm", |word| match word {
                "hmac-sha256" => Some(DnsAlgorithm::Sha256),
                "hmac-sha384" => Some(DnsAlgorithm::Sha384),
                "hmac-sha512" => Some(DnsAlgorithm::Sha512),
                _ => None,
            })?,
            secret,
            services: services.into_iter().map(Arc::from).collect(),
        })
    }

    pub(super) fn over_tls(&mut self, node: &Node, at: Span) -> Option<DnsOverTls> {
        let tls = node.maybe("tls", |tls| self.control_tls(tls, at))?;
        let Some(tls) = tls else {
            let problem = Problem::new("", "queries over TLS need certificates")
                .with_help("add `tls: {certificates: [...]}`");
            self.error(node, "", at, problem);
            return None;
        };
        Some(DnsOverTls {
            address: node.read("address", leaf::address)?,
            tls,
        })
    }
}
