//! The arguments of `portolan exec`, each by itself.

use std::{
    ffi::OsString, net::IpAddr, num::NonZeroU16, path::PathBuf, str::FromStr, time::Duration,
};

use clap::Args;
use portolan_model::{
    parse_span,
    route::{HttpMeans, Means, Place},
};

/// What to run, and as what to register it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The service that the program is an instance of.
    #[arg(long, value_name = "NAME")]
    pub(super) service: String,
    /// The namespace of the service.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) namespace: String,
    /// Its id, unique within the service [default: address:port].
    #[arg(long)]
    pub(super) id: Option<String>,
    /// Its address for others [default: where the registry sees it call from].
    #[arg(long, value_name = "IP")]
    pub(super) address: Option<IpAddr>,
    /// The port that it listens on; several with names, as `http=8080`.
    #[arg(long = "port", value_name = "[NAME=]PORT", required = true)]
    pub(super) ports: Vec<PortArgument>,
    /// What must succeed before it is registered: `tcp`, `http:/path`, `grpc`, `grpc:service` or `none`.
    #[arg(long, default_value = "tcp")]
    pub(super) check: CheckArgument,
    /// The time between two checks.
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = interval)]
    pub(super) interval: Duration,
    /// How long the registry keeps it without a sign of life.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_span)]
    pub(super) ttl: Duration,
    /// Its availability zone.
    #[arg(long)]
    pub(super) zone: Option<String>,
    /// The version of its software.
    #[arg(long)]
    pub(super) version: Option<String>,
    /// A flat label; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<String>,
    /// A key-value label; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    pub(super) metadata: Vec<PairArgument>,
    /// Its share of traffic relative to the others; 100 is normal.
    #[arg(long)]
    pub(super) weight: Option<NonZeroU16>,
    /// How long its requests may run on when it is told to stop.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = drain)]
    pub(super) drain: Duration,
    /// How long it may take to end after that, before it is killed.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_span)]
    pub(super) kill_after: Duration,
    /// Where the registry is; several are tried in turn.
    #[arg(long = "registry", value_name = "URL", value_delimiter = ',', help = REGISTRY_HELP)]
    pub(super) registries: Vec<String>,
    /// The certificate authorities that `https` registries are verified against [default: the
    /// system's].
    #[arg(long, value_name = "FILE")]
    pub(super) registry_ca: Option<PathBuf>,
    /// The certificate to show to `https` registries.
    #[arg(long, value_name = "FILE", requires = "registry_key")]
    pub(super) registry_certificate: Option<PathBuf>,
    /// That certificate's key.
    #[arg(long, value_name = "FILE", requires = "registry_certificate")]
    pub(super) registry_key: Option<PathBuf>,
    /// A file with the token to show to the registry [default: that of
    /// `PORTOLAN_TOKEN`].
    #[arg(long, value_name = "FILE")]
    pub(super) registry_token_file: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

const REGISTRY_HELP: &str = "Where the registry is; several are tried in turn \
     [default: $PORTOLAN_REGISTRY, else http://127.0.0.1:9070]";

/// A port, perhaps with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortArgument {
    /// Its name.
    pub(super) name: Option<String>,
    /// The port.
    pub(super) port: NonZeroU16,
}

/// A key and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PairArgument {
    /// The key.
    pub(super) key: String,
    /// The value.
    pub(super) value: String,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckArgument {
    /// Nothing.
    None,
    /// That a connection is accepted.
    Tcp,
    /// That a GET of the path is answered by a 2xx.
    Http(String),
    /// That gRPC's health service says that this service, or the whole server, is serving.
    Grpc(String),
}

/// The shortest time between two checks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest time between two checks.
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// The longest drain that a registry takes.
const DRAIN_MAX: Duration = Duration::from_hours(1);

impl FromStr for PortArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, port) = match text.split_once('=') {
            Some((name, port)) => (Some(name.to_owned()), port),
            None => (None, text),
        };
        let port = port
            .parse()
            .map_err(|_| "a port is from 1 to 65535, perhaps with a name: `http=8080`")?;
        Ok(Self { name, port })
    }
}

impl FromStr for PairArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            Some(_) | None => Err("a label is `key=value`"),
        }
    }
}

impl FromStr for CheckArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let is_path = rest.starts_with('/') && rest.bytes().all(|byte| byte.is_ascii_graphic());
        match (kind, rest) {
            ("none", "") => Ok(Self::None),
            ("tcp", "") => Ok(Self::Tcp),
            ("http", path) if is_path => Ok(Self::Http(path.to_owned())),
            ("grpc", service) => Ok(Self::Grpc(service.to_owned())),
            ("http", _) => Err("`http` has a path: `http:/health`"),
            _ => Err("a check is `tcp`, `http:/path`, `grpc`, `grpc:service` or `none`"),
        }
    }
}

impl CheckArgument {
    /// What is done, if anything.
    pub(super) fn means(&self) -> Option<Means> {
        let (at, tls) = (Place::Home, None);
        match self {
            Self::None => None,
            Self::Tcp => Some(Means::Tcp { at, tls }),
            Self::Http(path) => Some(Means::Http(Box::new(HttpMeans::get(path)))),
            Self::Grpc(service) => {
                let service = service.as_str().into();
                Some(Means::Grpc { at, service, tls })
            }
        }
    }
}

/// As it was written.
impl std::fmt::Display for CheckArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Tcp => f.write_str("tcp"),
            Self::Http(path) => write!(f, "http:{path}"),
            Self::Grpc(service) if service.is_empty() => f.write_str("grpc"),
            Self::Grpc(service) => write!(f, "grpc:{service}"),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&span) {
        Ok(span)
    } else {
        Err("an interval is from 100ms to 1h".to_owned())
    }
}

fn drain(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    if span <= DRAIN_MAX {
        Ok(span)
    } else {
        Err("a drain is at most 1h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_and_written_alike() {
        for text in ["none", "tcp", "http:/", "http:/a?b=c:d", "grpc", "grpc:a.b"] {
            let check: CheckArgument = text.parse().unwrap();
            assert_eq!(check.to_string(), text);
        }
        for text in ["", "htp", "http", "http:", "http:a", "http:/a b", "tcp:80"] {
            assert!(text.parse::<CheckArgument>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_and_labels_are_read() {
        let port: PortArgument = "http=8080".parse().unwrap();
        assert_eq!(port.name.as_deref(), Some("http"));
        assert!("0".parse::<PortArgument>().is_err());
        assert!("http=".parse::<PortArgument>().is_err());
        assert!("65535".parse::<PortArgument>().is_ok());
        assert!("65536".parse::<PortArgument>().is_err());
        let pair: PairArgument = "a=b=c".parse().unwrap();
        assert_eq!(pair.value, "b=c");
        assert!("=b".parse::<PairArgument>().is_err());
    }

    #[test]
    fn spans_have_limits() {
        assert!(interval("100ms").is_ok() && interval("99ms").is_err());
        assert!(interval("1h").is_ok() && interval("3601s").is_err());
        assert!(drain("1h").is_ok() && drain("3601s").is_err());
    }
}
