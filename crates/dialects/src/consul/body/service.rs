//! Services as clients define them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CheckDefinition, check::checks_of, meta::validate_meta};
use crate::consul::{
    Refusal,
    loose::{self, Fields, Pairs},
};

/// Most checks of a service.
const CHECKS_MAX: usize = 64;
/// The largest weight.
const WEIGHT_MAX: u32 = 65_535;
/// The largest of the parts that are only kept, as JSON.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceDefinition {
    /// Its id; the name by default.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Flat labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// Where it is; the node's address if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Where it is, by realm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Key-value labels.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub meta: Pairs,
    /// Its port; 0 if it has none.
    pub port: u16,
    /// Its Unix socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// What it is, if not an ordinary service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Kept as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Value>,
    /// Kept as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Value>,
    /// Whether others may change its tags in the catalogue.
    pub enable_tag_override: bool,
    /// Its share of traffic.
    pub weights: Weights,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// Its checks, each with its id.
    #[serde(skip)]
    pub checks: Vec<CheckDefinition>,
}

/// An address of a realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaggedAddress {
    /// Host or IP address.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// Shares of traffic by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    /// While it is passing.
    pub passing: u16,
    /// While it warns.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            passing: 1,
            warning: 1,
        }
    }
}

/// Where something runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
}

/// What `maintenance` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Take it out, for this reason.
    On(String),
    /// Put it back.
    Off,
}

impl Maintenance {
    /// Reads the parameters `enable` and `reason`.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(enable: Option<&str>, reason: Option<&str>) -> Result<Self, Refusal> {
        let reason = || {
            reason
                .unwrap_or_default()
                .chars()
                .take(loose::TEXT_BYTES_MAX)
        };
        match enable {
            None | Some("") => Err(Refusal::bad("Missing value for enable")),
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(Self::On(reason().collect())),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(Self::Off),
            Some(other) => Err(Refusal::bad(format!("Invalid value for enable: {other:?}"))),
        }
    }
}

impl ServiceDefinition {
    /// Reads the body of `agent/service/register`.
    ///
    /// # Errors
    /// [`Refusal`]: 400.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let value = loose::parse(body)?;
        let fields = Fields::of(&value)?;
        let mut service = Self::of(fields, "Name")?;
        if service.name.is_empty() {
            return Err(Refusal::bad("Missing service name"));
        }
        service.checks = checks_of(fields, CheckDefinition::of)?;
        service.name_checks()?;
        Ok(service)
    }

    /// The fields that it has everywhere; its name is called differently.
    pub(super) fn of(fields: Fields<'_>, name: &str) -> Result<Self, Refusal> {
        let name = fields.text(name)?;
        let id = match fields.text("ID")? {
            id if id.is_empty() => name.clone(),
            id => id,
        };
        let address = fields.text("Address")?;
        if address.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()) {
            return Err(Refusal::bad("Invalid service address"));
        }
        let meta = fields.pairs("Meta")?;
        validate_meta(&meta)
            .map_err(|text| Refusal::bad(format!("Invalid Service Meta: {text}")))?;
        Ok(Self {
            id,
            name,
            tags: fields.texts("Tags")?,
            address,
            tagged_addresses: tagged(fields)?,
            meta,
            port: port_of(fields)?,
            socket_path: fields.text("SocketPath")?,
            kind: fields.text("Kind")?,
            proxy: kept(fields, "Proxy")?,
            connect: kept(fields, "Connect")?,
            enable_tag_override: fields.truth("EnableTagOverride")?,
            weights: weights(fields)?,
            locality: locality(fields)?,
            checks: Vec::new(),
        })
    }

    /// Checks without an id get one from the service's.
    pub(super) fn name_checks(&mut self) -> Result<(), Refusal> {
        if self.checks.len() > CHECKS_MAX {
            let text = format!("a service has at most {CHECKS_MAX} checks");
            return Err(Refusal::bad(text));
        }
        let count = self.checks.len();
        for (index, check) in self.checks.iter_mut().enumerate() {
            check.service_id.clone_from(&self.id);
            if check.id.is_empty() {
                check.id = match count {
                    1 => format!("service:{}", self.id),
                    _ => format!("service:{}:{}", self.id, index.saturating_add(1)),
                };
            }
            if check.name.is_empty() {
                check.name = format!("Service '{}' check", self.name);
            }
        }
        Ok(())
    }
}

fn port_of(fields: Fields<'_>) -> Result<u16, Refusal> {
    let port = fields.number("Port")?.unwrap_or(0);
    u16::try_from(port).map_err(|_| Refusal::bad(format!("Invalid service port: {port}")))
}

pub(super) fn tagged(fields: Fields<'_>) -> Result<BTreeMap<String, TaggedAddress>, Refusal> {
    let mut all = BTreeMap::new();
    let Some(map) = fields.object("TaggedAddresses")? else {
        return Ok(all);
    };
    for (realm, value) in map.entries("TaggedAddresses")? {
        let one = Fields::of(value)?;
        let address = TaggedAddress {
            address: one.text("Address")?,
            port: port_of(one)?,
        };
        all.insert(realm.to_owned(), address);
    }
    Ok(all)
}

/// A part that is only kept.
fn kept(fields: Fields<'_>, name: &str) -> Result<Option<Value>, Refusal> {
    let value = fields.raw(name);
    if value
        .as_ref()
        .is_some_and(|value| value.to_string().len() > KEPT_BYTES_MAX)
    {
        let text = format!("'{name}' is over {KEPT_BYTES_MAX} bytes");
        return Err(Refusal::decode(text));
    }
    Ok(value)
}

fn weights(fields: Fields<'_>) -> Result<Weights, Refusal> {
    let Some(weights) = fields.object("Weights")? else {
        return Ok(Weights::default());
    };
    let one = |name: &str, least: i64| {
        let given = weights.number(name)?.unwrap_or(1);
        u16::try_from(given)
            .ok()
            .filter(|_| given >= least)
            .ok_or_else(|| {
                let text = match name {
                    "Passing" => "Passing must be greater than 0".to_owned(),
                    _ => "Warning must be greater or equal than 0".to_owned(),
                };
                let text = if given > i64::from(WEIGHT_MAX) {
                    format!("{name} must be at most {WEIGHT_MAX}")
                } else {
                    text
                };
                Refusal::bad(format!("Invalid Weights: {text}"))
            })
    };
    Ok(Weights {
        passing: one("Passing", 1)?,
        warning: one("Warning", 0)?,
    })
}

pub(super) fn locality(fields: Fields<'_>) -> Result<Option<Locality>, Refusal> {
    let Some(place) = fields.object("Locality")? else {
        return Ok(None);
    };
    Ok(Some(Locality {
        region: place.text("Region")?,
        zone: place.text("Zone")?,
    }))
}
