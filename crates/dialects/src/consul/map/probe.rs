//! Consul's checks as probes of the model.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use data_encoding::BASE64;
use portolan_model::{
    ByteSize, Health,
    percent::{decode_loosely, encode_target},
    route::{HostPort, HttpMeans, Means, Place, Probe, UpstreamTls, Verify},
};

use super::name::{instance_id, node_key, probe_id, service_key};
use crate::consul::{CheckDefinition, CheckKind, Refusal};

/// The shortest and the longest time between two probes.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_hours(24);
/// How long a probe may take at most, and how long if nobody says: a program has longer.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);
const TIMEOUT: Duration = Duration::from_secs(10);
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest and the longest time that reports may be apart.
const TTL_MIN: Duration = Duration::from_millis(100);
const TTL_MAX: Duration = Duration::from_hours(24 * 30);
/// The shortest and the longest time that a service stays critical until it goes.
const DEREGISTER_MIN: Duration = Duration::from_secs(1);
const DEREGISTER_MAX: Duration = Duration::from_hours(24 * 30);
/// Redirects that are followed, as many as Go's clients follow.
const REDIRECTS_MAX: u8 = 10;
/// The shell of programs in containers.
const SHELL: &str = "/bin/sh";
/// Header fields that a probe writes itself.
const OWN_FIELDS: [&str; 4] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

/// What finds out the state of a check; none if somebody else does.
///
/// # Errors
/// [`Refusal`]: 400 for what can't be probed.
pub fn probe_of(check: &CheckDefinition) -> Result<Option<Probe>, Refusal> {
    let Some(means) = means_of(&check.kind)? else {
        return Ok(None);
    };
    let timeout = match means {
        Means::Script { .. } | Means::Docker { .. } => PROGRAM_TIMEOUT,
        Means::Http(_)
        | Means::Tcp { .. }
        | Means::Udp { .. }
        | Means::Grpc { .. }
        | Means::H2Ping { .. }
        | Means::Ttl(_)
        | Means::Alias { .. } => TIMEOUT,
    };
    // None at all means that the first one counts, as one does.
    let in_a_row = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let deregister_after = check
        .deregister_after
        .map(|span| span.clamp(DEREGISTER_MIN, DEREGISTER_MAX));
    let output_max = u64::try_from(check.output_bytes_max).unwrap_or(u64::MAX);
    let interval = check.interval.unwrap_or(Probe::INTERVAL);
    let probe = Probe {
        interval: interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
        timeout: check.timeout.unwrap_or(timeout).min(TIMEOUT_MAX),
        rise: in_a_row(check.successes),
        fall: in_a_row(check.failures),
        fall_warning: check.failures_to_warn.map(in_a_row),
        initial: Some(check.status.unwrap_or(Health::Critical)),
        deregister_after: deregister_after.filter(|_| !check.service_id.is_empty()),
        output_max: ByteSize::from_bytes(output_max),
        ..Probe::new(probe_id(&check.id), means)
    };
    probe.sound().map_err(|problem| bad(&problem.message))?;
    Ok(Some(probe))
}

fn means_of(kind: &CheckKind) -> Result<Option<Means>, Refusal> {
    Ok(Some(match kind {
        CheckKind::External => return Ok(None),
        CheckKind::Ttl(ttl) => Means::Ttl((*ttl).clamp(TTL_MIN, TTL_MAX)),
        CheckKind::Http { .. } => Means::Http(Box::new(http(kind)?)),
        CheckKind::Tcp { address, tls } => Means::Tcp {
            at: place(address, None)?,
            tls: tls.as_ref().map(tls_of),
        },
        CheckKind::Udp(address) => Means::Udp {
            at: place(address, None)?,
            payload: "".into(),
        },
        CheckKind::Grpc { address, tls } => {
            let (address, service) = address.split_once('/').unwrap_or((address, ""));
            Means::Grpc {
                at: place(address, None)?,
                service: service.into(),
                tls: tls.as_ref().map(tls_of),
            }
        }
        CheckKind::H2Ping { address, tls } => Means::H2Ping {
            at: place(address, None)?,
            tls: tls.as_ref().map(tls_of),
        },
        CheckKind::Script(command) => Means::Script {
            command: words(command),
        },
        CheckKind::Docker {
            container,
            shell,
            command,
        } => Means::Docker {
            container: container.as_str().into(),
            command: match command.as_slice() {
                // A script is one text for the shell.
                [script] if script.contains(char::is_whitespace) => {
                    let shell = if shell.is_empty() { SHELL } else { shell };
                    vec![shell.into(), "-c".into(), script.as_str().into()]
                }
                command => words(command),
            },
        },
        CheckKind::Alias {
            node,
            service,
            name,
        } => {
            let node = Some(node.as_str()).filter(|node| !node.is_empty());
            if service.is_empty() {
                Means::Alias {
                    service: node_key(node)?,
                    instance: None,
                }
            } else {
                // A service that is not known is likely called as its id is.
                let name = if name.is_empty() { service } else { name };
                Means::Alias {
                    service: service_key(name)?,
                    instance: Some(instance_id(service, node)?),
                }
            }
        }
        CheckKind::OsService(_) => {
            return Err(bad("OSService checks are for agents on Windows"));
        }
    }))
}

fn words(command: &[String]) -> Vec<Arc<str>> {
    command.iter().map(|word| word.as_str().into()).collect()
}

fn tls_of(tls: &crate::consul::CheckTls) -> UpstreamTls {
    let name = Some(tls.server_name.clone());
    UpstreamTls {
        server_name: name.filter(|name| !name.is_empty()),
        verify: if tls.is_lax {
            Verify::Off
        } else {
            Verify::Full
        },
        ..UpstreamTls::default()
    }
}

fn http(kind: &CheckKind) -> Result<HttpMeans, Refusal> {
    let CheckKind::Http {
        url,
        method,
        headers,
        body,
        tls,
        stays,
    } = kind
    else {
        return Err(bad("it has no URL"));
    };
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| bad(&format!("{url:?} is no URL")))?;
    let (port, is_tls) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (80, false),
        "https" => (443, true),
        _ => return Err(bad("only http:// and https:// are asked")),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, authority),
    };
    let at = place(authority, Some(port))?;
    let mut fields: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    let mut host = matches!(at, Place::Host(_)).then(|| Arc::from(authority));
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("host") {
            host = Some(value.as_str().into());
        } else if !OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            fields.push((name.as_str().into(), value.as_str().into()));
        }
    }
    let has = |wanted: &str| {
        headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if let Some(user) = user.filter(|_| !has("authorization")) {
        let decoded: Vec<u8> = decode_loosely(user.as_bytes()).collect();
        let credentials = format!("Basic {}", BASE64.encode(&decoded));
        fields.push(("Authorization".into(), credentials.into()));
    }
    let method = match method.as_str() {
        "" => "GET".into(),
        method => method.to_ascii_uppercase().into(),
    };
    Ok(HttpMeans {
        at,
        tls: is_tls.then(|| tls_of(tls)),
        method,
        host,
        headers: fields,
        body: body.as_str().into(),
        redirects_max: if *stays { 0 } else { REDIRECTS_MAX },
        ..HttpMeans::get(&path(target))
    })
}

/// The path and query; what has no place in them is spelt as an escape.
fn path(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    format!("{slash}{}", encode_target(target))
}

/// Host and port; without a default, one must be named.
fn place(text: &str, default: Option<u16>) -> Result<Place, Refusal> {
    let wrong = || bad(&format!("{text:?} is not a host and a port"));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        Some(_) | None => (text, default),
    };
    let port = port.filter(|port| *port > 0).ok_or_else(wrong)?;
    let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Ok(ip) = literal.unwrap_or(host).parse::<IpAddr>() {
        return Ok(Place::Address(SocketAddr::new(ip, port)));
    }
    let is_host = host
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    // Nobody's port is this machine's, as Go has it.
    let host = if host.is_empty() { "localhost" } else { host };
    is_host
        .then(|| {
            Place::Host(HostPort {
                host: host.to_ascii_lowercase(),
                port,
            })
        })
        .ok_or_else(wrong)
}

fn bad(text: &str) -> Refusal {
    Refusal::bad(format!("Invalid check: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The probe of a check that is written so.
    fn probe(body: &str) -> Probe {
        let check = CheckDefinition::read(body.as_bytes()).unwrap();
        probe_of(&check).unwrap().expect("it is probed")
    }

    fn http(url: &str, more: &str) -> HttpMeans {
        let body = format!(r#"{{"Name": "c", "Interval": "5s", "HTTP": "{url}"{more}}}"#);
        let Means::Http(http) = probe(&body).means else {
            panic!("{url}");
        };
        *http
    }

    fn refused(body: &str) -> String {
        let check = CheckDefinition::read(body.as_bytes());
        check.and_then(|check| probe_of(&check)).unwrap_err().text
    }

    #[test]
    fn requests_go_wherever_the_url_says() {
        let cases = [
            (
                "http://127.0.0.1:8080/health?x=1",
                "127.0.0.1:8080",
                "/health?x=1",
            ),
            ("HTTP://[::1]:8080", "[::1]:8080", "/"),
            ("http://10.0.0.1/a b#c", "10.0.0.1:80", "/a%20b"),
            ("https://10.0.0.1?x", "10.0.0.1:443", "/?x"),
        ];
        for (url, address, path) in cases {
            let means = http(url, "");
            assert_eq!(means.at, Place::Address(address.parse().unwrap()), "{url}");
            assert_eq!((&*means.path, means.host), (path, None), "{url}");
            assert_eq!(means.tls.is_some(), url.starts_with("https"), "{url}");
        }
        let named = http("https://Web.internal/a", "");
        let host = HostPort {
            host: "web.internal".into(),
            port: 443,
        };
        assert_eq!(named.at, Place::Host(host));
        assert_eq!(named.host.as_deref(), Some("Web.internal"));
        for url in [
            "ftp://a/",
            "a",
            "http://a b/",
            "http://a:x/",
            "http://[::1/",
        ] {
            let body = format!(r#"{{"Name": "c", "Interval": "5s", "HTTP": "{url}"}}"#);
            assert!(refused(&body).starts_with("Invalid check: "), "{url}");
        }
    }

    #[test]
    fn requests_are_what_the_check_says() {
        let means = http(
            "https://us%40er:pw@127.0.0.1/",
            r#", "Method": "post", "Body": "ping", "DisableRedirects": true,
               "TLSServerName": "web", "TLSSkipVerify": true,
               "Header": {"Host": ["a.test"], "X-A": ["b", "c"], "Content-Length": ["7"]}"#,
        );
        assert_eq!((&*means.method, &*means.body), ("POST", "ping"));
        assert_eq!(
            (means.host.as_deref(), means.redirects_max),
            (Some("a.test"), 0)
        );
        let tls = means.tls.unwrap();
        assert_eq!(
            (tls.server_name.as_deref(), tls.verify),
            (Some("web"), Verify::Off)
        );
        let fields: Vec<_> = means.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        let credentials = format!("Basic {}", BASE64.encode(b"us@er:pw"));
        assert_eq!(
            fields,
            [("X-A", "b"), ("X-A", "c"), ("Authorization", &*credentials)]
        );
    }

    #[test]
    fn every_kind_has_its_means() {
        let at = |text: &str| Place::Address(text.parse().unwrap());
        let means = |kind: &str| probe(&format!(r#"{{"Name": "c", {kind}}}"#)).means;
        let tls = Some(UpstreamTls::default());
        let cases = [
            (r#""TTL": "1ms""#, Means::Ttl(TTL_MIN)),
            (
                r#""Interval": "1s", "TCP": "[::1]:9", "TCPUseTLS": true"#,
                Means::Tcp {
                    at: at("[::1]:9"),
                    tls: tls.clone(),
                },
            ),
            (
                r#""Interval": "1s", "UDP": "127.0.0.1:9""#,
                Means::Udp {
                    at: at("127.0.0.1:9"),
                    payload: "".into(),
                },
            ),
            (
                r#""Interval": "1s", "GRPC": "127.0.0.1:9/a.B""#,
                Means::Grpc {
                    at: at("127.0.0.1:9"),
                    service: "a.B".into(),
                    tls: None,
                },
            ),
            (
                r#""Interval": "1s", "H2PING": "127.0.0.1:9""#,
                Means::H2Ping {
                    at: at("127.0.0.1:9"),
                    tls,
                },
            ),
            (
                r#""Interval": "1s", "Args": ["a", "b c"]"#,
                Means::Script {
                    command: vec!["a".into(), "b c".into()],
                },
            ),
            (
                r#""Interval": "1s", "DockerContainerID": "web", "Args": ["a -b"]"#,
                Means::Docker {
                    container: "web".into(),
                    command: vec![SHELL.into(), "-c".into(), "a -b".into()],
                },
            ),
            (
                r#""AliasService": "web 1""#,
                Means::Alias {
                    service: service_key("web 1").unwrap(),
                    instance: instance_id("web 1", None).ok(),
                },
            ),
            (
                r#""AliasNode": "n1""#,
                Means::Alias {
                    service: node_key(Some("n1")).unwrap(),
                    instance: None,
                },
            ),
        ];
        for (kind, expected) in cases {
            assert_eq!(means(kind), expected, "{kind}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let tcp =
            |address: &str| format!(r#"{{"Name": "c", "Interval": "1s", "TCP": "{address}"}}"#);
        let local = Place::Host(HostPort {
            host: "localhost".into(),
            port: 9,
        });
        assert!(matches!(probe(&tcp(":9")).means, Means::Tcp { at, .. } if at == local));
        for address in ["a", "a:0", "a:99999", "a b:1"] {
            refused(&tcp(address));
        }
        refused(r#"{"Name": "c", "Interval": "1s", "OSService": "x"}"#);
    }

    #[test]
    fn counts_and_times_are_those_of_consul() {
        let plain = probe(r#"{"Name": "my check", "TCP": "a:1", "Interval": "5s"}"#);
        assert_eq!(&*plain.id, "my%20check", "an id of ours has no spaces");
        assert_eq!(
            (plain.rise.get(), plain.fall.get(), plain.fall_warning),
            (1, 1, None)
        );
        assert_eq!(
            (plain.timeout, plain.initial),
            (TIMEOUT, Some(Health::Critical))
        );
        let told = probe(
            r#"{"Name": "c", "TCP": "a:1", "Interval": "1ms", "Timeout": "3s", "ServiceID": "s",
                "Status": "passing", "SuccessBeforePassing": 2, "FailuresBeforeWarning": 2,
                "FailuresBeforeCritical": 3, "DeregisterCriticalServiceAfter": "1ms"}"#,
        );
        assert_eq!((told.rise.get(), told.fall.get()), (2, 3));
        assert_eq!(told.fall_warning.map(NonZeroU32::get), Some(2));
        assert_eq!(
            (told.interval, told.timeout),
            (INTERVAL_MIN, Duration::from_secs(3))
        );
        assert_eq!(told.initial, Some(Health::Passing));
        assert_eq!(told.deregister_after, Some(DEREGISTER_MIN));
        let of_node = r#"{"Name": "c", "TTL": "1s", "DeregisterCriticalServiceAfter": "1m"}"#;
        assert_eq!(probe(of_node).deregister_after, None, "a node stays");
    }

    #[test]
    fn what_somebody_else_runs_is_not_probed() {
        let mut check = CheckDefinition::read(br#"{"Name": "c", "TTL": "1s"}"#).unwrap();
        check.kind = CheckKind::External;
        assert_eq!(probe_of(&check), Ok(None));
    }
}
