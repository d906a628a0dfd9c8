//! What requests do and what they need to be allowed, before anything of them is read.

use http::Method;
use portolan_access::{Kind, Need};

use super::path::{Place, Segments, ServicePlace};

/// What a request to the admin listener does, by the same reading of the path that serves it.
#[must_use]
pub fn kind(method: &Method, path: &str) -> Kind {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Kind::Read;
    }
    // Asked of every request, so nothing is made of the names.
    let segments = Segments::read(path);
    let gives_sign = segments.is_ok_and(|segments| segments.with(is_sign_of_life));
    if gives_sign {
        Kind::SignOfLife
    } else {
        Kind::Change
    }
}

fn is_sign_of_life(segments: &[&str]) -> bool {
    match segments {
        ["heartbeats"] => true,
        ["services", _, part @ ..] | ["namespaces", _, "services", _, part @ ..] => matches!(
            part,
            ["instances", _, "heartbeat"] | ["instances", _, "checks", _]
        ),
        _ => false,
    }
}

/// What a request to the native API needs. A path that names nothing is read at most.
#[must_use]
pub fn need(method: &Method, path: &str) -> Need {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match Place::parse(path) {
        Ok(Place::Heartbeats) => Need::RegisterSome,
        Ok(Place::Resolve) => Need::Operate,
        Ok(Place::Service(_, ServicePlace::Override(_))) if !is_read => Need::Operate,
        Ok(Place::Service(key, _)) if !is_read => Need::Register(key),
        Ok(_) | Err(_) => Need::Read,
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::ServiceKey;

    use super::{super::ROUTES, *};

    #[test]
    fn every_write_needs_more_than_reading() {
        for (method, path) in ROUTES {
            let path = path.replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse().unwrap();
            let need = need(&method, &path);
            assert_eq!(method == Method::GET, need == Need::Read, "{method} {path}");
            assert_eq!(
                method == Method::GET,
                kind(&method, &path) == Kind::Read,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn registering_is_for_the_service_in_the_path() {
        let key = |text| Need::Register(ServiceKey::parse(text).unwrap());
        let put = |path| need(&Method::PUT, path);
        assert_eq!(put("/v1/services/Orders/instances/a"), key("orders"));
        assert_eq!(put("/v1/namespaces/n/services/o/instances/a"), key("n/o"));
        assert_eq!(put("/v1/services/o%72ders/instances/a"), key("orders"));
        let overrule = "/v1/services/orders/instances/a/override";
        assert_eq!(put(overrule), Need::Operate);
        assert_eq!(need(&Method::DELETE, overrule), Need::Operate);
        assert_eq!(need(&Method::HEAD, overrule), Need::Read);
    }

    #[test]
    fn signs_of_life_are_not_changes() {
        for (path, told) in [
            ("/v1/services/a/instances/b/heartbeat", Kind::SignOfLife),
            ("/v1/heartbeats", Kind::SignOfLife),
            ("/v1/services/a/instances/b/checks/c", Kind::SignOfLife),
            ("/v1/services/a/instances/b", Kind::Change),
            ("/v1/services/a/instances/b/override", Kind::Change),
            ("/v1/services/a/instances/checks/override", Kind::Change),
            ("/v1/services/checks/instances/heartbeat", Kind::Change),
            (
                "/v1/namespaces/n/services/a/instances/b/heartbeat/",
                Kind::SignOfLife,
            ),
            ("/v1/services/a/instances/b/heartb%65at", Kind::SignOfLife),
            ("/v1/services/a/instances/b/heartbeat/c", Kind::Change),
        ] {
            assert_eq!(kind(&Method::PUT, path), told, "{path}");
        }
    }
}
