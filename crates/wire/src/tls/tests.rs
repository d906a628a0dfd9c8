//! Handshakes in memory, with certificates of an authority made for the test.

use std::{io, net::Ipv4Addr, sync::Arc};

use portolan_model::{
    Cause, Timestamp,
    route::{CertificateFiles, Protocol, UpstreamTls, Verify},
};
use portolan_testkit::{Authority, Scratch, Validity};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::{
        CryptoProvider,
        ring::{self, cipher_suite},
    },
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn settings(certificates: Vec<CertificateFiles>) -> ServerSettings {
    ServerSettings {
        certificates,
        versions: Versions::Both,
        alpn: Alpn::Both,
        clients: None,
    }
}

fn server(certificates: Vec<CertificateFiles>) -> ServerTls {
    ServerTls::new(&settings(certificates), NOW).unwrap().0
}

fn trusting(scratch: &Scratch, authority: &Authority) -> UpstreamTls {
    UpstreamTls {
        server_name: None,
        ca: Some(scratch.write("ca.pem", &authority.certificate())),
        certificate: None,
        verify: Verify::Full,
    }
}

fn connect_config(tls: &UpstreamTls, protocol: Protocol) -> Arc<ClientConfig> {
    ClientTls::new().connector(tls, protocol).unwrap().config()
}

/// Shakes hands, sends a byte each way, and gives the client's end.
async fn meet(
    server: &ServerTls,
    client: Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream<DuplexStream>> {
    let (near, far) = duplex(64 * 1024);
    let accept = server.accept(far);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connect = TlsConnector::from(client).connect(name, near);
    let (accepted, connected) = tokio::join!(accept, connect);
    let (mut client, mut server) = (connected?, accepted?);
    // Tickets come after the handshake, before the first byte.
    server.write_all(b"x").await?;
    server.flush().await?;
    client.read_exact(&mut [0]).await?;
    Ok(client)
}

fn leaf(stream: &TlsStream<DuplexStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn certificate_fits_the_name_exact_before_wildcard_before_default() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issue = |names: &[&str]| authority.issue(names, Validity::Now);
    let first = issue(&["first.example"]);
    let wild = issue(&["*.shop.example"]);
    let exact = issue(&["api.shop.example"]);
    let server = server(vec![
        first.write(&scratch, "first"),
        wild.write(&scratch, "wild"),
        exact.write(&scratch, "exact"),
    ]);
    let client = UpstreamTls {
        verify: Verify::Off,
        ..trusting(&scratch, &authority)
    };
    let client = connect_config(&client, Protocol::Auto);
    for (name, expected) in [
        ("api.shop.example", &exact),
        ("API.shop.example", &exact),
        ("www.shop.example", &wild),
        ("a.www.shop.example", &first),
        ("shop.example", &first),
        ("nobody.example", &first),
        ("127.0.0.1", &first),
    ] {
        let stream = meet(&server, Arc::clone(&client), name).await.unwrap();
        assert_eq!(leaf(&stream), der(&expected.certificate), "{name}");
    }
}

#[tokio::test]
async fn alpn_settles_on_what_both_speak() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issued = authority.issue(&["a.example"], Validity::Now);
    let files = issued.write(&scratch, "a");
    let trust = trusting(&scratch, &authority);
    for (alpn, protocol, settled) in [
        (Alpn::Both, Protocol::Auto, Some(ALPN_HTTP2)),
        (Alpn::Both, Protocol::Http1, Some(ALPN_HTTP1)),
        (Alpn::Http1, Protocol::Auto, Some(ALPN_HTTP1)),
        (Alpn::Http2, Protocol::Auto, Some(ALPN_HTTP2)),
        (Alpn::Http1, Protocol::Http2, None),
    ] {
        let settings = ServerSettings {
            alpn,
            ..settings(vec![files.clone()])
        };
        let (server, _) = ServerTls::new(&settings, NOW).unwrap();
        let client = connect_config(&trust, protocol);
        match (meet(&server, client, "a.example").await, settled) {
            (Ok(stream), Some(settled)) => {
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(settled));
            }
            (Err(error), None) => assert_eq!(
                tls_failure(&error).detail,
                "the instance does not speak the configured version of HTTP"
            ),
            (outcome, settled) => panic!("{outcome:?}, expected {settled:?}"),
        }
    }
}

#[tokio::test]
async fn the_cheaper_cipher_is_taken_unless_the_client_has_no_hardware_for_it() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issued = authority.issue(&["a.example"], Validity::Now);
    let server = server(vec![issued.write(&scratch, "a")]);
    let (big, small, chacha) = (
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    );
    for (offered, taken) in [
        (vec![big, chacha, small], small),
        (vec![small, chacha], small),
        (vec![chacha, big, small], chacha),
        (vec![big, chacha], big),
    ] {
        let provider = CryptoProvider {
            cipher_suites: offered,
            ..ring::default_provider()
        };
        let client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&authority))
            .with_no_client_auth();
        let stream = meet(&server, Arc::new(client), "a.example").await.unwrap();
        assert_eq!(stream.get_ref().1.negotiated_cipher_suite(), Some(taken));
    }
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.certificate())).unwrap();
    roots
}

#[tokio::test]
async fn sessions_resume_in_both_versions_and_across_a_reload() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issued = authority.issue(&["a.example"], Validity::Now);
    let files = issued.write(&scratch, "a");
    for versions in [Versions::Tls12, Versions::Tls13] {
        let settings = ServerSettings {
            versions,
            ..settings(vec![files.clone()])
        };
        let (server, _) = ServerTls::new(&settings, NOW).unwrap();
        let client = connect_config(&trusting(&scratch, &authority), Protocol::Auto);
        let kind = async || {
            let stream = meet(&server, Arc::clone(&client), "a.example").await;
            stream.unwrap().get_ref().1.handshake_kind().unwrap()
        };
        assert_eq!(kind().await, HandshakeKind::Full, "{versions:?}");
        assert_eq!(kind().await, HandshakeKind::Resumed, "{versions:?}");
        let renewed = authority.issue(&["a.example"], Validity::Now);
        assert_eq!(renewed.write(&scratch, "a"), files);
        assert_eq!(server.reload(NOW).unwrap().0, Reloaded::Changed);
        assert_eq!(kind().await, HandshakeKind::Resumed, "{versions:?}");
    }
}

#[tokio::test]
async fn reload_swaps_good_files_and_keeps_the_old_ones_when_the_new_are_bad() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let old = authority.issue(&["a.example"], Validity::Now);
    let new = authority.issue(&["a.example"], Validity::Now);
    let server = server(vec![old.write(&scratch, "a")]);
    let trust = trusting(&scratch, &authority);
    let shown = async || {
        let client = connect_config(&trust, Protocol::Auto);
        leaf(&meet(&server, client, "a.example").await.unwrap())
    };
    assert_eq!(server.reload(NOW).unwrap().0, Reloaded::Unchanged);

    // The certificate is written, its key not yet.
    scratch.write("a.pem", &new.certificate);
    let errors = server.reload(NOW).unwrap_err();
    let [TlsFileError::KeyMismatch { .. }] = errors.as_slice() else {
        panic!("{errors:?}");
    };
    assert_eq!(shown().await, der(&old.certificate));

    scratch.write("a.key", &new.key);
    assert_eq!(server.reload(NOW).unwrap().0, Reloaded::Changed);
    assert_eq!(shown().await, der(&new.certificate));
}

#[test]
fn every_bad_file_is_named_with_what_is_wrong() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let good = authority.issue(&["a.example"], Validity::Now);
    let other = authority.issue(&["b.example"], Validity::Now);
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = good.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let (leaf, key) = (&*good.certificate, &*good.key);
    let cases = [
        ("empty", "", key, "empty.pem holds no certificate in PEM"),
        (
            "keyless",
            leaf,
            "",
            "keyless.key holds no private key in PEM",
        ),
        (
            "locked",
            leaf,
            &encrypted,
            "locked.key is encrypted; store it without a passphrase",
        ),
        ("cut", &leaf[..200], key, "cut.pem is not proper PEM"),
        ("rubbish", rubbish, key, "rubbish.pem can't be understood"),
        ("foreign", leaf, &other.key, "foreign.pem"),
    ];
    let written = cases.map(|(name, leaf, key, _)| CertificateFiles {
        certificate: scratch.write(&format!("{name}.pem"), leaf),
        key: scratch.write(&format!("{name}.key"), key),
    });
    let absent = CertificateFiles {
        certificate: scratch.path().join("absent.pem"),
        key: scratch.path().join("absent.key"),
    };
    let files = written.into_iter().chain([absent]).collect();
    let errors = ServerTls::new(&settings(files), NOW).unwrap_err();
    assert_eq!(errors.len(), cases.len() + 1, "{errors:?}");
    let words = cases.iter().map(|case| case.3).chain(["can't read"]);
    for (error, words) in errors.iter().zip(words) {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_file_is_read_up_to_the_limit() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issued = authority.issue(&["a.example"], Validity::Now);
    let files = issued.write(&scratch, "a");
    let mut text = issued.certificate;
    text.extend(std::iter::repeat_n('\n', (1 << 20) - text.len()));
    scratch.write("a.pem", &text);
    assert!(ServerTls::new(&settings(vec![files.clone()]), NOW).is_ok());
    text.push('\n');
    scratch.write("a.pem", &text);
    let errors = ServerTls::new(&settings(vec![files]), NOW).unwrap_err();
    assert!(matches!(errors.as_slice(), [TlsFileError::TooLarge { .. }]));
}

#[test]
fn certificates_out_of_date_or_without_a_name_are_concerns_not_errors() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issue = |name: &str, validity| authority.issue(&[name], validity);
    let past = issue("a.example", Validity::Past).write(&scratch, "past");
    let nameless = issue("127.0.0.1", Validity::Now).write(&scratch, "nameless");
    let both = settings(vec![past.clone(), nameless.clone()]);
    let (_, concerns) = ServerTls::new(&both, NOW).unwrap();
    let [Concern::Expired { files, since }, second] = concerns.as_slice() else {
        panic!("{concerns:?}");
    };
    let since = since.to_string();
    assert_eq!((files, &*since), (&past, "2020-01-01T00:00:00.000Z"));
    assert_eq!(*second, Concern::Nameless { files: nameless });
}

#[test]
fn a_listener_without_certificates_is_refused() {
    let errors = ServerTls::new(&settings(Vec::new()), NOW).unwrap_err();
    assert!(matches!(errors.as_slice(), [TlsFileError::NoneNamed]));
}

#[tokio::test]
async fn what_is_wrong_with_an_instance_is_said_in_words() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issue = |validity| authority.issue(&["a.example", "b.example"], validity);
    let good = server(vec![issue(Validity::Now).write(&scratch, "good")]);
    let past = server(vec![issue(Validity::Past).write(&scratch, "past")]);
    let trust = connect_config(&trusting(&scratch, &authority), Protocol::Auto);
    let elsewhere = Scratch::new();
    let stranger = trusting(&elsewhere, &Authority::new("b"));
    let stranger = connect_config(&stranger, Protocol::Auto);
    for (server, client, name, words) in [
        (
            &good,
            &trust,
            "c.example",
            "is for a.example, b.example, not for c.example",
        ),
        (&good, &trust, "127.0.0.1", "not for 127.0.0.1"),
        (&past, &trust, "a.example", "has expired"),
        (
            &good,
            &stranger,
            "a.example",
            "an authority that is not trusted",
        ),
    ] {
        let error = meet(server, Arc::clone(client), name).await.unwrap_err();
        let failure = tls_failure(&error);
        assert_eq!(failure.cause, Cause::TlsCertificate);
        assert!(failure.detail.contains(words), "{}", failure.detail);
    }
}

#[test]
fn a_registry_is_refused_in_words_of_the_source() {
    let issuer = rustls::CertificateError::UnknownIssuer;
    let refused = io::Error::other(rustls::Error::InvalidCertificate(issuer));
    assert_eq!(
        registry_tls_failure(&refused).unwrap(),
        "the server's certificate is from an authority that is not trusted; \
         name it in the source's `tls.ca`"
    );
    let broken = io::Error::other("something else");
    assert!(registry_tls_failure(&broken).is_none());
}

#[tokio::test]
async fn an_instance_without_tls_is_told_from_one_that_hangs_up() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let client = connect_config(&trusting(&scratch, &authority), Protocol::Auto);
    let plain = &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..];
    for (answer, words) in [
        (plain, "does not speak TLS"),
        (b"", "closed the connection"),
    ] {
        let (near, mut far) = duplex(64 * 1024);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let connect = TlsConnector::from(Arc::clone(&client)).connect(name, near);
        let failure = tls_failure(&connect.await.unwrap_err());
        assert_eq!(failure.cause, Cause::TlsFailed);
        assert!(failure.detail.contains(words), "{}", failure.detail);
    }
}

#[tokio::test]
async fn verification_is_off_only_where_it_is_said() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issued = authority.issue(&["a.example"], Validity::Past);
    let server = server(vec![issued.write(&scratch, "a")]);
    let off = UpstreamTls {
        ca: None,
        verify: Verify::Off,
        ..trusting(&scratch, &authority)
    };
    let client = connect_config(&off, Protocol::Auto);
    assert!(meet(&server, client, "any.example").await.is_ok());
}

#[test]
fn equal_settings_share_a_connector_until_nobody_uses_it() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let trust = trusting(&scratch, &authority);
    let mut tls = ClientTls::new();
    let one = tls.connector(&trust, Protocol::Auto).unwrap();
    let same = tls.connector(&trust.clone(), Protocol::Auto).unwrap();
    let other = tls.connector(&trust, Protocol::Http1).unwrap();
    assert!(Arc::ptr_eq(&one, &same));
    assert!(!Arc::ptr_eq(&one, &other));
    assert_eq!(tls.files().len(), 2);
    drop((one, same, other));
    assert_eq!(tls.files().len(), 0);
}

#[test]
fn name_to_verify_is_the_configured_one_then_the_host_then_the_address() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let plain = trusting(&scratch, &authority);
    let named = UpstreamTls {
        server_name: Some("set.example".to_owned()),
        ..plain.clone()
    };
    let mut tls = ClientTls::new();
    let address = Ipv4Addr::LOCALHOST.into();
    let mut name = |settings: &UpstreamTls, host| {
        let connector = tls.connector(settings, Protocol::Auto).unwrap();
        let name = connector.server_name(host, address);
        name.map(|name| name.to_str().into_owned())
    };
    assert_eq!(name(&named, Some("b.example")).unwrap(), "set.example");
    assert_eq!(name(&plain, Some("b.example")).unwrap(), "b.example");
    assert_eq!(name(&plain, None).unwrap(), "127.0.0.1");
    assert!(name(&plain, Some("not a name")).is_err());
    let bad = UpstreamTls {
        server_name: Some("not a name".to_owned()),
        ..plain
    };
    let refused = tls.connector(&bad, Protocol::Auto);
    assert!(matches!(refused, Err(TlsFileError::ServerName { .. })));
}

#[tokio::test]
async fn client_reload_takes_new_roots_and_keeps_sessions_when_nothing_changed() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let next = Authority::new("b");
    let issued = next.issue(&["a.example"], Validity::Now);
    let server = server(vec![issued.write(&scratch, "a")]);
    let trust = trusting(&scratch, &authority);
    let mut tls = ClientTls::new();
    let connector = tls.connector(&trust, Protocol::Auto).unwrap();
    let before = connector.config();
    let refused = meet(&server, Arc::clone(&before), "a.example").await;
    assert!(refused.is_err());

    assert!(tls.reload().is_empty());
    assert!(Arc::ptr_eq(&before, &connector.config()));

    scratch.write("ca.pem", &next.certificate());
    assert!(tls.reload().is_empty());
    assert!(meet(&server, connector.config(), "a.example").await.is_ok());

    scratch.write("ca.pem", "");
    assert_eq!(tls.reload().len(), 1);
    assert!(meet(&server, connector.config(), "a.example").await.is_ok());
}

#[tokio::test]
async fn client_certificate_is_shown_when_configured() {
    let (scratch, authority) = (Scratch::new(), Authority::new("a"));
    let issued = authority.issue(&["client.example"], Validity::Now);
    let settings = UpstreamTls {
        certificate: Some(issued.write(&scratch, "client")),
        ..trusting(&scratch, &authority)
    };
    let config = connect_config(&settings, Protocol::Auto);
    assert!(config.client_auth_cert_resolver.has_certs());
}
