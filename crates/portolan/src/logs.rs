//! Structured logs of the program itself, on standard error.

use std::{env, io::IsTerminal};

use tracing_subscriber::EnvFilter;

/// The variable that sets levels, like `debug` or `portolan_gateway=trace`.
const LEVELS: &str = "PORTOLAN_LOG";

/// Begins to log: lines for people on a terminal, JSON elsewhere.
#[expect(
    clippy::disallowed_methods,
    reason = "only the binary reads the environment, and this is it"
)]
pub(crate) fn start() {
    let levels = env::var(LEVELS).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&levels).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start, in a test, keeps the first.
    let _started = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
