//! Reads health checks.

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc};

use portolan_model::{
    InstanceId, Problem,
    route::{AnswerMatch, Check, HttpMeans, Means, Place, Probe, UpstreamTls},
};
use regex::Regex;

use super::{Reader, any_text};
use crate::{
    leaf,
    tree::{Node, Span, Value},
};

impl Reader<'_> {
    /// The checks of an upstream; `tls` is the upstream's.
    pub(super) fn check(
        &mut self,
        node: &Node,
        tls: Option<&UpstreamTls>,
        at: Span,
    ) -> Option<Check> {
        let mut probes: Vec<Probe> = Vec::new();
        for item in node.items() {
            let mut probe = self.probe(item, tls, at)?;
            let mut number = 2_u32;
            while !item.has("id") && probes.iter().any(|known| known.id == probe.id) {
                probe.id = format!("{}-{number}", probe.means.word()).into();
                number = number.saturating_add(1);
            }
            probes.push(probe);
        }
        match Check::new(probes) {
            Ok(check) => Some(check),
            Err(error) => {
                self.error(node, "", at, Problem::new("", error.to_string()));
                None
            }
        }
    }

    fn probe(&mut self, node: &Node, tls: Option<&UpstreamTls>, at: Span) -> Option<Probe> {
        let means = self.means(node, tls, at)?;
        let id = node.may_read("id", any_text)?;
        let probe = Probe {
            interval: node.read("interval", leaf::duration)?,
            timeout: node.read("timeout", leaf::duration)?,
            rise: NonZeroU32::new(node.count("rise")?)?,
            fall: NonZeroU32::new(node.count("fall")?)?,
            fall_warning: node.maybe("fall_warning", |count| {
                let count = super::any_count(count.scalar()?).ok()?;
                NonZeroU32::new(count.try_into().ok()?)
            })?,
            ..Probe::new(id.unwrap_or_else(|| means.word().into()), means)
        };
        if let Err(problem) = probe.sound() {
            let pointer = problem.path.clone();
            self.error(node, &pointer, at, problem);
            return None;
        }
        if probe.timeout > probe.interval {
            let problem = Problem::new(
                "",
                "`timeout` is longer than `interval`, so probes wait for each other",
            );
            self.warn(node, "/timeout", at, problem);
        }
        Some(probe)
    }

    fn means(&mut self, node: &Node, tls: Option<&UpstreamTls>, at: Span) -> Option<Means> {
        if node.has("http") {
            let http = self.http(node.get("http")?, tls, at)?;
            return Some(Means::Http(Box::new(http)));
        }
        if node.has("tcp") {
            let tcp = node.get("tcp")?;
            return Some(Means::Tcp {
                at: place(tcp)?,
                tls: tcp.maybe("tls", |tls| self.upstream_tls(tls, at))?,
            });
        }
        if node.has("udp") {
            let udp = node.get("udp")?;
            return Some(Means::Udp {
                at: place(udp)?,
                payload: udp.may_read("payload", any_text)?.unwrap_or_default(),
            });
        }
        if node.has("grpc") {
            let grpc = node.get("grpc")?;
            return Some(Means::Grpc {
                at: place(grpc)?,
                service: grpc.may_read("service", any_text)?.unwrap_or_default(),
                tls: self.same_tls(grpc, tls, at)?,
            });
        }
        if node.has("h2ping") {
            let ping = node.get("h2ping")?;
            return Some(Means::H2Ping {
                at: place(ping)?,
                tls: self.same_tls(ping, tls, at)?,
            });
        }
        if node.has("script") {
            let command = node.get("script")?.read_all("command", any_text)?;
            return Some(Means::Script { command });
        }
        if node.has("docker") {
            let docker = node.get("docker")?;
            return Some(Means::Docker {
                container: docker.read("container", any_text)?,
                command: docker.read_all("command", any_text)?,
            });
        }
        let alias = node.get("alias")?;
        let instance = |text: &str| {
            InstanceId::parse(text).map_err(|error| Problem::new("", error.to_string()))
        };
        let found = alias.may_read("instance", instance);
        if found.is_none()
            && let Some(Err(problem)) = alias.get("instance").and_then(Node::scalar).map(instance)
        {
            self.error(alias, "/instance", at, problem);
        }
        Some(Means::Alias {
            service: alias.read("service", leaf::service)?,
            instance: found?,
        })
    }

    fn http(&mut self, node: &Node, tls: Option<&UpstreamTls>, at: Span) -> Option<HttpMeans> {
        let header = |member: &crate::tree::Member| {
            let value = member.node.scalar()?;
            Some((member.key.as_str().into(), value.into()))
        };
        let headers = node.maybe("headers", |map| match &map.value {
            Value::Map(members) => members.iter().map(header).collect::<Option<_>>(),
            Value::Scalar(_) | Value::List(_) => None,
        })?;
        Some(HttpMeans {
            at: place(node)?,
            tls: self.same_tls(node, tls, at)?,
            method: node.read("method", any_text)?,
            path: node.read("path", leaf::target)?.into(),
            host: node.may_read("host", any_text)?,
            headers: headers.unwrap_or_default(),
            body: node.may_read("body", any_text)?.unwrap_or_default(),
            statuses: self.statuses(node, at)?,
            answer: node.maybe("answer", |answer| self.answer(answer, at))?,
            redirects_max: node.count("redirects")?,
        })
    }

    fn statuses(&mut self, node: &Node, at: Span) -> Option<Vec<RangeInclusive<u16>>> {
        let mut statuses = Vec::new();
        for (place, text) in node.read_all("statuses", any_text)?.iter().enumerate() {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let number = |text: &str| text.trim().parse::<u16>().ok();
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                let problem = Problem::new("", format!("`{text}` is not a status"))
                    .with_help("write `200`, or a range like `200-299`");
                self.error(node, &format!("/statuses/{place}"), at, problem);
                return None;
            };
            statuses.push(first..=last);
        }
        Some(statuses)
    }

    fn answer(&mut self, node: &Node, at: Span) -> Option<AnswerMatch> {
        if node.has("contains") {
            let text = node.read("contains", any_text)?;
            return Some(AnswerMatch::Contains(text));
        }
        let text: Arc<str> = node.read("regex", any_text)?;
        if let Err(error) = Regex::new(&text) {
            let message = format!("this is not a regular expression: {error}");
            self.error(node, "/regex", at, Problem::new("", message));
            return None;
        }
        Some(AnswerMatch::Regex(text))
    }

    /// The TLS of a probe: its own, or the upstream's if it does not say.
    #[expect(
        clippy::option_option,
        reason = "the outer one is unsound, the inner one absent"
    )]
    fn same_tls(
        &mut self,
        node: &Node,
        tls: Option<&UpstreamTls>,
        at: Span,
    ) -> Option<Option<UpstreamTls>> {
        if !node.has("tls") {
            return Some(tls.cloned());
        }
        let own = node.get("tls")?;
        if own.scalar().is_some() {
            return Some(None);
        }
        self.upstream_tls(own, at).map(Some)
    }
}

fn place(node: &Node) -> Option<Place> {
    let port = node.maybe("port", |port| {
        u16::try_from(super::any_count(port.scalar()?).ok()?).ok()
    })?;
    Some(port.map_or(Place::Home, Place::Port))
}
