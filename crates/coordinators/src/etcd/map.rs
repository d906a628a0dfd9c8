//! Keys and values of etcd as instances.

use portolan_dialects::native::Registration;
use portolan_model::SourceId;
use portolan_sources::frame::{Found, Unfit, address_of};
use serde_json::{Map, Value, json};

use super::settings::{Layout, Settings};
use crate::{
    held::Made,
    labels::{labels, port_of, speak, text_of},
};

/// The largest value that is read.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Fields of `SkyDNS` that become metadata.
const SKYDNS_METADATA: [&str; 4] = ["priority", "text", "ttl", "group"];
/// The port that is used when nobody names one, if there is one of that name.
const USUAL_PORT: &str = "http";

/// The bytes that all keys begin with.
pub(super) fn first_key(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() {
        // The least of all keys.
        return vec![0];
    }
    format!("{prefix}/").into_bytes()
}

/// The first key that does not begin so.
pub(super) fn end_key(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() {
        // As etcd writes "up to the last key".
        return vec![0];
    }
    // The byte after the slash.
    format!("{prefix}0").into_bytes()
}

/// What stands at a key.
pub(super) fn read(settings: &Settings, source: &SourceId, key: &str, value: &[u8]) -> Made {
    if value.len() > VALUE_BYTES_MAX {
        let message = format!("the value is over the limit of {VALUE_BYTES_MAX} bytes");
        return Err(Unfit::Because(message));
    }
    let value: Value = serde_json::from_slice(value)
        .map_err(|error| Unfit::Because(format!("the value is not JSON: {error}")))?;
    let below = key.strip_prefix(&settings.prefix).unwrap_or(key);
    let below = if settings.prefix.is_empty() {
        below
    } else {
        below.strip_prefix('/').unwrap_or(below)
    };
    let found = match settings.layout {
        Layout::Grpc => grpc(settings, below, &value)?,
        Layout::Skydns => Some(skydns(below, &value)?),
        Layout::Portolan => Some(portolan(below, &value)?),
    };
    let Some(found) = found else {
        return Ok(None);
    };
    let object = || Map::from_iter([("key".to_owned(), json!(key)), ("value".to_owned(), value)]);
    settings.basics.instance(source, found, object)
}

/// `None` for an address that the naming package marked as deleted.
fn grpc(settings: &Settings, below: &str, value: &Value) -> Result<Option<Found>, Unfit> {
    let (service, id) = match below.rsplit_once('/') {
        Some((service, id)) => (service, id),
        None => (last_word(&settings.prefix), below),
    };
    if value.get("Op").and_then(Value::as_u64) == Some(1) {
        return Ok(None);
    }
    let Some(address) = value.get("Addr").and_then(Value::as_str) else {
        return Err(Unfit::Because("the value has no text `Addr`".to_owned()));
    };
    let (host, port) = address.rsplit_once(':').ok_or(Unfit::NoPort)?;
    let port = port.parse().map_err(|_| Unfit::NoPort)?;
    let mut found = Found {
        service: service.trim_start_matches('/').to_owned(),
        id: id.to_owned(),
        address: address_of(host),
        ports: vec![(String::new(), port)],
        metadata: value.get("Metadata").map(labels).unwrap_or_default(),
        ..Found::default()
    };
    speak(&mut found);
    Ok(Some(found))
}

fn skydns(below: &str, value: &Value) -> Result<Found, Unfit> {
    let labels: Vec<_> = below.split('/').filter(|label| !label.is_empty()).collect();
    let (id, above) = match labels.split_last() {
        Some((only, [])) => ((*only), vec![*only]),
        Some((id, above)) => (*id, above.iter().rev().copied().collect()),
        None => {
            return Err(Unfit::Because(
                "the key has no name below the prefix".to_owned(),
            ));
        }
    };
    let host = value.get("host").and_then(Value::as_str);
    let weight = value.get("weight").and_then(Value::as_u64);
    let weight = weight.filter(|weight| *weight != 0);
    let texts = SKYDNS_METADATA.iter().filter_map(|name| {
        let text = text_of(value.get(*name)?).filter(|text| !text.is_empty())?;
        Some(((*name).to_owned(), text))
    });
    Ok(Found {
        service: above.join("."),
        id: id.to_owned(),
        address: host.and_then(address_of),
        ports: vec![(
            String::new(),
            value.get("port").and_then(port_of).unwrap_or(0),
        )],
        weight: weight.map(|weight| u16::try_from(weight).unwrap_or(u16::MAX)),
        metadata: texts.collect(),
        ..Found::default()
    })
}

fn portolan(below: &str, value: &Value) -> Result<Found, Unfit> {
    let mut words = below.splitn(3, '/');
    let (Some(namespace), Some(service), Some(id)) = (words.next(), words.next(), words.next())
    else {
        let message = "the key is not like <namespace>/<service>/<id> below the prefix";
        return Err(Unfit::Because(message.to_owned()));
    };
    let registration: Registration = serde::Deserialize::deserialize(value)
        .map_err(|error| Unfit::Because(format!("the value is no registration: {error}")))?;
    let named = registration.ports.iter();
    let mut ports: Vec<_> = named
        .map(|(name, port)| (name.clone(), port.get()))
        .collect();
    ports.sort_by_key(|(name, _)| name != USUAL_PORT);
    let only = registration.port.map(|port| (String::new(), port.get()));
    let text = |text: &std::sync::Arc<str>| text.to_string();
    let pairs = registration.metadata.iter();
    Ok(Found {
        service: service.to_owned(),
        namespace: Some(namespace.to_owned()),
        id: id.to_owned(),
        address: registration.address.as_deref().and_then(address_of),
        ports: only.into_iter().chain(ports).collect(),
        zone: registration.zone.as_ref().map(text),
        version: registration.version.as_ref().map(text),
        weight: registration.weight.map(std::num::NonZero::get),
        health: registration.status.unwrap_or_default(),
        note: registration.note.as_ref().map(text),
        tags: registration.tags.iter().map(text).collect(),
        metadata: pairs.map(|(key, value)| (text(key), text(value))).collect(),
        ..Found::default()
    })
}

fn last_word(prefix: &str) -> &str {
    prefix.rsplit('/').next().unwrap_or(prefix)
}
