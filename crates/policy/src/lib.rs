//! What a policy is: phase, exchange, chain and fault.
//!
//! A policy looks at a request, changes it, answers it or refuses it, and may look
//! at the answer on its way back. Settings are parsed when the configuration is
//! read ([`PolicyKind::parse`] may fail); building from parsed settings can't fail.
//! The order of a chain is the maintainers' table, not the order in a file.

mod chain;
mod exchange;
mod fault;
mod kind;

pub use chain::{Chain, Placed};
pub use exchange::{Answer, Exchange, Flow, LaterFlow, Reply};
pub use fault::Fault;
pub use kind::{ParsedPolicy, Phase, Policy, PolicyKind, PolicySpec};
