//! Settings that every source has.

use std::net::IpAddr;

use portolan_model::{Instance, Name, ServiceKey, SourceId};
use serde_json::{Map, Value, json};

use super::{Fields, Found, Mapping, Unfit};

/// What every source can be told: where its services stand, and what is made of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Basics {
    /// The namespace of services whose own is not known.
    pub namespace: Name,
    /// The zone of instances that name none.
    pub zone: Option<String>,
    /// What the settings put over the kind's own mapping.
    pub mapping: Mapping,
}

impl Basics {
    /// Reads `namespace`, `zone`, `only` and `map`. Expressions may speak of these `names`
    /// of a foreign object.
    pub fn read(fields: &mut Fields<'_>, names: &[&str]) -> Self {
        let namespace = match fields.text("namespace").map(Name::parse) {
            Some(Ok(name)) => Some(name),
            Some(Err(bad)) => {
                fields.refuse("namespace", bad.to_string());
                None
            }
            None => None,
        };
        Self {
            namespace: namespace.unwrap_or_else(default_namespace),
            zone: fields.text("zone").map(str::to_owned),
            mapping: Mapping::read(fields, names),
        }
    }

    /// Adds the schema of these settings to a kind's `properties`.
    pub fn describe(properties: &mut Map<String, Value>, names: &[&str]) {
        properties.insert(
            "namespace".to_owned(),
            json!({"type": "string", "default": "default", "description": "The namespace of services that bring none."}),
        );
        properties.insert(
            "zone".to_owned(),
            json!({"type": "string", "description": "The zone of instances that bring none."}),
        );
        let mapping = Mapping::schema(names).into_iter();
        properties.extend(mapping.map(|(name, schema)| (name.to_owned(), schema)));
    }

    /// The instance that was found, as the settings have it; `None` if it is to be passed
    /// over. `object` makes the foreign object that expressions ask about, if there are any.
    ///
    /// # Errors
    /// [`Unfit`]: what was found is no instance.
    pub fn instance(
        &self,
        source: &SourceId,
        found: Found,
        object: impl FnOnce() -> Map<String, Value>,
    ) -> Result<Option<Instance>, Unfit> {
        let found = if self.mapping.is_empty() {
            Some(found)
        } else {
            self.mapping.apply(found, &object())?
        };
        let Some(mut found) = found else {
            return Ok(None);
        };
        if found.zone.is_none() {
            found.zone.clone_from(&self.zone);
        }
        found.into_instance(&self.namespace, source).map(Some)
    }

    /// The service of that foreign name in the namespace of the settings; `None` if it can't
    /// be a name of ours.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<ServiceKey> {
        Some(ServiceKey {
            namespace: self.namespace.clone(),
            name: super::foreign_name(name).ok()?,
        })
    }
}

impl Default for Basics {
    fn default() -> Self {
        Self {
            namespace: default_namespace(),
            zone: None,
            mapping: Mapping::default(),
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant that is a name")]
fn default_namespace() -> Name {
    Name::parse(ServiceKey::DEFAULT_NAMESPACE).expect("`default` is a name")
}

/// An address that the outside wrote: an IP, in brackets or not.
#[must_use]
pub fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}
