//! What an instance says about itself, and to whom.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use portolan_dialects::native::{self, CheckShape, Misfit, Span};
use portolan_model::{
    BadName, InstanceId, Name, ServiceKey, SourceId,
    route::{CertificateFiles, Protocol, UpstreamTls, Verify},
};
use portolan_runtime::Env;
use portolan_wire::{
    call::{BadUrl, Scheme, Url},
    tls::{ClientTls, Connector, TlsFileError},
};

use crate::{
    api::{Api, Subject, Token, Way},
    keeper::Keeper,
};

/// Where a registry is found if nothing is said.
pub(crate) const REGISTRY: &str = "http://127.0.0.1:9070";
/// Most registries that one instance knows.
const REGISTRIES_MAX: usize = 16;
/// How long requests may run on when a [`Keeper`] is dropped.
const DRAIN: Duration = Duration::from_secs(30);

/// A description of an instance; [`Registration::start`] makes it known.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    service: String,
    namespace: Option<String>,
    id: Option<String>,
    /// The port, unchecked.
    port: Option<u16>,
    /// Ports by name, unchecked.
    ports: BTreeMap<String, u16>,
    weight: Option<u16>,
    shape: native::Registration,
    registries: Vec<String>,
    ca: Option<PathBuf>,
    certificate: Option<CertificateFiles>,
    token: Option<Token>,
    drain_on_drop: Duration,
}

/// What is wrong with a description. The caller's fault.
#[derive(Debug, thiserror::Error)]
pub enum BadRegistration {
    /// A name that is none.
    #[error("{field}")]
    Name {
        /// Which: `service`, `namespace`, `id`.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: BadName,
    },
    /// A value that the registry would not take.
    #[error(transparent)]
    Value(#[from] Misfit),
    /// A number that can't be 0.
    #[error("{field} is from 1 to 65535")]
    Zero {
        /// Which.
        field: &'static str,
    },
    /// A registry that can't be called.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// Too many registries.
    #[error("{count} registries; at most {REGISTRIES_MAX}")]
    Registries {
        /// How many.
        count: usize,
    },
    /// What `https` needs can't be had.
    #[error("a registry can't be called over TLS")]
    Tls(#[from] TlsFileError),
}

impl Registration {
    /// An instance of `service` in the namespace `default`.
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            namespace: None,
            id: None,
            port: None,
            ports: BTreeMap::new(),
            weight: None,
            shape: native::Registration::default(),
            registries: Vec::new(),
            ca: None,
            certificate: None,
            token: None,
            drain_on_drop: DRAIN,
        }
    }

    /// The namespace of the service; `default` if nothing is said.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Its id, unique within the service; `address:port` by default.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its IP address; where the registry sees it call from by default.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.shape.address = Some(address.into());
        self
    }

    /// The port of an instance that has one. This or [`Self::named_port`] is needed.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// A port by name; may be called again.
    #[must_use]
    pub fn named_port(mut self, name: impl Into<String>, port: u16) -> Self {
        self.ports.insert(name.into(), port);
        self
    }

    /// A key-value label; may be called again.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.shape.metadata.insert(key.into(), value.into());
        self
    }

    /// Flat labels, besides those that were given before.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.shape.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Its availability zone.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.shape.zone = Some(zone.into());
        self
    }

    /// The version of its software.
    #[must_use]
    pub fn version(mut self, version: impl Into<Arc<str>>) -> Self {
        self.shape.version = Some(version.into());
        self
    }

    /// Its share of traffic relative to the others, from 1; 100 is normal, and the default.
    #[must_use]
    pub const fn weight(mut self, weight: u16) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How long it may be silent before it gets no more requests; the registry's usual by
    /// default, 30 s. It is renewed at a third of that.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.shape.ttl = Some(Span(ttl));
        self
    }

    /// A check that the registry is to run; none by default: heartbeats speak for it.
    #[must_use]
    pub fn check(mut self, check: CheckShape) -> Self {
        self.shape.check = Some(check);
        self
    }

    /// Where a registry is; may be called again, up to 16 times, for others to go to when the
    /// first is away. `http://127.0.0.1:9070` by default.
    #[must_use]
    pub fn registry(mut self, url: impl Into<String>) -> Self {
        self.registries.push(url.into());
        self
    }

    /// A file with the certificate authorities that `https` registries are verified
    /// against; the system's by default.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// The certificate and its key (PEM) that are shown to `https` registries.
    #[must_use]
    pub fn certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some(CertificateFiles {
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// The token that is shown to registries with access control.
    #[must_use]
    pub fn token(mut self, secret: impl Into<String>) -> Self {
        self.token = Some(Token(secret.into()));
        self
    }

    /// How long requests may run on when the keeper is dropped; 30 s by default.
    #[must_use]
    pub const fn drain_on_drop(mut self, within: Duration) -> Self {
        self.drain_on_drop = within;
        self
    }

    /// Begins to keep the instance registered. Nothing is awaited: the first call to the
    /// registry is still to be made.
    ///
    /// # Errors
    /// [`BadRegistration`], by the rules that the registry has itself.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(self, env: &Env) -> Result<Keeper, BadRegistration> {
        let drain_on_drop = self.drain_on_drop;
        let ttl = self.shape.ttl.map(|ttl| ttl.0);
        let api = self.into_api(env)?;
        Ok(Keeper::start(api, env, ttl, drain_on_drop))
    }

    /// As [`Registration::start`], on the machine's clock.
    ///
    /// # Errors
    /// [`BadRegistration`], by the rules that the registry has itself.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn keep_alive(self) -> Result<Keeper, BadRegistration> {
        self.start(&Env::system())
    }

    /// Whether it could be started.
    ///
    /// # Errors
    /// [`BadRegistration`], as [`Registration::start`] would say.
    pub fn check_values(&self, env: &Env) -> Result<(), BadRegistration> {
        self.clone().into_api(env).map(|_| ())
    }

    fn into_api(mut self, env: &Env) -> Result<Api, BadRegistration> {
        let key = ServiceKey {
            namespace: name(
                "namespace",
                self.namespace
                    .as_deref()
                    .unwrap_or(ServiceKey::DEFAULT_NAMESPACE),
            )?,
            name: name("service", &self.service)?,
        };
        let id = self.id.as_deref().map(InstanceId::parse).transpose();
        let id = id.map_err(|source| BadRegistration::Name {
            field: "id",
            source,
        })?;
        self.shape.port = self.port.map(|port| number("a port", port)).transpose()?;
        for (name, port) in &self.ports {
            let port = number("a port", *port)?;
            self.shape.ports.insert(name.clone(), port);
        }
        let weight = self.weight.map(|weight| number("a weight", weight));
        self.shape.weight = weight.transpose()?;
        // The registry's own rules; from where it will see us call is of no account.
        let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let source = SourceId::new("registry");
        self.shape
            .describe(key.clone(), id.clone(), caller, &source)?;
        let urls = urls(&self.registries)?;
        let way = Way {
            tls: tls(&urls, self.ca, self.certificate)?,
            token: self.token,
        };
        Ok(Api::new(env, urls, way, Subject { key, id }, self.shape))
    }
}

fn name(field: &'static str, text: &str) -> Result<Name, BadRegistration> {
    Name::parse(text).map_err(|source| BadRegistration::Name { field, source })
}

fn number(field: &'static str, number: u16) -> Result<NonZeroU16, BadRegistration> {
    NonZeroU16::new(number).ok_or(BadRegistration::Zero { field })
}

fn urls(given: &[String]) -> Result<Vec<Url>, BadRegistration> {
    let count = given.len();
    if count > REGISTRIES_MAX {
        return Err(BadRegistration::Registries { count });
    }
    if given.is_empty() {
        return Ok(vec![Url::parse(REGISTRY)?]);
    }
    let urls = given.iter().map(|text| Url::parse(text));
    Ok(urls.collect::<Result<_, _>>()?)
}

/// What `https` needs, if one of the registries wants it.
fn tls(
    urls: &[Url],
    ca: Option<PathBuf>,
    certificate: Option<CertificateFiles>,
) -> Result<Option<Arc<Connector>>, TlsFileError> {
    if urls.iter().all(|url| url.scheme() == Scheme::Http) {
        return Ok(None);
    }
    let settings = UpstreamTls {
        server_name: None,
        ca,
        certificate,
        verify: Verify::Full,
    };
    let connector = ClientTls::new().connector(&settings, Protocol::Http1)?;
    Ok(Some(connector))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(registration: &Registration) -> String {
        let error = registration.check_values(&Env::system()).unwrap_err();
        let source = std::error::Error::source(&error);
        source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    }

    #[test]
    fn what_the_registry_would_refuse_is_refused_at_once() {
        let fine = || Registration::new("orders").port(1);
        assert!(fine().check_values(&Env::system()).is_ok());
        for (registration, words) in [
            (Registration::new("orders"), "/port"),
            (Registration::new("or ders").port(1), "service"),
            (fine().namespace(""), "namespace"),
            (fine().id(" "), "id"),
            (Registration::new("orders").port(0), "port is from 1"),
            (fine().weight(0), "weight is from 1"),
            (fine().address("nowhere"), "/address"),
            (fine().named_port("!", 2), "/ports"),
            (fine().named_port("default", 2), "given twice"),
            (fine().registry("ftp://a"), "ftp://a"),
            (fine().registry("https://a").ca("/nowhere.pem"), "TLS"),
            (fine().check(CheckShape::default()), "/check"),
        ] {
            let fault = fault(&registration);
            assert!(fault.contains(words), "{words}: {fault}");
        }
    }

    #[test]
    fn registries_have_a_limit() {
        let many = |count: usize| {
            let fine = Registration::new("orders").port(1);
            (0..count).fold(fine, |fine, _| fine.registry("http://a"))
        };
        let env = Env::system();
        assert!(many(REGISTRIES_MAX).check_values(&env).is_ok());
        assert!(many(REGISTRIES_MAX + 1).check_values(&env).is_err());
    }
}
