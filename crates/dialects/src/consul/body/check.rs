//! Checks as clients define them.

use std::time::Duration;

use portolan_model::Health;
use serde::{Deserialize, Serialize};

use crate::consul::{
    Refusal,
    loose::{self, Fields},
};

/// How much of a check's output is kept if nobody says.
const OUTPUT_BYTES: usize = 4096;
/// Most checks in a row that can be waited for.
const IN_A_ROW_MAX: u32 = 1000;

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// Its id; empty until somebody gives it one.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub notes: String,
    /// The service that it is of; empty if it is the node's.
    #[serde(default)]
    pub service_id: String,
    /// What it is until it has run; critical by default.
    #[serde(default)]
    pub status: Option<Health>,
    /// What is done.
    pub kind: CheckKind,
    /// Time between two runs.
    #[serde(default)]
    pub interval: Option<Duration>,
    /// Time for a run.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Further good runs in a row until it is passing.
    #[serde(default)]
    pub successes: u32,
    /// Further bad runs in a row until it warns.
    #[serde(default)]
    pub failures_to_warn: Option<u32>,
    /// Further bad runs in a row until it is critical.
    #[serde(default)]
    pub failures: u32,
    /// How long it may be critical until its service is deregistered.
    #[serde(default)]
    pub deregister_after: Option<Duration>,
    /// How much of its output is kept.
    #[serde(default = "output_bytes")]
    pub output_bytes_max: usize,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Waits to be told, at least this often.
    Ttl(Duration),
    /// Sends a request.
    Http {
        /// Where.
        url: String,
        /// The method; GET if empty.
        method: String,
        /// Further fields.
        headers: Vec<(String, String)>,
        /// The content.
        body: String,
        /// The name that TLS asks for.
        server_name: String,
        /// Any certificate is fine.
        is_lax: bool,
        /// A redirect is an answer.
        stays: bool,
    },
    /// Opens a connection.
    Tcp {
        /// Host and port.
        address: String,
        /// With TLS.
        tls: bool,
    },
    /// Sends a datagram.
    Udp(String),
    /// Calls gRPC's health service.
    Grpc {
        /// Host and port, and perhaps a service after a slash.
        address: String,
        /// With TLS.
        tls: bool,
    },
    /// Pings over HTTP/2.
    H2Ping {
        /// Host and port.
        address: String,
        /// With TLS.
        tls: bool,
    },
    /// Runs a program.
    Script(Vec<String>),
    /// Runs a program in a container.
    Docker(String),
    /// Follows another service, or a node if the service is empty.
    Alias {
        /// The node; the agent's if empty.
        node: String,
        /// The service.
        service: String,
    },
    /// Asks the system's service manager.
    OsService(String),
    /// Somebody else runs it and registers its state.
    External,
}

/// The body of `agent/check/update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckUpdate {
    /// Its status from now on.
    pub status: Health,
    /// Why.
    pub output: String,
}

impl CheckUpdate {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body)?;
        let fields = Fields::of(&value)?;
        let text = fields.text("Status")?;
        let status = status_of(&text)
            .ok_or_else(|| Refusal::bad(format!("Invalid check status: '{text}'")))?;
        Ok(Self {
            status,
            output: fields.text("Output")?,
        })
    }
}

/// The status of that name; unknown names are none.
pub(super) fn status_of(text: &str) -> Option<Health> {
    match text {
        "passing" => Some(Health::Passing),
        "warning" => Some(Health::Warning),
        "critical" => Some(Health::Critical),
        _ => None,
    }
}

const fn output_bytes() -> usize {
    OUTPUT_BYTES
}

impl CheckDefinition {
    /// Reads the body of `agent/check/register`.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body)?;
        let fields = Fields::of(&value)?;
        let mut check = Self::of(fields)?;
        if check.name.is_empty() {
            return Err(Refusal::bad("Missing check name"));
        }
        if check.id.is_empty() {
            check.id.clone_from(&check.name);
        }
        Ok(check)
    }

    /// A check that the agent is to run or to be told about.
    pub(super) fn of(fields: Fields<'_>) -> Result<Self, Refusal> {
        let check = Self::of_any(fields)?;
        check.validate()?;
        Ok(check)
    }

    /// A check in whatever state of completeness.
    pub(super) fn of_any(fields: Fields<'_>) -> Result<Self, Refusal> {
        let status = fields.text("Status")?;
        let status = match (status.as_str(), status_of(&status)) {
            ("", _) => None,
            (_, Some(status)) => Some(status),
            (_, None) => return Err(Refusal::bad("Bad check status")),
        };
        let id = match fields.text("CheckID")? {
            id if id.is_empty() => fields.text("ID")?,
            id => id,
        };
        let failures = fields.count("FailuresBeforeCritical", IN_A_ROW_MAX)?;
        let to_warn = fields.number("FailuresBeforeWarning")?.is_some();
        let failures_to_warn = fields.count("FailuresBeforeWarning", IN_A_ROW_MAX)?;
        let output_bytes_max = match fields.number("OutputMaxSize")? {
            None | Some(0) => OUTPUT_BYTES,
            Some(bytes) => usize::try_from(bytes)
                .map(|bytes| bytes.min(OUTPUT_BYTES))
                .map_err(|_| Refusal::bad("MaxOutputMaxSize must be positive"))?,
        };
        let deregister_after = match fields.span("DeregisterCriticalServiceAfter")? {
            None => fields.span("DeregisterCriticalServiceAfterDuration")?,
            span => span,
        };
        Ok(Self {
            id,
            name: fields.text("Name")?,
            notes: fields.text("Notes")?,
            service_id: fields.text("ServiceID")?,
            status,
            kind: kind_of(fields)?,
            interval: fields.span("Interval")?,
            timeout: fields.span("Timeout")?,
            successes: fields.count("SuccessBeforePassing", IN_A_ROW_MAX)?,
            failures_to_warn: to_warn.then_some(failures_to_warn),
            failures,
            deregister_after,
            output_bytes_max,
        })
    }

    fn validate(&self) -> Result<(), Refusal> {
        let has_interval = self.interval.is_some();
        let text = match &self.kind {
            CheckKind::Ttl(_) if has_interval => "Interval and TTL cannot both be specified",
            CheckKind::Alias { .. } if has_interval => "Interval cannot be set for Alias checks",
            CheckKind::External => "TTL must be > 0 for TTL checks",
            CheckKind::Script(_) | CheckKind::Docker(_) => {
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true"
            }
            CheckKind::Http { .. }
            | CheckKind::Tcp { .. }
            | CheckKind::Udp(_)
            | CheckKind::Grpc { .. }
            | CheckKind::H2Ping { .. }
            | CheckKind::OsService(_)
                if !has_interval =>
            {
                "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
            }
            _ if self
                .failures_to_warn
                .is_some_and(|warn| warn > self.failures) =>
            {
                "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
            }
            CheckKind::Ttl(_)
            | CheckKind::Http { .. }
            | CheckKind::Tcp { .. }
            | CheckKind::Udp(_)
            | CheckKind::Grpc { .. }
            | CheckKind::H2Ping { .. }
            | CheckKind::Alias { .. }
            | CheckKind::OsService(_) => return Ok(()),
        };
        Err(Refusal::bad(format!("Invalid check: {text}")))
    }

    /// What clients call its type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self.kind {
            CheckKind::Ttl(_) => "ttl",
            CheckKind::Http { .. } => "http",
            CheckKind::Tcp { .. } => "tcp",
            CheckKind::Udp(_) => "udp",
            CheckKind::Grpc { .. } => "grpc",
            CheckKind::H2Ping { .. } => "h2ping",
            CheckKind::Script(_) => "script",
            CheckKind::Docker(_) => "docker",
            CheckKind::Alias { .. } => "alias",
            CheckKind::OsService(_) => "os_service",
            CheckKind::External => "",
        }
    }
}

fn kind_of(fields: Fields<'_>) -> Result<CheckKind, Refusal> {
    if let Some(ttl) = fields.span("TTL")? {
        return Ok(CheckKind::Ttl(ttl));
    }
    let lax = || fields.truth("TLSSkipVerify");
    let url = fields.text("HTTP")?;
    if !url.is_empty() {
        return Ok(CheckKind::Http {
            url,
            method: fields.text("Method")?,
            headers: headers_of(fields)?,
            body: fields.text("Body")?,
            server_name: fields.text("TLSServerName")?,
            is_lax: lax()?,
            stays: fields.truth("DisableRedirects")?,
        });
    }
    let address = fields.text("TCP")?;
    if !address.is_empty() {
        let tls = fields.truth("TCPUseTLS")?;
        return Ok(CheckKind::Tcp { address, tls });
    }
    let address = fields.text("GRPC")?;
    if !address.is_empty() {
        let tls = fields.truth("GRPCUseTLS")?;
        return Ok(CheckKind::Grpc { address, tls });
    }
    let address = fields.text("H2PING")?;
    if !address.is_empty() {
        // It is on unless somebody turns it off.
        let tls = fields.find("H2PingUseTLS").is_none() || fields.truth("H2PingUseTLS")?;
        return Ok(CheckKind::H2Ping { address, tls });
    }
    other_kind(fields)
}

fn other_kind(fields: Fields<'_>) -> Result<CheckKind, Refusal> {
    let container = fields.text("DockerContainerID")?;
    if !container.is_empty() {
        return Ok(CheckKind::Docker(container));
    }
    for name in ["Args", "ScriptArgs"] {
        let arguments = fields.texts(name)?;
        if !arguments.is_empty() {
            let arguments = arguments.iter().map(ToString::to_string).collect();
            return Ok(CheckKind::Script(arguments));
        }
    }
    let script = fields.text("Script")?;
    if !script.is_empty() {
        return Ok(CheckKind::Script(vec![script]));
    }
    let address = fields.text("UDP")?;
    if !address.is_empty() {
        return Ok(CheckKind::Udp(address));
    }
    let name = fields.text("OSService")?;
    if !name.is_empty() {
        return Ok(CheckKind::OsService(name));
    }
    let (node, service) = (fields.text("AliasNode")?, fields.text("AliasService")?);
    if !node.is_empty() || !service.is_empty() {
        return Ok(CheckKind::Alias { node, service });
    }
    Ok(CheckKind::External)
}

/// `{"X-A": ["b", "c"]}`, as Go has header fields.
fn headers_of(fields: Fields<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let Some(map) = fields.object("Header")? else {
        return Ok(Vec::new());
    };
    let mut headers = Vec::new();
    for (name, value) in map.entries("Header")? {
        let many = value.as_array().map(Vec::as_slice);
        let values = many.unwrap_or_else(|| std::slice::from_ref(value));
        if values.len() > loose::ELEMENTS_MAX {
            return Err(Refusal::decode("'Header' has too many values"));
        }
        for value in values {
            headers.push((name.to_owned(), loose::text_of("Header", value)?));
        }
    }
    Ok(headers)
}

/// A body's `Check` and `Checks` together.
pub(super) fn checks_of(
    fields: Fields<'_>,
    one: impl Fn(Fields<'_>) -> Result<CheckDefinition, Refusal>,
) -> Result<Vec<CheckDefinition>, Refusal> {
    let mut checks = Vec::new();
    if let Some(check) = fields.find("Check") {
        let check = Fields::of(check)?;
        if !check.is_blank() {
            checks.push(one(check)?);
        }
    }
    for check in fields.list("Checks")? {
        checks.push(one(Fields::of(check)?)?);
    }
    Ok(checks)
}
