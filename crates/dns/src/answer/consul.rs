//! Names of the shape that Consul's have.
//!
//! `[tag.]orders.service[.dc]`, `_orders._tag[.service][.dc]`, `name.node[.dc]`,
//! `7f000001.addr[.dc]`, `name.query[.dc]`. What tells where (`dc`, or pairs like `dc1.dc` and
//! `shop.ns`) stands last. Source: Consul's documentation of its DNS interface.

use super::subject::{Place, Subject, hexadecimal};
use portolan_model::ServiceKey;

/// Where the name says that the thing is.
struct Locality<'a> {
    namespace: &'a [u8],
}

const DEFAULT: &[u8] = ServiceKey::DEFAULT_NAMESPACE.as_bytes();
/// Words that say of what kind a name is. There is no mesh, so nothing has the others.
const WORDS: [&[u8]; 7] = [
    b"service", b"node", b"addr", b"query", b"connect", b"virtual", b"ingress",
];

pub(super) fn resolve(place: Place<'_>) -> Subject<'_> {
    let word = (0..place.own).rev().find_map(|at| {
        let word = WORDS.iter().find(|word| **word == place.label(at))?;
        let locality = locality(&place, at.saturating_add(1))?;
        Some((at, *word, locality))
    });
    match word {
        Some((0, _, _)) => Subject::Inner,
        Some((at, b"service", locality)) => service(place, at, &locality),
        Some((at, b"node", _)) => Subject::Node(place.text(0, at)),
        Some((at, b"query", _)) => Subject::Query(place.text(0, at)),
        Some((1, b"addr", _)) => {
            hexadecimal(place.label(0)).map_or(Subject::Nothing, Subject::Address)
        }
        Some(_) => Subject::Nothing,
        None => wordless(place),
    }
}

/// A name without a word: RFC 2782's, or a datacentre.
fn wordless(place: Place<'_>) -> Subject<'_> {
    if locality(&place, 0).is_some() {
        return Subject::Inner;
    }
    if place.label(0) == b"_tcp" && locality(&place, 1).is_some() {
        return Subject::Inner;
    }
    match locality(&place, 2) {
        Some(locality) if is_rfc2782(&place) => service(place, 2, &locality),
        Some(_) | None => Subject::Nothing,
    }
}

/// A service by what stands before its word.
fn service<'a>(place: Place<'a>, end: usize, locality: &Locality<'a>) -> Subject<'a> {
    if end == 2 && is_rfc2782(&place) {
        let strip = |at: usize| place.label(at).strip_prefix(b"_").unwrap_or_default();
        let key = crate::zone::Key::new(std::iter::once(strip(0)), locality.namespace);
        let Some(service) = place.table.find(&key) else {
            return Subject::Nothing;
        };
        let group = match strip(1) {
            b"tcp" => Some(service.all()),
            tag => service.tagged(tag),
        };
        return group.map_or(Subject::Nothing, |group| Subject::Service(service, group));
    }
    let last = end.saturating_sub(1);
    if let Some(service) = place.service(last, end, locality.namespace) {
        if last == 0 {
            return Subject::Service(service, service.all());
        }
        let tag = place.joined(0, last);
        if let Some(group) = service.tagged(tag.as_bytes()) {
            return Subject::Service(service, group);
        }
        // The tag itself may have dots.
        if service.is_tag_parent(tag.as_bytes()) {
            return Subject::Inner;
        }
    }
    // The name itself may have dots.
    match place.service(0, end, locality.namespace) {
        Some(service) => Subject::Service(service, service.all()),
        None if place.is_parent(0, end, locality.namespace) => Subject::Inner,
        None => Subject::Nothing,
    }
}

fn is_rfc2782(place: &Place<'_>) -> bool {
    (0..2).all(|at| place.label(at).first() == Some(&b'_'))
}

/// What the labels from there on say of where; none if they say something else, or another
/// datacentre.
fn locality<'a>(place: &Place<'a>, from: usize) -> Option<Locality<'a>> {
    let mut found = Locality { namespace: DEFAULT };
    let datacenter = &*place.settings.datacenter;
    let mut at = from;
    while at < place.own {
        let (label, kind) = (place.label(at), place.label(at.saturating_add(1)));
        let is_pair = at.saturating_add(1) < place.own;
        match kind {
            b"dc" if is_pair && label == datacenter => {}
            b"ap" if is_pair && label == DEFAULT => {}
            b"ns" if is_pair => found.namespace = label,
            // A datacentre alone stands last.
            _ if !is_pair && label == datacenter => return Some(found),
            _ => return None,
        }
        at = at.saturating_add(2);
    }
    (from <= place.own).then_some(found)
}
