//! Access control with its memory: tokens, policies, the audit trail, and the gate that
//! stands before every control listener.
//!
//! [`Access`] keeps the tokens: in the store, by their hashes, under a key space of their
//! own; in memory as a directory that is swapped whole, so that a request looks its token up
//! without a lock and a revocation holds for the next request. A [`Gate`] wraps a front's
//! handler: it finds out who calls, counts, asks the front what the request needs, and
//! remembers what was changed and what was denied. What a caller may do is decided by crate
//! `access`.
//!
//! Invariant: without access control, a request that changes nothing passes the gate by a
//! few loads; nothing that is kept or shown holds a secret.

mod answer;
mod api;
mod audit;
mod audit_api;
mod book;
mod credentials;
mod directory;
mod gate;
mod keeping;
mod local;
mod manner;
mod policies;
mod record;
mod stored;
#[cfg(test)]
mod tests;

pub use api::{Api, ROUTES, need};
pub use gate::{Front, Gate, Throttle};
pub use keeping::{Access, Fault};
pub use local::LOCAL_FILE;
pub use manner::Manner;
pub use record::{MANAGEMENT, NoEntropy, Policy, PolicyId, Token, TokenId, new_secret, uuid};
