//! Which certificate answers which name.
//!
//! Names come from the leaf's subject alternative names; the common name is not
//! looked at, as no client does. Several certificates may carry the same name (one
//! with an ECDSA key, one with RSA): the first that the client can verify is shown.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use portolan_model::{Timestamp, route::CertificateFiles};
use rustls::{SignatureScheme, sign::CertifiedKey};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::files::{Pair, TlsFileError};

/// Something about a certificate that works, but not as somebody would want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// It is no longer valid; clients will refuse it.
    Expired {
        /// Where it is.
        files: CertificateFiles,
        /// Since when.
        since: Timestamp,
    },
    /// It is not valid yet; clients will refuse it.
    NotYetValid {
        /// Where it is.
        files: CertificateFiles,
        /// From when.
        from: Timestamp,
    },
    /// It carries no DNS name, and is not the first: no client will ever see it.
    Nameless {
        /// Where it is.
        files: CertificateFiles,
    },
}

impl std::fmt::Display for Concern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expired { files, since } => {
                write!(f, "{} expired at {since}", files.certificate.display())
            }
            Self::NotYetValid { files, from } => {
                let path = files.certificate.display();
                write!(f, "{path} is not valid before {from}")
            }
            Self::Nameless { files } => {
                let path = files.certificate.display();
                write!(f, "{path} carries no DNS name and is never shown")
            }
        }
    }
}

/// Certificates that share a name, in the order of the configuration; at least one.
type Candidates = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener, by the names they carry.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Whole names, lower-case.
    exact: HashMap<Box<str>, Candidates>,
    /// What follows the first label: `a.example` for `*.a.example`.
    wildcard: HashMap<Box<str>, Candidates>,
    /// For who asks for nothing or for a name that nobody carries.
    default: Candidates,
    /// All leaves and intermediates, to tell whether a reload changed anything.
    all: Vec<Arc<CertifiedKey>>,
}

/// What the leaf of a chain says of itself.
struct Leaf {
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificates {
    /// Reads all pairs of files. The first is the default.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub(super) fn load(
        files: &[CertificateFiles],
        now: Timestamp,
    ) -> Result<(Self, Vec<Concern>), Vec<TlsFileError>> {
        let mut certificates = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Vec::new(),
            all: Vec::new(),
        };
        let (mut concerns, mut errors) = (Vec::new(), Vec::new());
        let mut default_names = Vec::new();
        for (index, files) in files.iter().enumerate() {
            let (leaf, key) = match read(files) {
                Ok(read) => read,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            concerns.extend(leaf.concern(files, now));
            if index == 0 {
                default_names.clone_from(&leaf.names);
            } else if leaf.names.is_empty() {
                concerns.push(Concern::Nameless {
                    files: files.clone(),
                });
            }
            let is_default =
                index == 0 || leaf.names.iter().any(|name| default_names.contains(name));
            certificates.add(&leaf.names, &key, is_default);
        }
        if files.is_empty() {
            errors.push(TlsFileError::NoneNamed);
        }
        if errors.is_empty() {
            Ok((certificates, concerns))
        } else {
            Err(errors)
        }
    }

    fn add(&mut self, names: &[String], key: &Arc<CertifiedKey>, is_default: bool) {
        for name in names {
            let (index, name) = match name.strip_prefix("*.") {
                Some(suffix) => (&mut self.wildcard, suffix),
                None => (&mut self.exact, name.as_str()),
            };
            index.entry(name.into()).or_default().push(Arc::clone(key));
        }
        if is_default {
            self.default.push(Arc::clone(key));
        }
        self.all.push(Arc::clone(key));
    }

    /// The certificate for a client that asks for `name` and can verify `schemes`.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let candidates = name
            .and_then(|name| self.candidates(name))
            .unwrap_or(&self.default);
        match candidates.as_slice() {
            [] => None,
            [only] => Some(Arc::clone(only)),
            [first, ..] => candidates
                .iter()
                .find(|candidate| candidate.key.choose_scheme(schemes).is_some())
                .or(Some(first))
                .cloned(),
        }
    }

    fn candidates(&self, name: &str) -> Option<&Candidates> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        self.exact.get(name.as_ref()).or_else(|| {
            let (_, suffix) = name.split_once('.')?;
            self.wildcard.get(suffix)
        })
    }

    /// Whether the same chains are shown for the same names.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let chains = |certificates: &Self| -> Vec<_> {
            let keys = certificates.all.iter();
            keys.map(|key| key.cert.clone()).collect()
        };
        chains(self) == chains(other)
    }
}

fn read(files: &CertificateFiles) -> Result<(Leaf, Arc<CertifiedKey>), TlsFileError> {
    let key = Pair::read(files)?.certify(files)?;
    let leaf = key.cert.first().map_or(&[][..], AsRef::as_ref);
    let leaf = Leaf::parse(leaf).map_err(|error| TlsFileError::Certificate {
        path: files.certificate.clone(),
        number: 1,
        reason: error.to_string(),
    })?;
    Ok((leaf, Arc::new(key)))
}

impl Leaf {
    fn parse(der: &[u8]) -> Result<Self, x509_cert::der::Error> {
        let certificate = Certificate::from_der(der)?;
        let body = certificate.tbs_certificate();
        let names = body
            .get_extension::<SubjectAltName>()?
            .map_or_else(Vec::new, |(_, SubjectAltName(names))| dns_names(&names));
        let time = |time: x509_cert::time::Time| {
            let millis = time.to_unix_duration().as_millis();
            Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
        };
        Ok(Self {
            names,
            not_before: time(body.validity().not_before),
            not_after: time(body.validity().not_after),
        })
    }

    fn concern(&self, files: &CertificateFiles, now: Timestamp) -> Option<Concern> {
        let files = files.clone();
        if now > self.not_after {
            let since = self.not_after;
            return Some(Concern::Expired { files, since });
        }
        (now < self.not_before).then_some(Concern::NotYetValid {
            files,
            from: self.not_before,
        })
    }
}

fn dns_names(names: &[GeneralName]) -> Vec<String> {
    names
        .iter()
        .filter_map(|name| {
            let GeneralName::DnsName(name) = name else {
                return None;
            };
            Some(name.as_str().to_ascii_lowercase())
        })
        .collect()
}
