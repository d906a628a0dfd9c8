//! Names and ids of Consul as those of the model, which allows fewer characters.

use std::{fmt::Write as _, sync::Arc};

use portolan_model::{BadName, InstanceId, Name, ServiceKey};

use crate::consul::Refusal;

/// Namespace of the services that stand for nodes. Their instances are the checks of the
/// node itself.
const NODES: &str = "consul-nodes";
/// What clients call the agent's own node.
const OWN_NODE: &str = "_agent";
/// Longest id of a probe.
const PROBE_ID_BYTES_MAX: usize = 255;

/// The service of that name. Characters that the model has no place for are spelt as a
/// colon and their hexadecimal number.
///
/// # Errors
/// [`Refusal`]: 400 for a name that is too long.
pub fn service_key(name: &str) -> Result<ServiceKey, Refusal> {
    key(ServiceKey::DEFAULT_NAMESPACE, "service name", name)
}

/// The service that stands for a node; none is the agent's own.
///
/// # Errors
/// [`Refusal`]: 400 for a name that is too long.
pub fn node_key(node: Option<&str>) -> Result<ServiceKey, Refusal> {
    key(NODES, "node name", node.unwrap_or(OWN_NODE))
}

/// Whether a service stands for a node.
#[must_use]
pub fn is_node(key: &ServiceKey) -> bool {
    key.namespace.as_str() == NODES
}

/// The id of the probe of a check.
#[must_use]
pub fn probe_id(check: &str) -> Arc<str> {
    let spelt = spell(check, '%', |c| c.is_ascii_graphic());
    let end = spelt.floor_char_boundary(PROBE_ID_BYTES_MAX);
    spelt.get(..end).unwrap_or_default().into()
}

fn key(namespace: &str, what: &str, name: &str) -> Result<ServiceKey, Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let spelt = spell(name, ':', allowed);
    let name = Name::parse(&spelt).map_err(|error| refuse(what, &error))?;
    let namespace = Name::parse(namespace).map_err(|error| refuse("namespace", &error))?;
    Ok(ServiceKey { namespace, name })
}

/// The id of a service on a node; none stands for the agent's own. Ids are unique on a
/// node only, so those of other nodes are told apart by it.
///
/// # Errors
/// [`Refusal`]: 400 for an id that is too long.
pub fn instance_id(id: &str, node: Option<&str>) -> Result<InstanceId, Refusal> {
    let allowed = |c: char| c.is_ascii_graphic() && c != '/';
    let mut spelt = spell(id, '%', allowed);
    if let Some(node) = node {
        spelt.push('@');
        spelt.push_str(&spell(node, '%', allowed));
    }
    InstanceId::parse(&spelt).map_err(|error| refuse("service ID", &error))
}

fn spell(text: &str, mark: char, allowed: impl Fn(char) -> bool) -> String {
    let mut spelt = String::with_capacity(text.len());
    for character in text.chars() {
        if allowed(character) {
            spelt.push(character);
        } else {
            // Writing to a string can't fail.
            let _written = write!(spelt, "{mark}{:02x}", u32::from(character));
        }
    }
    spelt
}

fn refuse(what: &str, error: &BadName) -> Refusal {
    Refusal::bad(format!("Invalid {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_are_spelt_out() {
        let key = service_key("app#127.0.0.1#3000").unwrap();
        assert_eq!(key.to_string(), "app:23127.0.0.1:233000");
        assert_eq!(service_key("Web").unwrap(), service_key("web").unwrap());
        assert_eq!(instance_id("a/b", None).unwrap().as_str(), "a%2fb");
        assert_eq!(
            instance_id("web", Some("n 1")).unwrap().as_str(),
            "web@n%201"
        );
        assert_eq!(service_key(&"a".repeat(201)).unwrap_err().status, 400);
        assert_eq!(instance_id(&"a".repeat(513), None).unwrap_err().status, 400);
        assert_eq!(service_key("").unwrap_err().status, 400);
        assert_eq!(&*probe_id("my check"), "my%20check");
        let nodes = [node_key(None).unwrap(), node_key(Some("n 1")).unwrap()];
        let nodes = nodes.map(|node| (is_node(&node), node.to_string()));
        let [own, other] = &nodes;
        assert_eq!(*own, (true, "consul-nodes/_agent".to_owned()));
        assert_eq!(*other, (true, "consul-nodes/n:201".to_owned()));
        assert!(!is_node(&service_key("web").unwrap()));
    }
}
