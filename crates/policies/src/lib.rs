//! The shelf of policies.
//!
//! One folder a policy, one word of it in [`KINDS`]. The table is the order of a
//! chain within a phase: answers before changes, so that a redirect speaks of the
//! path that the client asked for.

mod headers;
mod path_change;
mod reader;
mod redirect;
mod respond;
mod rewrite;
#[cfg(test)]
mod tests;

use portolan_policy::PolicyKind;

/// Every policy, in the order of a chain.
pub const KINDS: &[PolicyKind] = &[redirect::KIND, respond::KIND, headers::KIND, rewrite::KIND];
