//! What is stored of tokens and policies.

use std::sync::Arc;

use portolan_access::{BadScope, Rules, Scopes, Secret, SecretHash};
use portolan_model::Timestamp;
use portolan_store::LedgerKey;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Builder;

/// Where tokens are stored, by id.
pub(crate) const TOKENS: &str = "access/token/";
/// Where policies are stored, by id.
pub(crate) const POLICIES: &str = "access/policy/";
/// Is there once somebody was given the first token by Consul's bootstrap.
pub(crate) const BOOTSTRAP: &str = "access/bootstrap";

/// The id of a token; Consul's clients call it the accessor.
pub type TokenId = Arc<str>;
/// The id of a policy.
pub type PolicyId = Arc<str>;

/// The policy that is always there and allows everything, as Consul names it.
pub const MANAGEMENT: (&str, &str) = ("00000000-0000-0000-0000-000000000001", "global-management");

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What everybody may know of it: a UUID.
    pub id: TokenId,
    /// What it is called; who is said to have made a change.
    pub name: Arc<str>,
    /// The hash of its secret, as it is written.
    pub hash: String,
    /// Its scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Its policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyId>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub creator: Arc<str>,
    /// From when on it is worth nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was used, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
    /// Whether Consul's clients made it for this datacenter only.
    #[serde(default)]
    pub is_local: bool,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// A UUID.
    pub id: PolicyId,
    /// Its name, unique among policies.
    pub name: Arc<str>,
    /// What it is for.
    pub description: String,
    /// The rules as they were written.
    pub rules: String,
    /// Where it holds; everywhere if empty.
    pub datacenters: Vec<Arc<str>>,
}

/// A stored record that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored token or policy can't be read")]
pub struct BadRecord;

impl Token {
    /// Its scopes, read.
    ///
    /// # Errors
    /// [`BadScope`], which a stored one never is.
    pub fn read_scopes(&self) -> Result<Scopes, BadScope> {
        Scopes::parse(self.scopes.iter().map(String::as_str))
    }

    pub(crate) fn secret_hash(&self) -> Result<SecretHash, BadRecord> {
        self.hash.parse().map_err(|_| BadRecord)
    }

    pub(crate) fn key(&self) -> LedgerKey {
        key(TOKENS, &self.id)
    }
}

impl Policy {
    pub(crate) fn read_rules(&self) -> Result<Rules, BadRecord> {
        Rules::parse(&self.rules).map_err(|_| BadRecord)
    }

    pub(crate) fn key(&self) -> LedgerKey {
        key(POLICIES, &self.id)
    }
}

/// A key of the store. Ids are bounded, so that it fits.
pub(crate) fn key(kind: &str, id: &str) -> LedgerKey {
    LedgerKey::new(format!("{kind}{id}")).unwrap_or_default()
}

/// The generator of secrets failed: the machine has no entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the machine gives no random bytes")]
pub struct NoEntropy;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map(|()| bytes).map_err(|_| NoEntropy)
}

/// A new secret.
///
/// # Errors
/// [`NoEntropy`].
pub fn new_secret() -> Result<Secret, NoEntropy> {
    random().map(|bytes| Secret::from_random(&bytes))
}

/// A new UUID that nobody can foresee (RFC 9562, version 4).
///
/// # Errors
/// [`NoEntropy`].
pub fn uuid() -> Result<Arc<str>, NoEntropy> {
    let uuid = Builder::from_random_bytes(random()?).into_uuid();
    Ok(uuid.to_string().into())
}
