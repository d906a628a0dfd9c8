//! Policies, as clients of Consul write them.

use std::sync::Arc;

use portolan_access::Rules;
use portolan_auth::{Access, Fault, Policy, uuid};
use portolan_dialects::consul::{AclPolicyBody, Refusal};
use portolan_model::Revision;
use portolan_wire::serve::Response;

use super::{api::refusal, views};
use crate::{Parts, answering};

/// Makes or replaces a policy.
///
/// # Errors
/// 400 if it is none, 500 if its name is another's.
pub(super) async fn put_policy(
    parts: &Parts,
    access: &Access,
    (id, body): (Option<&str>, &[u8]),
) -> Result<Response, Refusal> {
    let asked = AclPolicyBody::read(body)?;
    // A policy for elsewhere only would be in force here.
    let is_here = |datacenter: &Arc<str>| **datacenter == *parts.home.datacenter;
    if !asked.datacenters.iter().all(is_here) {
        return Err(Refusal::bad(format!(
            "Invalid policy: there is one datacenter, {:?}",
            parts.home.datacenter
        )));
    }
    Rules::parse(&asked.rules).map_err(|error| Refusal::bad(error.to_string()))?;
    let id = match id {
        Some(id) if views::is_fixed(id) => {
            return Err(Refusal::failed(
                "Changing the Rules for the builtin global-management policy is not permitted",
            ));
        }
        Some(id) => {
            let of_id = |(policy, _): &(Policy, _)| *policy.id == *id;
            policy(access, of_id)?.0.id
        }
        None if !asked.id.is_empty() => {
            return Err(Refusal::bad("Cannot specify the Policy ID in the body"));
        }
        None => uuid().map_err(|error| Refusal::failed(error.to_string()))?,
    };
    let policy = Policy {
        id,
        name: asked.name.as_str().into(),
        description: asked.description,
        rules: asked.rules,
        datacenters: asked.datacenters,
    };
    let modified = access.put_policy(policy.clone()).await;
    let modified = modified.map_err(|error| {
        if matches!(error, Fault::Taken(_)) {
            let name = &policy.name;
            let text = format!("Invalid Policy: A Policy with Name {name:?} already exists");
            return Refusal::failed(text);
        }
        refusal(&error, &policy.id)
    })?;
    answering::json(&views::policy((policy, modified), true))
}

/// The policy that is meant.
///
/// # Errors
/// 404.
pub(super) fn policy(
    access: &Access,
    is_it: impl Fn(&(Policy, Revision)) -> bool,
) -> Result<(Policy, Revision), Refusal> {
    let found = access.policies().into_iter().find(is_it);
    found.ok_or_else(|| Refusal::missing("Requested policy does not exist: ACL not found"))
}
