//! Where to discover from: a kind of the shelf of sources and its settings.

use std::{fmt, path::Path};

use serde_json::{Map, Value};

/// A place that knows about services.
///
/// The settings are those of `sources:` in Portolan's configuration; the reference lists
/// them for each kind. What is wrong with them is said when discovery starts.
#[derive(Clone, PartialEq)]
pub struct Source {
    kind: String,
    settings: Map<String, Value>,
}

impl Source {
    /// A source of that kind: `portolan`, `consul`, `eureka`, `dns`, `file`, `http`, `etcd`,
    /// `zookeeper` or `nacos`; with the feature `orchestrators` also `docker` and
    /// `kubernetes`, with `clouds` `cloud_map` and `service_directory`.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            settings: Map::new(),
        }
    }

    /// The registry and the whole catalogue of a Portolan, by its admin listener:
    /// `http://127.0.0.1:9070`.
    #[must_use]
    pub fn portolan(url: impl Into<String>) -> Self {
        Self::new("portolan").server(url)
    }

    /// The services of a Consul, by an agent or a server: `http://127.0.0.1:8500`.
    #[must_use]
    pub fn consul(url: impl Into<String>) -> Self {
        Self::new("consul").server(url)
    }

    /// The applications of a Eureka server, with the path that its API is under:
    /// `http://127.0.0.1:8761/eureka`.
    #[must_use]
    pub fn eureka(url: impl Into<String>) -> Self {
        Self::new("eureka").server(url)
    }

    /// Host names, as `host:port` or as the name of SRV records. The service of each is
    /// called `dns/` and the host as it stands here.
    #[must_use]
    pub fn dns(hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let hosts: Vec<String> = hosts.into_iter().map(Into::into).collect();
        Self::new("dns").set("hosts", hosts)
    }

    /// A YAML or JSON file, or a folder of them.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::new("file").set("path", path.as_ref().to_string_lossy().into_owned())
    }

    /// One more server that knows the same, to be asked when the others do not answer.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>) -> Self {
        let servers = self.settings.entry("urls");
        if let Value::Array(urls) = servers.or_insert_with(|| Value::Array(Vec::new())) {
            urls.push(Value::String(url.into()));
        }
        self
    }

    /// The token that is shown to a Portolan or a Consul.
    #[must_use]
    pub fn token(self, secret: impl Into<String>) -> Self {
        self.set("token", secret.into())
    }

    /// Any other setting of the kind, in place of an earlier one of that name.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn settings(&self) -> Value {
        Value::Object(self.settings.clone())
    }
}

/// Settings may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.kind)
    }
}
