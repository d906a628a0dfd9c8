//! Everything that a read needs, at one moment: the catalogue, the nodes, and what was
//! heard of checks since.

use std::{collections::BTreeMap, sync::Arc};

use portolan_access::Resource;
use portolan_catalog::{Catalog, Service};
use portolan_dialects::consul::{
    Home, NodeDefinition, NodeSeen, Refusal, Registered,
    answer::{CheckView, HealthEntry, Indexes, NodeView},
    node_key, service_key,
};
use portolan_model::{Health, ServiceKey};

use super::{
    Parts,
    acl::Permit,
    book::ALIVE,
    clerk::Clerk,
    terms::{Key, Nodes},
};

/// There is no such node.
pub(super) struct NoNode;

/// What is shown of a service's instance: its node, itself, its checks.
pub(super) struct Scene<'a> {
    pub(super) home: &'a Home,
    pub(super) catalog: Catalog,
    pub(super) nodes: Arc<Nodes>,
    pub(super) permit: &'a Permit,
    clerk: &'a Clerk,
}

impl<'a> Scene<'a> {
    /// What the caller of a request may see.
    pub(super) fn new(parts: &'a Parts) -> Self {
        Self::of(&parts.home, &parts.clerk, &parts.permit)
    }

    /// What that permit shows.
    pub(super) fn of(home: &'a Home, clerk: &'a Clerk, permit: &'a Permit) -> Self {
        let nodes = clerk.book().nodes();
        Self {
            home,
            catalog: clerk.catalog(),
            nodes,
            permit,
            clerk,
        }
    }

    /// The index of everything.
    pub(super) fn index(&self) -> u64 {
        self.catalog.revision().as_u64().max(self.nodes.index)
    }

    /// A service, if it is there and the caller may read it.
    pub(super) fn service(&self, name: &str) -> Result<Option<&Arc<Service>>, Refusal> {
        let found = self.catalog.service(&service_key(name)?);
        Ok(found.filter(|service| self.shows(service)))
    }

    fn shows(&self, service: &Service) -> bool {
        self.permit
            .shows(Resource::Service, service.key.name.as_str())
    }

    /// Whether the caller may read a node; none stands for the agent's own.
    pub(super) fn shows_node(&self, node: Option<&str>) -> bool {
        let name = node.unwrap_or(&self.home.node.name);
        self.permit.shows(Resource::Node, name)
    }

    /// The nodes that the caller may read, the agent's own first.
    pub(super) fn visible_nodes(&self) -> impl Iterator<Item = Option<&str>> {
        let others = self.nodes.known.keys().map(|name| Some(name.as_str()));
        let all = std::iter::once(None).chain(others);
        all.filter(|node| self.shows_node(*node))
    }

    /// The services that clients of Consul see: those of the namespace that has no name
    /// there, in order.
    pub(super) fn services(&self) -> Vec<&Arc<Service>> {
        let is_shown = |service: &&Arc<Service>| {
            service.key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE
        };
        let services = self.catalog.services().filter(is_shown);
        let mut services: Vec<_> = services.filter(|service| self.shows(service)).collect();
        services.sort_by(|a, b| a.key.cmp(&b.key));
        services
    }

    /// A service's instances on nodes that the caller may read.
    pub(super) fn instances<'s>(
        &'s self,
        service: &'s Service,
    ) -> impl Iterator<Item = Registered> + 's {
        let all = self.all_instances(service);
        all.filter(|seen| self.shows_node(seen.node()))
    }

    fn all_instances<'s>(&'s self, service: &'s Service) -> impl Iterator<Item = Registered> + 's {
        let instances = service.instances.iter();
        instances.map(|instance| self.clerk.seen(instance))
    }

    /// Every instance on nodes that the caller may read, and its service's index.
    pub(super) fn everybody(&self) -> impl Iterator<Item = (Registered, u64)> + '_ {
        let all = self.everywhere();
        all.filter(|(seen, _)| self.shows_node(seen.node()))
    }

    /// Every instance whatever its node, and its service's index.
    pub(super) fn everywhere(&self) -> impl Iterator<Item = (Registered, u64)> + '_ {
        self.services().into_iter().flat_map(move |service| {
            let index = service.modified.as_u64();
            self.all_instances(service).map(move |seen| (seen, index))
        })
    }

    /// A node by its name; none stands for the agent's own. One that was forgotten while
    /// a service still names it has no more than its name.
    pub(super) fn node(&self, name: Option<&str>) -> NodeView {
        let found = name.and_then(|name| self.nodes.known.get(name));
        match (name, found) {
            (Some(_), Some((node, index))) => self.home.view(&NodeSeen {
                node,
                index: *index,
            }),
            (Some(name), None) if name != self.home.node.name => {
                let node = NodeDefinition {
                    name: name.to_owned(),
                    ..NodeDefinition::default()
                };
                self.home.view(&NodeSeen {
                    node: &node,
                    index: 1,
                })
            }
            (Some(_) | None, _) => self.home.view(&NodeSeen {
                node: &self.home.node,
                index: 1,
            }),
        }
    }

    /// The node of that name, if the caller may read it; none stands for the agent's own.
    pub(super) fn node_named<'n>(&self, name: &'n str) -> Result<Option<&'n str>, NoNode> {
        let is_own = name.eq_ignore_ascii_case(&self.home.node.name);
        let node = (!is_own).then_some(name);
        let is_known = is_own || self.nodes.known.contains_key(name);
        let is_shown = is_known && self.shows_node(node);
        is_shown.then_some(node).ok_or(NoNode)
    }

    /// The checks of a node itself.
    pub(super) fn node_checks(&self, node: Option<&str>) -> Vec<CheckView> {
        let name: Arc<str> = node.unwrap_or(&self.home.node.name).into();
        let mut checks = Vec::new();
        if !self.shows_node(node) {
            return checks;
        }
        if node.is_none() {
            checks.push(CheckView::alive(&name, Indexes::at(1)));
        }
        let key = node_key(node).ok();
        let service = key.and_then(|key| self.catalog.service(&key));
        if let Some(service) = service {
            let seen = self.all_instances(service).filter(|seen| seen.is_ours);
            let views = seen.flat_map(|seen| seen.checks(&name, service.modified.as_u64()));
            checks.extend(views.filter(|view| &*view.id != ALIVE));
        }
        checks
    }

    pub(super) fn entry(&self, seen: &Registered, index: u64) -> HealthEntry {
        let node = self.node(seen.node());
        let mut checks = self.node_checks(seen.node());
        checks.extend(seen.checks(&node.node, index));
        HealthEntry {
            service: seen.service(&node.address, index),
            node,
            checks,
        }
    }

    /// The service of that id, if it was registered through Consul.
    pub(super) fn find(&self, id: &str) -> Option<(Registered, u64)> {
        self.find_by_key(&Key::new(None, id))
    }

    /// The service that a check is of, if it was registered through Consul.
    pub(super) fn find_by_check(&self, check: &Key) -> Option<(Registered, u64)> {
        let key = self.clerk.book().service_of(check)?.clone();
        self.find_by_key(&key)
    }

    pub(super) fn find_by_key(&self, key: &Key) -> Option<(Registered, u64)> {
        let name = {
            let book = self.clerk.book();
            book.record(key).map(|record| record.service.name.clone())
        };
        let service = self.service(&name?).ok()??;
        let found = self
            .all_instances(service)
            .find(|seen| seen.is_ours && Key::of(&seen.record) == *key);
        found.map(|seen| (seen, service.modified.as_u64()))
    }

    /// The services that registered with the agent, by id.
    pub(super) fn by_id(&self) -> BTreeMap<String, (Registered, u64)> {
        let own = self
            .everywhere()
            .filter(|(seen, _)| seen.is_ours && seen.node().is_none());
        own.map(|(seen, index)| (seen.record.service.id.clone(), (seen, index)))
            .collect()
    }
}

/// Whether an instance has all of these tags; case does not matter.
pub(super) fn has_tags(seen: &Registered, tags: &[String]) -> bool {
    let given = &seen.record.service.tags;
    tags.iter()
        .all(|wanted| given.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
}

/// Whether a node has all of these labels.
pub(super) fn has_meta(node: &NodeView, wanted: &[(String, String)]) -> bool {
    wanted
        .iter()
        .all(|(key, value)| node.meta.get(key.as_str()).is_some_and(|v| **v == **value))
}

/// Whether nothing is wrong with it at all.
pub(super) fn is_passing(checks: &[CheckView]) -> bool {
    Registered::worst(checks) == Health::Passing
}
