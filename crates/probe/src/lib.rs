//! Makes the probes of checks: connections, datagrams, programs.
//!
//! Whatever is read from the other side is bounded. Programs run only if the
//! configuration says so, because whoever may register could run them otherwise.

mod connect;
mod docker;
mod grpc;
mod h2;
mod http;
mod outcome;
mod script;
#[cfg(test)]
mod tests;
mod udp;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portolan_dialects::native::Span;
use portolan_model::{
    InstanceId, ServiceKey,
    route::{Means, Probe, Protocol, UpstreamTls, Verify},
};
use portolan_runtime::Env;
use portolan_wire::tls::{ClientTls, Connector};
use tokio::sync::watch;

pub use self::outcome::Outcome;

/// Distinct TLS settings that are kept ready.
const CONNECTORS_MAX: usize = 256;
/// Files of TLS settings are read again after this.
const REREAD: Duration = Duration::from_mins(1);
/// The first line of an output that is told as a detail, in bytes.
const LINE_BYTES_MAX: usize = 200;

/// What the configuration says about probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachSettings {
    /// Programs may be run, on this machine and in its containers.
    pub runs_programs: bool,
    /// The socket of the Docker engine.
    pub docker: PathBuf,
    /// Roots (PEM) to trust instead of the system's, where a check names none.
    pub ca: Option<PathBuf>,
}

impl Default for ReachSettings {
    fn default() -> Self {
        Self {
            runs_programs: false,
            docker: PathBuf::from("/var/run/docker.sock"),
            ca: None,
        }
    }
}

/// Makes probes over the network of this machine, and on it.
#[derive(Debug)]
pub struct Reach {
    env: Env,
    settings: watch::Receiver<ReachSettings>,
    /// Guards the TLS client configurations; held while one is made.
    connectors: Mutex<Connectors>,
}

#[derive(Debug)]
struct Connectors {
    tls: ClientTls,
    kept: HashMap<(UpstreamTls, Protocol), Arc<Connector>>,
    read: Instant,
}

/// One probe to make.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The registered instance that it is about, if it is about one, and its service.
    pub about: Option<(&'a ServiceKey, &'a InstanceId)>,
    /// The address that is checked.
    pub address: SocketAddr,
    /// What to do.
    pub probe: &'a Probe,
}

/// Why a probe did not come to an answer, in plain words.
type Failed = Arc<str>;

impl Reach {
    /// A reach under these settings, which may change.
    #[must_use]
    pub fn new(env: Env, settings: watch::Receiver<ReachSettings>) -> Self {
        let connectors = Connectors {
            tls: ClientTls::new(),
            kept: HashMap::new(),
            read: env.instant(),
        };
        Self {
            env,
            settings,
            connectors: Mutex::new(connectors),
        }
    }

    /// Makes a probe; ends within its timeout. Dropping the future gives up whatever it holds.
    pub async fn probe(&self, task: Task<'_>) -> Outcome {
        let timeout = task.probe.timeout;
        let attempt = self.env.timeout(timeout, self.attempt(task)).await;
        attempt.unwrap_or_else(|_| match task.probe.means {
            // Nobody has to answer a datagram.
            Means::Udp { .. } => udp::silence(),
            Means::Http(_)
            | Means::Tcp { .. }
            | Means::Grpc { .. }
            | Means::H2Ping { .. }
            | Means::Ttl(_)
            | Means::Script { .. }
            | Means::Docker { .. }
            | Means::Alias { .. } => Outcome::bad(format!("timed out after {}", Span(timeout))),
        })
    }

    async fn attempt(&self, task: Task<'_>) -> Outcome {
        let home = task.address;
        let most = usize::try_from(task.probe.output_max.as_bytes()).unwrap_or(usize::MAX);
        let outcome = match &task.probe.means {
            // The large ones are put away, so that the small ones stay small.
            Means::Http(http) => Box::pin(http::probe(self, home, http, most)).await,
            Means::Tcp { at, tls } => {
                let opened = self.open(at, home, tls.as_ref().map(|tls| (tls, Protocol::Auto)));
                opened
                    .await
                    .map(|line| Outcome::good(format!("{} accepts connections", line.address)))
            }
            Means::Udp { at, payload } => {
                udp::probe(&self.env, (at, home), payload, task.probe.timeout).await
            }
            Means::Grpc { at, service, tls } => {
                Box::pin(grpc::probe(self, (at, home), service, tls.as_ref())).await
            }
            Means::H2Ping { at, tls } => Box::pin(h2::ping(self, (at, home), tls.as_ref())).await,
            Means::Script { command } if self.runs_programs() => {
                Box::pin(script::run(task, command, most)).await
            }
            Means::Docker { container, command } if self.runs_programs() => {
                let socket = self.settings.borrow().docker.clone();
                Box::pin(docker::run(&socket, container, command, most)).await
            }
            Means::Script { .. } | Means::Docker { .. } => {
                Err("programs are off; `registry.checks.scripts: true` turns them on".into())
            }
            Means::Ttl(_) | Means::Alias { .. } => Err("there is nothing to probe".into()),
        };
        outcome.unwrap_or_else(Outcome::bad)
    }

    fn runs_programs(&self) -> bool {
        self.settings.borrow().runs_programs
    }

    /// How to connect under that setting.
    fn connector(&self, tls: &UpstreamTls, protocol: Protocol) -> Result<Arc<Connector>, Failed> {
        let mut tls = tls.clone();
        if tls.ca.is_none() && tls.verify == Verify::Full {
            tls.ca.clone_from(&self.settings.borrow().ca);
        }
        let mut connectors = self
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.env.instant();
        if now.saturating_duration_since(connectors.read) >= REREAD {
            connectors.read = now;
            for error in connectors.tls.reload() {
                tracing::warn!(%error, "a check goes on with the certificates that it had");
            }
        }
        let key = (tls, protocol);
        if let Some(connector) = connectors.kept.get(&key) {
            return Ok(Arc::clone(connector));
        }
        let made = connectors.tls.connector(&key.0, protocol);
        let connector = made.map_err(|error| -> Failed { error.to_string().into() })?;
        if connectors.kept.len() >= CONNECTORS_MAX {
            connectors.kept.clear();
        }
        connectors.kept.insert(key, Arc::clone(&connector));
        Ok(connector)
    }
}

/// What a program's exit code says.
fn exited(code: Option<i64>, output: &[u8]) -> Outcome {
    let output = text(output);
    let line = output.lines().map(str::trim).find(|line| !line.is_empty());
    let detail = line.map(|line| cut(line, LINE_BYTES_MAX).into());
    let outcome = match code {
        Some(0) => Outcome::good(""),
        Some(code @ 1) => Outcome::warning(format!("exit code {code}")),
        Some(code) => Outcome::bad(format!("exit code {code}")),
        None => Outcome::bad("ended by a signal"),
    };
    Outcome {
        detail: detail.filter(|_| outcome.reason.is_some()),
        ..outcome.with_output(output)
    }
}

/// Foreign bytes as text that can be shown.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().replace(
        |c: char| c.is_control() && !matches!(c, '\n' | '\t'),
        "\u{fffd}",
    )
}

/// At most so many bytes, cut between characters.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
