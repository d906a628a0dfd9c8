//! TLS to clients.
//!
//! One [`ServerTls`] per listener, shared by all workers: one ticket key, so that a
//! session made by one worker resumes at any other, and one cell of certificates
//! that every handshake reads. A reload swaps the cell; connections and tickets live on.
//!
//! The cipher is ours to choose: AES-128-GCM costs a fifth less than AES-256-GCM, which
//! many clients name first, and nobody can break either. A client that prefers
//! `ChaCha20` says by this that it has no hardware for AES, and gets its wish.

use std::{io, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use portolan_model::{Timestamp, route::CertificateFiles};
use rustls::{
    CipherSuite, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring::Ticketer},
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    ALPN_DOT, ALPN_HTTP1, ALPN_HTTP2,
    certificates::{Certificates, Concern},
    clients::{ClientAuthority, Clients},
    files::{TlsFileError, provider},
};

/// What a listener's TLS is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The certificates; the first is for clients that name no host or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// The versions spoken.
    pub versions: Versions,
    /// The protocols offered.
    pub alpn: Alpn,
    /// Whose certificates clients show; none if they show none.
    pub clients: Option<ClientAuthority>,
}

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 only.
    Tls12,
    /// 1.3 only.
    Tls13,
}

/// The protocols offered by ALPN, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2, then HTTP/1.1.
    #[default]
    Both,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
    /// DNS over TLS.
    Dot,
}

/// TLS of one listener.
#[derive(Debug)]
pub struct ServerTls {
    /// We choose the cipher.
    config: Arc<ServerConfig>,
    /// The client chooses the cipher.
    yielding: Arc<ServerConfig>,
    cell: Arc<Cell>,
    files: Vec<CertificateFiles>,
    clients: Option<Arc<Clients>>,
}

/// What a reload found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The files say the same as before.
    Unchanged,
    /// New handshakes get the new certificates.
    Changed,
}

impl ServerTls {
    /// Reads the certificates and makes the configuration; `now` is only to find
    /// certificates that are out of date.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn new(
        settings: &ServerSettings,
        now: Timestamp,
    ) -> Result<(Self, Vec<Concern>), Vec<TlsFileError>> {
        let (certificates, concerns) = Certificates::load(&settings.certificates, now)?;
        let clients = settings.clients.as_ref().map(Clients::load);
        let clients = clients.transpose().map_err(|error| vec![error])?;
        let clients = clients.map(Arc::new);
        let cell = Arc::new(Cell(ArcSwap::from_pointee(certificates)));
        let config = config(settings, Arc::clone(&cell), clients.clone());
        let mut yielding = config.clone();
        yielding.ignore_client_order = false;
        let tls = Self {
            config: Arc::new(config),
            yielding: Arc::new(yielding),
            cell,
            files: settings.certificates.clone(),
            clients,
        };
        Ok((tls, concerns))
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// What is wrong with the client's handshake; it has been told by an alert.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let known = &self.config.crypto_provider().cipher_suites;
        let config = if prefers_chacha(start.client_hello().cipher_suites(), known) {
            &self.yielding
        } else {
            &self.config
        };
        start.into_stream(Arc::clone(config)).await
    }

    /// What an acceptor needs.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The files to watch.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let clients = self.clients.iter().map(|clients| clients.file());
        self.files
            .iter()
            .flat_map(|files| [files.certificate.as_path(), files.key.as_path()])
            .chain(clients)
    }

    /// Reads the files again. New handshakes get what they hold now.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files; the old certificates stay.
    pub fn reload(&self, now: Timestamp) -> Result<(Reloaded, Vec<Concern>), Vec<TlsFileError>> {
        let (certificates, concerns) = Certificates::load(&self.files, now)?;
        let clients = self.clients.as_ref().map(|clients| clients.reload());
        let clients = clients.transpose().map_err(|error| vec![error])?;
        if certificates.is_same_as(&self.cell.0.load_full()) {
            return Ok((clients.unwrap_or(Reloaded::Unchanged), concerns));
        }
        self.cell.0.store(Arc::new(certificates));
        Ok((Reloaded::Changed, concerns))
    }
}

/// The certificates of the moment.
#[derive(Debug)]
struct Cell(ArcSwap<Certificates>);

impl ResolvesServerCert for Cell {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .load()
            .find(hello.server_name(), hello.signature_schemes())
    }
}

/// AES-128-GCM in both versions.
const AES_128: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// `ChaCha20` in both versions.
const CHACHA: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// The provider with AES-128 before AES-256 before `ChaCha20`.
fn thrifty_provider() -> CryptoProvider {
    let mut provider = provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let suite = suite.suite();
        (CHACHA.contains(&suite), !AES_128.contains(&suite))
    });
    provider
}

/// Whether the first cipher that we know is `ChaCha20`; before it may stand what
/// clients make up to keep servers tolerant (RFC 8701).
fn prefers_chacha(suites: &[CipherSuite], known: &[SupportedCipherSuite]) -> bool {
    let is_known = |suite: &&CipherSuite| known.iter().any(|known| known.suite() == **suite);
    suites
        .iter()
        .find(is_known)
        .is_some_and(|suite| CHACHA.contains(suite))
}

#[expect(
    clippy::expect_used,
    reason = "rustls asks for what can't go wrong here"
)]
fn config(
    settings: &ServerSettings,
    cell: Arc<Cell>,
    clients: Option<Arc<Clients>>,
) -> ServerConfig {
    let versions: &[&SupportedProtocolVersion] = match settings.versions {
        Versions::Both => &[&TLS13, &TLS12],
        Versions::Tls12 => &[&TLS12],
        Versions::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(thrifty_provider()))
        .with_protocol_versions(versions)
        .expect("ring has cipher suites for both versions");
    let knows_clients = clients.is_some();
    let mut config = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(cell);
    config.ignore_client_order = true;
    config.alpn_protocols = match settings.alpn {
        Alpn::Both => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
        Alpn::Http1 => vec![ALPN_HTTP1.to_vec()],
        Alpn::Http2 => vec![ALPN_HTTP2.to_vec()],
        Alpn::Dot => vec![ALPN_DOT.to_vec()],
    };
    if knows_clients {
        // A resumed session would not show its certificate to an authority that changed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return config;
    }
    match Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        // Without entropy no handshake works either; the first one will say so.
        Err(error) => tracing::error!(%error, "no entropy for session tickets"),
    }
    config
}
