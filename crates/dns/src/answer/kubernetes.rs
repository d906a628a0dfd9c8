//! Names of the shape that those of a Kubernetes cluster have.
//!
//! Every service is answered as a headless one: by the addresses that get traffic, which need
//! no proxy on the node. Source: Kubernetes DNS-Based Service Discovery, version 1.1.0.

use std::{collections::BTreeSet, net::IpAddr};

use portolan_model::Instance;

use super::subject::{Place, Subject};
use crate::zone::{Member, Service};

/// The metadata key by which an instance says its host name.
const HOSTNAME: &str = "hostname";

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
        0 => Subject::Service(service, &service.all),
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
fn endpoint<'a>(service: &Service, label: &[u8]) -> Subject<'a> {
    let spelled = undashed(label);
    let found = service.members().filter(|member| {
        let instance = service.instance(member);
        match instance.and_then(|instance| hostname(instance)) {
            Some(hostname) => hostname.as_bytes().eq_ignore_ascii_case(label),
            None => spelled == Some(member.ip),
        }
    });
    let found: BTreeSet<_> = found.map(|member| member.ip).collect();
    let addresses: Vec<_> = found.into_iter().collect();
    if addresses.is_empty() {
        return Subject::Nothing;
    }
    Subject::Endpoint(addresses, service.ttl)
}

/// The label of an instance: its host name, or one that is made of its address.
pub(crate) fn label_of(service: &Service, member: &Member) -> String {
    let instance = service.instance(member);
    match instance.and_then(|instance| hostname(instance)) {
        Some(hostname) => hostname.to_ascii_lowercase(),
        None => dashed(member.ip),
    }
}

/// The host name of an instance, if it says one that is a label.
fn hostname(instance: &Instance) -> Option<&str> {
    let text: &str = instance.metadata.get(HOSTNAME)?;
    let is_label = (1..=crate::wire::LABEL_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_label.then_some(text)
}

/// The address that [`dashed`] made a label of.
fn undashed(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let ip = text.replace('-', ".").parse().map(IpAddr::V4);
    let ip = ip
        .or_else(|_| text.replace('-', ":").parse().map(IpAddr::V6))
        .ok()?;
    (dashed(ip) == text).then_some(ip)
}

fn dashed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string().replace('.', "-"),
        IpAddr::V6(ip) => {
            let segments = ip.segments().map(|segment| format!("{segment:x}"));
            segments.join("-")
        }
    }
}
