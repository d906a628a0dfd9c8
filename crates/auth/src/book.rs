//! All tokens and policies, and the directory that follows from them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use portolan_access::{Authority, Grant, Level, Limited, Rules, Scopes, SecretHash};
use portolan_config::Access as Plan;
use portolan_model::Revision;

use crate::{
    directory::{Directory, Principal},
    record::{BadRecord, MANAGEMENT, Policy, PolicyId, Token, TokenId},
};

/// Most tokens that are kept.
pub(crate) const TOKENS_MAX: usize = 10_000;
/// Most policies that are kept.
pub(crate) const POLICIES_MAX: usize = 1_000;
/// What whoever may read the data folder is called.
const LOCAL: &str = "local";
/// What the policy that allows everything says.
const EVERYTHING: &str = r#"
acl = "write"
agent_prefix "" { policy = "write" }
event_prefix "" { policy = "write" }
key_prefix "" { policy = "write" }
keyring = "write"
mesh = "write"
node_prefix "" { policy = "write" }
operator = "write"
peering = "write"
query_prefix "" { policy = "write" }
service_prefix "" { policy = "write" intentions = "write" }
session_prefix "" { policy = "write" }
"#;

/// Something that is stored, and the revision that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T, X> {
    pub(crate) record: T,
    pub(crate) modified: Revision,
    /// What follows from the record, or what was noticed since.
    pub(crate) extra: X,
}

/// A token, and when it was used.
pub(crate) type KeptToken = Kept<Token, (SecretHash, Arc<AtomicU64>)>;
/// A policy, and its rules.
pub(crate) type KeptPolicy = Kept<Policy, Rules>;

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// What the configuration says; none without access control.
    pub(crate) plan: Option<Plan>,
    /// The secret of whoever may read the data folder.
    pub(crate) local: Option<SecretHash>,
    pub(crate) tokens: BTreeMap<TokenId, KeptToken>,
    pub(crate) policies: BTreeMap<PolicyId, KeptPolicy>,
    /// Consul's bootstrap was done.
    pub(crate) is_bootstrapped: bool,
}

impl Book {
    /// Takes in a token that is stored now, unless a later one is known.
    pub(crate) fn put_token(&mut self, token: Token, modified: Revision) -> Result<(), BadRecord> {
        let hash = token.secret_hash()?;
        token.read_scopes().map_err(|_| BadRecord)?;
        let known = self.tokens.get(&token.id);
        if known.is_some_and(|known| known.modified > modified) {
            return Ok(());
        }
        let used = known.map_or_else(
            || {
                let used = token.used.map_or(0, portolan_model::Timestamp::as_millis);
                Arc::new(AtomicU64::new(used))
            },
            |known| Arc::clone(&known.extra.1),
        );
        let kept = Kept {
            modified,
            extra: (hash, used),
            record: token,
        };
        self.tokens.insert(Arc::clone(&kept.record.id), kept);
        Ok(())
    }

    /// Takes in a policy that is stored now, unless a later one is known.
    pub(crate) fn put_policy(
        &mut self,
        policy: Policy,
        modified: Revision,
    ) -> Result<(), BadRecord> {
        let known = self.policies.get(&policy.id);
        if known.is_some_and(|known| known.modified > modified) {
            return Ok(());
        }
        let kept = Kept {
            extra: policy.read_rules()?,
            modified,
            record: policy,
        };
        self.policies.insert(Arc::clone(&kept.record.id), kept);
        Ok(())
    }

    /// Whether whoever comes first, from this machine, may have a token that allows everything.
    pub(crate) fn may_bootstrap(&self) -> bool {
        let is_first = |plan: &Plan| plan.tokens.is_empty() && plan.anonymous.is_read_only();
        !self.is_bootstrapped && self.tokens.is_empty() && self.plan.as_ref().is_none_or(is_first)
    }

    /// The policy that is always there.
    pub(crate) fn management() -> Policy {
        let (id, name) = MANAGEMENT;
        Policy {
            id: id.into(),
            name: name.into(),
            description: "Allows everything.".to_owned(),
            rules: EVERYTHING.to_owned(),
            datacenters: Vec::new(),
        }
    }

    /// Who is who from now on.
    pub(crate) fn directory(&self) -> Directory {
        let Some(plan) = &self.plan else {
            return Directory::default();
        };
        let management = Self::management().read_rules().unwrap_or_default();
        let mut directory = Directory {
            is_on: true,
            anonymous: Principal::new(None, Grant::of_scopes(plan.anonymous.clone())),
            ..Directory::default()
        };
        for kept in self.tokens.values() {
            let principal = self.principal(kept, &management);
            let hash = kept.extra.0;
            directory.by_secret.insert(hash, Arc::new(principal));
        }
        for declared in &plan.tokens {
            let name = Some(declared.name.as_str().into());
            let grant = Grant::of_scopes(declared.scopes.clone());
            let principal = Arc::new(Principal::new(name, grant));
            directory.by_secret.insert(declared.hash, principal);
        }
        if let Some(hash) = self.local {
            let scopes = Scopes::parse(["admin"]).unwrap_or_default();
            let local = Principal {
                is_for_this_machine: true,
                ..Principal::new(Some(LOCAL.into()), Grant::of_scopes(scopes))
            };
            directory.by_secret.insert(hash, Arc::new(local));
        }
        let certificates = plan.certificates.iter().map(|(name, scopes)| {
            let grant = Grant::of_scopes(scopes.clone());
            let principal = Principal::new(Some(name.as_str().into()), grant);
            (name.clone(), Arc::new(principal))
        });
        directory.by_certificate = certificates.collect();
        directory
    }

    fn principal(&self, kept: &KeptToken, management: &Rules) -> Principal {
        let token = &kept.record;
        let rules = token.policies.iter().filter_map(|id| {
            if &**id == MANAGEMENT.0 {
                return Some(management);
            }
            self.policies.get(id).map(|policy| &policy.extra)
        });
        let grant = Grant::Limited(Arc::new(Limited {
            authority: Authority::new(rules, Level::Deny),
            // What can't be read was not let in.
            scopes: token.read_scopes().unwrap_or_default(),
        }));
        Principal {
            token: Some(Arc::clone(&token.id)),
            expires: token.expires,
            used: Arc::clone(&kept.extra.1),
            ..Principal::new(Some(Arc::clone(&token.name)), grant)
        }
    }
}
