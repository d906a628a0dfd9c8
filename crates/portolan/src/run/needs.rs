//! What a plan needs of the machine: threads, descriptors, files.

use std::{io, num::NonZeroUsize, path::PathBuf};

use portolan_config::{AccessLog as AccessPlan, Dns, LogFormat, LogPath, Plan};
use portolan_forwarder::{Settings as ForwardSettings, sockets_max};
use portolan_telemetry::{AccessLog, AccessWriter, Destination, Format};

use crate::{cli, limits};

pub(super) fn workers(plan: &Plan) -> NonZeroUsize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    plan.gateway.workers.unwrap_or_else(cores)
}

pub(super) fn descriptors_needed(plan: &Plan) -> u64 {
    let connections = plan
        .listeners
        .iter()
        .map(|l| u64::from(l.limits.connections_max.get()))
        .sum();
    let listeners = plan.listeners.len() as u64;
    let own = limits::descriptors_needed(connections, listeners, workers(plan).get() as u64);
    own.saturating_add(of_dns(&plan.dns))
}

/// Descriptors for DNS: connections of clients, by TLS as well if there is a listener, and
/// questions to recursors.
fn of_dns(dns: &Dns) -> u64 {
    if !dns.is_enabled {
        return 0;
    }
    let connections = u64::try_from(dns.connections_max.get()).unwrap_or(u64::MAX);
    let over_tls = dns.over_tls.as_ref().map_or(0, |_| connections);
    let questions = dns.recursors.as_ref().map_or(0, |recursors| {
        let addresses = recursors.addresses.clone();
        sockets_max(&ForwardSettings {
            recursors: addresses,
            ..ForwardSettings::default()
        })
    });
    connections
        .saturating_add(over_tls)
        .saturating_add(questions)
}

/// The certificates of listeners and upstreams, control listeners included.
pub(super) fn tls_files(plan: &Plan) -> impl Iterator<Item = PathBuf> {
    let control = [
        &plan.admin.security,
        &plan.registry.eureka.security,
        &plan.registry.consul.security,
    ];
    let control = control
        .into_iter()
        .filter_map(|security| security.tls.as_ref())
        .chain(plan.dns.over_tls.iter().map(|over_tls| &over_tls.tls));
    let authorities = control.clone().filter_map(|tls| tls.client_ca.clone());
    let listeners = plan
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref())
        .chain(control.map(|tls| &tls.served));
    let served = listeners.flat_map(|tls| &tls.certificates);
    let upstreams = plan
        .upstreams
        .iter()
        .filter_map(|planned| planned.upstream.tls.as_ref());
    let shown = upstreams.clone().filter_map(|tls| tls.certificate.as_ref());
    let roots = upstreams.filter_map(|tls| tls.ca.clone());
    served
        .chain(shown)
        .flat_map(|files| [files.certificate.clone(), files.key.clone()])
        .chain(roots)
        .chain(authorities)
        .collect::<Vec<_>>()
        .into_iter()
}

pub(super) fn open_access_log(
    plan: &AccessPlan,
    arguments: &cli::Run,
) -> io::Result<Option<(AccessLog, AccessWriter)>> {
    let on_a_terminal = || io::IsTerminal::is_terminal(&io::stdout()) && arguments.config.is_none();
    if !plan.is_enabled.unwrap_or_else(on_a_terminal) {
        return Ok(None);
    }
    let format = match plan.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let destination = match &plan.path {
        LogPath::Stdout => Destination::Stdout,
        LogPath::File(path) => Destination::File(path.clone()),
    };
    AccessLog::open(format, destination)
        .map(Some)
        .map_err(io::Error::other)
}
