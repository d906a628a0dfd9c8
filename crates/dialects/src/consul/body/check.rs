//! Checks as clients define them.

use std::time::Duration;

use portolan_model::Health;
use serde::{Deserialize, Serialize};

use crate::consul::{
    Refusal,
    loose::{self, Fields},
};

mod kind;

pub use self::kind::{CheckKind, CheckTls};

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
    /// What whoever runs it said of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
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

    /// A check that somebody else runs, critical until something is said.
    #[must_use]
    pub fn external(id: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            notes: String::new(),
            service_id: String::new(),
            status: None,
            output: String::new(),
            kind: CheckKind::External,
            interval: None,
            timeout: None,
            successes: 0,
            failures_to_warn: None,
            failures: 0,
            deregister_after: None,
            output_bytes_max: OUTPUT_BYTES,
        }
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
            output: fields.text("Output")?,
            kind: kind::kind_of(fields)?,
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
            CheckKind::Docker { command, .. } if command.is_empty() => {
                "Args is required for Docker checks"
            }
            CheckKind::Http { .. }
            | CheckKind::Script(_)
            | CheckKind::Docker { .. }
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
            | CheckKind::Script(_)
            | CheckKind::Docker { .. }
            | CheckKind::Alias { .. }
            | CheckKind::OsService(_) => return Ok(()),
        };
        Err(Refusal::bad(format!("Invalid check: {text}")))
    }

    /// Whether somebody else runs it.
    #[must_use]
    pub const fn is_external(&self) -> bool {
        matches!(self.kind, CheckKind::External)
    }

    /// Whether it looks at the agent's own node.
    #[must_use]
    pub fn is_of_own_node(&self) -> bool {
        let CheckKind::Alias { node, service, .. } = &self.kind else {
            return false;
        };
        node.is_empty() && service.is_empty()
    }

    /// Takes the agent's node of that name for its own.
    pub fn at_home(&mut self, home: &str) {
        if let CheckKind::Alias { node, .. } = &mut self.kind
            && node.eq_ignore_ascii_case(home)
        {
            node.clear();
        }
    }

    /// Whether it runs a program of the agent's machine.
    #[must_use]
    pub const fn is_program(&self) -> bool {
        matches!(self.kind, CheckKind::Script(_) | CheckKind::Docker { .. })
    }

    /// A check that somebody else runs unless it says how and how often.
    #[must_use]
    pub fn or_external(self) -> Self {
        let is_run = self.interval.is_some()
            && matches!(
                self.kind,
                CheckKind::Http { .. }
                    | CheckKind::Tcp { .. }
                    | CheckKind::Udp(_)
                    | CheckKind::Grpc { .. }
                    | CheckKind::H2Ping { .. }
            );
        if is_run {
            return self;
        }
        Self {
            kind: CheckKind::External,
            ..self
        }
    }

    /// As much of what it said as is kept.
    #[must_use]
    pub fn kept<'o>(&self, output: &'o str) -> &'o str {
        let end = output.floor_char_boundary(self.output_bytes_max);
        output.get(..end).unwrap_or_default()
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
            CheckKind::Docker { .. } => "docker",
            CheckKind::Alias { .. } => "alias",
            CheckKind::OsService(_) => "os_service",
            CheckKind::External => "",
        }
    }
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
