//! Items of a document as instances. Pure.

use std::collections::BTreeMap;

use portolan_model::{Health, SourceId};
use serde_json::{Map, Value};

use super::settings::{DOCUMENT, ITEM, Settings};
use crate::frame::{Found, Provenance, View, address_of};

/// Most items of a document.
pub(super) const ITEMS_MAX: usize = 100_000;

/// Everything that a document says.
///
/// # Errors
/// Why it says nothing that makes sense, in words for an operator.
pub(super) fn view(
    settings: &Settings,
    source: &SourceId,
    provenance: &Provenance,
    document: Value,
) -> Result<View, String> {
    let items = items(settings, document)?;
    let mut view = View::default();
    for (index, item) in items.iter().enumerate() {
        let what = format!("item {index}");
        let Some(fields) = item.as_object() else {
            view.pass_over_for(&what, "it is not a map");
            continue;
        };
        let mut found = found(settings, fields);
        if !provenance.admit(&mut found) {
            continue;
        }
        let object = || Map::from_iter([(ITEM.to_owned(), item.clone())]);
        let mut made = settings.basics.instance(source, found, object);
        if let Ok(Some(instance)) = &mut made
            && instance.id.as_str() == UNNAMED
        {
            let address = instance.endpoints.first().map(|first| first.address);
            let id = address
                .map(|address| address.to_string())
                .unwrap_or_default();
            if let Ok(id) = crate::frame::foreign_id(&id) {
                instance.id = id;
            }
        }
        view.take(&what, made);
    }
    let unusable = usize::try_from(view.unfits().count()).unwrap_or(usize::MAX);
    if !items.is_empty() && unusable == items.len() {
        let example = view.unfits().example().unwrap_or_default();
        return Err(format!(
            "none of its {unusable} items is an instance: {example}"
        ));
    }
    Ok(view)
}

/// Stands for an id that is made of address and port once these are known.
const UNNAMED: &str = "~";

fn items(settings: &Settings, document: Value) -> Result<Vec<Value>, String> {
    let list = match &settings.items {
        Some(program) => program
            .value(&Map::from_iter([(DOCUMENT.to_owned(), document)]))
            .map_err(|error| format!("`items`: {error}"))?,
        None => document,
    };
    let Value::Array(items) = list else {
        let what = match list {
            Value::Null => "nothing",
            Value::Bool(_) => "a truth",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) | Value::Object(_) => "a map",
        };
        return Err(format!("`items` comes to {what}, not to a list"));
    };
    if items.len() > ITEMS_MAX {
        return Err(format!("it has more than {ITEMS_MAX} items"));
    }
    Ok(items)
}

fn found(settings: &Settings, item: &Map<String, Value>) -> Found {
    let text = |name: &str| item.get(name).and_then(text_of);
    let number = |name: &str| item.get(name).and_then(number_of);
    let mut ports: Vec<(String, u16)> = number("port")
        .into_iter()
        .map(|port| (String::new(), port))
        .collect();
    let named = item.get("ports").and_then(Value::as_object);
    for (name, value) in named.into_iter().flatten() {
        ports.extend(number_of(value).map(|port| (name.clone(), port)));
    }
    let tags = item.get("tags").and_then(Value::as_array);
    let metadata = item.get("metadata").and_then(Value::as_object);
    let metadata: BTreeMap<_, _> = metadata
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), text_of(value)?)))
        .collect();
    Found {
        service: text("service")
            .or_else(|| settings.service.clone())
            .unwrap_or_default(),
        id: text("id").unwrap_or_else(|| UNNAMED.to_owned()),
        address: text("address").and_then(|address| address_of(&address)),
        ports,
        zone: text("zone"),
        version: text("version"),
        weight: number("weight"),
        health: item.get("health").and_then(health_of).unwrap_or_default(),
        tags: tags.into_iter().flatten().filter_map(text_of).collect(),
        metadata,
        ..Found::default()
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_of(value: &Value) -> Option<u16> {
    text_of(value)?.trim().parse().ok()
}

/// None where it makes no sense: what nobody understands does not fail.
fn health_of(value: &Value) -> Option<Health> {
    match text_of(value)?.as_str() {
        "true" | "passing" => Some(Health::Passing),
        "warning" => Some(Health::Warning),
        "starting" => Some(Health::Starting),
        "false" | "critical" => Some(Health::Critical),
        _ => None,
    }
}
