//! Structured logs of the program itself, on standard error.

use std::{env, io::IsTerminal};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// The variable that sets levels, like `debug` or `info,portolan_gateway=trace`.
const LEVELS: &str = "PORTOLAN_LOG";

/// Begins to log: lines for people on a terminal, JSON elsewhere.
#[expect(
    clippy::disallowed_methods,
    reason = "only the binary reads the environment, and this is it"
)]
pub(crate) fn start() {
    let levels = env::var(LEVELS).unwrap_or_default();
    let parsed = levels.parse::<Targets>();
    let is_understood = parsed.is_ok();
    let filter = match parsed {
        Ok(filter) if !levels.is_empty() => filter,
        Ok(_) | Err(_) => Targets::new().with_default(LevelFilter::INFO),
    };
    let subscriber = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second start, in a test, keeps the first.
    let _started = if std::io::stderr().is_terminal() {
        subscriber.with(lines.with_target(false)).try_init()
    } else {
        subscriber.with(lines.json().flatten_event(true)).try_init()
    };
    if !is_understood {
        tracing::warn!("{LEVELS} is not understood; `info` is taken");
    }
}
