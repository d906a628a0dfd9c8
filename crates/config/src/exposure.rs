//! Who would get into control listeners: one that others reach needs to know its callers.

use portolan_model::Problem;

use crate::{Access, Security, Severity, fold::Folding, relations::section};

/// Checks every control listener that is not on loopback. The status listener is none of
/// them: it tells whether the program is alive, and nothing can be changed by it.
pub(crate) fn check(folding: &mut Folding<'_>) {
    let parts = &folding.parts;
    let admin = parts.admin.iter();
    let admin = admin.map(|admin| ("admin", String::new(), admin.address, &admin.security));
    let fronts = parts.registry.iter().flat_map(|registry| {
        [("eureka", &registry.eureka), ("consul", &registry.consul)]
            .into_iter()
            .filter(|(_, front)| front.is_enabled)
            .map(|(name, front)| {
                let pointer = format!("/{name}");
                ("registry", pointer, front.address, &front.security)
            })
    });
    let exposed = admin
        .chain(fronts)
        .filter(|(_, _, address, _)| !address.ip().is_loopback());
    let found: Vec<_> = exposed
        .filter_map(|(object, pointer, address, security)| {
            let (severity, problem) = fault(security, parts.access.as_ref(), &address.to_string())?;
            Some((section(object), pointer, severity, problem))
        })
        .collect();
    for (object, pointer, severity, problem) in found {
        folding.blame(&object, &format!("{pointer}/address"), severity, problem);
    }
}

/// What is wrong with a listener that others reach.
fn fault(
    security: &Security,
    access: Option<&Access>,
    address: &str,
) -> Option<(Severity, Problem)> {
    if security.is_insecure {
        return None;
    }
    let tls = security.tls.as_ref();
    let asks = tls.is_some_and(|tls| tls.client_ca.is_some() && !tls.is_certificate_optional);
    if asks {
        return None;
    }
    let Some(access) = access else {
        let message = format!(
            "{address} is open to others, who may then register services and change what is served"
        );
        let problem = Problem::new("", message).with_help(
            "let in only who shows a token, by `access:`, or a certificate, by `client_ca` in its `tls:`; or write `insecure: true` beside it if the network keeps others out",
        );
        return Some((Severity::Error, problem));
    };
    if !access.anonymous.is_read_only() {
        let message = format!(
            "{address} is open to others, and `anonymous` of `access:` lets them change things"
        );
        let problem = Problem::new("", message).with_help(
            "give those scopes to a token instead, or write `insecure: true` beside it if the network keeps others out",
        );
        return Some((Severity::Error, problem));
    }
    if tls.is_none() {
        let message = format!("tokens go to {address} in the clear");
        let problem = Problem::new("", message).with_help(
            "give it `tls:`, or write `insecure: true` beside it if somebody else ends TLS before it",
        );
        return Some((Severity::Warning, problem));
    }
    None
}
