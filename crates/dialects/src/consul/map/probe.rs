//! Which of a service's checks the prober can run.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use portolan_model::route::{Check, HttpMeans, Means as Does, Place, Probe};

use crate::consul::{CheckDefinition, CheckKind};

/// The shortest and the longest time between two probes.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// How long a probe takes if nobody says.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a URL's port is if it names none.
const HTTP_PORT: u16 = 80;

/// How the state of a check becomes known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// Somebody tells it.
    Told,
    /// The prober finds it out.
    Probe(Check),
    /// Nobody does, for this reason.
    NotRun(&'static str),
}

/// How the state of a check of a service at that address becomes known.
#[must_use]
pub fn probe_of(check: &CheckDefinition, home: Option<SocketAddr>, host: &str) -> Means {
    let target = match &check.kind {
        CheckKind::Ttl(_) | CheckKind::External => return Means::Told,
        CheckKind::Http {
            url,
            method,
            headers,
            body,
            ..
        } => {
            let is_plain = matches!(method.as_str(), "" | "GET" | "get")
                && headers.is_empty()
                && body.is_empty();
            if !is_plain {
                return Means::NotRun("only a plain GET is sent");
            }
            match http_target(url) {
                Some(target) => target,
                None => return Means::NotRun("only http:// is probed"),
            }
        }
        CheckKind::Tcp {
            address,
            tls: false,
        } => match authority(address, 0) {
            Some((host, port)) => {
                let tcp = Does::Tcp {
                    at: Place::Home,
                    tls: None,
                };
                (host, port, tcp)
            }
            None => return Means::NotRun("its address is not a host and a port"),
        },
        CheckKind::Tcp { tls: true, .. } => return Means::NotRun("TLS is not probed"),
        CheckKind::Udp(_)
        | CheckKind::Grpc { .. }
        | CheckKind::H2Ping { .. }
        | CheckKind::Script(_)
        | CheckKind::Docker(_)
        | CheckKind::OsService(_)
        | CheckKind::Alias { .. } => return Means::NotRun("this type of check is not run"),
    };
    let (named, port, does) = target;
    let is_home = home.is_some_and(|home| home.port() == port && is_at(named, home.ip(), host));
    if !is_home {
        return Means::NotRun("only the service's own address and port are probed");
    }
    let interval = check.interval.unwrap_or(TIMEOUT);
    let in_a_row = |count: u32| NonZeroU32::MIN.saturating_add(count);
    Means::Probe(Check::from(Probe {
        interval: interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
        timeout: check.timeout.unwrap_or(TIMEOUT).min(INTERVAL_MAX),
        rise: in_a_row(check.successes),
        fall: in_a_row(check.failures),
        fall_warning: check.failures_to_warn.map(in_a_row),
        ..Probe::new(check.id.as_str(), does)
    }))
}

/// Whether a check's host is where the service is.
fn is_at(named: &str, ip: IpAddr, host: &str) -> bool {
    let literal = named.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    match literal.unwrap_or(named).parse::<IpAddr>() {
        Ok(named) => named == ip || (named.is_loopback() && ip.is_loopback()),
        Err(_) => named.eq_ignore_ascii_case(host) || (named == "localhost" && ip.is_loopback()),
    }
}

fn http_target(url: &str) -> Option<(&str, u16, Does)> {
    let rest = url.strip_prefix("http://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host_port, tail) = rest.split_at(end);
    let (host, port) = authority(host_port, HTTP_PORT)?;
    let path = tail.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let is_fine = path.bytes().all(|byte| byte.is_ascii_graphic())
        && host_port.bytes().all(|byte| byte.is_ascii_graphic());
    let does = HttpMeans {
        host: Some(host_port.into()),
        ..HttpMeans::get(&path)
    };
    is_fine.then(|| (host, port, Does::Http(Box::new(does))))
}

/// Host and port; port 0 as a default means that one must be named.
fn authority(text: &str, default: u16) -> Option<(&str, u16)> {
    if text.is_empty() || text.contains('@') {
        return None;
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        Some(_) | None => (text, default),
    };
    (port > 0 && !host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: CheckKind) -> CheckDefinition {
        CheckDefinition {
            id: "c".into(),
            name: "c".into(),
            notes: String::new(),
            service_id: String::new(),
            status: None,
            kind,
            interval: Some(Duration::from_secs(5)),
            timeout: None,
            successes: 1,
            failures_to_warn: None,
            failures: 2,
            deregister_after: None,
            output_bytes_max: 4096,
        }
    }

    fn http(url: &str) -> Means {
        let kind = CheckKind::Http {
            url: url.to_owned(),
            method: String::new(),
            headers: Vec::new(),
            body: String::new(),
            server_name: String::new(),
            is_lax: false,
            stays: false,
        };
        let home = "127.0.0.1:8080".parse().unwrap();
        probe_of(&check(kind), Some(home), "web.internal")
    }

    #[test]
    fn the_service_s_own_address_is_probed() {
        let urls = [
            ("http://127.0.0.1:8080/health?x=1", "/health?x=1"),
            ("http://localhost:8080", "/"),
            ("http://web.internal:8080/a#b", "/a"),
            ("http://[::1]:8080/a", "/a"),
        ];
        for (url, path) in urls {
            let Means::Probe(found) = http(url) else {
                panic!("{url} is not probed");
            };
            let [found] = found.probes() else { panic!() };
            assert!(
                matches!(&found.means, Does::Http(http) if &*http.path == path),
                "{url}"
            );
            assert_eq!((found.rise.get(), found.fall.get()), (2, 3));
            assert_eq!(found.timeout, TIMEOUT);
        }
    }

    #[test]
    fn everything_else_is_not_run_and_says_why() {
        let urls = [
            "https://127.0.0.1:8080/",
            "http://127.0.0.1:8081/",
            "http://10.0.0.1:8080/",
            "http://other:8080/",
            "http://a@127.0.0.1:8080/",
            "http://127.0.0.1:8080/a b",
        ];
        for url in urls {
            assert!(matches!(http(url), Means::NotRun(_)), "{url}");
        }
        let tls = CheckKind::Tcp {
            address: "127.0.0.1:8080".into(),
            tls: true,
        };
        assert!(matches!(probe_of(&check(tls), None, ""), Means::NotRun(_)));
        let ttl = CheckKind::Ttl(Duration::from_secs(1));
        assert_eq!(probe_of(&check(ttl), None, ""), Means::Told);
        let tcp = CheckKind::Tcp {
            address: "[::1]:9".into(),
            tls: false,
        };
        let home = "[::1]:9".parse().ok();
        assert!(matches!(probe_of(&check(tcp), home, ""), Means::Probe(_)));
    }
}
