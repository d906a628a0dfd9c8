//! Scopes: what a token is for.

use std::{fmt, str::FromStr};

use portolan_model::{Name, ServiceKey};

use crate::{Level, Need, Resource};

/// Most scopes of one token.
pub const SCOPES_MAX: usize = 64;

/// What a token is for, in part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To read what is registered and how it is served.
    Read,
    /// To register instances of these services and speak for them.
    Register(Reach),
    /// To overrule instances, the guard and maintenance; to read as well.
    Operate,
    /// Everything.
    Admin,
}

/// Which services may be registered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// All of them.
    Everywhere,
    /// One.
    Service(ServiceKey),
    /// Those of a namespace whose names begin so.
    Prefix(Name, String),
}

/// A text that is no scope. Whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScope {
    /// It is none of the words, or its service is none.
    #[error(
        "`{0}` is no scope: they are `read`, `register`, `register:orders`, `register:orders-*`, `register:namespace/*`, `operate` and `admin`"
    )]
    Word(String),
    /// There are more than a token may have.
    #[error("{0} scopes are over the limit of {SCOPES_MAX}")]
    TooMany(usize),
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        match text.split_once(':') {
            None if text == "read" => Ok(Self::Read),
            None if text == "operate" => Ok(Self::Operate),
            None if text == "admin" => Ok(Self::Admin),
            None if text == "register" => Ok(Self::Register(Reach::Everywhere)),
            Some(("register", services)) => {
                let reach = Reach::parse(services);
                let reach = reach.ok_or_else(|| BadScope::Word(text.to_owned()))?;
                Ok(Self::Register(reach))
            }
            None | Some(_) => Err(BadScope::Word(text.to_owned())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Register(Reach::Everywhere) => f.write_str("register"),
            Self::Register(Reach::Service(key)) => write!(f, "register:{key}"),
            Self::Register(Reach::Prefix(namespace, prefix))
                if namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE =>
            {
                write!(f, "register:{prefix}*")
            }
            Self::Register(Reach::Prefix(namespace, prefix)) => {
                write!(f, "register:{namespace}/{prefix}*")
            }
            Self::Operate => f.write_str("operate"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl Reach {
    fn parse(text: &str) -> Option<Self> {
        let Some(begin) = text.strip_suffix('*') else {
            return ServiceKey::parse(text).ok().map(Self::Service);
        };
        let (namespace, prefix) = begin
            .split_once('/')
            .unwrap_or((ServiceKey::DEFAULT_NAMESPACE, begin));
        // The beginning of a name is a name, or nothing.
        if !prefix.is_empty() {
            Name::parse(prefix).ok()?;
        }
        let namespace = Name::parse(namespace).ok()?;
        Some(Self::Prefix(namespace, prefix.to_ascii_lowercase()))
    }

    /// Whether a service is among them.
    #[must_use]
    pub fn contains(&self, key: &ServiceKey) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Service(own) => own == key,
            Self::Prefix(namespace, prefix) => {
                *namespace == key.namespace && key.name.as_str().starts_with(prefix.as_str())
            }
        }
    }
}

/// What a token is for; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Reads scopes as they are written.
    ///
    /// # Errors
    /// [`BadScope`] names the text.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, BadScope> {
        let scopes = texts.into_iter().map(str::parse);
        let scopes: Vec<Scope> = scopes.collect::<Result<_, _>>()?;
        if scopes.len() > SCOPES_MAX {
            return Err(BadScope::TooMany(scopes.len()));
        }
        Ok(Self(scopes))
    }

    /// As they were written.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing can be changed by them.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.iter().all(|scope| *scope == Scope::Read)
    }

    /// Whether a request may be served.
    #[must_use]
    pub fn allows(&self, need: &Need) -> bool {
        matches!(need, Need::Nothing | Need::Rules) || self.0.iter().any(|scope| scope.allows(need))
    }

    /// What they allow of a resource of Consul.
    #[must_use]
    pub fn level(&self, resource: Resource, name: &str) -> Level {
        let levels = self.0.iter().map(|scope| scope.level(resource, name));
        levels.max().unwrap_or_default()
    }
}

impl Scope {
    fn allows(&self, need: &Need) -> bool {
        match (self, need) {
            (Self::Admin, _)
            | (_, Need::Nothing | Need::Rules | Need::Name)
            | (Self::Read | Self::Operate, Need::Read)
            | (Self::Operate, Need::Operate)
            | (Self::Register(_), Need::RegisterSome) => true,
            (Self::Register(reach), Need::Register(key)) => reach.contains(key),
            (Self::Read | Self::Operate | Self::Register(_), _) => false,
        }
    }

    /// Reading is for all resources but the access control itself and the keys of gossip.
    fn level(&self, resource: Resource, name: &str) -> Level {
        match self {
            Self::Admin => Level::Write,
            Self::Read | Self::Operate => match resource {
                Resource::Acl | Resource::Keyring => Level::Deny,
                Resource::Key => Level::List,
                Resource::Agent
                | Resource::Event
                | Resource::Identity
                | Resource::Mesh
                | Resource::Node
                | Resource::Operator
                | Resource::Peering
                | Resource::Query
                | Resource::Service
                | Resource::Session => Level::Read,
            },
            Self::Register(reach) if resource == Resource::Service => {
                let named = Name::parse(name).map(ServiceKey::in_default);
                match named {
                    Ok(key) if reach.contains(&key) => Level::Write,
                    Ok(_) | Err(_) => Level::Deny,
                }
            }
            Self::Register(_) => Level::Deny,
        }
    }
}
