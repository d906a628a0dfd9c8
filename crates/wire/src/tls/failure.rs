//! What a failed handshake with an instance means, for people.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls's lists are long, foreign and non-exhaustive"
)]

use std::{error, io};

use portolan_model::Cause;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why TLS with an instance failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// The cause code.
    pub cause: Cause,
    /// One sentence without a full stop, for logs and for people who may see them.
    pub detail: String,
}

/// Who is at the other end, and whose settings are about it.
struct Party {
    who: &'static str,
    settings: &'static str,
}

const INSTANCE: Party = Party {
    who: "the instance",
    settings: "the upstream's",
};
const REGISTRY: Party = Party {
    who: "the server",
    settings: "the source's",
};

/// Explains the error of a handshake with an instance.
#[must_use]
pub fn tls_failure(error: &io::Error) -> TlsFailure {
    let (cause, detail) = match within(error) {
        Some(error) => INSTANCE.explain(error),
        None => (Cause::TlsFailed, explain_io(error)),
    };
    TlsFailure { cause, detail }
}

/// Explains an error of TLS with a server that a source reads, if it is one.
#[must_use]
pub fn registry_tls_failure(error: &(dyn error::Error + 'static)) -> Option<String> {
    Some(REGISTRY.explain(within(error.downcast_ref()?)?).1)
}

fn within(error: &io::Error) -> Option<&Error> {
    let inner = error.get_ref()?;
    let direct = inner.downcast_ref::<Error>();
    direct.or_else(|| inner.source()?.downcast_ref())
}

fn explain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            "the instance closed the connection during the TLS handshake".to_owned()
        }
        _ => format!("the TLS handshake failed: {error}"),
    }
}

impl Party {
    fn explain(&self, error: &Error) -> (Cause, String) {
        let who = self.who;
        let text = match error {
            Error::InvalidCertificate(error) => {
                return (Cause::TlsCertificate, self.explain_certificate(error));
            }
            Error::NoCertificatesPresented => {
                let detail = format!("{who} shows no certificate");
                return (Cause::TlsCertificate, detail);
            }
            Error::AlertReceived(alert) => self.explain_alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                format!("{who} does not speak TLS at this port")
            }
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => format!("{who} speaks only versions of TLS that are too old"),
            Error::NoApplicationProtocol => {
                format!("{who} does not speak the configured version of HTTP")
            }
            error => format!("the TLS handshake failed: {error}"),
        };
        (Cause::TlsFailed, text)
    }

    fn explain_alert(&self, alert: AlertDescription) -> String {
        let Self { who, settings } = self;
        match alert {
            AlertDescription::CertificateRequired => {
                format!("{who} wants a client certificate; name one in {settings} `tls`")
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                format!("{who} refused our client certificate ({alert:?})")
            }
            AlertDescription::UnrecognisedName => {
                format!("{who} does not know the server name that we asked for")
            }
            AlertDescription::NoApplicationProtocol => {
                format!("{who} does not speak the configured version of HTTP")
            }
            alert => format!("{who} ended the TLS handshake ({alert:?})"),
        }
    }

    fn explain_certificate(&self, error: &CertificateError) -> String {
        let Self { who, settings } = self;
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("{who}'s certificate has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("{who}'s certificate is not valid yet")
            }
            CertificateError::UnknownIssuer => {
                format!(
                    "{who}'s certificate is from an authority that is not trusted; \
             name it in {settings} `tls.ca`"
                )
            }
            CertificateError::NotValidForName => {
                format!("{who}'s certificate is for another name")
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => format!(
                "{who}'s certificate is for {}, not for {}; \
             name the right one in {settings} `tls.server_name`",
                listed(presented),
                expected.to_str(),
            ),
            CertificateError::Revoked => format!("{who}'s certificate is revoked"),
            error => format!("{who}'s certificate is not acceptable: {error}"),
        }
    }
}

/// Names of a certificate, for a sentence; a long list is cut. They come as
/// `DnsName("a.example")`.
fn listed(names: &[String]) -> String {
    const SHOWN_MAX: usize = 3;
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let shown: Vec<_> = names.iter().take(SHOWN_MAX).map(bare).collect();
    match names.len().saturating_sub(SHOWN_MAX) {
        _ if names.is_empty() => "no name".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
