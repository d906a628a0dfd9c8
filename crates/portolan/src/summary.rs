//! The first thing that a newcomer sees.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
};

use portolan_config::Plan;
use portolan_gateway::Gateway;

use crate::{cli, control::Control};

/// Where a listener is reached from this machine.
pub(crate) fn url(address: SocketAddr, has_tls: bool) -> String {
    let scheme = if has_tls { "https" } else { "http" };
    let ip = address.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// Prints where everything is and what to try.
pub(crate) fn welcome(gateway: &Gateway, control: &Control, plan: &Plan, arguments: &cli::Run) {
    let text = text(gateway, control, plan, arguments);
    let mut out = std::io::stdout().lock();
    let text = if out.is_terminal() {
        text
    } else {
        text.replace(BOLD, "").replace(PLAIN, "")
    };
    // A closed standard output is no reason not to run.
    let _printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

fn text(gateway: &Gateway, control: &Control, plan: &Plan, arguments: &cli::Run) -> String {
    let mut parts = vec![format!(
        "\n  {BOLD}Portolan{PLAIN} {}\n\n",
        env!("CARGO_PKG_VERSION")
    )];
    let has_tls = |name| {
        plan.listener(name)
            .is_some_and(|listener| listener.tls.is_some())
    };
    let automatic = plan.gateway.automatic.is_enabled;
    let mut served = None;
    for (name, address) in gateway.addresses() {
        let url = url(address, has_tls(name));
        parts.push(format!("  gateway   {url:<26}listener `{name}`\n"));
        served = served.or(Some(url).filter(|_| automatic));
    }
    let admin = control
        .admin_address()
        .map(|address| url(address, plan.admin.security.tls.is_some()));
    let admin = admin.unwrap_or_default();
    parts.push(format!(
        "  admin     {admin:<26}registry, metrics, explanations\n"
    ));
    if let Some(address) = control.eureka_address() {
        let url = url(address, plan.registry.eureka.security.tls.is_some());
        parts.push(format!(
            "  eureka    {url:<26}clients of Eureka, under /eureka\n"
        ));
    }
    if let Some(address) = control.consul_address() {
        let url = url(address, plan.registry.consul.security.tls.is_some());
        parts.push(format!(
            "  consul    {url:<26}clients of Consul, under /v1\n"
        ));
    }
    if let Some(address) = control.dns_address() {
        let shown = address.to_string();
        parts.push(format!(
            "  dns       {shown:<26}names of services, by UDP and TCP\n"
        ));
    }
    if let Some(status) = &plan.status {
        let status = url(status.address, false);
        parts.push(format!("  status    {status:<26}/live and /ready\n"));
    }
    parts.push(match &arguments.config {
        Some(file) => format!("  config    {}\n", file.display()),
        None => "  config    none: everything on loopback, services by their names\n".to_owned(),
    });
    parts.push(format!("  data      {}\n\n", arguments.data_dir.display()));
    if let Some(served) = served.filter(|_| arguments.config.is_none()) {
        parts.push(format!(
            "  {BOLD}Three commands to try{PLAIN}, once something listens on port 9001\n  \
             (python3 -m http.server 9001 --bind 127.0.0.1):\n\n    \
             curl -X PUT {admin}/v1/services/hello/instances/one -d '{{\"port\": 9001}}'\n    \
             curl {served}/hello/\n    \
             curl '{admin}/v1/explain?url={served}/hello/'\n\n"
        ));
    }
    parts.concat()
}
