//! Health checks as an instance asks for them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use portolan_model::{
    ByteSize, Health, NamedPort,
    route::{Check, Probe},
};
use serde::{Deserialize, Serialize};

use super::{Misfit, Span};

mod means;
mod view;

pub use means::{
    AliasShape, AnswerShape, DockerShape, GrpcShape, H2PingShape, HttpShape, PortShape,
    ScriptShape, StatusShape, TcpShape, TlsShape, UdpShape,
};
pub use view::{CheckList, CheckView};

/// How the health of an instance is found out: one of `http`, `tcp`, `udp`, `grpc`,
/// `h2ping`, `ttl`, `script`, `docker` and `alias`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckShape {
    /// Its id, unique among the instance's checks; the kind by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// By a request that must be answered well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpShape>,
    /// By a connection that must be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpShape>,
    /// By a datagram that must not be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<UdpShape>,
    /// By `grpc.health.v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcShape>,
    /// By a PING on an HTTP/2 connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h2ping: Option<H2PingShape>,
    /// By reports of the instance, which must not be further apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// By a program on Portolan's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptShape>,
    /// By a program in a container on Portolan's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerShape>,
    /// By somebody else's health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<AliasShape>,
    /// Time between two probes; 10 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Time for one probe; 2 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Good probes in a row until it is passing; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<NonZeroU32>,
    /// Bad probes in a row until it is critical; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall: Option<NonZeroU32>,
    /// Bad probes in a row until it is a warning; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall_warning: Option<NonZeroU32>,
    /// What holds until enough probes have ended; nothing is known by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Health>,
    /// Deregister the instance when it has been critical for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after: Option<Span>,
    /// Most bytes of output that are kept; 4096 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<NonZeroU32>,
}

impl CheckShape {
    /// What an instance with these ports brings, in the words of the model: its only check,
    /// or several.
    ///
    /// # Errors
    /// [`Misfit`] names the offending field.
    pub fn all(
        one: Option<&Self>,
        several: &[Self],
        ports: &[NamedPort],
    ) -> Result<Option<Check>, Misfit> {
        match (one, several) {
            (None, []) => Ok(None),
            (Some(one), []) => {
                let probe = one.to_probe(ports);
                let probe = probe.map_err(|misfit| misfit.under("/check"))?;
                Ok(Some(probe.into()))
            }
            (None, several) => Self::listed(several, ports).map(Some),
            (Some(_), [_, ..]) => {
                let message = "an instance has one `check`, or several `checks`";
                Err(Misfit::new("/checks", message))
            }
        }
    }

    fn listed(shapes: &[Self], ports: &[NamedPort]) -> Result<Check, Misfit> {
        let mut probes: Vec<Probe> = Vec::new();
        for (place, shape) in shapes.iter().enumerate() {
            let mut probe = shape
                .to_probe(ports)
                .map_err(|misfit| misfit.under(&format!("/checks/{place}")))?;
            let mut number = 2_u32;
            while shape.id.is_none() && probes.iter().any(|known| known.id == probe.id) {
                probe.id = format!("{}-{number}", probe.means.word()).into();
                number = number.saturating_add(1);
            }
            probes.push(probe);
        }
        Check::new(probes).map_err(|error| Misfit::new("/checks", error.to_string()))
    }

    fn to_probe(&self, ports: &[NamedPort]) -> Result<Probe, Misfit> {
        let means = self.means(ports)?;
        let word = means.word();
        let interval = self.interval.map_or(Probe::INTERVAL, |span| span.0);
        let default = Probe::new(word, means);
        let bytes = self.output_bytes.map(|bytes| u64::from(bytes.get()));
        let span = |span: Option<Span>| span.map(|span: Span| -> Duration { span.0 });
        let probe = Probe {
            id: self.id.clone().unwrap_or_else(|| word.into()),
            interval,
            timeout: span(self.timeout).unwrap_or_else(|| Probe::TIMEOUT.min(interval)),
            rise: self.rise.unwrap_or(Probe::RISE),
            fall: self.fall.unwrap_or(Probe::FALL),
            fall_warning: self.fall_warning,
            initial: self.status,
            deregister_after: span(self.deregister_after),
            output_max: bytes.map_or(default.output_max, ByteSize::from_bytes),
            ..default
        };
        let sound = probe.sound();
        sound.map_err(|problem| Misfit::new(problem.path, problem.message))?;
        Ok(probe)
    }
}
