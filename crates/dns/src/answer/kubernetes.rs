//! Names of the shape that those of a Kubernetes cluster have.
//!
//! Every service is answered as a headless one: by the addresses that get traffic, which need
//! no proxy on the node. Source: Kubernetes DNS-Based Service Discovery, version 1.1.0.

use super::subject::{Place, Subject};
use crate::zone::Service;

pub(super) fn resolve(place: Place<'_>) -> Subject<'_> {
    let own = place.own;
    if own == 1 && place.label(0) == b"dns-version" {
        return Subject::Version;
    }
    let Some(svc) = own.checked_sub(1).filter(|at| place.label(*at) == b"svc") else {
        return Subject::Nothing;
    };
    let Some(at) = svc.checked_sub(1) else {
        return Subject::Inner;
    };
    let namespace = place.label(at);
    if !place.table.has_namespace(namespace) {
        return Subject::Nothing;
    }
    let Some(name) = at.checked_sub(1) else {
        return Subject::Inner;
    };
    // The name itself may have dots, though none of Kubernetes has.
    let service = (0..=name).rev().find_map(|from| {
        let service = place.service(from, at, namespace)?;
        Some((from, service))
    });
    let Some((before, service)) = service else {
        let is_parent = place.is_parent(0, at, namespace);
        return if is_parent {
            Subject::Inner
        } else {
            Subject::Nothing
        };
    };
    match before {
        0 => Subject::Service(service, service.all()),
        1 if place.label(0) == b"_tcp" && !service.is_empty() => Subject::Inner,
        1 => endpoint(service, place.label(0)),
        2 => match (place.label(0).split_first(), place.label(1)) {
            (Some((b'_', port)), b"_tcp") => service
                .port(port)
                .map_or(Subject::Nothing, |group| Subject::Port(service, group)),
            _ => Subject::Nothing,
        },
        _ => Subject::Nothing,
    }
}

/// The instances of that host name.
fn endpoint<'a>(service: &'a Service, label: &[u8]) -> Subject<'a> {
    match service.host(label) {
        [] => Subject::Nothing,
        addresses => Subject::Endpoint(addresses, service.ttl()),
    }
}
