//! Scalars with a meaning: one reader for each, used to check and to read.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use portolan_access::{BadHash, BadScope, Scope, SecretHash};
use portolan_model::{
    ByteSize, Name, Problem, ServiceKey,
    http::{Method, PathBuffer},
    parse_span,
    route::{HostMatch, HostPort},
};

use crate::{
    suggest::did_you_mean,
    table::{Leaf, Word},
};

/// Longest host name, in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// Longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

fn bad(message: impl Into<String>) -> Problem {
    Problem::new("", message)
}

/// Whether the text is what the leaf wants.
pub(crate) fn check(leaf: Leaf, text: &str) -> Result<(), Problem> {
    match leaf {
        Leaf::Text | Leaf::Pattern => Ok(()),
        Leaf::Flag => flag(text).map(drop),
        Leaf::True if text == "true" => Ok(()),
        Leaf::True => Err(bad(format!("`{text}` is not `true`"))),
        Leaf::Count { min, max } => count(text, min, max).map(drop),
        Leaf::Duration => duration(text).map(drop),
        Leaf::DurationOrZero => duration_or_zero(text).map(drop),
        Leaf::Size => size(text).map(drop),
        Leaf::Name => name(text).map(drop),
        Leaf::Service => service(text).map(drop),
        Leaf::Address => address(text).map(drop),
        Leaf::Ip => ip(text).map(drop),
        Leaf::Network => network(text).map(drop),
        Leaf::Host => host(text).map(drop),
        Leaf::HostPattern => host_pattern(text).map(drop),
        Leaf::HostPort => host_port(text).map(drop),
        Leaf::Path => path(text).map(drop),
        Leaf::Target => target(text).map(drop),
        Leaf::Method => method(text).map(drop),
        Leaf::FieldName => field_name(text),
        Leaf::File => file(text),
        Leaf::Scope => scope(text).map(drop),
        Leaf::SecretHash => secret_hash(text).map(drop),
        Leaf::Word(words) => word(text, words).map(drop),
    }
}

pub(crate) fn flag(text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad(format!("`{text}` is not `true` or `false`"))),
    }
}

pub(crate) fn count(text: &str, min: u64, max: u64) -> Result<u64, Problem> {
    let number: u64 = text.parse().map_err(|_| {
        bad(format!(
            "`{text}` is not a whole number from {min} to {max}"
        ))
    })?;
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(bad(format!(
        "{number} is out of bounds: from {min} to {max}"
    )))
}

pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    let span = duration_or_zero(text)?;
    if span.is_zero() {
        return Err(bad("the time is zero")
            .with_help("leave the field out where it may be absent, or give a long time"));
    }
    Ok(span)
}

pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, Problem> {
    parse_span(text).map_err(|error| bad(error.to_string()))
}

pub(crate) fn size(text: &str) -> Result<ByteSize, Problem> {
    ByteSize::parse(text).map_err(|error| bad(error.to_string()))
}

pub(crate) fn name(text: &str) -> Result<Name, Problem> {
    Name::parse(text).map_err(|error| bad(error.to_string()))
}

pub(crate) fn service(text: &str) -> Result<ServiceKey, Problem> {
    ServiceKey::parse(text)
        .map_err(|error| bad(error.to_string()).with_help("write `service` or `namespace/service`"))
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, Problem> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let problem = bad(format!("`{text}` is not an IP address and a port"));
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(problem.with_help(format!("add a port: `{}`", SocketAddr::new(ip, 8080))));
    }
    if let Some(port) = text
        .strip_prefix(':')
        .or(Some(text))
        .filter(|port| is_port(port))
    {
        return Err(problem.with_help(format!(
            "`127.0.0.1:{port}` is for this machine only, `0.0.0.0:{port}` for all networks"
        )));
    }
    Err(match host_port(text) {
        Ok(host) if host.host == "localhost" => {
            problem.with_help(format!("write `127.0.0.1:{}`", host.port))
        }
        Ok(_) => problem.with_help("a host name belongs into `hosts:` of an upstream"),
        Err(_) => problem.with_help("like `127.0.0.1:8080` or `[::1]:8080`"),
    })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// What a token is for.
pub(crate) fn scope(text: &str) -> Result<Scope, Problem> {
    text.parse()
        .map_err(|error: BadScope| bad(error.to_string()))
}

/// The hash of a token's secret.
pub(crate) fn secret_hash(text: &str) -> Result<SecretHash, Problem> {
    text.parse()
        .map_err(|error: BadHash| bad(error.to_string()))
}

pub(crate) fn ip(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| {
        bad(format!("`{text}` is not an IP address")).with_help("like `10.0.0.1` or `::1`")
    })
}

pub(crate) fn network(text: &str) -> Result<IpNet, Problem> {
    let one = text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .or(one)
        .map(|net| net.trunc())
        .map_err(|_| {
            bad(format!("`{text}` is not a network")).with_help("like `10.0.0.0/8` or `::1/128`")
        })
}

/// A host name in lower case, or an IP address.
pub(crate) fn host(text: &str) -> Result<String, Problem> {
    let problem = || bad(format!("`{text}` is not a host name"));
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    if text.contains("://") {
        return Err(problem().with_help("leave the scheme and the path out"));
    }
    if text.starts_with("*.") {
        return Err(problem().with_help("a wildcard is not possible here"));
    }
    if text.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) {
        return Err(problem().with_help("leave the port out"));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if bare.len() > HOST_BYTES_MAX || !bare.split('.').all(is_label) {
        let ascii = "write it in its ASCII form, `xn--...`";
        return Err(if text.is_ascii() {
            problem()
        } else {
            problem().with_help(ascii)
        });
    }
    Ok(bare.to_ascii_lowercase())
}

pub(crate) fn host_pattern(text: &str) -> Result<HostMatch, Problem> {
    if text == "*" {
        return Err(bad("`*` is not a host").with_help("leave `hosts` out to serve every host"));
    }
    match text.strip_prefix("*.") {
        Some(rest) if !rest.contains('*') => {
            host(rest).map(|host| HostMatch::Suffix(format!(".{host}")))
        }
        None if !text.contains('*') => host(text).map(HostMatch::Exact),
        Some(_) | None => Err(bad(format!("`{text}` is not a host pattern"))
            .with_help("a wildcard is the whole first label: `*.example.com`")),
    }
}

pub(crate) fn host_port(text: &str) -> Result<HostPort, Problem> {
    let problem = || bad(format!("`{text}` is not a host name and a port"));
    if text.parse::<SocketAddr>().is_ok() {
        return Err(problem().with_help("an IP address belongs into `addresses:`"));
    }
    let help = "like `api.internal:8080`";
    let (name, port) = text
        .rsplit_once(':')
        .ok_or_else(|| problem().with_help(help))?;
    match port.parse() {
        Ok(port) if port > 0 => Ok(HostPort {
            host: host(name)?,
            port,
        }),
        Ok(_) | Err(_) => Err(problem().with_help(help)),
    }
}

/// A path in canonical form.
pub(crate) fn path(text: &str) -> Result<String, Problem> {
    if text.contains('?') {
        return Err(bad(format!("the path `{text}` has a query")).with_help("use `query:` for it"));
    }
    target(text)
}

pub(crate) fn target(text: &str) -> Result<String, Problem> {
    let mut buffer = PathBuffer::default();
    let problem = |reason: &dyn ToString| bad(format!("`{text}`: {}", reason.to_string()));
    if !text.starts_with('/') {
        return Err(problem(&"a path begins with a slash").with_help(format!("write `/{text}`")));
    }
    buffer
        .set(text.as_bytes())
        .map_err(|error| problem(&error))?;
    Ok(buffer.as_str().to_owned())
}

pub(crate) fn method(text: &str) -> Result<Method, Problem> {
    let shouted = text.to_ascii_uppercase();
    let is_known = |method: &Method| !matches!(method, Method::Other(_));
    if text != shouted && Method::parse(&shouted).as_ref().is_some_and(is_known) {
        return Err(
            bad(format!("`{text}` is not a method")).with_help(format!("write `{shouted}`"))
        );
    }
    Method::parse(text).ok_or_else(|| bad(format!("`{text}` is not a method")))
}

fn field_name(text: &str) -> Result<(), Problem> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        return Ok(());
    }
    Err(bad(format!("`{text}` is not the name of a header field")))
}

fn file(text: &str) -> Result<(), Problem> {
    if text.is_empty() || text.contains('\0') {
        return Err(bad("a file name is empty"));
    }
    Ok(())
}

pub(crate) fn word(text: &str, words: &'static [Word]) -> Result<&'static Word, Problem> {
    // Older YAML takes a bare `off` for `false`, and some tools write it so.
    let said = if text == "false" { "off" } else { text };
    if let Some(word) = words.iter().find(|word| word.text == said) {
        return Ok(word);
    }
    let known: Vec<_> = words.iter().map(|word| word.text).collect();
    let problem = bad(format!("`{text}` is none of `{}`", known.join("`, `")));
    Err(match did_you_mean(text, known) {
        Some(help) => problem.with_help(help),
        None => problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(result: Result<impl std::fmt::Debug, Problem>) -> String {
        result.unwrap_err().help.unwrap_or_default()
    }

    #[test]
    fn an_address_that_is_a_name_is_sent_to_hosts() {
        assert!(help(address("api.internal:80")).contains("`hosts:`"));
        assert!(help(address("localhost:80")).contains("127.0.0.1:80"));
        assert!(help(address(":80")).contains("0.0.0.0:80"));
        assert!(help(address("8080")).contains("127.0.0.1:8080"));
        assert!(help(address("::1")).contains("[::1]:8080"));
        assert!(help(host_port("10.0.0.1:80")).contains("`addresses:`"));
        assert!(address("[::1]:0").is_ok());
    }

    #[test]
    fn hosts_are_folded_and_have_no_port() {
        assert_eq!(host("Shop.Example.COM.").unwrap(), "shop.example.com");
        assert_eq!(
            host_pattern("*.A.b").unwrap(),
            HostMatch::Suffix(".a.b".into())
        );
        assert_eq!(
            host_port("A.b:8080").unwrap(),
            HostPort {
                host: "a.b".into(),
                port: 8080
            }
        );
        for bad in ["", "a..b", "a b", "http://a", "a:80", "*.a.b", "é.example"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for bad in ["*", "a.*.b", "*a.b", "*.*.b", "*."] {
            assert!(host_pattern(bad).is_err(), "{bad}");
        }
        for bad in ["a", "a:0", "a:65536", ":80", "a:x"] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
        assert!(host(&format!("{}.b", "a".repeat(LABEL_BYTES_MAX))).is_ok());
        assert!(host(&format!("{}.b", "a".repeat(LABEL_BYTES_MAX + 1))).is_err());
        let long = format!("{}a", "a.".repeat(HOST_BYTES_MAX / 2));
        assert!(host(&long).is_ok());
        assert!(host(&format!("{long}b")).is_err());
    }

    #[test]
    fn paths_are_made_canonical() {
        assert_eq!(path("/a/../b%41").unwrap(), "/bA");
        assert_eq!(target("/a?b=1").unwrap(), "/a?b=1");
        assert!(help(path("a")).contains("`/a`"));
        assert!(path("/a?b").is_err());
    }

    #[test]
    fn scalars_are_bounded_at_their_limits() {
        assert_eq!(count("3", 1, 3).unwrap(), 3);
        assert!(count("4", 1, 3).is_err());
        assert!(count("0", 1, 3).is_err());
        assert!(count("-1", 0, 3).is_err());
        assert!(duration("0s").is_err());
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert!(network("10.0.0.0/33").is_err());
        assert!(help(method("get")).contains("`GET`"));
        assert!(method("BREW").is_ok());
        assert!(method("a b").is_err());
    }
}
