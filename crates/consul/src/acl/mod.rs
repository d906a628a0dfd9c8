//! Access control as Consul has it: what a request may see and do, and the endpoints of
//! tokens and policies.
//!
//! A [`Permit`] goes with each request. Reads leave out what it does not show; writes are
//! refused as soon as it is known what they are about: by their path ([`vet`]), by their
//! body ([`vet_agent`], [`vet_catalog`]), or operation by operation ([`vet_keys`],
//! [`vet_part`], [`vet_query`]). Without access control it permits everything at
//! the cost of one look.
//! Source: the ACL rules reference of the Consul API.

mod api;
mod operations;
mod permit;
mod policies;
mod vet;
mod views;

use http::Method;
use portolan_access::{Kind, Need};

pub(super) use api::{Deed, read, write};
pub(super) use operations::{lists_query, vet_keys, vet_part, vet_query};
pub(super) use permit::Permit;
pub(super) use vet::{vet, vet_agent, vet_catalog};

/// What a request does. Cheap: it is asked of each.
#[must_use]
pub fn kind(method: &Method, path: &str) -> Kind {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Kind::Read;
    }
    let told = ["pass/", "warn/", "fail/", "update/"];
    let check = path.strip_prefix("/v1/agent/check/");
    let is_told = check.is_some_and(|rest| told.iter().any(|word| rest.starts_with(word)));
    let is_renewal = path.starts_with("/v1/session/renew/");
    if is_told || is_renewal {
        Kind::SignOfLife
    } else {
        Kind::Change
    }
}

/// What a request needs is asked of its permit, resource by resource.
#[must_use]
pub const fn need(_: &Method, _: &str) -> Need {
    Need::Rules
}
