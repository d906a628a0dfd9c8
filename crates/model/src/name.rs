//! Names of namespaces, services and instances.
//!
//! A [`Name`] is the canonical, lower-case key. The spelling that a service was
//! first registered with is kept beside it by whoever shows it. Two names that
//! differ only by case are therefore the same service.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize, Serializer};

/// Longest name, in bytes: what a DNS name can carry with room for a zone.
const NAME_BYTES_MAX: usize = 200;
/// Longest instance id, in bytes. Eureka's ids hold host, application and port.
const INSTANCE_ID_BYTES_MAX: usize = 512;

/// A text that cannot be a name. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing was given.
    #[error("a name is empty")]
    Empty,
    /// Longer than the limit.
    #[error("a name of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// Length of the text, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Holds a character outside the allowed set.
    #[error("`{text}` holds {character:?}; a name has letters, digits, `-`, `_`, `.` and `:`")]
    Character {
        /// The whole text.
        text: String,
        /// The first offending character.
        character: char,
    },
}

/// A canonical name: lower-case letters, digits, `-`, `_`, `.` and `:`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Reads a name and folds it to lower case.
    ///
    /// # Errors
    /// [`BadName`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        check(text, NAME_BYTES_MAX)?;
        if text == ServiceKey::DEFAULT_NAMESPACE {
            return Ok(Self::default_namespace());
        }
        // Nearly every request names something: one look at each byte.
        if text.bytes().all(is_folded) {
            return Ok(Self(text.into()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if let Some(character) = text.chars().find(|c| !allowed(*c)) {
            return Err(BadName::Character {
                text: text.to_owned(),
                character,
            });
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The one text of it that all keys share.
    fn default_namespace() -> Self {
        static TEXT: LazyLock<Arc<str>> = LazyLock::new(|| ServiceKey::DEFAULT_NAMESPACE.into());
        Self(Arc::clone(&TEXT))
    }

    /// The canonical spelling, without a copy.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a name may have it as it is.
const fn is_folded(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':')
}

fn check(text: &str, limit: usize) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > limit {
        return Err(BadName::TooLong {
            bytes: text.len(),
            limit,
        });
    }
    Ok(())
}

/// Which service: a namespace and a name. Shown as `name`, or `namespace/name`
/// outside the namespace `default`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ServiceKey {
    /// The scope that the name is unique in.
    pub namespace: Name,
    /// The service's name.
    pub name: Name,
}

impl ServiceKey {
    /// The namespace of whoever names none.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// A service in the namespace of whoever names none.
    #[must_use]
    pub fn in_default(name: Name) -> Self {
        Self {
            namespace: Name::default_namespace(),
            name,
        }
    }

    /// Reads `name` or `namespace/name`.
    ///
    /// # Errors
    /// [`BadName`] of whichever part is wrong.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let (namespace, name) = text
            .split_once('/')
            .unwrap_or((Self::DEFAULT_NAMESPACE, text));
        Ok(Self {
            namespace: Name::parse(namespace)?,
            name: Name::parse(name)?,
        })
    }
}

/// Which instance of a service. Any visible ASCII text but `/`: foreign ids are kept whole.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// Reads an id; case is kept.
    ///
    /// # Errors
    /// [`BadName`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        check(text, INSTANCE_ID_BYTES_MAX)?;
        let allowed = |c: char| c.is_ascii_graphic() && c != '/';
        if !text.bytes().all(|byte| allowed(char::from(byte)))
            && let Some(character) = text.chars().find(|c| !allowed(*c))
        {
            return Err(BadName::Character {
                text: text.to_owned(),
                character,
            });
        }
        Ok(Self(text.into()))
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_like {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }
        impl std::str::FromStr for $type {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}
text_like!(Name);
text_like!(ServiceKey);
text_like!(InstanceId);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for InstanceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for ServiceKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.namespace.as_str() == Self::DEFAULT_NAMESPACE {
            return serializer.serialize_str(self.name.as_str());
        }
        serializer.collect_str(self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str() == Self::DEFAULT_NAMESPACE {
            return write!(f, "{}", self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_key_folds_case_and_fills_the_namespace() {
        let key = ServiceKey::parse("Orders").unwrap();
        assert_eq!(key, ServiceKey::parse("default/orders").unwrap());
        assert_eq!(key.to_string(), "orders");
        assert_eq!(
            ServiceKey::parse("Shop/Orders").unwrap().to_string(),
            "shop/orders"
        );
    }

    #[test]
    fn names_are_refused_at_one_past_the_limit() {
        assert!(Name::parse(&"a".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(matches!(
            Name::parse(&"a".repeat(NAME_BYTES_MAX + 1)),
            Err(BadName::TooLong { .. })
        ));
        assert_eq!(Name::parse(""), Err(BadName::Empty));
        assert!(matches!(
            Name::parse("a b"),
            Err(BadName::Character { character: ' ', .. })
        ));
        assert!(InstanceId::parse("host:orders:8080").is_ok());
        assert!(InstanceId::parse("a/b").is_err());
    }
}
