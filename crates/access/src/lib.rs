//! Who may do what, decided without I/O: scopes of tokens, rules of policies, hashes of
//! secrets, and how many requests a client may make.
//!
//! A [`Grant`] is what a caller may do: everything where there is no access control, else
//! what its [`Scopes`] and the [`Rules`] of its policies allow together. A front says of
//! each request what it [`Need`]s. Whoever keeps tokens stands above.
//!
//! Invariant: a secret is in no type of this crate that is kept or shown; only its
//! [`SecretHash`] is.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod caller;
mod grant;
mod hcl;
mod need;
mod rate;
mod rights;
mod rules;
mod scope;
mod secret;
#[cfg(test)]
mod tests;

pub use caller::{Caller, Object};
pub use grant::{Grant, Limited};
pub use need::{Kind, Need};
pub use rate::{Meter, Rate};
pub use rights::Rights;
pub use rules::{Authority, Extent, Level, RULES_MAX, Resource, Rule, Rules, RulesError};
pub use scope::{BadScope, Reach, SCOPES_MAX, Scope, Scopes};
pub use secret::{BadHash, SECRET_BYTES, Secret, SecretHash};
