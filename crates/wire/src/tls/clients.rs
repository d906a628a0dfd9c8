//! Certificates that clients show.
//!
//! The authority is a file like any other and may change while connections run: each
//! handshake is verified by what it holds at that moment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    Certificate,
    der::{Decode, asn1::ObjectIdentifier},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{
    Reloaded,
    files::{TlsFileError, provider, read_certificates},
};

/// The attribute of a common name (RFC 4519, section 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Whose certificates clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// The authorities' certificates, in PEM.
    pub file: PathBuf,
    /// Whether a client must show one.
    pub demand: Demand,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A handshake without one fails.
    Required,
    /// One that is shown must be good.
    Optional,
}

/// Verifies clients by the authorities of the moment.
#[derive(Debug)]
pub(super) struct Clients {
    authority: ClientAuthority,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    roots: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    /// Reads the authorities.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn load(authority: &ClientAuthority) -> Result<Self, TlsFileError> {
        Ok(Self {
            current: ArcSwap::from_pointee(read(authority)?),
            authority: authority.clone(),
        })
    }

    pub(super) fn file(&self) -> &Path {
        &self.authority.file
    }

    /// Reads the authorities again; if they are bad, the old ones stay.
    pub(super) fn reload(&self) -> Result<Reloaded, TlsFileError> {
        let read = read(&self.authority)?;
        if read.roots == self.current.load().roots {
            return Ok(Reloaded::Unchanged);
        }
        self.current.store(Arc::new(read));
        Ok(Reloaded::Changed)
    }

    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.current.load().verifier)
    }
}

fn read(authority: &ClientAuthority) -> Result<Current, TlsFileError> {
    let roots = read_certificates(&authority.file)?;
    let mut store = RootCertStore::empty();
    let bad = |number: usize, reason: String| TlsFileError::Certificate {
        path: authority.file.clone(),
        number,
        reason,
    };
    for (index, root) in roots.iter().enumerate() {
        let added = store.add(root.clone());
        added.map_err(|error| bad(index.saturating_add(1), error.to_string()))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(provider()));
    let builder = match authority.demand {
        Demand::Required => builder,
        Demand::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|error| bad(1, error.to_string()))?;
    Ok(Current { roots, verifier })
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.authority.demand == Demand::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints would have to live as long as this; without any, a client shows what it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verifier()
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().supported_verify_schemes()
    }
}

/// The names that a client's certificate carries: alternative names (DNS, URI, mail), then
/// the common name of its subject. None of a certificate that can't be read.
#[must_use]
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let signed = certificate.tbs_certificate();
    let mut names = Vec::new();
    if let Ok(Some((_, SubjectAltName(alternatives)))) = signed.get_extension::<SubjectAltName>() {
        for name in alternatives {
            match name {
                GeneralName::DnsName(name)
                | GeneralName::UniformResourceIdentifier(name)
                | GeneralName::Rfc822Name(name) => names.push(name.to_string()),
                GeneralName::OtherName(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EdiPartyName(_)
                | GeneralName::IpAddress(_)
                | GeneralName::RegisteredId(_) => {}
            }
        }
    }
    for attribute in signed.subject().iter() {
        if attribute.oid == COMMON_NAME
            && let Ok(text) = std::str::from_utf8(attribute.value.value())
        {
            names.push(text.to_owned());
        }
    }
    names
}
