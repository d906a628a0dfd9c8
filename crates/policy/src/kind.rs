//! The triple of a plug: what it does, its parsed settings, its row in the table.

use std::{fmt::Debug, sync::Arc};

use portolan_model::{Problem, http::ResponseHead};
use portolan_runtime::Env;
use serde_json::Value;

use crate::{Answer, Exchange, Flow};

/// When a policy has its turn; in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Cheap refusals and answers that need no identity.
    Admit,
    /// Who asks.
    Identify,
    /// Whether they may.
    Authorize,
    /// What the upstream gets to see; answers that end the walk.
    Shape,
}

/// Behaviour of a policy. Shared by all workers; what differs per request stands in the exchange.
pub trait Policy: Debug + Send + Sync {
    /// Called once a request, in the order of the chain, until one does not answer
    /// [`Flow::Next`]. Must not block the thread; waits in [`Answer::Later`].
    fn request<'a>(&'a self, _exchange: &'a mut Exchange) -> Answer<'a> {
        Answer::Now(Flow::Next)
    }

    /// Called once for the final head of an answer, in the reverse order of the chain,
    /// also for answers that the gateway or a policy made. Must not block.
    fn response(&self, _exchange: &Exchange, _head: &mut ResponseHead) {}
}

/// Parsed settings of a policy: proof that it can be built.
pub trait PolicySpec: Debug + Send + Sync {
    /// The phase that these settings need.
    fn phase(&self) -> Phase;

    /// Makes the policy. Called when the plan changes.
    fn build(&self, env: &Env) -> Arc<dyn Policy>;
}

/// Parsed settings, or everything that is wrong with them.
pub type ParsedPolicy = Result<Arc<dyn PolicySpec>, Vec<Problem>>;

/// A row of the shelf of policies.
#[derive(Clone, Copy, Debug)]
pub struct PolicyKind {
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
    /// Reads settings.
    pub parse: fn(&Value) -> ParsedPolicy,
}
