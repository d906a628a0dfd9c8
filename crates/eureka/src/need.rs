//! What requests do and what they need to be allowed, before anything of them is read.

use http::Method;
use portolan_access::{Kind, Need};
use portolan_dialects::eureka::Place;

use crate::read::key_of;

/// What a request does, by the same reading of the path that serves it.
#[must_use]
pub fn kind(method: &Method, path: &str) -> Kind {
    match (method, Place::parse(path)) {
        (&Method::GET | &Method::HEAD, _) => Kind::Read,
        (&Method::PUT, Some(Place::Instance(..))) => Kind::SignOfLife,
        _ => Kind::Change,
    }
}

/// What a request needs. A path that names nothing is read at most; what is in a batch of a
/// peer's is asked item by item.
#[must_use]
pub fn need(method: &Method, path: &str) -> Need {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Need::Read;
    }
    match Place::parse(path) {
        Some(Place::App(app) | Place::Instance(app, _) | Place::Metadata(app, _)) => {
            registering(&app)
        }
        Some(Place::Override(..)) => Need::Operate,
        Some(Place::Batch) => Need::RegisterSome,
        Some(_) | None => Need::Read,
    }
}

/// To register instances of an application. One whose name is none can't be registered by
/// anybody.
pub(super) fn registering(app: &str) -> Need {
    key_of(app).map_or(Need::Admin, Need::Register)
}

#[cfg(test)]
mod tests {
    use portolan_model::ServiceKey;

    use super::*;
    use crate::ROUTES;

    #[test]
    fn every_write_needs_more_than_reading() {
        for (method, path) in ROUTES.iter().filter(|(_, path)| !path.starts_with("asg")) {
            let path = format!("/eureka/{}", path.replace(['{', '}'], ""));
            let method: Method = method.to_uppercase().parse().unwrap();
            let need = need(&method, &path);
            assert_eq!(method == Method::GET, need == Need::Read, "{method} {path}");
        }
    }

    #[test]
    fn registering_is_for_the_application_and_overrides_for_operators() {
        let orders = Need::Register(ServiceKey::parse("orders").unwrap());
        assert_eq!(need(&Method::POST, "/eureka/apps/ORDERS"), orders);
        assert_eq!(need(&Method::PUT, "/eureka/v2/apps/ORDERS/a"), orders);
        assert_eq!(need(&Method::DELETE, "/v2/apps/orders/a"), orders);
        let status = "/eureka/apps/ORDERS/a/status";
        assert_eq!(need(&Method::PUT, status), Need::Operate);
        for path in [
            status,
            "/eureka/apps/ORDERS/a/status/",
            "/eureka/apps/ORDERS/a/%73tatus",
        ] {
            assert_eq!(kind(&Method::PUT, path), Kind::Change, "{path}");
        }
        assert_eq!(kind(&Method::PUT, "/eureka/apps/A/a"), Kind::SignOfLife);
        assert_eq!(kind(&Method::DELETE, "/eureka/apps/A/a"), Kind::Change);
    }
}
