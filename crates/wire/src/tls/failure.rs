//! What a failed handshake with an instance means, for people.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls's lists are long, foreign and non-exhaustive"
)]

use std::io;

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

/// Explains the error of a handshake with an instance.
#[must_use]
pub fn tls_failure(error: &io::Error) -> TlsFailure {
    let tls = error.get_ref().and_then(|inner| {
        let direct = inner.downcast_ref::<Error>();
        direct.or_else(|| inner.source()?.downcast_ref())
    });
    let (cause, detail) = match tls {
        Some(error) => explain(error),
        None => (Cause::TlsFailed, explain_io(error)),
    };
    TlsFailure { cause, detail }
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

fn explain(error: &Error) -> (Cause, String) {
    let text = match error {
        Error::InvalidCertificate(error) => {
            return (Cause::TlsCertificate, explain_certificate(error));
        }
        Error::NoCertificatesPresented => {
            let detail = "the instance shows no certificate".to_owned();
            return (Cause::TlsCertificate, detail);
        }
        Error::AlertReceived(alert) => explain_alert(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the instance does not speak TLS at this port".to_owned()
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the instance speaks only versions of TLS that are too old".to_owned(),
        Error::NoApplicationProtocol => {
            "the instance does not speak the configured version of HTTP".to_owned()
        }
        error => format!("the TLS handshake failed: {error}"),
    };
    (Cause::TlsFailed, text)
}

fn explain_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the instance wants a client certificate; name one in the upstream's `tls`".to_owned()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            format!("the instance refused our client certificate ({alert:?})")
        }
        AlertDescription::UnrecognisedName => {
            "the instance does not know the server name that we asked for".to_owned()
        }
        AlertDescription::NoApplicationProtocol => {
            "the instance does not speak the configured version of HTTP".to_owned()
        }
        alert => format!("the instance ended the TLS handshake ({alert:?})"),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the instance's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the instance's certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the instance's certificate is from an authority that is not trusted; \
             name it in the upstream's `tls.ca`"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            "the instance's certificate is for another name".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "the instance's certificate is for {}, not for {}; \
             name the right one in the upstream's `tls.server_name`",
            listed(presented),
            expected.to_str(),
        ),
        CertificateError::Revoked => "the instance's certificate is revoked".to_owned(),
        error => format!("the instance's certificate is not acceptable: {error}"),
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
