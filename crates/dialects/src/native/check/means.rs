//! What a check does, as an instance asks for it.

use std::{collections::BTreeMap, num::NonZeroU16, ops::RangeInclusive, sync::Arc};

use portolan_model::{
    InstanceId, NamedPort, ServiceKey,
    route::{AnswerMatch, HttpMeans, Means, Place, UpstreamTls, Verify},
};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::CheckShape;
use crate::native::Misfit;

/// One of the instance's ports, or another port of its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortShape {
    /// By number.
    Number(NonZeroU16),
    /// By name.
    Name(String),
}

/// TLS of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsShape {
    /// The name to ask for and to verify; the address by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Take any certificate.
    #[serde(default)]
    pub skip_verify: bool,
}

/// A probe by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpShape {
    /// The path; `/` by default.
    pub path: String,
    /// The port; the instance's first by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortShape>,
    /// The Host field; the address by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The method; GET by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Further fields.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Good statuses; by default 2xx is good and 429 a warning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<StatusShape>,
    /// What the answer's body must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerShape>,
    /// Most redirects that are followed; none by default.
    pub redirects: u8,
    /// TLS; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsShape>,
}

impl Default for HttpShape {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            port: None,
            host: None,
            method: None,
            headers: BTreeMap::new(),
            body: None,
            statuses: Vec::new(),
            answer: None,
            redirects: 0,
            tls: None,
        }
    }
}

/// A status, or a range of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StatusShape {
    /// One.
    One(u16),
    /// `200-299`.
    Range(String),
}

/// What the answer's body must hold: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerShape {
    /// This text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// What this regular expression matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// A probe by TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpShape {
    /// The port; the instance's first by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortShape>,
    /// TLS, whose handshake must succeed; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsShape>,
}

/// A probe by UDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdpShape {
    /// The port; the instance's first by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortShape>,
    /// What is sent; nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// A probe by `grpc.health.v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcShape {
    /// The port; the instance's first by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortShape>,
    /// The service to ask about; the whole server by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// TLS; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsShape>,
}

/// A probe by a PING of HTTP/2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct H2PingShape {
    /// The port; the instance's first by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortShape>,
    /// TLS; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsShape>,
}

/// A probe by a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptShape {
    /// The program and its arguments.
    pub command: Vec<Arc<str>>,
}

/// A probe by a program in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerShape {
    /// The container's name or id.
    pub container: String,
    /// The program and its arguments.
    pub command: Vec<Arc<str>>,
}

/// Somebody else whose health counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasShape {
    /// `service` or `namespace/service`.
    pub service: String,
    /// The instance; the worst of all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

impl CheckShape {
    /// The one thing that is to be done.
    pub(super) fn means(&self, ports: &[NamedPort]) -> Result<Means, Misfit> {
        let given = [
            self.http.as_ref().map(|http| http.means(ports)),
            self.tcp.as_ref().map(|tcp| tcp.means(ports)),
            self.udp.as_ref().map(|udp| udp.means(ports)),
            self.grpc.as_ref().map(|grpc| grpc.means(ports)),
            self.h2ping.as_ref().map(|ping| ping.means(ports)),
            self.ttl.map(|ttl| Ok(Means::Ttl(ttl.0))),
            self.script.as_ref().map(|script| {
                let command = script.command.clone();
                Ok(Means::Script { command })
            }),
            self.docker.as_ref().map(|docker| {
                Ok(Means::Docker {
                    container: docker.container.as_str().into(),
                    command: docker.command.clone(),
                })
            }),
            self.alias.as_ref().map(AliasShape::means),
        ];
        let mut given = given.into_iter().flatten();
        let (Some(means), None) = (given.next(), given.next()) else {
            let message = "a check has one of `http`, `tcp`, `udp`, `grpc`, `h2ping`, \
                `ttl`, `script`, `docker` and `alias`";
            return Err(Misfit::new("", message));
        };
        means
    }
}

impl HttpShape {
    fn means(&self, ports: &[NamedPort]) -> Result<Means, Misfit> {
        let header =
            |(name, value): (&String, &String)| (name.as_str().into(), value.as_str().into());
        let statuses = self.statuses.iter().map(StatusShape::range);
        Ok(Means::Http(Box::new(HttpMeans {
            at: place(self.port.as_ref(), ports, "/http/port")?,
            tls: self.tls.as_ref().map(TlsShape::tls),
            method: self.method.as_deref().unwrap_or("GET").into(),
            path: self.path.as_str().into(),
            host: self.host.as_deref().map(Into::into),
            headers: self.headers.iter().map(header).collect(),
            body: self.body.as_deref().unwrap_or_default().into(),
            statuses: statuses.collect::<Result<_, _>>()?,
            answer: self
                .answer
                .as_ref()
                .map(AnswerShape::to_match)
                .transpose()?,
            redirects_max: self.redirects,
        })))
    }
}

impl TcpShape {
    fn means(&self, ports: &[NamedPort]) -> Result<Means, Misfit> {
        Ok(Means::Tcp {
            at: place(self.port.as_ref(), ports, "/tcp/port")?,
            tls: self.tls.as_ref().map(TlsShape::tls),
        })
    }
}

impl UdpShape {
    fn means(&self, ports: &[NamedPort]) -> Result<Means, Misfit> {
        Ok(Means::Udp {
            at: place(self.port.as_ref(), ports, "/udp/port")?,
            payload: self.payload.as_deref().unwrap_or_default().into(),
        })
    }
}

impl GrpcShape {
    fn means(&self, ports: &[NamedPort]) -> Result<Means, Misfit> {
        Ok(Means::Grpc {
            at: place(self.port.as_ref(), ports, "/grpc/port")?,
            service: self.service.as_deref().unwrap_or_default().into(),
            tls: self.tls.as_ref().map(TlsShape::tls),
        })
    }
}

impl H2PingShape {
    fn means(&self, ports: &[NamedPort]) -> Result<Means, Misfit> {
        Ok(Means::H2Ping {
            at: place(self.port.as_ref(), ports, "/h2ping/port")?,
            tls: self.tls.as_ref().map(TlsShape::tls),
        })
    }
}

impl AliasShape {
    fn means(&self) -> Result<Means, Misfit> {
        let service = ServiceKey::parse(&self.service)
            .map_err(|error| Misfit::new("/alias/service", error.to_string()))?;
        let instance = self.instance.as_deref().map(InstanceId::parse).transpose();
        let instance =
            instance.map_err(|error| Misfit::new("/alias/instance", error.to_string()))?;
        Ok(Means::Alias { service, instance })
    }
}

impl TlsShape {
    fn tls(&self) -> UpstreamTls {
        UpstreamTls {
            server_name: self.name.clone(),
            verify: if self.skip_verify {
                Verify::Off
            } else {
                Verify::Full
            },
            ..UpstreamTls::default()
        }
    }
}

impl StatusShape {
    fn range(&self) -> Result<RangeInclusive<u16>, Misfit> {
        match self {
            Self::One(status) => Ok(*status..=*status),
            Self::Range(text) => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let number = |text: &str| text.trim().parse::<u16>();
                match (number(first), number(last)) {
                    (Ok(first), Ok(last)) => Ok(first..=last),
                    (Err(_), _) | (_, Err(_)) => {
                        let message = format!("`{text}` is not a status or a range like `200-299`");
                        Err(Misfit::new("/http/statuses", message))
                    }
                }
            }
        }
    }
}

impl AnswerShape {
    fn to_match(&self) -> Result<AnswerMatch, Misfit> {
        match (&self.contains, &self.regex) {
            (Some(text), None) => Ok(AnswerMatch::Contains(text.as_str().into())),
            (None, Some(regex)) => match Regex::new(regex) {
                Ok(_) => Ok(AnswerMatch::Regex(regex.as_str().into())),
                Err(error) => Err(Misfit::new("/http/answer/regex", error.to_string())),
            },
            (None, None) | (Some(_), Some(_)) => {
                let message = "what the body must hold is either `contains` or `regex`";
                Err(Misfit::new("/http/answer", message))
            }
        }
    }
}

fn place(
    port: Option<&PortShape>,
    ports: &[NamedPort],
    pointer: &'static str,
) -> Result<Place, Misfit> {
    match port {
        None => Ok(Place::Home),
        Some(PortShape::Number(number)) => Ok(Place::Port(number.get())),
        Some(PortShape::Name(name)) => {
            let port = ports.iter().find(|port| port.name.as_str() == name);
            let port = port.ok_or_else(|| {
                Misfit::new(pointer, format!("the instance has no port `{name}`"))
            })?;
            Ok(Place::Port(port.address.port()))
        }
    }
}
