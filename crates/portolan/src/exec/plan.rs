//! What the arguments of `portolan exec` mean together.

use std::{
    collections::BTreeSet,
    error::Error,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use portolan_client::{BadRegistration, Registration};
use portolan_model::{ByteSize, route::Probe};
use portolan_runtime::Env;

use super::{
    arguments::{Arguments, CheckArgument, PortArgument},
    checkup::Check,
};
use crate::command::token_of_file;

/// Everything that `portolan exec` does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The program and its arguments; never empty.
    pub(super) command: Vec<OsString>,
    /// The service, for people.
    pub(super) service: String,
    /// As what to register it.
    pub(super) registration: Registration,
    /// What must succeed before.
    pub(super) check: Option<Check>,
    /// How long requests may run on.
    pub(super) drain: Duration,
    /// How long the program may take to end.
    pub(super) kill_after: Duration,
}

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub(super) struct Usual {
    /// Where the registry is.
    pub(super) registries: Vec<String>,
    /// The token to show to it.
    pub(super) token: Option<String>,
}

/// Arguments that contradict each other.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPlan {
    /// Two ports and no way to tell them apart.
    #[error("two ports need names, like `--port http=8080 --port grpc=9090`")]
    PortNames,
    /// What the registry would not take.
    #[error("it can't be registered like that")]
    Registration(#[from] BadRegistration),
    /// A file with a token that can't be read.
    #[error("{0}")]
    Token(String),
}

impl Plan {
    /// Reads the arguments; `usual` is what holds where they say nothing.
    ///
    /// # Errors
    /// [`BadPlan`], before anything was started.
    pub(super) fn new(arguments: Arguments, usual: Usual, env: &Env) -> Result<Self, BadPlan> {
        let names: BTreeSet<_> = arguments.ports.iter().map(|port| &port.name).collect();
        if names.len() < arguments.ports.len() {
            return Err(BadPlan::PortNames);
        }
        let token = match &arguments.registry_token_file {
            Some(file) => Some(token_of_file(file).map_err(BadPlan::Token)?),
            None => usual.token,
        };
        let registration = registration(&arguments, usual.registries);
        let registration = match token {
            Some(token) => registration.token(token),
            None => registration,
        };
        registration.check_values(env)?;
        Ok(Self {
            check: check(&arguments),
            service: arguments.service,
            command: arguments.command,
            registration,
            drain: arguments.drain,
            kill_after: arguments.kill_after,
        })
    }

    /// The program's name, for people.
    pub(super) fn program(&self) -> String {
        let program = self.command.first();
        program.map_or_else(String::new, |word| word.to_string_lossy().into_owned())
    }
}

impl BadPlan {
    /// All of it in one line.
    pub(super) fn in_one_line(&self) -> String {
        crate::load::chain(self as &dyn Error)
    }
}

fn registration(arguments: &Arguments, registries: Vec<String>) -> Registration {
    let mut registration = Registration::new(arguments.service.as_str())
        .namespace(arguments.namespace.as_str())
        .ttl(arguments.ttl)
        .drain_on_drop(Duration::ZERO)
        .tags(arguments.tags.iter().map(String::as_str));
    for PortArgument { name, port } in &arguments.ports {
        registration = match name {
            Some(name) => registration.named_port(name.as_str(), port.get()),
            None => registration.port(port.get()),
        };
    }
    for pair in &arguments.metadata {
        registration = registration.metadata(pair.key.as_str(), pair.value.as_str());
    }
    if let Some(id) = &arguments.id {
        registration = registration.id(id.as_str());
    }
    if let Some(address) = arguments.address {
        registration = registration.address(address.to_string());
    }
    if let Some(zone) = &arguments.zone {
        registration = registration.zone(zone.as_str());
    }
    if let Some(version) = &arguments.version {
        registration = registration.version(version.as_str());
    }
    if let Some(weight) = arguments.weight {
        registration = registration.weight(weight.get());
    }
    if let Some(file) = &arguments.registry_ca {
        registration = registration.ca(file);
    }
    let pair = arguments.registry_certificate.as_ref();
    if let Some((certificate, key)) = pair.zip(arguments.registry_key.as_ref()) {
        registration = registration.certificate(certificate, key);
    }
    let given = arguments.registries.iter().cloned();
    let usual = if arguments.registries.is_empty() {
        registries
    } else {
        Vec::new()
    };
    given
        .chain(usual)
        .fold(registration, Registration::registry)
}

fn check(arguments: &Arguments) -> Option<Check> {
    let means = arguments.check.means()?;
    let wanted = match &arguments.check {
        CheckArgument::None | CheckArgument::Tcp => None,
        CheckArgument::Http(_) => Some("http"),
        CheckArgument::Grpc(_) => Some("grpc"),
    };
    let ports = &arguments.ports;
    let named = |wanted| {
        ports
            .iter()
            .find(|port| port.name.as_deref() == Some(wanted))
    };
    let port = wanted.and_then(named).or(ports.first())?;
    Some(Check {
        probe: Probe {
            interval: arguments.interval,
            timeout: Probe::TIMEOUT.min(arguments.interval),
            // Nobody looks at what the program says.
            output_max: ByteSize::from_bytes(0),
            ..Probe::new(arguments.check.to_string(), means)
        },
        address: SocketAddr::new(host(arguments.address), port.port.get()),
    })
}

/// Where the program is reached from here: at its address if that is one of this machine,
/// else by loopback, because a translated address may not lead back.
fn host(address: Option<IpAddr>) -> IpAddr {
    match address {
        Some(address) if TcpListener::bind((address, 0)).is_ok() => address,
        Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(IpAddr::V4(_)) | None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(words: &str) -> Result<Plan, String> {
        let line = Line::try_parse_from(format!("exec {words} -- run it").split(' '));
        let arguments = line.map_err(|error| error.to_string())?.arguments;
        let plan = Plan::new(arguments, Usual::default(), &Env::system());
        plan.map_err(|error| error.in_one_line())
    }

    #[test]
    fn the_port_of_the_checks_name_is_checked() {
        let address = |words: &str| plan(words).unwrap().check.unwrap().address.to_string();
        let ports = "--service a --port http=1 --port grpc=2 --check";
        assert_eq!(address(&format!("{ports} grpc")), "127.0.0.1:2");
        assert_eq!(address(&format!("{ports} http:/")), "127.0.0.1:1");
        assert_eq!(address(&format!("{ports} tcp")), "127.0.0.1:1");
        assert_eq!(address("--service a --port 3 --check grpc"), "127.0.0.1:3");
    }

    #[test]
    fn an_address_of_another_machine_is_checked_by_loopback() {
        assert_eq!(host("127.0.0.1".parse().ok()).to_string(), "127.0.0.1");
        assert_eq!(host("192.0.2.1".parse().ok()).to_string(), "127.0.0.1");
        assert_eq!(host("2001:db8::1".parse().ok()).to_string(), "::1");
    }

    #[test]
    fn a_program_may_have_no_check() {
        let plan = plan("--service a --port 1 --check none").unwrap();
        assert!(plan.check.is_none());
        assert_eq!(plan.program(), "run");
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_starts() {
        for (words, said) in [
            ("--port 1", "--service"),
            ("--service a", "--port"),
            ("--service a --port x", "from 1 to 65535"),
            ("--service a --port 1 --port 2", "need names"),
            ("--service a --port x=1 --port x=2", "need names"),
            ("--service a! --port 1", "service"),
            ("--service a --port 1 --check ftp", "a check is"),
            ("--service a --port 1 --check http", "has a path"),
            ("--service a --port 1 --ttl soon", "soon"),
            ("--service a --port 1 --address host", "host"),
            (
                "--service a --port 1 --address 0.0.0.0",
                "nobody can connect",
            ),
            ("--service a --port 1 --meta x", "key=value"),
            (
                "--service a --port 1 --registry localhost:9070",
                "http://host:port",
            ),
            ("--service a --port 1 --weight 0", "--weight"),
        ] {
            let error = plan(words).unwrap_err();
            assert!(error.contains(said), "{words}: {error}");
        }
    }
}
