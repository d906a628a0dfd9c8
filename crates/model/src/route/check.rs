//! How the health of an instance is found out.
//!
//! These are nouns: who probes is the registry's prober. A check that exists has at
//! least one probe, at most [`Check::PROBES_MAX`], and no two of the same id.

use std::{net::SocketAddr, num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{HostPort, UpstreamTls};
use crate::{ByteSize, Health, InstanceId, ServiceKey};

mod sound;

/// What an instance is probed by; the worst of what is found is its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Probe>", into = "Vec<Probe>")]
pub struct Check {
    probes: Vec<Probe>,
}

/// Probes that make no check. The fault of whoever asks for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCheck {
    /// There is none.
    #[error("a check has at least one probe")]
    Empty,
    /// There are too many.
    #[error("an instance has at most {} checks", Check::PROBES_MAX)]
    TooMany,
    /// Two have the same id.
    #[error("there are two checks `{0}`")]
    Twice(Arc<str>),
}

impl Check {
    /// Most probes of one instance.
    pub const PROBES_MAX: usize = 64;

    /// A check by these probes.
    ///
    /// # Errors
    /// [`BadCheck`].
    pub fn new(probes: Vec<Probe>) -> Result<Self, BadCheck> {
        if probes.is_empty() {
            return Err(BadCheck::Empty);
        }
        if probes.len() > Self::PROBES_MAX {
            return Err(BadCheck::TooMany);
        }
        for (place, probe) in probes.iter().enumerate() {
            if probes.iter().take(place).any(|other| other.id == probe.id) {
                return Err(BadCheck::Twice(Arc::clone(&probe.id)));
            }
        }
        Ok(Self { probes })
    }

    /// The probes, in the order in which they were given.
    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// What holds before anything is found: the worst of what its probes begin with. None
    /// unless each of them begins with a good word.
    #[must_use]
    pub fn initial(&self) -> Option<Health> {
        let is_good = |word: &Health| matches!(word, Health::Passing | Health::Warning);
        self.probes
            .iter()
            .try_fold(Health::Passing, |worst, probe| {
                let word = probe.initial.filter(is_good)?;
                Some(if word.severity() > worst.severity() {
                    word
                } else {
                    worst
                })
            })
    }
}

impl From<Probe> for Check {
    fn from(probe: Probe) -> Self {
        Self {
            probes: vec![probe],
        }
    }
}

impl TryFrom<Vec<Probe>> for Check {
    type Error = BadCheck;

    fn try_from(probes: Vec<Probe>) -> Result<Self, BadCheck> {
        Self::new(probes)
    }
}

impl From<Check> for Vec<Probe> {
    fn from(check: Check) -> Self {
        check.probes
    }
}

/// One way to find out, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its id, unique among the probes of an instance.
    pub id: Arc<str>,
    /// What is done.
    pub means: Means,
    /// Time between two probes of one instance.
    pub interval: Duration,
    /// Time for one probe.
    pub timeout: Duration,
    /// Good probes in a row until it is passing.
    pub rise: NonZeroU32,
    /// Bad probes in a row until it is critical.
    pub fall: NonZeroU32,
    /// Bad probes in a row until it is a warning; never if that is not below `fall`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall_warning: Option<NonZeroU32>,
    /// What holds before enough probes have ended; nothing is known if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Health>,
    /// The instance is deregistered when it has been critical for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after: Option<Duration>,
    /// Most bytes of its output that are kept.
    #[serde(default = "Probe::output_max")]
    pub output_max: ByteSize,
}

impl Probe {
    /// What holds if nothing is said.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// What holds if nothing is said.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// What holds if nothing is said.
    pub const RISE: NonZeroU32 = NonZeroU32::MIN;
    /// What holds if nothing is said.
    pub const FALL: NonZeroU32 = NonZeroU32::new(3).expect("3 is not zero");

    /// A probe with what holds if nothing is said.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>, means: Means) -> Self {
        Self {
            id: id.into(),
            means,
            interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
            rise: Self::RISE,
            fall: Self::FALL,
            fall_warning: None,
            initial: None,
            deregister_after: None,
            output_max: Self::output_max(),
        }
    }

    /// Most bytes of output that are kept if nothing is said: 4 KiB.
    #[must_use]
    pub const fn output_max() -> ByteSize {
        ByteSize::from_bytes(4 << 10)
    }
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// A request by HTTP/1.1.
    Http(Box<HttpMeans>),
    /// A connection, good if it is accepted, and over TLS if its handshake succeeds.
    Tcp {
        /// Where.
        #[serde(default)]
        at: Place,
        /// TLS, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<UpstreamTls>,
    },
    /// A datagram, good unless it is refused: silence is good.
    Udp {
        /// Where.
        #[serde(default)]
        at: Place,
        /// What is sent.
        #[serde(default)]
        payload: Arc<str>,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// Where.
        #[serde(default)]
        at: Place,
        /// The service to ask about; the whole server if empty.
        #[serde(default)]
        service: Arc<str>,
        /// TLS, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<UpstreamTls>,
    },
    /// A PING on an HTTP/2 connection.
    H2Ping {
        /// Where.
        #[serde(default)]
        at: Place,
        /// TLS, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<UpstreamTls>,
    },
    /// Nothing: the instance reports, and is critical once it has not for this long.
    Ttl(Duration),
    /// A program on this machine.
    Script {
        /// The program and its arguments.
        command: Vec<Arc<str>>,
    },
    /// A program in a container of this machine's Docker engine.
    Docker {
        /// The container's name or id.
        container: Arc<str>,
        /// The program and its arguments.
        command: Vec<Arc<str>>,
    },
    /// The health of somebody else in the catalogue.
    Alias {
        /// The service.
        service: ServiceKey,
        /// The instance; the worst of all if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
    },
}

impl Means {
    /// Where it goes, if it goes anywhere over the network.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Http(http) => Some(&http.at),
            Self::Tcp { at, .. }
            | Self::Udp { at, .. }
            | Self::Grpc { at, .. }
            | Self::H2Ping { at, .. } => Some(at),
            Self::Ttl(_) | Self::Script { .. } | Self::Docker { .. } | Self::Alias { .. } => None,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Udp { .. } => "udp",
            Self::Grpc { .. } => "grpc",
            Self::H2Ping { .. } => "h2ping",
            Self::Ttl(_) => "ttl",
            Self::Script { .. } => "script",
            Self::Docker { .. } => "docker",
            Self::Alias { .. } => "alias",
        }
    }
}

/// Where a probe goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// To the address that is checked: the instance's first, or the upstream's port.
    #[default]
    Home,
    /// To this port of the same host.
    Port(u16),
    /// To this address.
    Address(SocketAddr),
    /// To this host.
    Host(HostPort),
}

/// A request by HTTP/1.1, and which answer is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpMeans {
    /// Where.
    #[serde(default)]
    pub at: Place,
    /// TLS, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// The method.
    pub method: Arc<str>,
    /// The path, with its query if it has one.
    pub path: Arc<str>,
    /// The Host field; the address if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Arc<str>>,
    /// Further fields.
    #[serde(default)]
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The body.
    #[serde(default)]
    pub body: Arc<str>,
    /// Good statuses. Without any, 2xx is good and 429 a warning.
    #[serde(default)]
    pub statuses: Vec<RangeInclusive<u16>>,
    /// What the body must be like, besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerMatch>,
    /// Most redirects that are followed; a redirect is judged by its status if none.
    #[serde(default)]
    pub redirects_max: u8,
}

impl HttpMeans {
    /// A GET of that path, good if the status is 2xx.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            at: Place::Home,
            tls: None,
            method: "GET".into(),
            path: path.into(),
            host: None,
            headers: Vec::new(),
            body: "".into(),
            statuses: Vec::new(),
            answer: None,
            redirects_max: 0,
        }
    }
}

/// A condition over the body of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerMatch {
    /// Holds this text somewhere.
    Contains(Arc<str>),
    /// A regular expression that matches somewhere.
    Regex(Arc<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(count: usize) -> Vec<Probe> {
        let probe = |n: usize| Probe::new(n.to_string(), Means::Ttl(Duration::from_secs(1)));
        (0..count).map(probe).collect()
    }

    #[test]
    fn a_check_has_as_many_probes_as_the_limit_and_not_one_more() {
        assert!(Check::new(probes(Check::PROBES_MAX)).is_ok());
        assert_eq!(
            Check::new(probes(Check::PROBES_MAX + 1)),
            Err(BadCheck::TooMany)
        );
        assert_eq!(Check::new(Vec::new()), Err(BadCheck::Empty));
    }

    #[test]
    fn two_probes_of_one_id_are_refused() {
        let twice = [probes(1), probes(1)].concat();
        assert_eq!(Check::new(twice), Err(BadCheck::Twice("0".into())));
    }

    #[test]
    fn it_begins_well_if_each_of_its_probes_does() {
        let with = |words: &[Option<Health>]| {
            let mut probes = probes(words.len());
            for (probe, word) in probes.iter_mut().zip(words) {
                probe.initial = *word;
            }
            Check::new(probes).unwrap().initial()
        };
        let (passing, warning) = (Some(Health::Passing), Some(Health::Warning));
        assert_eq!(with(&[passing]), passing);
        assert_eq!(with(&[passing, warning, passing]), warning);
        assert_eq!(with(&[passing, None]), None);
        assert_eq!(with(&[Some(Health::Critical), passing]), None);
    }

    #[test]
    fn a_check_survives_json() {
        let check = Check::new(vec![
            Probe::new("a", Means::Http(Box::new(HttpMeans::get("/health")))),
            Probe::new(
                "b",
                Means::Tcp {
                    at: Place::Port(7),
                    tls: Some(UpstreamTls::default()),
                },
            ),
        ])
        .unwrap();
        let json = serde_json::to_string(&check).unwrap();
        assert_eq!(serde_json::from_str::<Check>(&json).unwrap(), check);
    }
}
