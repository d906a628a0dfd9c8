//! What a caller may do, by scopes and by policies.

use std::sync::Arc;

use portolan_model::ServiceKey;

use crate::{Authority, Level, Need, Resource, Scopes};

/// What a caller may do. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// Everything: there is no access control.
    #[default]
    Open,
    /// This much.
    Limited(Arc<Limited>),
}

/// What a caller may do where there is access control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// By the scopes of its token or certificate.
    pub scopes: Scopes,
    /// By the policies of its token.
    pub authority: Authority,
}

impl Grant {
    /// What these scopes allow.
    #[must_use]
    pub fn of_scopes(scopes: Scopes) -> Self {
        Self::Limited(Arc::new(Limited {
            scopes,
            authority: Authority::default(),
        }))
    }

    /// Whether there is no access control.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether a request may be served.
    #[must_use]
    pub fn allows(&self, need: &Need) -> bool {
        match self {
            Self::Open => true,
            Self::Limited(limited) => {
                limited.scopes.allows(need) || by_policy(&limited.authority, need)
            }
        }
    }

    /// Whether that level is allowed for a name; the empty one for what there is one of.
    #[must_use]
    pub fn allows_level(&self, resource: Resource, name: &str, level: Level) -> bool {
        match self {
            Self::Open => true,
            Self::Limited(limited) => {
                limited.scopes.level(resource, name) >= level
                    || limited.authority.allows(resource, name, level)
            }
        }
    }

    /// Whether everything that begins so is allowed that level.
    #[must_use]
    pub fn allows_tree(&self, resource: Resource, prefix: &str, level: Level) -> bool {
        match self {
            Self::Open => true,
            Self::Limited(limited) => {
                // Of the resources that have names, scopes part only services.
                let by_scope = resource != Resource::Service || limited.scopes.allows(&Need::Admin);
                (by_scope && limited.scopes.level(resource, prefix) >= level)
                    || limited.authority.allows_tree(resource, prefix, level)
            }
        }
    }
}

/// What a policy of Consul's gives where requests need scopes: who may write a service may
/// register it, who may write the access control may do everything.
fn by_policy(authority: &Authority, need: &Need) -> bool {
    let all = |resource, level| authority.allows_tree(resource, "", level);
    let one = |resource| authority.allows(resource, "", Level::Write);
    match need {
        Need::Nothing | Need::Rules => true,
        // Whoever has policies has a token.
        Need::Name => authority.has_rules(),
        Need::Read => all(Resource::Service, Level::Read) && all(Resource::Node, Level::Read),
        Need::Register(key) => {
            key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE
                && authority.allows(Resource::Service, key.name.as_str(), Level::Write)
        }
        Need::RegisterSome => authority.allows_some(Resource::Service, Level::Write),
        Need::Operate => one(Resource::Operator),
        Need::Admin => one(Resource::Operator) && one(Resource::Acl),
    }
}
