//! The secret that a request shows, from wherever clients put it.

use data_encoding::BASE64;
use http::{HeaderMap, header};
use portolan_wire::serve::Query;

use crate::manner::Manner;

/// The longest secret that is looked at.
const BYTES_MAX: usize = 4096;

/// The secret of a request: `Authorization: Bearer`, or the password of `Basic`, which is
/// how clients of Eureka send what stands in their URL. Clients of Consul have two places
/// more, which count before. An empty one counts for none.
pub(crate) fn secret_of(manner: Manner, query: &str, headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let of_consul = (manner == Manner::Consul).then(|| {
        let query = Query::parse(query).ok();
        let given = query.and_then(|query| query.find("token").map(str::to_owned));
        given
            .filter(|secret| !secret.is_empty())
            .or_else(|| text("x-consul-token").map(str::to_owned))
    });
    let secret = of_consul
        .flatten()
        .filter(|secret| !secret.is_empty())
        .or_else(|| authorization(text(header::AUTHORIZATION.as_str())?))?;
    (!secret.is_empty() && secret.len() <= BYTES_MAX).then_some(secret)
}

fn authorization(value: &str) -> Option<String> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(rest.as_bytes()).ok()?).ok()?;
    let (name, password) = pair.split_once(':').unwrap_or((&pair, ""));
    let secret = if password.is_empty() { name } else { password };
    Some(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(manner: Manner, query: &str, fields: &[(&'static str, &str)]) -> Option<String> {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        secret_of(manner, query, &fields.collect())
    }

    #[test]
    fn a_secret_is_found_where_clients_put_it() {
        let bearer = ("authorization", "bearer  b");
        let basic = ("authorization", "Basic bmFtZTpiYXM="); // name:bas
        let user = ("authorization", "Basic bmFtZTo="); // name:
        let header = ("x-consul-token", "h");
        let found = |manner, query, fields: &[_]| secret(manner, query, fields);
        assert_eq!(found(Manner::Native, "", &[bearer]).as_deref(), Some("b"));
        assert_eq!(found(Manner::Eureka, "", &[basic]).as_deref(), Some("bas"));
        assert_eq!(found(Manner::Eureka, "", &[user]).as_deref(), Some("name"));
        assert_eq!(found(Manner::Native, "token=q", &[header]), None);
        let all = &[bearer, header];
        assert_eq!(found(Manner::Consul, "token=q", all).as_deref(), Some("q"));
        assert_eq!(found(Manner::Consul, "token=", all).as_deref(), Some("h"));
        assert_eq!(found(Manner::Consul, "", &[bearer]).as_deref(), Some("b"));
    }

    #[test]
    fn what_is_no_secret_is_none() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Digest a",
            "Basic %%",
            "Basic Og==",
        ] {
            let found = secret(Manner::Native, "", &[("authorization", value)]);
            assert_eq!(found, None, "{value}");
        }
        let long = |length: usize| format!("Bearer {}", "t".repeat(length));
        let found = |length| secret(Manner::Native, "", &[("authorization", &long(length))]);
        assert!(found(BYTES_MAX).is_some());
        assert!(found(BYTES_MAX + 1).is_none());
    }
}
