//! A prepared query as clients see it.

use std::sync::Arc;

use portolan_dialects::consul::{Refusal, SavedQuery, answer::Indexes, write_duration};
use portolan_ledger::Object;
use serde_json::{Value, json};

/// A query and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Saved {
    pub(super) id: Arc<str>,
    pub(super) query: SavedQuery,
    pub(super) indexes: Indexes,
}

impl Saved {
    pub(super) fn of(id: Arc<str>, object: &Object) -> Result<Self, Refusal> {
        let query = serde_json::from_str(&object.body)
            .map_err(|error| Refusal::failed(format!("prepared query {id} is damaged: {error}")))?;
        Ok(Self {
            id,
            query,
            indexes: Indexes {
                create_index: object.created.as_u64(),
                modify_index: object.modified.as_u64(),
            },
        })
    }

    pub(super) fn view(&self) -> Value {
        let SavedQuery {
            name,
            session,
            template,
            service,
            ..
        } = &self.query;
        let template = match template {
            Some(template) => json!({
                "Type": "name_prefix_match", "Regexp": template.regexp,
                "RemoveEmptyTags": template.remove_empty_tags,
            }),
            None => json!({ "Type": "", "Regexp": "", "RemoveEmptyTags": false }),
        };
        json!({
            "ID": self.id, "Name": name, "Session": session, "Token": "", "Template": template,
            "Service": {
                "Service": service.service, "SamenessGroup": "",
                "Failover": {
                    "NearestN": service.nearest, "Datacenters": service.datacenters, "Targets": [],
                },
                "OnlyPassing": service.only_passing, "IgnoreCheckIDs": service.ignored_checks,
                "Near": service.near, "Tags": service.tags, "NodeMeta": service.node_meta,
                "ServiceMeta": service.service_meta, "Connect": false, "Peer": "",
            },
            "DNS": self.dns(),
            "CreateIndex": self.indexes.create_index, "ModifyIndex": self.indexes.modify_index,
        })
    }

    pub(super) fn dns(&self) -> Value {
        let ttl = self.query.dns_ttl.map(write_duration);
        json!({ "TTL": ttl.unwrap_or_default() })
    }
}
