//! Names of our own shape: `orders.<zone>`, `orders.shop.<zone>`, and what DNS-SD browses.
//!
//! Source of the names to browse: RFC 6763.

use super::subject::{Place, Subject, hexadecimal};
use crate::zone::Service;
use portolan_model::ServiceKey;

const DEFAULT: &[u8] = ServiceKey::DEFAULT_NAMESPACE.as_bytes();

pub(super) fn resolve(place: Place<'_>) -> Subject<'_> {
    let own = place.own;
    if own == 2 && place.label(1) == b"addr" {
        return hexadecimal(place.label(0)).map_or(Subject::Nothing, Subject::Address);
    }
    // The protocol of a name that has one, however many labels the rest has.
    let protocol = (0..own).find(|at| matches!(place.label(*at), b"_tcp" | b"_udp"));
    if let Some(at) = protocol {
        return browsed(place, at);
    }
    if let Some(service) = named(&place, 0) {
        return Subject::Service(service, service.all());
    }
    let is_namespace = own == 1 && place.table.has_namespace(place.label(0));
    let last = own.saturating_sub(1);
    let is_parent = place.is_parent(0, own, DEFAULT)
        || (last > 0 && place.is_parent(0, last, place.label(last)));
    if is_namespace || is_parent || (own == 1 && place.label(0) == b"addr") {
        return Subject::Inner;
    }
    Subject::Nothing
}

/// The service that the labels from there on name: with its namespace last, or without one.
fn named<'a>(place: &Place<'a>, from: usize) -> Option<&'a Service> {
    let last = place.own.saturating_sub(1);
    let with = (last > from).then(|| place.service(from, last, place.label(last)));
    with.flatten()
        .or_else(|| place.service(from, place.own, DEFAULT))
}

fn browsed(place: Place<'_>, protocol: usize) -> Subject<'_> {
    let rest = protocol.saturating_add(1);
    let namespace = match place.own.saturating_sub(rest) {
        0 => Some(DEFAULT),
        1 => Some(place.label(rest)),
        _ => None,
    };
    let before = protocol.checked_sub(1).map(|at| place.label(at));
    if before == Some(b"_dns-sd") {
        return domains(&place, protocol, rest, namespace);
    }
    let kind = before.and_then(|label| label.strip_prefix(b"_"));
    let (Some(kind), b"_tcp") = (kind, place.label(protocol)) else {
        // `_tcp` alone has names below it where there are services.
        let is_place =
            namespace.is_some_and(|one| rest == place.own || place.table.has_namespace(one));
        let is_inner = before.is_none() && (is_place || named(&place, rest).is_some());
        return if is_inner {
            Subject::Inner
        } else {
            Subject::Nothing
        };
    };
    let key = namespace.map(|namespace| crate::zone::Key::new(std::iter::once(kind), namespace));
    let service = key.and_then(|key| place.table.find(&key));
    match (service, protocol) {
        (Some(service), 1) => Subject::Browsed(service),
        (Some(service), _) => instance(&place, service, protocol),
        // `_http._tcp.orders` is a port of a service.
        (None, 1) if rest < place.own => port(&place, kind, rest),
        (None, _) => Subject::Nothing,
    }
}

/// What there is to browse.
fn domains<'a>(
    place: &Place<'a>,
    protocol: usize,
    rest: usize,
    namespace: Option<&'a [u8]>,
) -> Subject<'a> {
    let Some(namespace) = namespace.filter(|_| place.label(protocol) == b"_udp") else {
        return Subject::Nothing;
    };
    let is_there = rest == place.own || place.table.has_namespace(namespace);
    match protocol {
        _ if !is_there => Subject::Nothing,
        1 => Subject::Inner,
        2 => match place.label(0) {
            b"_services" => Subject::Types(namespace),
            b"b" | b"lb" => Subject::Domain(rest),
            _ => Subject::Nothing,
        },
        _ => Subject::Nothing,
    }
}

/// An instance by its id, which may have dots.
fn instance<'a>(place: &Place<'a>, service: &'a Service, protocol: usize) -> Subject<'a> {
    let id = place.joined(0, protocol.saturating_sub(1));
    let found = service.id(id.as_bytes());
    found.map_or(Subject::Nothing, |member| {
        Subject::Instance(service, *member)
    })
}

fn port<'a>(place: &Place<'a>, port: &[u8], rest: usize) -> Subject<'a> {
    let found = named(place, rest).and_then(|service| Some((service, service.port(port)?)));
    found.map_or(Subject::Nothing, |(service, group)| {
        Subject::Port(service, group)
    })
}
