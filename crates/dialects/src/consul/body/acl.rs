//! Tokens and policies as clients define them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::consul::{
    Refusal,
    loose::{self, Fields},
};

/// The longest name of a policy.
const NAME_BYTES_MAX: usize = 128;
/// The largest text of rules.
pub(super) const RULES_BYTES_MAX: usize = 64 << 10;

/// The body of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclTokenBody {
    /// What everybody may know of it; made up if empty.
    pub accessor_id: String,
    /// The token itself; made up if empty.
    pub secret_id: String,
    /// What it is for.
    pub description: String,
    /// Its policies.
    pub policies: Vec<PolicyLink>,
    /// Whether it is for this datacenter only.
    pub local: bool,
    /// How long it lives.
    pub expiration_ttl: Option<Duration>,
}

/// A policy by id or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLink {
    /// The id; empty if the name is given.
    pub id: String,
    /// The name.
    pub name: String,
}

/// The body of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclPolicyBody {
    /// Its id; made up if empty.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The rules, in HCL or JSON.
    pub rules: String,
    /// Where it holds; everywhere if empty.
    pub datacenters: Vec<Arc<str>>,
}

impl AclTokenBody {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body).map_err(|error| decode("Token", &error))?;
        let fields = Fields::of(&value)?;
        let link = |value| {
            let link = Fields::of(value)?;
            Ok(PolicyLink {
                id: link.text("ID")?,
                name: link.text("Name")?,
            })
        };
        let policies = fields.list("Policies")?.iter().map(link);
        Ok(Self {
            accessor_id: fields.text("AccessorID")?,
            secret_id: fields.text("SecretID")?,
            description: fields.text("Description")?,
            policies: policies.collect::<Result<_, Refusal>>()?,
            local: fields.truth("Local")?,
            expiration_ttl: fields.span("ExpirationTTL")?,
        })
    }
}

impl AclPolicyBody {
    /// Reads the body. Its rules are a language of their own, which whoever keeps the
    /// policy reads.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body).map_err(|error| decode("Policy", &error))?;
        let fields = Fields::of(&value)?;
        let name = fields.text("Name")?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/');
        let is_fine = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed);
        if !is_fine {
            return Err(Refusal::bad(format!(
                "Invalid Policy: invalid Name {name:?}"
            )));
        }
        // Rules may be longer than other texts.
        let rules = match fields.find("Rules") {
            Some(serde_json::Value::String(rules)) if rules.len() <= RULES_BYTES_MAX => {
                rules.clone()
            }
            None => String::new(),
            Some(_) => {
                let text = format!("'Rules' expected a text of at most {RULES_BYTES_MAX} bytes");
                return Err(Refusal::decode(text));
            }
        };
        Ok(Self {
            id: fields.text("ID")?,
            name,
            description: fields.text("Description")?,
            rules,
            datacenters: fields.texts("Datacenters")?,
        })
    }
}

fn decode(what: &str, error: &Refusal) -> Refusal {
    Refusal::bad(format!("{what} decoding failed: {error}"))
}
