//! Health checks as an instance asks for them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use portolan_model::route::{Check, Probe};
use serde::{Deserialize, Serialize};

use super::{Misfit, Span};

/// The shortest time between two probes.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest time between two probes.
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// The longest path or host of a probe.
const TEXT_BYTES_MAX: usize = 2048;
/// What holds if nothing is said.
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
const RISE: NonZeroU32 = NonZeroU32::MIN;
const FALL: NonZeroU32 = NonZeroU32::new(3).expect("3 is not zero");

/// How the health of an instance is found out: `http` or `tcp`, one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckShape {
    /// By a GET that must be answered by a 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpShape>,
    /// By a connection that must be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpShape>,
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
}

/// A probe by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpShape {
    /// The path; `/` by default.
    #[serde(default = "root")]
    pub path: String,
    /// The Host field; the address by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A probe by TCP; it has no settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpShape {}

fn root() -> String {
    "/".to_owned()
}

impl CheckShape {
    /// The check in the words of the model.
    ///
    /// # Errors
    /// [`Misfit`] names the offending field.
    pub fn to_check(&self) -> Result<Check, Misfit> {
        let probe = match (&self.http, self.tcp) {
            (Some(http), None) => Probe::Http {
                path: path_of(http)?,
                host: http.host.as_deref().map(host_of).transpose()?,
            },
            (None, Some(TcpShape {})) => Probe::Tcp,
            (None, None) | (Some(_), Some(_)) => {
                return Err(Misfit::new("/check", "a check has either `http` or `tcp`"));
            }
        };
        let interval = self.interval.map_or(INTERVAL, |span| span.0);
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
            let message = format!(
                "an interval is from {} to {}",
                Span(INTERVAL_MIN),
                Span(INTERVAL_MAX)
            );
            return Err(Misfit::new("/check/interval", message));
        }
        let timeout = self.timeout.map_or(TIMEOUT.min(interval), |span| span.0);
        if timeout.is_zero() || timeout > INTERVAL_MAX {
            let message = format!("a timeout is from 1ms to {}", Span(INTERVAL_MAX));
            return Err(Misfit::new("/check/timeout", message));
        }
        Ok(Check {
            probe,
            interval,
            timeout,
            rise: self.rise.unwrap_or(RISE),
            fall: self.fall.unwrap_or(FALL),
        })
    }
}

fn path_of(http: &HttpShape) -> Result<Arc<str>, Misfit> {
    let path = http.path.as_str();
    let is_fine = path.starts_with('/')
        && path.len() <= TEXT_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_fine {
        let message = "a path begins with `/` and has no spaces";
        return Err(Misfit::new("/check/http/path", message));
    }
    Ok(path.into())
}

fn host_of(host: &str) -> Result<Arc<str>, Misfit> {
    let is_fine = !host.is_empty()
        && host.len() <= TEXT_BYTES_MAX
        && host.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_fine {
        return Err(Misfit::new("/check/http/host", "a host has no spaces"));
    }
    Ok(host.into())
}
