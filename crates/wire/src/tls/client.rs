//! TLS to the instances of an upstream.
//!
//! A client configuration is made once for each distinct setting and shared by all
//! workers, so that sessions resume whoever dials. Verification is of chain and name
//! unless the configuration says otherwise, aloud.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use portolan_model::route::{Protocol, UpstreamTls, Verify};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    ALPN_HTTP1, ALPN_HTTP2,
    files::{Pair, TlsFileError, provider, read_certificates},
};

/// Client configurations, one for each distinct setting in use.
#[derive(Debug, Default)]
pub struct ClientTls {
    /// The system's trust roots, read when first needed.
    system: Option<Arc<RootCertStore>>,
    connectors: HashMap<(UpstreamTls, Protocol), Weak<Connector>>,
}

/// How to connect under one setting; shared by all who dial.
#[derive(Debug)]
pub struct Connector {
    current: ArcSwap<Loaded>,
    /// The name to verify, if it is not the host of the destination.
    server_name: Option<ServerName<'static>>,
}

#[derive(Debug)]
struct Loaded {
    material: Material,
    config: Arc<ClientConfig>,
}

/// What the files of a setting hold.
#[derive(Debug, PartialEq, Eq)]
struct Material {
    roots: Vec<CertificateDer<'static>>,
    pair: Option<Pair>,
}

/// A host that can't be verified, because no certificate can carry its name.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` is not a name that a certificate can carry")]
pub struct BadServerName {
    /// The host of the destination.
    pub host: String,
    /// What is wrong with it.
    #[source]
    pub source: InvalidDnsNameError,
}

impl ClientTls {
    /// No configuration yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How to connect under `settings`; the same for the same settings as long as
    /// somebody uses it.
    ///
    /// # Errors
    /// What is wrong with a file or a name.
    pub fn connector(
        &mut self,
        settings: &UpstreamTls,
        protocol: Protocol,
    ) -> Result<Arc<Connector>, TlsFileError> {
        let key = (settings.clone(), protocol);
        if let Some(connector) = self.connectors.get(&key).and_then(Weak::upgrade) {
            return Ok(connector);
        }
        let connector = Arc::new(Connector {
            current: ArcSwap::from_pointee(self.load(settings, protocol)?),
            server_name: settings
                .server_name
                .as_deref()
                .map(server_name)
                .transpose()?,
        });
        self.connectors.retain(|_, weak| weak.strong_count() > 0);
        self.connectors.insert(key, Arc::downgrade(&connector));
        Ok(connector)
    }

    /// Reads the files of all settings in use again. New connections get what they
    /// hold now; a setting whose files are bad keeps what it had, and is reported.
    pub fn reload(&mut self) -> Vec<TlsFileError> {
        let used: Vec<_> = self
            .connectors
            .iter()
            .filter_map(|(key, weak)| Some((key.clone(), weak.upgrade()?)))
            .collect();
        let mut errors = Vec::new();
        for ((settings, protocol), connector) in used {
            match self.load(&settings, protocol) {
                Ok(loaded) => connector.replace(loaded),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// The files to watch, of all settings in use.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let used = self.connectors.iter();
        used.filter(|(_, weak)| weak.strong_count() > 0)
            .flat_map(|((settings, _), _)| {
                let pair = settings.certificate.iter();
                pair.flat_map(|files| [files.certificate.clone(), files.key.clone()])
                    .chain(settings.ca.clone())
            })
            .collect()
    }

    fn load(&mut self, settings: &UpstreamTls, protocol: Protocol) -> Result<Loaded, TlsFileError> {
        let roots = settings.ca.as_deref().map(read_certificates).transpose()?;
        let pair = settings.certificate.as_ref();
        let material = Material {
            roots: roots.unwrap_or_default(),
            pair: pair.map(Pair::read).transpose()?,
        };
        let verifier = self.verifier(settings, &material)?;
        let identity = match (&settings.certificate, &material.pair) {
            (Some(files), Some(pair)) => Some(pair.certify(files)?),
            (None, _) | (_, None) => None,
        };
        let config = Arc::new(config(verifier, identity, protocol));
        Ok(Loaded { material, config })
    }

    fn verifier(
        &mut self,
        settings: &UpstreamTls,
        material: &Material,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsFileError> {
        let roots = match (settings.verify, &settings.ca) {
            (Verify::Off, _) => return Ok(Arc::new(Unverified(provider()))),
            (Verify::Full, None) => self.system_roots()?,
            (Verify::Full, Some(path)) => {
                let mut roots = RootCertStore::empty();
                for (index, root) in material.roots.iter().enumerate() {
                    let added = roots.add(root.clone());
                    added.map_err(|error| TlsFileError::Certificate {
                        path: path.clone(),
                        number: index.saturating_add(1),
                        reason: error.to_string(),
                    })?;
                }
                Arc::new(roots)
            }
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::new(provider()));
        // The only other failures concern revocation lists, of which there are none.
        verifier
            .build()
            .map(|verifier| verifier as _)
            .map_err(|_| TlsFileError::NoSystemRoots)
    }

    fn system_roots(&mut self) -> Result<Arc<RootCertStore>, TlsFileError> {
        if let Some(roots) = &self.system {
            return Ok(Arc::clone(roots));
        }
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's trusted certificates can't be read");
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(TlsFileError::NoSystemRoots);
        }
        let roots = Arc::new(roots);
        self.system = Some(Arc::clone(&roots));
        Ok(roots)
    }
}

impl Connector {
    /// The configuration of the moment; take it anew for each connection.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The name to ask for and to verify: the configured one, else the destination's
    /// host, else its address, which a certificate must carry as such.
    ///
    /// # Errors
    /// [`BadServerName`] if the host is not a DNS name.
    pub fn server_name(
        &self,
        host: Option<&str>,
        address: IpAddr,
    ) -> Result<ServerName<'static>, BadServerName> {
        match (&self.server_name, host) {
            (Some(name), _) => Ok(name.clone()),
            (None, None) => Ok(ServerName::from(address)),
            (None, Some(host)) => {
                ServerName::try_from(host.to_owned()).map_err(|source| BadServerName {
                    host: host.to_owned(),
                    source,
                })
            }
        }
    }

    /// Takes what was loaded, unless it is what is there: that keeps its sessions.
    fn replace(&self, loaded: Loaded) {
        if self.current.load().material != loaded.material {
            self.current.store(Arc::new(loaded));
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsFileError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsFileError::ServerName {
        name: name.to_owned(),
    })
}

#[expect(
    clippy::expect_used,
    reason = "rustls asks for what can't go wrong here"
)]
fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<CertifiedKey>,
    protocol: Protocol,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(key) => {
            let key: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(key));
            builder.with_client_cert_resolver(key)
        }
    };
    config.alpn_protocols = match protocol {
        Protocol::Auto => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
        Protocol::Http1 => vec![ALPN_HTTP1.to_vec()],
        Protocol::Http2 => vec![ALPN_HTTP2.to_vec()],
    };
    config
}

/// Takes any certificate, as `verify: off` asks for. The handshake's signatures are
/// still checked, so that at least it is the certificate's owner who is there.
#[derive(Debug)]
struct Unverified(CryptoProvider);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
