//! Answers for parts of Consul that we do not have: what a single healthy server says.

use portolan_dialects::consul::{Refusal, Sane, answer::Indexes};
use portolan_wire::serve::Response;
use serde_json::{Value, json};

use super::{Parts, answering, leader, scene::Scene};

pub(super) fn answer(parts: &Parts, sane: Sane) -> Result<Response, Refusal> {
    let home = &parts.home;
    let (node, datacenter) = (&home.node.name, &home.datacenter);
    let address = leader(parts);
    let answer = match sane {
        Sane::CoordinateDatacenters => json!([
            { "Datacenter": datacenter, "AreaID": "wan", "Coordinates": [coordinate(node)] },
        ]),
        Sane::CoordinateNodes => json!([coordinate(node)]),
        Sane::RaftConfiguration => json!({
            "Servers": [{
                "ID": home.node.id, "Node": node, "Address": address, "Leader": true,
                "ProtocolVersion": "3", "Voter": true, "LastIndex": 1,
            }],
            "Index": 0,
        }),
        Sane::AutopilotConfiguration => json!({
            "CleanupDeadServers": true, "LastContactThreshold": "200ms",
            "MaxTrailingLogs": 250, "MinQuorum": 0, "ServerStabilizationTime": "10s",
            "RedundancyZoneTag": "", "DisableUpgradeMigration": false,
            "UpgradeVersionTag": "", "CreateIndex": 1, "ModifyIndex": 1,
        }),
        Sane::AutopilotHealth => json!({
            "Healthy": true, "FailureTolerance": 0, "Servers": [server(parts, &address)],
        }),
        Sane::AutopilotState => json!({
            "Healthy": true, "FailureTolerance": 0, "Leader": home.node.id,
            "Voters": [home.node.id], "Servers": { (home.node.id.clone()): server(parts, &address) },
        }),
        Sane::Usage => usage(parts),
        Sane::Roots => json!({ "ActiveRootID": "", "TrustDomain": "", "Roots": [] }),
        Sane::Peerings | Sane::NothingListed => json!([]),
        Sane::Keyring => return Err(Refusal::failed("keyring is empty")),
        Sane::NotThere => {
            return Err(Refusal::missing(
                "Portolan does not have this part of Consul",
            ));
        }
    };
    answering::json(&answer)
}

fn coordinate(node: &str) -> Value {
    json!({
        "Node": node, "Segment": "",
        "Coord": { "Vec": [0, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.00001 },
    })
}

fn server(parts: &Parts, address: &str) -> Value {
    json!({
        "ID": parts.home.node.id, "Name": parts.home.node.name, "Address": address,
        "SerfStatus": "alive", "Version": super::VERSION, "Leader": true, "LastContact": "0s",
        "LastTerm": 1, "LastIndex": 1, "Healthy": true, "Voter": true,
        "StableSince": "1970-01-01T00:00:00Z",
    })
}

fn usage(parts: &Parts) -> Value {
    let scene = Scene::new(parts);
    let services = scene.services();
    let instances: usize = services.iter().map(|service| service.instances.len()).sum();
    let indexes = Indexes::at(scene.index());
    let datacenter = parts.home.datacenter.to_string();
    json!({
        "Usage": { (datacenter): {
            "Nodes": scene.nodes.known.len() + 1, "Services": services.len(),
            "ServiceInstances": instances, "ConnectServiceInstances": {},
            "BillableServiceInstances": instances,
        } },
        "Index": indexes.modify_index, "LastContact": 0, "KnownLeader": true,
        "ConsistencyLevel": "leader",
    })
}
