//! Key-value labels as others write them, and what they say of an instance.

use std::collections::BTreeMap;

use portolan_sources::frame::Found;
use serde_json::Value;

/// Most labels that are taken over.
const PAIRS_MAX: usize = 256;
/// Longest key or value that is taken over, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// The labels of a JSON object. Lists, objects and what is over the limits are left out.
pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    let texts = pairs.filter_map(|(key, value)| Some((key.clone(), text_of(value)?)));
    let short = texts.filter(|(key, value)| key.len().max(value.len()) <= TEXT_BYTES_MAX);
    short.take(PAIRS_MAX).collect()
}

/// Lets the labels `version`, `zone` and `weight` speak for an instance that has no better
/// word on them. The labels stay.
pub(crate) fn speak(found: &mut Found) {
    let label = |name: &str| found.metadata.get(name).cloned();
    found.version = found.version.take().or_else(|| label("version"));
    found.zone = found.zone.take().or_else(|| label("zone"));
    let weight = label("weight").and_then(|text| text.trim().parse().ok());
    found.weight = found.weight.or(weight);
}

/// A text, number or boolean as a text.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "lists, objects and null are no labels"
)]
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A port, written as a number or as a text; 0 is none.
pub(crate) fn port_of(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.and_then(|number| u16::try_from(number).ok())
}
