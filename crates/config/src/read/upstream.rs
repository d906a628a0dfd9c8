//! Reads upstreams.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use portolan_balance::BalanceSpec;
use portolan_model::{
    Name, Problem,
    route::{
        CertificateFiles, Destination, Protocol, ProxyVersion, Retry, Timeouts, Upstream,
        UpstreamTls, Verify,
    },
};

use super::{Reader, plug};
use crate::{
    leaf,
    tree::{Node, Span},
};

impl Reader<'_> {
    pub(crate) fn upstream(
        &mut self,
        name: &Name,
        node: &Node,
        at: Span,
    ) -> Option<(Upstream, Arc<dyn BalanceSpec>)> {
        let balance = self.balance(node.get("balance")?);
        let tls = node.maybe("tls", |tls| self.upstream_tls(tls, at));
        let own_tls = tls.clone().flatten();
        let check = node.maybe("check", |check| self.check(check, own_tls.as_ref(), at));
        let timeouts = self.timeouts(node, at);
        let destination = self.destination(node, at);
        let upstream = Upstream {
            name: name.clone(),
            destination: destination?,
            port: node.may_read("port", leaf::name)?,
            subset: node.labels("subset")?,
            balance: plug::spec(node.get("balance")?)?,
            protocol: node.word("protocol", |word| match word {
                "auto" => Some(Protocol::Auto),
                "http1" => Some(Protocol::Http1),
                "http2" => Some(Protocol::Http2),
                _ => None,
            })?,
            timeouts: timeouts?,
            retry: retry(node.get("retry")?)?,
            tls: tls?,
            check: check?,
            proxy_protocol: node.maybe("proxy_protocol", |version| match version.scalar()? {
                "v1" => Some(ProxyVersion::V1),
                "v2" => Some(ProxyVersion::V2),
                _ => None,
            })?,
            connections_max: node.maybe("connections", |connections| {
                NonZeroU32::new(
                    super::any_count(connections.scalar()?)
                        .ok()?
                        .try_into()
                        .ok()?,
                )
            })?,
            preserve_host: node.read("preserve_host", leaf::flag)?,
        };
        Some((upstream, balance?))
    }

    fn destination(&mut self, node: &Node, at: Span) -> Option<Destination> {
        if node.has("service") {
            return node
                .read("service", leaf::service)
                .map(Destination::Service);
        }
        if node.has("hosts") {
            return node
                .read_all("hosts", leaf::host_port)
                .map(Destination::Hosts);
        }
        let addresses = node.read_all("addresses", leaf::address)?;
        let is_nowhere =
            |address: &SocketAddr| address.port() == 0 || address.ip().is_unspecified();
        if let Some(place) = addresses.iter().position(is_nowhere) {
            let problem =
                Problem::new("", "this is an address to listen on, not one to connect to")
                    .with_help("name the address and the port of an instance");
            self.error(node, &format!("/addresses/{place}"), at, problem);
            return None;
        }
        Some(Destination::Addresses(addresses))
    }

    fn timeouts(&mut self, upstream: &Node, at: Span) -> Option<Timeouts> {
        let node = upstream.get("timeouts")?;
        let timeouts = Timeouts {
            connect: node.read("connect", leaf::duration)?,
            first_byte: node.read("first_byte", leaf::duration)?,
            idle: node.read("idle", leaf::duration)?,
            total: node.may_read("total", leaf::duration)?,
        };
        if timeouts.total.is_some_and(|total| total < timeouts.connect) {
            let problem = Problem::new(
                "",
                "`total` is shorter than `connect`, so it always ends first",
            );
            self.warn(upstream, "/timeouts/total", at, problem);
        }
        Some(timeouts)
    }

    pub(super) fn upstream_tls(&mut self, node: &Node, at: Span) -> Option<UpstreamTls> {
        let verify = node.word("verify", |word| match word {
            "full" => Some(Verify::Full),
            "off" | "false" => Some(Verify::Off),
            _ => None,
        })?;
        if verify == Verify::Off {
            let problem = Problem::new(
                "",
                "anybody between here and the instances can read and change requests",
            )
            .with_help("trust the instances' own authority by `ca:` instead of `verify: off`");
            self.warn(node, "/verify", at, problem);
        }
        Some(UpstreamTls {
            server_name: node.may_read("server_name", leaf::host)?,
            ca: node.maybe("ca", |ca| self.roots(ca, at))?,
            certificate: self.client_certificate(node, at)?,
            verify,
        })
    }

    pub(super) fn roots(&mut self, node: &Node, at: Span) -> Option<std::path::PathBuf> {
        let file = self.file(node.scalar()?);
        match (self.outside.roots)(&file) {
            Ok(()) => Some(file),
            Err(problem) => {
                self.error(node, "", at, problem);
                None
            }
        }
    }

    #[expect(
        clippy::option_option,
        reason = "the outer one is unsound, the inner one absent"
    )]
    fn client_certificate(&mut self, node: &Node, at: Span) -> Option<Option<CertificateFiles>> {
        match (node.has("certificate"), node.has("key")) {
            (false, false) => Some(None),
            (true, true) => self.certificate(node, at).map(Some),
            (true, false) | (false, true) => {
                let problem = Problem::new("", "`certificate` and `key` belong together");
                self.error(node, "/certificate", at, problem);
                None
            }
        }
    }
}

fn retry(node: &Node) -> Option<Retry> {
    Some(Retry {
        attempts_max: node.count("attempts")?,
        budget_percent: node.count("budget_percent")?,
        budget_per_second: node.count("budget_per_second")?,
    })
}
