//! Reads listeners.

use std::num::NonZeroU32;

use portolan_model::{Name, Problem, route::CertificateFiles};

use super::Reader;
use crate::{
    ClientTimeouts, Digest, Limits, Listener, ListenerTls, Protocols, ProxyHeader, leaf,
    tree::{Node, Span},
};

impl Reader<'_> {
    pub(crate) fn listener(&mut self, name: &Name, node: &Node, at: Span) -> Option<Listener> {
        let policies = self.policies(node);
        let tls = node.maybe("tls", |tls| self.listener_tls(tls, at))?;
        let protocols = words(node, "protocols")?;
        Some(Listener {
            name: name.clone(),
            address: node.read("address", leaf::address)?,
            protocols: Protocols {
                http1: protocols.contains(&"http1"),
                http2: protocols.contains(&"http2"),
            },
            proxy_protocol: node.word("proxy_protocol", |word| match word {
                "off" | "false" => Some(ProxyHeader::Off),
                "optional" => Some(ProxyHeader::Optional),
                "required" => Some(ProxyHeader::Required),
                _ => None,
            })?,
            tls,
            limits: limits(node.get("limits")?)?,
            timeouts: timeouts(node.get("timeouts")?)?,
            policies: policies?,
            digest: Digest::of_json(&node.to_json()),
        })
    }

    pub(super) fn listener_tls(&mut self, node: &Node, at: Span) -> Option<ListenerTls> {
        let versions = words(node, "versions")?;
        let certificates = node.get("certificates")?.items().iter();
        let read = certificates
            .map(|item| self.certificate(item, at))
            .collect::<Vec<_>>();
        Some(ListenerTls {
            certificates: read.into_iter().collect::<Option<_>>()?,
            tls12: versions.contains(&"1.2"),
            tls13: versions.contains(&"1.3"),
        })
    }

    /// A certificate whose files could be read.
    pub(super) fn certificate(&mut self, node: &Node, at: Span) -> Option<CertificateFiles> {
        let files = CertificateFiles {
            certificate: self.file(node.get("certificate")?.scalar()?),
            key: self.file(node.get("key")?.scalar()?),
        };
        match (self.outside.certificate)(&files) {
            Ok(()) => Some(files),
            Err(problem) => {
                let pointer = if problem.path.is_empty() {
                    "/certificate"
                } else {
                    &problem.path
                };
                let span = node.at_pointer(pointer).unwrap_or(at);
                self.report.error(
                    span,
                    Problem {
                        path: String::new(),
                        ..problem
                    },
                );
                None
            }
        }
    }
}

fn words<'a>(node: &'a Node, name: &str) -> Option<Vec<&'a str>> {
    node.get(name)?.items().iter().map(Node::scalar).collect()
}

fn limits(node: &Node) -> Option<Limits> {
    let count = |name| NonZeroU32::new(node.count(name)?);
    Some(Limits {
        head_max: node.read("head", leaf::size)?,
        headers_max: node.count("headers")?,
        uri_max: node.read("uri", leaf::size)?,
        body_max: node.may_read("body", leaf::size)?,
        connections_max: count("connections")?,
        streams_max: count("streams")?,
        resets_max: count("resets")?,
    })
}

fn timeouts(node: &Node) -> Option<ClientTimeouts> {
    Some(ClientTimeouts {
        head: node.read("head", leaf::duration)?,
        idle: node.read("idle", leaf::duration)?,
        body: node.read("body", leaf::duration)?,
    })
}
