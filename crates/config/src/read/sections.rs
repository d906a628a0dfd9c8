//! Reads what a configuration has once.

use std::net::SocketAddr;

use portolan_catalog::GuardSettings;
use portolan_model::Problem;

use super::{Reader, any_text};
use crate::{
    AccessLog, Admin, Automatic, Checks, Front, Gateway, LogFormat, LogPath, Registry, Status,
    leaf,
    tree::{Node, Span},
};

impl Reader<'_> {
    /// `automatic` is what holds when the section does not say whether the lane is on.
    pub(crate) fn gateway(&mut self, node: &Node, at: Span, automatic: bool) -> Option<Gateway> {
        let lane = node.get("automatic")?;
        let gateway = Gateway {
            workers: node
                .maybe("workers", |workers| {
                    super::any_count(workers.scalar()?).ok()?.try_into().ok()
                })?
                .and_then(std::num::NonZeroUsize::new),
            drain: node.read("drain", leaf::duration)?,
            automatic: Automatic {
                is_enabled: lane.may_read("enabled", leaf::flag)?.unwrap_or(automatic),
                filter: lane.labels("filter")?,
            },
            trusted_proxies: node.read_all("trusted_proxies", leaf::network)?,
            zone: node.may_read("zone", any_text)?,
        };
        if gateway
            .trusted_proxies
            .iter()
            .any(|network| network.prefix_len() == 0)
        {
            let problem = Problem::new(
                "",
                "every client is a trusted proxy and may claim any address",
            )
            .with_help("name only the networks of your own proxies");
            self.warn(node, "/trusted_proxies", at, problem);
        }
        Some(gateway)
    }

    pub(crate) fn admin(&mut self, node: &Node, at: Span) -> Option<Admin> {
        Some(Admin {
            address: node.read("address", leaf::address)?,
            hosts: node.read_all("hosts", leaf::host)?,
            security: self.security(node, at)?,
        })
    }

    pub(crate) fn access_log(&self, node: &Node) -> Option<AccessLog> {
        let path = node.read("path", any_text)?;
        Some(AccessLog {
            is_enabled: node.may_read("enabled", leaf::flag)?,
            format: node.word("format", |word| match word {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })?,
            path: match &*path {
                "stdout" => LogPath::Stdout,
                file => LogPath::File(self.file(file)),
            },
        })
    }

    pub(crate) fn registry(&mut self, node: &Node, at: Span) -> Option<Registry> {
        let ttl = node.get("ttl")?;
        let registry = Registry {
            ttl_default: ttl.read("default", leaf::duration)?,
            ttl_min: ttl.read("min", leaf::duration)?,
            ttl_max: ttl.read("max", leaf::duration)?,
            instances_max: std::num::NonZeroUsize::new(node.count("instances")?)?,
            eureka: self.front(node, "eureka", at)?,
            consul: self.front(node, "consul", at)?,
            checks: self.checks(node.get("checks")?, at)?,
        };
        if !(registry.ttl_min..=registry.ttl_max).contains(&registry.ttl_default) {
            let problem = Problem::new("", "the default ttl is not between `min` and `max`");
            self.error(node, "/ttl/default", at, problem);
            return None;
        }
        Some(registry)
    }

    fn checks(&mut self, node: &Node, at: Span) -> Option<Checks> {
        let checks = Checks {
            runs_programs: node.read("scripts", leaf::flag)?,
            docker: self.file(&node.read("docker", any_text)?),
            ca: node.maybe("ca", |ca| self.roots(ca, at))?,
        };
        if checks.runs_programs {
            let problem = Problem::new(
                "",
                "whoever may register an instance can run any program as this user",
            )
            .with_help("let only those register who may, by `access:`");
            self.warn(node, "/scripts", at, problem);
        }
        Some(checks)
    }
}

impl Reader<'_> {
    /// A listener for clients of a foreign registry.
    fn front(&mut self, node: &Node, name: &str, at: Span) -> Option<Front> {
        let section = node.get(name)?;
        Some(Front {
            is_enabled: section.read("enabled", leaf::flag)?,
            address: section.read("address", leaf::address)?,
            hosts: section.read_all("hosts", leaf::host)?,
            security: self.security(section, at)?,
        })
    }
}

pub(crate) fn status(node: &Node) -> Option<Status> {
    Some(Status {
        address: node.read("address", leaf::address)?,
    })
}

pub(crate) fn guard(node: &Node) -> Option<GuardSettings> {
    Some(GuardSettings {
        share_percent: node.count("share")?,
        hold: node.read("hold", leaf::duration_or_zero)?,
        evidence: node.read("evidence", leaf::duration_or_zero)?,
        half_life: node.read("half_life", leaf::duration_or_zero)?,
    })
}

/// Whether two listeners want the same port: equal, or one of them wants every address.
pub(crate) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let is_wide = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || is_wide)
}
