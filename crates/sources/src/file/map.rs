//! The text of a file as services and instances, with every flaw found.
//!
//! Pure. A flaw hides as little as it can: what it hides is kept from the reading
//! before.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_model::{
    Instance, InstanceId, Metadata, Name, NamedPort, ServiceKey, SourceId, State, Weight,
};

use super::tree::{self, Flaw, Member, Node, Value};

/// Name of the port that is written without one.
const DEFAULT_PORT: &str = "default";
const FILE_FIELDS: &[&str] = &["services"];
const SERVICE_FIELDS: &[&str] = &["instances"];
const INSTANCE_FIELDS: &[&str] = &[
    "id", "address", "port", "ports", "metadata", "tags", "version", "zone", "weight",
];

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) services: BTreeSet<ServiceKey>,
    pub(super) instances: BTreeMap<(ServiceKey, InstanceId), Arc<Instance>>,
    pub(super) flaws: Vec<Flaw>,
    /// Services of which not everything could be read.
    unsure: BTreeSet<ServiceKey>,
    /// A service could not even be named: it may be any.
    unsure_of_names: bool,
}

impl Reading {
    /// Reads a text as the word of `source`.
    ///
    /// # Errors
    /// The flaw that hides the whole file.
    pub(super) fn parse(source: &SourceId, text: &str) -> Result<Self, Flaw> {
        let Some(root) = tree::parse(text)? else {
            return Err(Flaw::new(
                1,
                "the file is empty; write `services: {}` for none",
            ));
        };
        let mut reader = Reader {
            source,
            reading: Self::default(),
        };
        reader.file(&root)?;
        Ok(reader.reading)
    }

    /// Fills in what flaws hide from the reading before.
    pub(super) fn keep_hidden(&mut self, before: &Self) {
        for (place, instance) in &before.instances {
            let hidden = self.unsure_of_names || self.unsure.contains(&place.0);
            if hidden && !self.instances.contains_key(place) {
                self.services.insert(place.0.clone());
                self.instances.insert(place.clone(), Arc::clone(instance));
            }
        }
    }
}

struct Reader<'a> {
    source: &'a SourceId,
    reading: Reading,
}

impl Reader<'_> {
    fn file(&mut self, root: &Node) -> Result<(), Flaw> {
        let members = map(root, "the file")?;
        self.refuse_unknown(members, FILE_FIELDS, "a file");
        let Some(services) = field(members, "services") else {
            return Err(Flaw::new(root.line, "there is no `services`"));
        };
        for service in map_or_nothing(services, "`services`")? {
            self.service(service);
        }
        Ok(())
    }

    fn service(&mut self, service: &Member) {
        let key = match ServiceKey::parse(&service.key) {
            Ok(key) => key,
            Err(bad) => {
                self.reading.unsure_of_names = true;
                return self.flaw(service.line, bad.to_string());
            }
        };
        if !self.reading.services.insert(key.clone()) {
            return self.flaw(service.line, format!("the service `{key}` is named twice"));
        }
        match self.instances(&key, &service.node) {
            Ok(()) => {}
            Err(flaw) => self.hide(&key, flaw),
        }
    }

    fn instances(&mut self, key: &ServiceKey, service: &Node) -> Result<(), Flaw> {
        let members = map_or_nothing(service, "a service")?;
        self.refuse_unknown(members, SERVICE_FIELDS, "a service");
        let Some(instances) = field(members, "instances") else {
            return Ok(());
        };
        for node in list_or_nothing(instances, "`instances`")? {
            match self.instance(key, node) {
                Ok(instance) => self.take(node.line, instance),
                Err(flaw) => self.hide(key, flaw),
            }
        }
        Ok(())
    }

    fn take(&mut self, line: usize, instance: Instance) {
        let place = (instance.key.clone(), instance.id.clone());
        if self.reading.instances.contains_key(&place) {
            let (key, id) = place;
            return self.flaw(
                line,
                format!("the instance `{id}` of `{key}` is named twice"),
            );
        }
        self.reading.instances.insert(place, Arc::new(instance));
    }

    fn instance(&mut self, key: &ServiceKey, node: &Node) -> Result<Instance, Flaw> {
        let members = map(node, "an instance")?;
        self.refuse_unknown(members, INSTANCE_FIELDS, "an instance");
        let endpoints = endpoints(node.line, members)?;
        let id = match field(members, "id") {
            Some(id) => InstanceId::parse(text(id, "`id`")?),
            None => InstanceId::parse(&endpoints.first.to_string()),
        };
        Ok(Instance {
            key: key.clone(),
            id: id.map_err(|bad| Flaw::new(node.line, bad.to_string()))?,
            endpoints: endpoints.all.into(),
            zone: optional_text(members, "zone")?,
            version: optional_text(members, "version")?,
            weight: weight(members)?,
            tags: tags(members)?.into(),
            metadata: metadata(members)?,
            source: self.source.clone(),
            state: State::default(),
        })
    }

    fn refuse_unknown(&mut self, members: &[Member], known: &[&str], what: &str) {
        for member in members
            .iter()
            .filter(|member| !known.contains(&member.key.as_str()))
        {
            let (key, known) = (&member.key, known.join(", "));
            let message = format!("{what} has no field `{key}`; known are {known}");
            self.flaw(member.line, message);
        }
    }

    fn hide(&mut self, key: &ServiceKey, flaw: Flaw) {
        self.reading.unsure.insert(key.clone());
        self.reading.flaws.push(flaw);
    }

    fn flaw(&mut self, line: usize, message: String) {
        self.reading.flaws.push(Flaw::new(line, message));
    }
}

struct Endpoints {
    first: SocketAddr,
    all: Vec<NamedPort>,
}

/// `port` first, then `ports` in their order.
fn endpoints(line: usize, members: &[Member]) -> Result<Endpoints, Flaw> {
    let Some(address) = field(members, "address") else {
        return Err(Flaw::new(line, "an instance needs an `address`"));
    };
    let ip: IpAddr = text(address, "`address`")?.parse().map_err(|_| {
        let message = "`address` is not an IP address; host names are for a `dns` source";
        Flaw::new(address.line, message)
    })?;
    let port_of = |node: &Node| {
        let number = text(node, "a port")?.parse().ok().filter(|port| *port != 0);
        let flaw = || Flaw::new(node.line, "a port is a number from 1 to 65535");
        Ok(SocketAddr::new(ip, number.ok_or_else(flaw)?))
    };
    let mut all = Vec::new();
    if let Some(port) = field(members, "port") {
        let name = Name::parse(DEFAULT_PORT).map_err(|bad| Flaw::new(line, bad.to_string()))?;
        let address = port_of(port)?;
        all.push(NamedPort { name, address });
    }
    for member in field(members, "ports").map_or(Ok(&[][..]), |node| map(node, "`ports`"))? {
        let name = Name::parse(&member.key);
        let name = name.map_err(|bad| Flaw::new(member.line, bad.to_string()))?;
        if all.iter().any(|endpoint| endpoint.name == name) {
            return Err(Flaw::new(
                member.line,
                format!("the port `{name}` is named twice"),
            ));
        }
        let address = port_of(&member.node)?;
        all.push(NamedPort { name, address });
    }
    let Some(first) = all.first().map(|endpoint| endpoint.address) else {
        return Err(Flaw::new(line, "an instance needs a `port`, or `ports`"));
    };
    Ok(Endpoints { first, all })
}

fn weight(members: &[Member]) -> Result<Weight, Flaw> {
    let Some(node) = field(members, "weight") else {
        return Ok(Weight::NORMAL);
    };
    let weight = text(node, "`weight`")?.parse().ok().and_then(Weight::new);
    weight.ok_or_else(|| Flaw::new(node.line, "`weight` is a number from 1 to 65535"))
}

fn tags(members: &[Member]) -> Result<Vec<Arc<str>>, Flaw> {
    let Some(node) = field(members, "tags") else {
        return Ok(Vec::new());
    };
    let tags = list_or_nothing(node, "`tags`")?.iter();
    tags.map(|tag| Ok(text(tag, "a tag")?.into())).collect()
}

fn metadata(members: &[Member]) -> Result<Metadata, Flaw> {
    let Some(node) = field(members, "metadata") else {
        return Ok(Metadata::new());
    };
    let pairs = map(node, "`metadata`")?.iter();
    let pair = |member: &Member| {
        let value = text(&member.node, "a value of `metadata`")?;
        Ok((member.key.as_str().into(), value.into()))
    };
    pairs.map(pair).collect()
}

fn optional_text(members: &[Member], name: &str) -> Result<Option<Arc<str>>, Flaw> {
    let Some(node) = field(members, name) else {
        return Ok(None);
    };
    Ok(Some(text(node, &format!("`{name}`"))?.into()))
}

/// The field of that name, if it is there and not null.
fn field<'a>(members: &'a [Member], name: &str) -> Option<&'a Node> {
    let member = members.iter().find(|member| member.key == name)?;
    (!matches!(member.node.value, Value::Null)).then_some(&member.node)
}

fn text<'a>(node: &'a Node, what: &str) -> Result<&'a str, Flaw> {
    match &node.value {
        Value::Text(text) => Ok(text),
        Value::Null | Value::List(_) | Value::Map(_) => Err(Flaw::new(
            node.line,
            format!("{what} is not a text or a number"),
        )),
    }
}

fn map<'a>(node: &'a Node, what: &str) -> Result<&'a [Member], Flaw> {
    match &node.value {
        Value::Map(members) => Ok(members),
        Value::Null | Value::Text(_) | Value::List(_) => {
            Err(Flaw::new(node.line, format!("{what} is not a map")))
        }
    }
}

fn map_or_nothing<'a>(node: &'a Node, what: &str) -> Result<&'a [Member], Flaw> {
    match node.value {
        Value::Null => Ok(&[]),
        Value::Text(_) | Value::List(_) | Value::Map(_) => map(node, what),
    }
}

fn list_or_nothing<'a>(node: &'a Node, what: &str) -> Result<&'a [Node], Flaw> {
    match &node.value {
        Value::Null => Ok(&[]),
        Value::List(items) => Ok(items),
        Value::Text(_) | Value::Map(_) => {
            Err(Flaw::new(node.line, format!("{what} is not a list")))
        }
    }
}
