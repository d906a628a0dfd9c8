//! A certificate authority of one's own.

use portolan_model::route::CertificateFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use crate::Scratch;

/// An authority whose certificates nobody trusts but the test.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now, and for long.
    Now,
    /// It was, until 2020.
    Past,
}

impl Authority {
    /// A new authority of that common name.
    ///
    /// # Panics
    /// If the machine has no entropy.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a test without certificates can't go on"
    )]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there is entropy");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are sound"))
    }

    /// Its own certificate, in PEM: what its clients trust.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names (DNS or IP; a wildcard as `*.a.example`).
    ///
    /// # Panics
    /// If a name is none.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a test without certificates can't go on"
    )]
    pub fn issue(&self, names: &[&str], validity: Validity) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are sound");
        if validity == Validity::Past {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("there is entropy");
        let certificate = params.signed_by(&key, &self.0).expect("the issuer is ours");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// Writes `<name>.pem` and `<name>.key`.
    #[must_use]
    pub fn write(&self, scratch: &Scratch, name: &str) -> CertificateFiles {
        CertificateFiles {
            certificate: scratch.write(&format!("{name}.pem"), &self.certificate),
            key: scratch.write(&format!("{name}.key"), &self.key),
        }
    }
}
