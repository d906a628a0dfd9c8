//! Who a request says it is for: the guard against DNS rebinding and forged requests.
//!
//! A page in somebody's browser can reach a listener on loopback, either under a host
//! name of the attacker's that resolves to 127.0.0.1 (the Host then is that name), or
//! across origins (the Origin then is not ours). Both are refused before any handler
//! sees the request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header, uri::Authority};

use super::{Response, problem};

/// The host names that a control listener answers to. IP addresses, `localhost` and
/// names under it are always allowed: no attacker can own them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Whatever the Host says: for a listener that shows nothing worth stealing.
    Any,
    /// These besides; lower-case, without port.
    Named(Vec<String>),
}

/// Lets a request pass, or answers it.
pub(super) fn check(
    hosts: &Hosts,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Box<Response>> {
    if version == Version::HTTP_11 && is_plain(uri, headers) {
        return Ok(());
    }
    let refuse = |status, cause, detail: &str| Err(Box::new(problem(status, cause, detail)));
    let mut given = headers.get_all(header::HOST).iter();
    let host = given.next();
    // HTTP/2 says it in the request's target; a Host besides must not say anything else.
    let is_missing = match version {
        Version::HTTP_2 => uri.authority().is_none(),
        Version::HTTP_11 => host.is_none(),
        _ => false,
    };
    if given.next().is_some() || is_missing {
        let detail = "a request needs exactly one Host header";
        return refuse(StatusCode::BAD_REQUEST, "host_malformed", detail);
    }
    let differs = |host: &HeaderValue| uri.authority().is_some_and(|own| *host != own.as_str());
    if version == Version::HTTP_2 && host.is_some_and(differs) {
        let detail = "the Host header is another than the request's authority";
        return refuse(StatusCode::BAD_REQUEST, "host_malformed", detail);
    }
    let authority = match (uri.authority(), host) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => authority_of(host),
        (None, None) => return Ok(()),
    };
    let Some(authority) = authority else {
        let detail = "the Host header is not a host and a port";
        return refuse(StatusCode::BAD_REQUEST, "host_malformed", detail);
    };
    let Hosts::Named(names) = hosts else {
        return Ok(());
    };
    if !is_ours(authority.host(), names) {
        let detail = format!(
            "`{}` is not a host name of this listener; use an address or localhost, or name it in the listener's `hosts`",
            authority.host()
        );
        return refuse(StatusCode::MISDIRECTED_REQUEST, "host_foreign", &detail);
    }
    let origins = headers.get_all(header::ORIGIN);
    if origins.iter().any(|origin| !is_same(origin, &authority)) {
        let detail = "requests from pages of another origin are not taken";
        return refuse(StatusCode::FORBIDDEN, "origin_foreign", detail);
    }
    Ok(())
}

/// What nearly every request is: for an address or `localhost`, and of no page. Whatever is not
/// so is looked at closely.
fn is_plain(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (given.next(), given.next()) else {
        return false;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let is_port = |port: &str| port.bytes().all(is_digit) && port.parse::<u16>().is_ok();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        Some(_) => return false,
        None => host,
    };
    let is_ours = host == "localhost" || host.parse::<Ipv4Addr>().is_ok();
    is_ours && uri.authority().is_none() && !headers.contains_key(header::ORIGIN)
}

fn authority_of(host: &HeaderValue) -> Option<Authority> {
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_address = match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    };
    is_address
        || host == "localhost"
        || host.ends_with(".localhost")
        || names.iter().any(|name| name == host)
}

/// Whether an origin is the one that the request is for, whatever the scheme: TLS may
/// end before us.
fn is_same(origin: &HeaderValue, authority: &Authority) -> bool {
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|text| text.split_once("://"))
    else {
        return false;
    };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(origin) = origin.parse::<Authority>() else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    origin.host().eq_ignore_ascii_case(authority.host()) && port(&origin) == port(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: &str, origin: Option<&str>) -> u16 {
        let hosts = Hosts::Named(vec!["admin.example.com".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        match check(&hosts, Version::HTTP_11, &Uri::from_static("/"), &headers) {
            Ok(()) => 200,
            Err(response) => response.status().as_u16(),
        }
    }

    #[test]
    fn only_hosts_that_nobody_else_can_own_are_answered() {
        let ours = [
            "127.0.0.1:9070",
            "[::1]:9070",
            "localhost",
            "LOCALHOST:9070",
            "a.b.localhost:1",
            "admin.example.com",
            "localhost.:9070",
        ];
        for host in ours {
            assert_eq!(status(host, None), 200, "{host}");
        }
        let foreign = [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "[evil]",
        ];
        for host in foreign {
            assert_ne!(status(host, None), 200, "{host}");
        }
        assert_eq!(status("evil.example:9070", None), 421);
        assert_eq!(status("user@localhost", None), 400);
    }

    #[test]
    fn only_pages_of_the_same_origin_may_call() {
        let host = "localhost:9070";
        assert_eq!(status(host, Some("http://localhost:9070")), 200);
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:3000",
            "file://",
        ] {
            assert_eq!(status(host, Some(origin)), 403, "{origin}");
        }
        assert_eq!(
            status("admin.example.com", Some("https://admin.example.com")),
            200
        );
    }

    #[test]
    fn a_request_without_a_host_is_malformed_since_http_1_1() {
        let (hosts, uri) = (Hosts::Named(Vec::new()), Uri::from_static("/"));
        let none = HeaderMap::new();
        assert!(check(&hosts, Version::HTTP_11, &uri, &none).is_err());
        assert!(check(&hosts, Version::HTTP_10, &uri, &none).is_ok());
        let mut two = HeaderMap::new();
        two.append(header::HOST, HeaderValue::from_static("localhost"));
        two.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(check(&hosts, Version::HTTP_11, &uri, &two).is_err());
    }

    #[test]
    fn in_http_2_the_target_says_the_host() {
        let hosts = Hosts::Named(Vec::new());
        let status = |uri: &'static str, host: Option<&'static str>| {
            let host = host.map(|host| (header::HOST, HeaderValue::from_static(host)));
            let headers = HeaderMap::from_iter(host);
            match check(&hosts, Version::HTTP_2, &Uri::from_static(uri), &headers) {
                Ok(()) => 200,
                Err(response) => response.status().as_u16(),
            }
        };
        assert_eq!(status("http://localhost:1/", None), 200);
        assert_eq!(status("http://localhost:1/", Some("localhost:1")), 200);
        assert_eq!(status("http://localhost:1/", Some("evil.example")), 400);
        assert_eq!(status("http://evil.example/", None), 421);
        assert_eq!(status("/", None), 400);
    }
}
