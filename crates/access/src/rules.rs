//! Rules of access: what a policy allows, and what several policies allow together.
//!
//! A rule names a resource, exactly or by a prefix, and a level. The exact rule counts
//! before any prefix, and the longest prefix before shorter ones. Where several policies
//! speak of the same name, `deny` wins, then the widest level.
//! Source: the ACL rules reference of the Consul API.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use crate::hcl;

/// Most rules of one policy.
pub const RULES_MAX: usize = 4096;

/// A text that is no policy. The client's fault: 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to parse ACL rules: {message}")]
pub struct RulesError {
    /// What is wrong, with the line if there is one.
    pub message: String,
}

impl RulesError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The access control itself.
    Acl,
    /// Agents, by node.
    Agent,
    /// Events, by name.
    Event,
    /// Identities that authentication yields.
    Identity,
    /// Keys.
    Key,
    /// The keys of gossip.
    Keyring,
    /// The mesh.
    Mesh,
    /// Nodes, by name.
    Node,
    /// The cluster.
    Operator,
    /// Peers.
    Peering,
    /// Prepared queries, by name.
    Query,
    /// Services, by name.
    Service,
    /// Sessions, by node.
    Session,
}

impl Resource {
    /// Every resource by its word in policies.
    const ALL: [(&'static str, Self); 13] = [
        ("acl", Self::Acl),
        ("agent", Self::Agent),
        ("event", Self::Event),
        ("identity", Self::Identity),
        ("key", Self::Key),
        ("keyring", Self::Keyring),
        ("mesh", Self::Mesh),
        ("node", Self::Node),
        ("operator", Self::Operator),
        ("peering", Self::Peering),
        ("query", Self::Query),
        ("service", Self::Service),
        ("session", Self::Session),
    ];

    fn parse(word: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(name, _)| *name == word);
        known.map(|(_, resource)| resource)
    }

    /// Its word in policies and in refusals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == self);
        known.map_or("", |(name, _)| name)
    }

    /// Whether it has no names: there is one of it.
    const fn is_single(self) -> bool {
        matches!(
            self,
            Self::Acl | Self::Keyring | Self::Mesh | Self::Operator | Self::Peering
        )
    }
}

/// What is allowed; each level allows what the ones before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    #[default]
    Deny,
    /// To read.
    Read,
    /// To read and to list what begins so; for keys only.
    List,
    /// Everything.
    Write,
}

impl Level {
    /// Its word in policies and in refusals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
        }
    }

    fn parse(text: &str, resource: Resource) -> Option<Self> {
        match text {
            "deny" => Some(Self::Deny),
            "read" => Some(Self::Read),
            "list" if resource == Resource::Key => Some(Self::List),
            "write" => Some(Self::Write),
            _ => None,
        }
    }
}

/// How the name of a rule is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// This one.
    Exact,
    /// All that begin so.
    Prefix,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub resource: Resource,
    /// How the name is meant.
    pub extent: Extent,
    /// The name; empty for what there is one of.
    pub name: String,
    /// What is allowed.
    pub level: Level,
}

/// The rules of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads a policy in JSON or HCL.
    ///
    /// # Errors
    /// [`RulesError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let tree = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| RulesError::new(error.to_string()))?
        } else {
            hcl::parse(text)?
        };
        let Value::Object(tree) = tree else {
            return Err(RulesError::new("a policy is an object"));
        };
        let mut rules = Vec::new();
        for (word, value) in &tree {
            read_resource(word, value, &mut rules)?;
        }
        if rules.len() > RULES_MAX {
            let message = format!("a policy has at most {RULES_MAX} rules");
            return Err(RulesError::new(message));
        }
        Ok(Self(rules))
    }

    /// The rules.
    #[must_use]
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }
}

fn read_resource(word: &str, value: &Value, rules: &mut Vec<Rule>) -> Result<(), RulesError> {
    let unknown = || RulesError::new(format!("unknown key {word:?}"));
    let (extent, resource) = match word.strip_suffix("_prefix") {
        Some(word) => (Extent::Prefix, Resource::parse(word).ok_or_else(unknown)?),
        None => (Extent::Exact, Resource::parse(word).ok_or_else(unknown)?),
    };
    if resource.is_single() {
        let text = value.as_str().filter(|_| extent == Extent::Exact);
        let text = text.ok_or_else(|| RulesError::new(format!("{word:?} has one level")))?;
        rules.push(Rule {
            resource,
            extent,
            name: String::new(),
            level: level(word, text, resource)?,
        });
        return Ok(());
    }
    // Several blocks of one kind are a list of objects.
    let many = value.as_array().map(Vec::as_slice);
    let blocks = many.unwrap_or_else(|| std::slice::from_ref(value));
    for block in blocks {
        let names = block
            .as_object()
            .ok_or_else(|| RulesError::new(format!("{word:?} needs a name and a policy")))?;
        for (name, body) in names {
            let level = body_level(word, body, resource)?;
            rules.push(Rule {
                resource,
                extent,
                name: name.clone(),
                level,
            });
        }
    }
    Ok(())
}

/// The level in the body of a named rule. Settings of the mesh and of Sentinel are taken
/// and mean nothing here.
fn body_level(word: &str, body: &Value, resource: Resource) -> Result<Level, RulesError> {
    let many = body.as_array();
    let body = many.map_or(body, |list| list.first().unwrap_or(&Value::Null));
    let fields = body
        .as_object()
        .ok_or_else(|| RulesError::new(format!("{word:?} needs a policy")))?;
    for key in fields.keys() {
        if !matches!(key.as_str(), "policy" | "intentions" | "sentinel") {
            return Err(RulesError::new(format!("unknown key {key:?} in {word:?}")));
        }
    }
    let text = fields.get("policy").and_then(Value::as_str);
    level(word, text.unwrap_or_default(), resource)
}

fn level(word: &str, text: &str, resource: Resource) -> Result<Level, RulesError> {
    Level::parse(text, resource)
        .ok_or_else(|| RulesError::new(format!("Invalid {word} policy: {text:?}")))
}

/// What several policies allow together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    rules: BTreeMap<(Resource, Extent, String), Level>,
    otherwise: Level,
}

impl Authority {
    /// What these policies allow; what none of them speaks of gets the level `otherwise`.
    #[must_use]
    pub fn new<'r>(policies: impl IntoIterator<Item = &'r Rules>, otherwise: Level) -> Self {
        let mut rules = BTreeMap::<_, Level>::new();
        for rule in policies.into_iter().flat_map(Rules::as_slice) {
            let name = canonical(rule.resource, &rule.name);
            let key = (rule.resource, rule.extent, name.into_owned());
            let level = match rules.get(&key) {
                Some(Level::Deny) => Level::Deny,
                Some(known) if rule.level != Level::Deny => rule.level.max(*known),
                Some(_) | None => rule.level,
            };
            rules.insert(key, level);
        }
        Self { rules, otherwise }
    }

    /// Whether it says anything at all.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The level for a name; the empty one for what there is one of.
    #[must_use]
    pub fn level(&self, resource: Resource, name: &str) -> Level {
        let name = &*canonical(resource, name);
        let exact = (resource, Extent::Exact, name.to_owned());
        let exact = self.rules.get(&exact).copied();
        exact.unwrap_or_else(|| self.prefix_level(resource, name))
    }

    /// The level by the longest prefix. Its cost is the number of rules, not the length of a
    /// name, which is whatever a caller sends.
    fn prefix_level(&self, resource: Resource, name: &str) -> Level {
        let from = (resource, Extent::Prefix, String::new());
        let prefixes = self.rules.range(from..);
        let prefixes = prefixes.take_while(|((of, ..), _)| *of == resource);
        let longest = prefixes
            .filter(|((_, _, prefix), _)| name.starts_with(prefix.as_str()))
            .max_by_key(|((_, _, prefix), _)| prefix.len());
        longest.map_or(self.otherwise, |(_, level)| *level)
    }

    /// Whether that level is allowed for a name.
    #[must_use]
    pub fn allows(&self, resource: Resource, name: &str, level: Level) -> bool {
        self.level(resource, name) >= level
    }

    /// Whether everything that begins so is allowed that level: by a rule for all that begins
    /// so, of which no rule below says less. A rule for the name alone says nothing of others.
    #[must_use]
    pub fn allows_tree(&self, resource: Resource, prefix: &str, level: Level) -> bool {
        let prefix = &*canonical(resource, prefix);
        let mut below = self.rules.iter().filter(|((of, extent, name), _)| {
            *of == resource
                && name.starts_with(prefix)
                && (*extent, name.as_str()) != (Extent::Exact, "")
        });
        let of_all = self.prefix_level(resource, prefix);
        of_all >= level && below.all(|(_, known)| *known >= level)
    }

    /// Whether that level is allowed for some name.
    #[must_use]
    pub fn allows_some(&self, resource: Resource, level: Level) -> bool {
        let mut rules = self.rules.iter();
        self.otherwise >= level || rules.any(|((of, ..), known)| *of == resource && *known >= level)
    }
}

/// A name as rules are looked up by it: services are the same whatever their case.
fn canonical(resource: Resource, name: &str) -> Cow<'_, str> {
    if resource == Resource::Service && name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return name.to_ascii_lowercase().into();
    }
    name.into()
}
