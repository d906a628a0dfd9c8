//! The agent about itself.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// Its name; in the wide area with the datacenter.
    pub name: String,
    /// Its address.
    pub addr: Arc<str>,
    /// Its port.
    pub port: u16,
    /// What it is.
    pub tags: BTreeMap<&'static str, String>,
    /// 1 is alive.
    pub status: u8,
    /// Versions of gossip, which nobody speaks here.
    pub protocol_min: u8,
    /// As above.
    pub protocol_max: u8,
    /// As above.
    pub protocol_cur: u8,
    /// As above.
    pub delegate_min: u8,
    /// As above.
    pub delegate_max: u8,
    /// As above.
    pub delegate_cur: u8,
}

/// The part of an agent's configuration that everybody may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ItselfConfig {
    /// The datacenter.
    pub datacenter: Arc<str>,
    /// As above.
    pub primary_datacenter: Arc<str>,
    /// The node's name.
    pub node_name: Arc<str>,
    /// The node's id.
    #[serde(rename = "NodeID")]
    pub node_id: Arc<str>,
    /// Always true.
    pub server: bool,
    /// Nothing.
    pub revision: &'static str,
    /// The version of Consul whose API this is.
    pub version: &'static str,
}

/// The answer of `agent/self`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Itself {
    /// The configuration.
    pub config: ItselfConfig,
    /// More of it.
    pub debug_config: Value,
    /// Where it is, in the space of round-trip times.
    pub coord: Value,
    /// Itself as a member.
    pub member: Member,
    /// Numbers about it.
    pub stats: Value,
    /// Labels of its node.
    pub meta: BTreeMap<Arc<str>, Arc<str>>,
    /// Ports of the mesh, none.
    #[serde(rename = "xDS")]
    pub xds: Value,
}

impl Member {
    /// The one member that there is.
    #[must_use]
    pub fn new(config: &ItselfConfig, address: &Arc<str>) -> Self {
        let tags = [
            ("role", "consul".to_owned()),
            ("dc", config.datacenter.to_string()),
            ("id", config.node_id.to_string()),
            ("port", "8300".to_owned()),
            ("build", config.version.to_owned()),
            ("bootstrap", "1".to_owned()),
            ("segment", String::new()),
        ];
        Self {
            name: config.node_name.to_string(),
            addr: Arc::clone(address),
            port: 8301,
            tags: tags.into_iter().collect(),
            status: 1,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

impl Itself {
    /// What an agent says about itself; `leader` is what `status/leader` says.
    #[must_use]
    pub fn new(
        config: ItselfConfig,
        address: &Arc<str>,
        leader: &str,
        meta: BTreeMap<Arc<str>, Arc<str>>,
    ) -> Self {
        let member = Member::new(&config, address);
        Self {
            debug_config: json!({
                "Datacenter": config.datacenter,
                "NodeName": config.node_name,
                "ServerMode": true,
                "ACLsEnabled": false,
            }),
            coord: json!({
                "Vec": [0, 0, 0, 0, 0, 0, 0, 0],
                "Error": 1.5,
                "Adjustment": 0,
                "Height": 0.00001,
            }),
            stats: json!({
                "agent": { "check_monitors": "0", "check_ttls": "0" },
                "consul": { "leader": "true", "leader_addr": leader, "server": "true" },
            }),
            xds: json!({ "SupportedProxies": {}, "Port": -1, "Ports": { "Plaintext": -1, "TLS": -1 } }),
            member,
            meta,
            config,
        }
    }
}
