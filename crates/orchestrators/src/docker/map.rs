//! Containers as instances. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use portolan_model::Health;
use portolan_sources::frame::{Found, Unfit, address_of};
use serde_json::{Map, Value, json};

use super::settings::{Settings, Use};

/// Fields of a container that expressions can name.
pub(super) const NAMES: &[&str] = &[
    "id",
    "name",
    "image",
    "labels",
    "state",
    "health",
    "network_mode",
    "networks",
    "ports",
];

const LABELS: &str = "portolan.";
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const IMAGE_VERSION: &str = "org.opencontainers.image.version";
/// As many characters of a container's id as Docker shows.
const ID_CHARS: usize = 12;
/// What is told of the last word of a health check.
const NOTE_CHARS_MAX: usize = 200;

/// A container, as the daemon describes it when asked for that one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a>(&'a Value);

impl<'a> Container<'a> {
    pub(super) const fn new(described: &'a Value) -> Self {
        Self(described)
    }

    fn text(self, pointer: &str) -> &'a str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn map(self, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.0
            .pointer(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    pub(super) fn id(self) -> &'a str {
        self.text("/Id")
    }

    /// What people call it.
    pub(super) fn name(self) -> &'a str {
        self.text("/Name").trim_start_matches('/')
    }

    fn label(self, name: &str) -> Option<&'a str> {
        let labels = self.0.pointer("/Config/Labels")?;
        labels.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn own_label(self, name: &str) -> Option<&'a str> {
        self.label(&format!("{LABELS}{name}"))
    }

    /// Whether its process runs, paused or not.
    pub(super) fn runs(self) -> bool {
        matches!(self.text("/State/Status"), "running" | "paused")
    }

    /// Whether its process is known to have ended, be it to start again.
    pub(super) fn has_ended(self) -> bool {
        matches!(
            self.text("/State/Status"),
            "exited" | "dead" | "removing" | "restarting"
        )
    }

    /// Whether the daemon said anything of use.
    pub(super) fn is_described(self) -> bool {
        !self.text("/State/Status").is_empty()
    }

    /// Whether its labels, or the settings, want it in the catalogue.
    pub(super) fn is_wanted(self, settings: &Settings) -> bool {
        let labels = self
            .map("/Config/Labels")
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let mut wanted = settings.exposed_by_default;
        for (key, value) in labels {
            match key.strip_prefix(LABELS) {
                Some("enable") => return value == Some("true"),
                Some("service") => wanted = true,
                _ => {}
            }
        }
        wanted
    }

    /// Whose network it shares, if it has none of its own.
    pub(super) fn shares_with(self) -> Option<&'a str> {
        self.text("/HostConfig/NetworkMode")
            .strip_prefix("container:")
    }

    /// The instance.
    ///
    /// # Errors
    /// [`Unfit`] says what its labels, or its networks, lack.
    pub(super) fn found(self, settings: &Settings) -> Result<Found, Unfit> {
        let ports = self.ports()?;
        let (address, ports) = match settings.reach {
            Use::Internal => (self.internal(settings)?, ports),
            Use::Published => self.published(settings, &ports)?,
        };
        let (health, note) = self.health();
        let is_paused = self.text("/State/Status") == "paused";
        Ok(Found {
            service: self.service().to_owned(),
            namespace: self.own_label("namespace").map(str::to_owned),
            id: self.id().chars().take(ID_CHARS).collect(),
            address: Some(address),
            ports,
            zone: self.own_label("zone").map(str::to_owned),
            version: self
                .own_label("version")
                .or_else(|| self.label(IMAGE_VERSION))
                .map(str::to_owned),
            weight: self.number("weight")?,
            health,
            note: if is_paused {
                Some("paused".to_owned())
            } else {
                note
            },
            out_of_service: is_paused,
            leaving: false,
            tags: self.tags(),
            metadata: self.metadata(),
        })
    }

    fn service(self) -> &'a str {
        let named = self
            .own_label("service")
            .or_else(|| self.label(COMPOSE_SERVICE));
        named.unwrap_or_else(|| self.name())
    }

    fn number(self, label: &str) -> Result<Option<u16>, Unfit> {
        let Some(text) = self.own_label(label) else {
            return Ok(None);
        };
        let number = text.trim().parse().map(Some);
        number.map_err(|_| {
            Unfit::Because(format!(
                "the label `{LABELS}{label}` is `{text}`, which is no number up to 65535"
            ))
        })
    }

    fn tags(self) -> Vec<String> {
        let tags = self.own_label("tags").unwrap_or_default().split(',');
        tags.map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn metadata(self) -> BTreeMap<String, String> {
        let own = self.map("/Config/Labels").filter_map(|(key, value)| {
            let key = key.strip_prefix(LABELS)?.strip_prefix("meta.")?;
            Some((key.to_owned(), value.as_str()?.to_owned()))
        });
        let mut metadata: BTreeMap<_, _> = own.collect();
        for (key, text) in [
            ("container", self.name()),
            ("image", self.text("/Config/Image")),
        ] {
            if !text.is_empty() {
                metadata
                    .entry(key.to_owned())
                    .or_insert_with(|| text.to_owned());
            }
        }
        metadata
    }

    /// The ports within the container: those that labels name, else the lowest that is exposed.
    fn ports(self) -> Result<Vec<(String, u16)>, Unfit> {
        let mut ports = Vec::new();
        if let Some(port) = self.number("port")? {
            ports.push((String::new(), port));
        }
        for (key, _) in self.map("/Config/Labels") {
            if let Some(name) = key
                .strip_prefix(LABELS)
                .and_then(|key| key.strip_prefix("port."))
            {
                let port = self.number(&format!("port.{name}"))?;
                ports.extend(port.map(|port| (name.to_owned(), port)));
            }
        }
        if ports.is_empty() {
            let exposed = self
                .map("/Config/ExposedPorts")
                .chain(self.map("/NetworkSettings/Ports"));
            let lowest = exposed.filter_map(|(key, _)| tcp_port(key)).min();
            ports.extend(lowest.map(|port| (String::new(), port)));
        }
        if ports.is_empty() {
            return Err(Unfit::Because(format!(
                "it exposes no TCP port, and no label `{LABELS}port` names one"
            )));
        }
        Ok(ports)
    }

    /// Where it is reached on its own network, or on the host's if that is what it uses.
    fn internal(self, settings: &Settings) -> Result<IpAddr, Unfit> {
        let mode = self.text("/HostConfig/NetworkMode");
        if mode == "host" {
            return Ok(settings.host_address);
        }
        if let Some(other) = self.shares_with() {
            return Err(Unfit::Because(format!(
                "it shares the network of container {other}, which is not to be seen"
            )));
        }
        let wanted = self.own_label("network").or(settings.network.as_deref());
        let address = |(name, network): (&'a String, &Value)| {
            let field = |field| {
                network
                    .get(field)
                    .and_then(Value::as_str)
                    .and_then(address_of)
            };
            let address = field("IPAddress").or_else(|| field("GlobalIPv6Address"))?;
            Some((name.as_str(), address))
        };
        let networks = self.map("/NetworkSettings/Networks").filter_map(address);
        let networks: BTreeMap<&str, IpAddr> = networks.collect();
        if let Some(wanted) = wanted {
            // Compose puts the project before the name of a network.
            let found = networks.get(wanted).or_else(|| {
                let ending = format!("_{wanted}");
                networks
                    .iter()
                    .find(|(name, _)| name.ends_with(&ending))
                    .map(|(_, address)| address)
            });
            return found.copied().ok_or_else(|| {
                let has: Vec<_> = networks.keys().copied().collect();
                Unfit::Because(format!(
                    "it has no address in network `{wanted}`, only in: {}",
                    has.join(", ")
                ))
            });
        }
        let first = networks.get(mode).or_else(|| networks.values().next());
        first.copied().ok_or(Unfit::NoAddress)
    }

    /// Where its ports are reached on the host.
    fn published(
        self,
        settings: &Settings,
        wanted: &[(String, u16)],
    ) -> Result<(IpAddr, Vec<(String, u16)>), Unfit> {
        if self.text("/HostConfig/NetworkMode") == "host" {
            return Ok((settings.host_address, wanted.to_vec()));
        }
        let mut address = None;
        let mut ports = Vec::new();
        for (name, port) in wanted {
            let Some((ip, published)) = self.published_at(*port) else {
                continue;
            };
            let ip = ip
                .filter(|ip| !ip.is_unspecified())
                .unwrap_or(settings.host_address);
            if *address.get_or_insert(ip) == ip {
                ports.push((name.clone(), published));
            }
        }
        let numbers: Vec<_> = wanted.iter().map(|(_, port)| port.to_string()).collect();
        let nothing =
            || Unfit::Because(format!("its port {} is not published", numbers.join(", ")));
        Ok((address.ok_or_else(nothing)?, ports))
    }

    fn published_at(self, port: u16) -> Option<(Option<IpAddr>, u16)> {
        let ports = self.0.pointer("/NetworkSettings/Ports")?;
        let bound = ports.get(format!("{port}/tcp"))?.as_array()?;
        let mut bound = bound.iter().filter_map(|binding| {
            let published: u16 = binding.get("HostPort")?.as_str()?.parse().ok()?;
            let ip = binding
                .get("HostIp")
                .and_then(Value::as_str)
                .and_then(address_of);
            Some((ip, published)).filter(|_| published > 0)
        });
        let first = bound.next()?;
        // Docker binds both families; the older one is what clients of the host expect.
        let older = std::iter::once(first)
            .chain(bound)
            .find(|(ip, _)| ip.is_none_or(|ip| ip.is_ipv4()));
        older.or(Some(first))
    }

    fn health(self) -> (Health, Option<String>) {
        let health = match self.text("/State/Health/Status") {
            "starting" => Health::Starting,
            "unhealthy" => Health::Critical,
            _ => Health::Passing,
        };
        let last = self
            .0
            .pointer("/State/Health/Log")
            .and_then(Value::as_array);
        let said = last
            .and_then(|log| log.last()?.get("Output")?.as_str())
            .unwrap_or_default()
            .trim();
        let said: String = said.chars().take(NOTE_CHARS_MAX).collect();
        let note = (health == Health::Critical && !said.is_empty()).then_some(said);
        (health, note)
    }

    /// What expressions are asked about.
    pub(super) fn object(self) -> Map<String, Value> {
        let part = |pointer| {
            self.0
                .pointer(pointer)
                .cloned()
                .unwrap_or_else(|| json!({}))
        };
        let values = [
            json!(self.id()),
            json!(self.name()),
            json!(self.text("/Config/Image")),
            part("/Config/Labels"),
            json!(self.text("/State/Status")),
            json!(self.text("/State/Health/Status")),
            json!(self.text("/HostConfig/NetworkMode")),
            part("/NetworkSettings/Networks"),
            part("/NetworkSettings/Ports"),
        ];
        NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .zip(values)
            .collect()
    }
}

/// The number of `8080/tcp`.
fn tcp_port(text: &str) -> Option<u16> {
    let (number, protocol) = text.split_once('/')?;
    number
        .parse()
        .ok()
        .filter(|port| *port > 0 && protocol == "tcp")
}

/// The container that an event of the daemon is about, if it may change what is known of it.
pub(super) fn concerned_by(line: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let action = text("/Action")?;
    let id = match text("/Type")? {
        // Like `health_status: healthy`; what runs within by `exec` is not meant.
        "container" => match action.split(':').next()? {
            "start" | "die" | "destroy" | "pause" | "unpause" | "health_status" | "rename" => {
                text("/Actor/ID")
            }
            _ => None,
        },
        "network" if matches!(action, "connect" | "disconnect") => {
            text("/Actor/Attributes/container")
        }
        _ => None,
    };
    id.filter(|id| !id.is_empty()).map(str::to_owned)
}
