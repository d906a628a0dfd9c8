//! The first thing that a newcomer sees.

use std::io::{IsTerminal, Write};

use portolan_config::Plan;
use portolan_gateway::Gateway;

use crate::{cli, control::Control};

/// Prints where everything is and what to try.
pub fn welcome(gateway: &Gateway, control: &Control, plan: &Plan, arguments: &cli::Run) {
    let is_terminal = std::io::stdout().is_terminal();
    let bold = |text: &str| if is_terminal { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = format!("\n  {} {}\n\n", bold("Portolan"), env!("CARGO_PKG_VERSION"));
    for (name, address) in gateway.addresses() {
        let listener = plan.listener(name);
        let scheme = if listener.is_some_and(|l| l.tls.is_some()) { "https" } else { "http" };
        text += &format!("  gateway   {scheme}://{address}  ({name})\n");
    }
    text += &format!("  admin     http://{}\n", control.admin_address());
    let config = arguments.config.as_ref();
    let config = config.map_or("none: everything on loopback".to_owned(), |c| c.display().to_string());
    text += &format!("  config    {config}\n  data      {}\n", arguments.data_dir.display());
    if plan.gateway.automatic.is_enabled
        && let Some((_, address)) = gateway.addresses().next()
    {
        let admin = control.admin_address();
        let port = address.port();
        text += &format!(
            "\n  {}\n\n    python3 -m http.server 9001 --bind 127.0.0.1 &\n    \
             curl -X PUT http://{admin}/v1/services/hello/instances/one \\\n         \
             -d '{{\"address\":\"127.0.0.1\",\"port\":9001}}'\n    \
             curl http://localhost:{port}/hello/\n\n",
            bold("Try it: start something, register it, call it")
        );
    }
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to run.
    let _printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
