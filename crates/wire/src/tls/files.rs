//! Certificates and keys in PEM files.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use portolan_model::{ByteSize, route::CertificateFiles};
use rustls::{
    crypto::{CryptoProvider, ring},
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

/// Largest PEM file that is read: a bundle of every public authority is a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of certificates or keys that can't be used. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A listener with TLS names no certificate.
    #[error("no certificate is named")]
    NoneNamed,
    /// It can't be read: absent, or not ours to read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is larger than any file of certificates.
    #[error("{} is over the limit of {limit} for a PEM file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: ByteSize,
    },
    /// It has no `BEGIN CERTIFICATE` section.
    #[error("{} holds no certificate in PEM", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// It has no `BEGIN ... PRIVATE KEY` section.
    #[error("{} holds no private key in PEM", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Its key needs a passphrase.
    #[error("the key in {} is encrypted; store it without a passphrase", path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// It begins like PEM and does not go on like it.
    #[error("{} is not proper PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate in it is damaged, or not X.509.
    #[error("certificate {number} in {} can't be understood: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// Its key is of a kind that is not supported, or damaged.
    #[error("the key in {} can't be used: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key are not a pair.
    #[error(
        "the key in {} does not belong to the certificate in {}",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The system has no trust roots, so nothing can be verified.
    #[error("the system has no trusted certificates; install them, or name a `ca` file")]
    NoSystemRoots,
    /// The name to verify is none.
    #[error("`{name}` is not a DNS name or an IP address to verify a certificate for")]
    ServerName {
        /// The name as given.
        name: String,
    },
}

/// The provider of all cryptography.
pub(super) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A chain and its key as read, before rustls made something of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, TlsFileError> {
        Ok(Self {
            chain: read_certificates(&files.certificate)?,
            key: read_key(&files.key)?,
        })
    }

    /// Checks that key and certificate belong together.
    pub(super) fn certify(&self, files: &CertificateFiles) -> Result<CertifiedKey, TlsFileError> {
        let (chain, key) = (self.chain.clone(), self.key.clone_key());
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                return TlsFileError::KeyMismatch {
                    certificate: files.certificate.clone(),
                    key: files.key.clone(),
                };
            }
            if let rustls::Error::InvalidCertificate(error) = error {
                return TlsFileError::Certificate {
                    path: files.certificate.clone(),
                    number: 1,
                    reason: error.to_string(),
                };
            }
            TlsFileError::Key {
                path: files.key.clone(),
                reason: error.to_string(),
            }
        })
    }
}

/// Reads every certificate of a file; at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| bad_pem(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsFileError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let text = read(path)?;
    let holds = |words: &[u8]| memchr::memmem::find(&text, words).is_some();
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsFileError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if matches!(error, pem::Error::NoItemsFound) {
            return TlsFileError::NoKey {
                path: path.to_owned(),
            };
        }
        bad_pem(path, &error)
    })
}

fn bad_pem(path: &Path, error: &pem::Error) -> TlsFileError {
    TlsFileError::Pem {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |source| TlsFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    let bytes = file
        .take(FILE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        return Ok(text);
    }
    Err(TlsFileError::TooLarge {
        path: path.to_owned(),
        limit: ByteSize::from_bytes(FILE_BYTES_MAX),
    })
}
