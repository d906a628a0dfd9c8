//! Sessions as clients ask for them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::consul::{
    Refusal,
    loose::{self, Fields},
};

/// How long a key stays locked after its session has gone, if nobody says.
const LOCK_DELAY: Duration = Duration::from_secs(15);
/// The longest that can be asked for; more is less.
const LOCK_DELAY_MAX: Duration = Duration::from_mins(1);
/// What a TTL may be.
const TTL_MIN: Duration = Duration::from_secs(10);
const TTL_MAX: Duration = Duration::from_hours(24);
/// A lock delay that is a small number means seconds: some clients count so.
const SECONDS_BELOW: Duration = Duration::from_millis(1);

/// The body of `session/create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDefinition {
    /// A name for people.
    pub name: String,
    /// The node; the agent's if empty.
    pub node: String,
    /// How long a key stays locked after the session has gone.
    pub lock_delay: Duration,
    /// What happens to the keys that it holds.
    pub behavior: SessionBehavior,
    /// How long it lives without being renewed; forever if none.
    pub ttl: Option<Duration>,
    /// Checks of the node that must not be critical; `serfHealth` if nobody says.
    pub node_checks: Vec<Arc<str>>,
    /// Checks of services that must not be critical.
    pub service_checks: Vec<Arc<str>>,
}

/// What happens to the keys of a session that goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionBehavior {
    /// They are let go.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

impl SessionDefinition {
    /// Reads the body, which may be empty, and the datacenter that it names.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(body: &[u8]) -> Result<(Self, Option<String>), Refusal> {
        let value = match body {
            [] => serde_json::Value::Object(serde_json::Map::new()),
            body => loose::parse(body)?,
        };
        let fields = Fields::of(&value)?;
        let datacenter = fields.text("Datacenter")?;
        let lock_delay = match (fields.find("LockDelay"), fields.span("LockDelay")?) {
            (None, _) => LOCK_DELAY,
            (Some(_), None) => Duration::ZERO,
            (Some(value), Some(span)) if value.is_number() && span < SECONDS_BELOW => {
                let seconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
                Duration::from_secs(seconds)
            }
            (Some(_), Some(span)) => span,
        };
        let behavior = match fields.text("Behavior")?.as_str() {
            "" | "release" => SessionBehavior::Release,
            "delete" => SessionBehavior::Delete,
            other => {
                let text = format!("Invalid Behavior setting '{other}'");
                return Err(Refusal::bad(text));
            }
        };
        let node_checks = match (fields.find("NodeChecks"), fields.find("Checks")) {
            (Some(_), _) => fields.texts("NodeChecks")?,
            (None, Some(_)) => fields.texts("Checks")?,
            (None, None) => vec!["serfHealth".into()],
        };
        let session = Self {
            name: fields.text("Name")?,
            node: fields.text("Node")?,
            lock_delay: lock_delay.min(LOCK_DELAY_MAX),
            behavior,
            ttl: ttl_of(fields)?,
            node_checks,
            service_checks: service_checks(fields)?,
        };
        Ok((session, (!datacenter.is_empty()).then_some(datacenter)))
    }
}

fn ttl_of(fields: Fields<'_>) -> Result<Option<Duration>, Refusal> {
    let ttl = fields.span("TTL")?;
    match ttl {
        Some(ttl) if !(TTL_MIN..=TTL_MAX).contains(&ttl) => Err(Refusal::bad(format!(
            "Invalid Session TTL '{}', must be between [{}s={}s]",
            ttl.as_nanos(),
            TTL_MIN.as_secs(),
            TTL_MAX.as_secs()
        ))),
        ttl => Ok(ttl),
    }
}

/// `["id"]`, or `[{"ID": "id"}]`.
fn service_checks(fields: Fields<'_>) -> Result<Vec<Arc<str>>, Refusal> {
    let list = fields.list("ServiceChecks")?.iter();
    list.map(|value| {
        let id = if value.is_object() {
            Fields::of(value)?.text("ID")
        } else {
            loose::text_of("ServiceChecks", value)
        };
        id.map(Arc::from)
    })
    .collect()
}
