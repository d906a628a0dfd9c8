//! What a source is: the triple of behaviour, parsed settings and table row.

use std::{any::Any, fmt::Debug, future::Future, pin::Pin, sync::Arc};

use portolan_model::{Problem, SourceId};
use portolan_runtime::Env;
use serde_json::Value;

use crate::Inbox;

/// A source at work.
pub type SourceRun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that knows about instances.
pub trait Source: Send {
    /// Called once. Speaks into the inbox until it is dropped or the inbox is
    /// closed. Outages are its own to survive: it says `Stale`, backs off and
    /// starts over with `Reset`. A source that ends by itself is marked stale.
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun;
}

/// Parsed settings of a source: proof that it can be built.
pub trait SourceSpec: Any + Debug + Send + Sync {
    /// Makes the source. Must not block and does no I/O yet.
    fn build(&self, id: &SourceId, env: &Env) -> Box<dyn Source>;

    /// Whether `other` asks for the same source, so that a reload keeps the running
    /// one. Usually `(other as &dyn Any).downcast_ref() == Some(self)`.
    fn same_as(&self, other: &dyn SourceSpec) -> bool;
}

/// Reads the settings of a source.
pub type ParseSource = fn(&Value) -> Result<Arc<dyn SourceSpec>, Vec<Problem>>;

/// A row of the shelf of sources.
#[derive(Clone, Copy, Debug)]
pub struct SourceKind {
    /// The word in the configuration.
    pub name: &'static str,
    /// One line on what it does, for the reference.
    pub summary: &'static str,
    /// JSON Schema of the settings.
    pub schema: fn() -> Value,
    /// Settings that are accepted, as YAML.
    pub example: &'static str,
    /// Settings that are refused, as YAML.
    pub bad_example: &'static str,
    /// What becomes of what the outside says, unless settings say otherwise, for the reference:
    /// lines of `theirs -> ours`.
    pub mapping: &'static str,
    /// Reads settings.
    pub parse: ParseSource,
}
