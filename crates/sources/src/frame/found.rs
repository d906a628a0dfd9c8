//! What the outside says about an instance, and how that becomes one of ours.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_model::{
    BadName, Health, Instance, InstanceId, Metadata, Name, NamedPort, Override, ServiceKey,
    SourceId, State, Weight,
};

/// The name of an instance's only port.
const ONLY_PORT: &str = "default";
/// Most ports of an instance.
const PORTS_MAX: usize = 64;

/// An instance in the words of the outside, before the settings have had their say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The service, as the outside calls it.
    pub service: String,
    /// Its scope, as the outside calls it; that of the settings if none.
    pub namespace: Option<String>,
    /// The id, unique within the service.
    pub id: String,
    /// The address, if the ports do not have their own.
    pub address: Option<IpAddr>,
    /// Named ports; the first is the one used when nobody names another. An empty name is
    /// that of an only port.
    pub ports: Vec<(String, u16)>,
    /// Availability zone.
    pub zone: Option<String>,
    /// Version of the software.
    pub version: Option<String>,
    /// Share of traffic, 100 is normal; 0 takes the instance out of service.
    pub weight: Option<u16>,
    /// Its health.
    pub health: Health,
    /// Why, in the outside's words.
    pub note: Option<String>,
    /// Somebody took it out of service over there.
    pub out_of_service: bool,
    /// It is leaving.
    pub leaving: bool,
    /// Flat labels.
    pub tags: Vec<String>,
    /// Key-value labels.
    pub metadata: BTreeMap<String, String>,
}

/// Why what was found is no instance. The fault of whoever wrote it over there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A name can't be one of ours.
    #[error("{what}: {source}")]
    Name {
        /// Which name.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: BadName,
    },
    /// There is no IP address.
    #[error("it has no IP address")]
    NoAddress,
    /// There is no port to connect to.
    #[error("it has no port")]
    NoPort,
    /// There are more ports than an instance may have.
    #[error("it has more than {PORTS_MAX} ports")]
    ManyPorts,
    /// What is wrong, in words.
    #[error("{0}")]
    Because(String),
    /// An expression of the mapping says nothing about it, or something that makes no sense.
    #[error("`map.{field}`: {message}")]
    Mapping {
        /// The field that the expression is for.
        field: String,
        /// What is wrong.
        message: String,
    },
}

impl Found {
    /// The instance. Names are folded to ours: what no name may hold becomes `-`.
    ///
    /// # Errors
    /// [`Unfit`] says what is missing.
    pub fn into_instance(self, namespace: &Name, source: &SourceId) -> Result<Instance, Unfit> {
        let id = foreign_id(&self.id).map_err(unfit("the id"))?;
        let key = ServiceKey {
            namespace: match &self.namespace {
                Some(text) => foreign_name(text).map_err(unfit("the namespace"))?,
                None => namespace.clone(),
            },
            name: foreign_name(&self.service).map_err(unfit("the service"))?,
        };
        let endpoints = endpoints(self.address.ok_or(Unfit::NoAddress)?, &self.ports)?;
        let text = |text: String| -> Arc<str> { text.into() };
        let pairs = self.metadata.into_iter();
        let mut metadata: Metadata = pairs.map(|(key, value)| (text(key), text(value))).collect();
        if id.as_str() != self.id {
            metadata.insert(Instance::FOREIGN_ID.into(), text(self.id));
        }
        let is_out = self.out_of_service || self.weight == Some(0);
        Ok(Instance {
            key,
            id,
            endpoints: endpoints.into(),
            zone: self.zone.filter(|zone| !zone.is_empty()).map(text),
            version: self.version.filter(|version| !version.is_empty()).map(text),
            weight: self.weight.and_then(Weight::new).unwrap_or_default(),
            tags: self.tags.into_iter().map(text).collect(),
            metadata,
            source: source.clone(),
            state: State {
                health: self.health,
                note: self.note.map(text),
                overridden: if is_out {
                    Override::Maintenance
                } else {
                    Override::None
                },
                leaving: self.leaving,
                ..State::default()
            },
        })
    }
}

fn endpoints(address: IpAddr, ports: &[(String, u16)]) -> Result<Vec<NamedPort>, Unfit> {
    if ports.len() > PORTS_MAX {
        return Err(Unfit::ManyPorts);
    }
    let mut endpoints: Vec<NamedPort> = Vec::with_capacity(ports.len());
    for (name, port) in ports.iter().filter(|(_, port)| *port != 0) {
        let name = if name.is_empty() { ONLY_PORT } else { name };
        let name = foreign_name(name).map_err(unfit("a port"))?;
        if endpoints.iter().all(|known| known.name != name) {
            let address = SocketAddr::new(address, *port);
            endpoints.push(NamedPort { name, address });
        }
    }
    if endpoints.is_empty() {
        return Err(Unfit::NoPort);
    }
    Ok(endpoints)
}

fn unfit(what: &'static str) -> impl Fn(BadName) -> Unfit {
    move |source| Unfit::Name { what, source }
}

/// A foreign name as one of ours: what no name may hold becomes `-`.
///
/// # Errors
/// [`BadName`] if it is empty or too long.
pub fn foreign_name(text: &str) -> Result<Name, BadName> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let name: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    Name::parse(&name)
}

/// A foreign id as one of ours: what no id may hold becomes `~`.
///
/// # Errors
/// [`BadName`] if it is empty or too long.
pub fn foreign_id(text: &str) -> Result<InstanceId, BadName> {
    let fits = |c: char| c.is_ascii_graphic() && c != '/';
    let id: String = text
        .chars()
        .map(|c| if fits(c) { c } else { '~' })
        .collect();
    InstanceId::parse(&id)
}
