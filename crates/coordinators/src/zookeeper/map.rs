//! Nodes of ZooKeeper as instances.

use std::collections::BTreeMap;

use portolan_model::{Health, SourceId, percent::decode_loosely};
use portolan_sources::frame::{Found, Unfit, address_of};
use serde_json::{Map, Value, json};

use super::settings::{Layout, Settings};
use crate::{
    held::Made,
    labels::{labels, port_of, speak},
};

/// The name of the port with TLS.
const SECURE_PORT: &str = "secure";
/// Where Spring Cloud says how an instance does.
const STATUS: &str = "instance_status";
/// Where Dubbo lists ports and protocols.
const ENDPOINTS: &str = "dubbo.endpoints";

/// What a node holds, or why it can't be read.
pub(super) type Content<'a> = Result<&'a [u8], Unfit>;

/// The instance that a node stands for.
pub(super) fn read(
    settings: &Settings,
    source: &SourceId,
    (service, id): (&str, &str),
    content: Content<'_>,
) -> Made {
    let content = content?;
    let (found, data) = match settings.layout {
        Layout::Dubbo => match provider(service, id)? {
            Some(read) => read,
            None => return Ok(None),
        },
        layout @ (Layout::Curator | Layout::Spring | Layout::DubboApp) => {
            let data: Value = serde_json::from_slice(content)
                .map_err(|error| Unfit::Because(format!("the data is not JSON: {error}")))?;
            (curator(service, id, &data, layout), data)
        }
    };
    let object = || {
        let path = format!("{}/{id}", settings.tree.service(service));
        Map::from_iter([("path".to_owned(), json!(path)), ("data".to_owned(), data)])
    };
    settings.basics.instance(source, found, object)
}

fn curator(service: &str, id: &str, data: &Value, layout: Layout) -> Found {
    let port = |name: &str| data.get(name).and_then(port_of).filter(|port| *port != 0);
    let address = data.get("address").and_then(Value::as_str);
    let plain = port("port").map(|port| (String::new(), port));
    let secure = port("sslPort").map(|port| (SECURE_PORT.to_owned(), port));
    let payload = data.get("payload").unwrap_or(&Value::Null);
    let metadata = match layout {
        Layout::Curator => labels(payload),
        Layout::Spring | Layout::DubboApp | Layout::Dubbo => {
            payload.get("metadata").map(labels).unwrap_or_default()
        }
    };
    let mut found = Found {
        service: service.to_owned(),
        id: id.to_owned(),
        address: address.and_then(address_of),
        ports: plain.into_iter().chain(secure).collect(),
        // Older writers leave it out.
        out_of_service: data.get("enabled").and_then(Value::as_bool) == Some(false),
        metadata,
        ..Found::default()
    };
    // The name of a Java class says nothing about the instance.
    found.metadata.remove("@class");
    match found.metadata.get(STATUS).map(String::as_str) {
        Some("OUT_OF_SERVICE") => found.out_of_service = true,
        Some("DOWN") => found.health = Health::Critical,
        Some("STARTING") => found.health = Health::Starting,
        Some(_) | None => {}
    }
    if layout == Layout::DubboApp {
        let endpoints = found.metadata.get(ENDPOINTS);
        let more = endpoints.map(|text| endpoints_of(text)).unwrap_or_default();
        found.ports.extend(more);
    }
    speak(&mut found);
    found
}

/// Ports by their protocol.
fn endpoints_of(text: &str) -> Vec<(String, u16)> {
    let list: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    let endpoint = |one: &Value| {
        let protocol = one.get("protocol")?.as_str()?;
        Some((protocol.to_owned(), port_of(one.get("port")?)?))
    };
    list.iter().filter_map(endpoint).collect()
}

/// A provider as Dubbo writes it into the node's name; `None` for the mark that there is
/// none.
fn provider(service: &str, name: &str) -> Result<Option<(Found, Value)>, Unfit> {
    let url = decoded(name);
    let bad = || Unfit::Because("the name is not the URL of a provider".to_owned());
    let (protocol, rest) = url.split_once("://").ok_or_else(bad)?;
    if protocol == "empty" {
        return Ok(None);
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // A name and a password may stand before the host, and are nobody's business.
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, port) = authority.rsplit_once(':').ok_or(Unfit::NoPort)?;
    let port: u16 = port.parse().map_err(|_| Unfit::NoPort)?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(key, value)| (decoded(key), Value::String(decoded(value))));
    let parameters = Value::Object(pairs.collect());
    let metadata = labels(&parameters);
    let said = |name: &str, word: &str| metadata.get(name).is_some_and(|value| value == word);
    let mut found = Found {
        service: service.to_owned(),
        id: provider_id(authority, &metadata),
        address: address_of(host),
        ports: vec![(protocol.to_owned(), port)],
        out_of_service: said("disabled", "true") || said("enabled", "false"),
        ..Found::default()
    };
    found.metadata = metadata;
    speak(&mut found);
    let data = json!({
        "protocol": protocol, "host": host, "port": port, "path": path, "parameters": parameters,
    });
    Ok(Some((found, data)))
}

/// One port may serve several versions and groups of an interface.
fn provider_id(authority: &str, parameters: &BTreeMap<String, String>) -> String {
    let besides = ["group", "version"].iter();
    let besides = besides.filter_map(|name| parameters.get(*name));
    let mut id = authority.to_owned();
    for word in besides.filter(|word| !word.is_empty()) {
        id.push('~');
        id.push_str(word);
    }
    id
}

/// Undoes the encoding of URLs.
fn decoded(text: &str) -> String {
    let bytes: Vec<u8> = decode_loosely(text.as_bytes()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
