//! Tokens and policies as Consul's clients see them.

use std::sync::Arc;

use data_encoding::BASE64;
use portolan_access::SecretHash;
use portolan_auth::{Access, MANAGEMENT, Policy, Token};
use portolan_dialects::consul::answer::{Indexes, LinkView, PolicyView, TokenView};
use portolan_model::Revision;

/// What stands where a secret would: only its hash is kept.
const HIDDEN: &str = "<hidden>";
/// The token of whoever shows none.
const ANONYMOUS: &str = "00000000-0000-0000-0000-000000000002";

/// A token; `secret` is shown to who made it or has shown it.
pub(super) fn token(
    access: &Access,
    (token, modified): (Token, Revision),
    secret: Option<&str>,
) -> TokenView {
    let known = access.policies();
    let links = token.policies.iter().map(|id| {
        let named = known.iter().find(|(policy, _)| policy.id == *id);
        LinkView {
            id: id.to_string(),
            name: named.map_or_else(String::new, |(policy, _)| policy.name.to_string()),
        }
    });
    TokenView {
        secret_id: Some(secret.unwrap_or(HIDDEN).into()),
        policies: links.collect(),
        description: token.name.to_string(),
        local: token.is_local,
        create_time: token.created.to_string(),
        expiration_time: token.expires.map(|at| at.to_string()),
        hash: hash(&format!(
            "{}{:?}{:?}",
            token.name, token.scopes, token.policies
        )),
        indexes: Indexes::at(modified.as_u64()),
        accessor_id: token.id,
    }
}

/// What whoever shows no token is told of itself.
pub(super) fn anonymous() -> TokenView {
    TokenView {
        accessor_id: ANONYMOUS.into(),
        secret_id: Some("anonymous".into()),
        description: "Anonymous Token".to_owned(),
        policies: Vec::new(),
        local: false,
        create_time: "1970-01-01T00:00:00Z".to_owned(),
        expiration_time: None,
        hash: hash(ANONYMOUS),
        indexes: Indexes::at(1),
    }
}

pub(super) fn policy((policy, modified): (Policy, Revision), has_rules: bool) -> PolicyView {
    PolicyView {
        hash: hash(&policy.rules),
        id: policy.id,
        name: policy.name.to_string(),
        description: policy.description,
        rules: has_rules.then_some(policy.rules),
        datacenters: policy.datacenters,
        indexes: Indexes::at(modified.as_u64()),
    }
}

/// Whether a policy is the one that is always there.
pub(super) fn is_fixed(id: &str) -> bool {
    id == MANAGEMENT.0
}

/// Says whether two objects are the same; what it is made of is of no account.
fn hash(text: &str) -> String {
    let text: Arc<str> = SecretHash::of(text).to_string().into();
    BASE64.encode(text.as_bytes())
}
