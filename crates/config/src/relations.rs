//! What objects say about each other: addresses, references, routes that hide routes.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use portolan_model::{Name, Problem, route::Destination};
use portolan_router::{Effect, Entry, RouteProblem, Router};

use crate::{
    ObjectKind, ObjectRef, ProxyHeader, Severity,
    fold::Folding,
    read::{RouteDraft, overlap},
    suggest::did_you_mean,
};

/// Checks all relations. Listeners come first, since routes name them, and routes last.
pub(crate) fn check(folding: &mut Folding<'_>) {
    addresses(folding);
    fronts(folding);
    name_server(folding);
    proxies(folding);
    loops(folding);
    for place in 0..folding.parts.routes.len() {
        listeners_of(folding, place);
        targets_of(folding, place);
    }
    folding.parts.routes.retain(|draft| !draft.is_unreachable);
    unused(folding);
    compile(folding);
}

fn object(kind: ObjectKind, name: &Name) -> ObjectRef {
    ObjectRef::new(kind, name.clone())
}

/// Two listeners can't have the same port; the admin and the status listener come first.
fn addresses(folding: &mut Folding<'_>) {
    let parts = &folding.parts;
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    taken.extend(
        parts
            .admin
            .iter()
            .map(|admin| ("section admin".to_owned(), admin.address)),
    );
    let mut clashes = Vec::new();
    let status = parts
        .status
        .iter()
        .map(|status| (section("status"), status.address));
    let listeners = parts.listeners.iter().map(|listener| {
        (
            object(ObjectKind::Listener, &listener.name),
            listener.address,
        )
    });
    for (object, address) in status.chain(listeners) {
        let clash = taken.iter().find(|(_, other)| overlap(address, *other));
        match clash {
            Some((other, _)) => clashes.push((object, address, other.clone())),
            None => taken.push((object.to_string(), address)),
        }
    }
    for (object, address, other) in clashes {
        let problem = Problem::new("", format!("{address} is taken by {other}"))
            .with_help("give it another port");
        folding.blame(&object, "/address", Severity::Error, problem);
        folding.quarantine(&object);
        let is_other = |name: &Name| object.kind != ObjectKind::Listener || object.name != *name;
        folding
            .parts
            .listeners
            .retain(|listener| is_other(&listener.name));
    }
}

/// A foreign registry's usual port gives way to a listener that was put there; another
/// one is a mistake.
fn fronts(folding: &mut Folding<'_>) {
    let parts = &mut folding.parts;
    let Some(registry) = &mut parts.registry else {
        return;
    };
    let admin = parts.admin.iter().map(|admin| admin.address);
    let status = parts.status.iter().map(|status| status.address);
    let listeners = parts.listeners.iter().map(|listener| listener.address);
    let mut taken: Vec<_> = admin.chain(status).chain(listeners).collect();
    let mut crowded = Vec::new();
    for (name, front) in [
        ("eureka", &mut registry.eureka),
        ("consul", &mut registry.consul),
    ] {
        if !front.is_enabled {
            continue;
        }
        if taken.iter().any(|other| overlap(front.address, *other)) {
            front.is_enabled = false;
            crowded.push((format!("/{name}/address"), front.address));
        } else {
            taken.push(front.address);
        }
    }
    let registry = section("registry");
    for (pointer, address) in crowded {
        if folding.is_written(&registry, &pointer) {
            let problem = Problem::new("", format!("{address} is taken by another listener"))
                .with_help("give it another port, or switch it off by `enabled: false`");
            folding.blame(&registry, &pointer, Severity::Error, problem);
        }
    }
}

/// The same for the DNS server.
fn name_server(folding: &mut Folding<'_>) {
    let parts = &mut folding.parts;
    let Some(dns) = parts.dns.as_mut().filter(|dns| dns.is_enabled) else {
        return;
    };
    let admin = parts.admin.iter().map(|admin| admin.address);
    let status = parts.status.iter().map(|status| status.address);
    let listeners = parts.listeners.iter().map(|listener| listener.address);
    let fronts = parts.registry.iter().flat_map(|registry| {
        let fronts = [&registry.eureka, &registry.consul].into_iter();
        let enabled = fronts.filter(|front| front.is_enabled);
        enabled.map(|front| front.address)
    });
    let taken: Vec<_> = admin.chain(status).chain(listeners).chain(fronts).collect();
    let mut taken = taken;
    let mut crowded = Vec::new();
    if taken.iter().any(|other| overlap(dns.address, *other)) {
        dns.is_enabled = false;
        crowded.push(("/address", dns.address));
    } else {
        taken.push(dns.address);
    }
    let over_tls = dns.over_tls.as_ref().map(|over_tls| over_tls.address);
    if let Some(address) = over_tls.filter(|own| taken.iter().any(|other| overlap(*own, *other))) {
        dns.over_tls = None;
        crowded.push(("/over_tls", address));
    }
    let dns = section("dns");
    for (pointer, address) in crowded {
        let problem = Problem::new("", format!("{address} is taken by another listener"));
        if pointer != "/address" {
            let problem = problem.with_help("give queries over TLS another port; 853 is usual");
            folding.blame(&dns, "/over_tls", Severity::Error, problem);
        } else if folding.is_written(&dns, pointer) {
            let problem =
                problem.with_help("give it another port, or switch it off by `enabled: false`");
            folding.blame(&dns, pointer, Severity::Error, problem);
        }
    }
}

#[expect(clippy::expect_used, reason = "constants of letters are names")]
pub(crate) fn section(name: &str) -> ObjectRef {
    ObjectRef::new(
        ObjectKind::Section,
        Name::parse(name).expect("letters are a name"),
    )
}

/// A listener that wants a PROXY header wants somebody to trust.
fn proxies(folding: &mut Folding<'_>) {
    if folding
        .parts
        .gateway
        .as_ref()
        .is_none_or(|gateway| !gateway.trusted_proxies.is_empty())
    {
        return;
    }
    let wants = |proxy| !matches!(proxy, ProxyHeader::Off);
    let listeners = folding.parts.listeners.iter();
    let lonely = listeners.filter(|listener| wants(listener.proxy_protocol));
    let lonely: Vec<_> = lonely
        .map(|listener| object(ObjectKind::Listener, &listener.name))
        .collect();
    for listener in lonely {
        let problem = Problem::new(
            "",
            "a PROXY header is read from trusted proxies only, and there are none",
        )
        .with_help("name them in `trusted_proxies:` of `gateway:`");
        folding.blame(&listener, "/proxy_protocol", Severity::Warning, problem);
    }
}

/// An upstream whose address is one of our own listeners.
fn loops(folding: &mut Folding<'_>) {
    let mut found = Vec::new();
    for planned in &folding.parts.upstreams {
        let Destination::Addresses(addresses) = &planned.upstream.destination else {
            continue;
        };
        let own = |address: &SocketAddr| {
            folding.parts.listeners.iter().find(|listener| {
                listener.address.port() == address.port()
                    && (listener.address.ip() == address.ip()
                        || (listener.address.ip().is_unspecified() && address.ip().is_loopback()))
            })
        };
        let hit = addresses.iter().enumerate().find_map(|(place, address)| {
            own(address).map(|listener| (place, listener.name.clone()))
        });
        let upstream = object(ObjectKind::Upstream, &planned.upstream.name);
        found.extend(hit.map(|(place, listener)| (upstream, place, listener)));
    }
    for (upstream, place, listener) in found {
        let problem = Problem::new("", format!("this is the gateway's own listener {listener}"))
            .with_help("requests would go round in circles until they are refused");
        folding.blame(
            &upstream,
            &format!("/addresses/{place}"),
            Severity::Warning,
            problem,
        );
    }
}

/// A route serves only listeners that there are. If none is left, no request can reach it.
fn listeners_of(folding: &mut Folding<'_>, place: usize) {
    let Some(draft) = folding.parts.routes.get_mut(place) else {
        return;
    };
    if draft.route.listeners.is_empty() {
        return;
    }
    let named = std::mem::take(&mut draft.route.listeners);
    let places = draft.listener_places.clone();
    let route = object(ObjectKind::Route, &draft.route.name);
    let mut kept = Vec::new();
    for (name, place) in named.into_iter().zip(places) {
        if folding.applies(&object(ObjectKind::Listener, &name)) {
            kept.push(name);
            continue;
        }
        let (severity, problem) = folding.missing(ObjectKind::Listener, &name);
        folding.blame(&route, &format!("/listeners/{place}"), severity, problem);
    }
    if kept.is_empty() {
        folding.quarantine(&route);
    }
    if let Some(draft) = folding.parts.routes.get_mut(place) {
        draft.is_unreachable = kept.is_empty();
        draft.route.listeners = kept;
    }
}

/// A route goes only to upstreams that there are. It keeps its other targets; if none is
/// left, it is set aside.
fn targets_of(folding: &mut Folding<'_>, place: usize) {
    let Some(draft) = folding.parts.routes.get_mut(place) else {
        return;
    };
    let named = std::mem::take(&mut draft.route.targets);
    let route = object(ObjectKind::Route, &draft.route.name);
    let has_answer = !draft.policies.is_empty();
    let had_targets = !named.is_empty();
    let mut kept = Vec::new();
    for (at, target) in named.into_iter().enumerate() {
        if folding.applies(&object(ObjectKind::Upstream, &target.upstream)) {
            kept.push(target);
            continue;
        }
        let (severity, problem) = folding.missing(ObjectKind::Upstream, &target.upstream);
        let pointer = folding.target_pointer(&route, at);
        folding.blame(&route, &pointer, severity, problem);
    }
    let is_dead = had_targets && kept.iter().all(|target| target.weight == 0);
    let is_silent = !had_targets
        && !has_answer
        && folding.parts.policies.is_empty()
        && !folding.is_quarantined(&route);
    if let Some(draft) = folding.parts.routes.get_mut(place) {
        draft.route.targets = kept;
    }
    if is_silent {
        let problem = Problem::new("", "the route goes nowhere")
            .with_help("give it a `target:`, or a policy that answers");
        folding.blame(&route, "", Severity::Error, problem);
    }
    if is_silent || is_dead {
        folding.quarantine(&route);
    }
}

/// An upstream that no route goes to.
fn unused(folding: &mut Folding<'_>) {
    let routes = folding.parts.routes.iter();
    let used: HashSet<&Name> = routes.flat_map(|draft| &draft.named_upstreams).collect();
    let names = folding
        .parts
        .upstreams
        .iter()
        .map(|planned| &planned.upstream.name);
    let unused = names.filter(|name| !used.contains(name));
    let unused: Vec<_> = unused
        .map(|name| object(ObjectKind::Upstream, name))
        .collect();
    for upstream in unused {
        let problem = Problem::new("", "no route goes there");
        folding.blame(&upstream, "", Severity::Warning, problem);
    }
}

/// What the router's compiler says about all routes together.
fn compile(folding: &mut Folding<'_>) {
    let drafts = folding.parts.routes.iter();
    let entries = drafts
        .clone()
        .map(|draft| Entry::of(&draft.route, ()))
        .collect();
    let places: HashMap<Name, usize> = drafts
        .map(|draft| draft.route.name.clone())
        .zip(0..)
        .collect();
    let (_, problems) = Router::compile(entries);
    for RouteProblem {
        route,
        effect,
        problem,
    } in problems
    {
        let place = places.get(&route).copied();
        let draft = place.and_then(|place| folding.parts.routes.get_mut(place));
        let Some(draft) = draft else { continue };
        let pointer = draft.as_written(&problem.path);
        let route = object(ObjectKind::Route, &route);
        match effect {
            Effect::LeftOut => {
                draft.leave_out(&problem.path);
                folding.blame(&route, &pointer, Severity::Error, problem);
                folding.quarantine(&route);
            }
            // What it would do without its errors is not known.
            Effect::Shadowed if folding.is_quarantined(&route) => {}
            Effect::Shadowed => folding.blame(&route, &pointer, Severity::Warning, problem),
        }
    }
    folding.parts.routes.iter_mut().for_each(RouteDraft::settle);
    folding.parts.routes.retain(|draft| !draft.is_unreachable);
}

impl Folding<'_> {
    /// Why an object that is named is not there. One in quarantine has its own error already.
    fn missing(&self, kind: ObjectKind, name: &Name) -> (Severity, Problem) {
        let (wanted, word) = (object(kind, name), kind.word());
        if self.is_quarantined(&wanted) {
            let problem = Problem::new("", format!("{wanted} is set aside because of its errors"));
            return (Severity::Warning, problem);
        }
        let known: Vec<_> = self
            .places
            .keys()
            .filter(|object| object.kind == kind)
            .collect();
        let problem = Problem::new("", format!("there is no {word} `{name}`"));
        let help = did_you_mean(
            name.as_str(),
            known.iter().map(|object| object.name.as_str()),
        )
        .unwrap_or_else(|| format!("name one of `{word}s:`, or add it there"));
        (Severity::Error, problem.with_help(help))
    }

    /// Where the upstream of a route's target stands.
    fn target_pointer(&self, route: &ObjectRef, at: usize) -> String {
        let short = self
            .places
            .get(route)
            .is_some_and(|place| place.node.has("target"));
        if short {
            "/target".to_owned()
        } else {
            format!("/targets/{at}/upstream")
        }
    }
}
