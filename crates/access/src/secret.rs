//! Secrets and what is kept of them.
//!
//! A secret that is made here has 256 random bits, so one round of SHA-256 hides it as well
//! as a slow function would: there is nothing to guess. Hashes are compared in constant time.

use std::{fmt, hash, str::FromStr};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// What secrets begin with, so that scanners of leaked secrets know them.
const PREFIX: &str = "ptl_";
/// What hashes begin with where they are written.
const ALGORITHM: &str = "sha256:";

/// A secret; it shows itself only when asked by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one; the bytes come from a generator that nobody can foresee.
    #[must_use]
    pub fn from_random(bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(bytes)))
    }

    /// What somebody gave as one.
    #[must_use]
    pub fn given(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy, Eq)]
pub struct SecretHash([u8; 32]);

/// A text that is no hash. Whoever wrote it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is `{ALGORITHM}` and 64 hexadecimal digits; `portolan token generate` makes one")]
pub struct BadHash;

impl SecretHash {
    /// The hash of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let mut bytes = [0; 32];
        let digest = digest(&SHA256, secret.as_bytes());
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl hash::Hash for SecretHash {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for SecretHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let digits = text.strip_prefix(ALGORITHM).ok_or(BadHash)?;
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        let bytes = bytes.map_err(|_| BadHash)?;
        bytes.try_into().map(Self).map_err(|_| BadHash)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = HEXLOWER_PERMISSIVE.encode(&self.0);
        write!(f, "{ALGORITHM}{digits}")
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}
