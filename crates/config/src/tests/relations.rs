//! What objects say about each other, and what looks wrong without being so.

use super::*;

const ROUTE: &str = "routes: {a: {target: u}}\nupstreams: {u: {service: s}}\n";

#[test]
fn two_listeners_on_an_address_are_refused() {
    for (first, second) in [
        ("127.0.0.1:81", "127.0.0.1:81"),
        ("0.0.0.0:81", "127.0.0.1:81"),
        ("127.0.0.1:81", "[::]:81"),
    ] {
        let text =
            format!("listeners:\n  a: {{address: '{first}'}}\n  b: {{address: '{second}'}}\n");
        refused(&text, "is taken by listener a");
    }
    refused(
        "listeners: {a: {address: 127.0.0.1:9070}}",
        "is taken by section admin",
    );
    plan("listeners:\n  a: {address: 127.0.0.1:0}\n  b: {address: 127.0.0.1:0}\n");
    plan("listeners:\n  a: {address: 127.0.0.1:81}\n  b: {address: 127.0.0.2:81}\n");
}

#[test]
fn a_foreign_registrys_port_gives_way_unless_it_was_asked_for() {
    let is_on = |text: &str| plan(text).registry.eureka.is_enabled;
    assert!(is_on(""));
    assert!(!is_on("registry: {eureka: {enabled: false}}"));
    let listener = "listeners: {a: {address: 127.0.0.1:8761}}";
    assert!(!is_on(listener));
    assert!(!is_on("admin: {address: 127.0.0.1:8761}"));
    refused(
        "listeners: {a: {address: 127.0.0.1:8762}}\nregistry: {eureka: {address: 127.0.0.1:8762}}",
        "is taken by another listener",
    );
    refused(
        "registry: {eureka: {address: 127.0.0.1:8762}, consul: {address: 127.0.0.1:8762}}",
        "is taken by another listener",
    );
    let both = plan("listeners: {a: {address: 127.0.0.1:8500}}");
    assert!(both.registry.eureka.is_enabled && !both.registry.consul.is_enabled);
}

#[test]
fn a_route_behind_an_equal_one_is_told() {
    let text = "routes:\n  a: {target: u, match: {exact: /x}}\n  b: {target: u, match: [{exact: /y}, {exact: /x}]}\n\
                upstreams: {u: {service: s}}\n";
    warned(text, "portolan.yaml:3:39: warning: route b");
}

#[test]
fn suspicious_settings_are_warned_of() {
    warned("gateway: {trusted_proxies: [0.0.0.0/0]}", "every client");
    warned(
        "listeners: {a: {proxy_protocol: required}}",
        "there are none",
    );
    warned("upstreams: {u: {service: s}}", "no route goes there");
    let with =
        |upstream: &str| format!("routes: {{a: {{target: u}}}}\nupstreams: {{u: {{{upstream}}}}}");
    warned(&with("service: s, tls: {verify: off}"), "anybody between");
    warned(&with("service: s, tls: {verify: false}"), "anybody between");
    warned(
        &with("service: s, check: {tcp: {}, timeout: 1m}"),
        "longer than",
    );
    warned("registry: {checks: {scripts: true}}", "any program");
    warned(&with("service: s, timeouts: {total: 1s}"), "shorter than");
    warned(
        &with("addresses: 127.0.0.1:8080"),
        "the gateway's own listener",
    );
}

#[test]
fn what_can_not_be_meant_is_refused_with_help() {
    let with = |upstream: &str| format!("upstreams: {{u: {{{upstream}}}}}");
    for (upstream, words) in [
        (
            "service: s, addresses: 127.0.0.1:1",
            "`service` and `addresses` exclude each other",
        ),
        (
            "port: http",
            "one of `service`, `addresses`, `hosts` is missing",
        ),
        ("addresses: 'api.internal:80'", "belongs into `hosts:`"),
        ("addresses: '0.0.0.0:80'", "an address to listen on"),
        ("service: s, balance: latncy", "did you mean `latency`?"),
        ("service: s, tls: {certificate: a.pem}", "belong together"),
        ("service: s, tls: {ca: none.pem}", "no such file"),
        (
            "service: s, tls: {certificate: bad.pem, key: k}",
            "not a certificate",
        ),
        ("service: s, timeouts: {idle: 5}", "is not a duration"),
        ("service: s, check: {}", "one of `http`, `tcp`, `udp`,"),
        ("service: s, check: []", "the list is empty"),
        (
            "service: s, check: [{id: a, tcp: {}}, {id: a, tcp: {}}]",
            "there are two checks `a`",
        ),
        (
            "service: s, check: {http: {statuses: 2xx}}",
            "`2xx` is not a status",
        ),
        (
            "service: s, check: {http: {answer: {regex: '('}}}",
            "not a regular expression",
        ),
        (
            "service: s, check: {tcp: {}, interval: 50ms}",
            "an interval is from 100ms",
        ),
        (
            "service: s, check: {http: {path: health}}",
            "write `/health`",
        ),
        ("service: s, service: t", "`service` is given twice"),
        ("service: '${env:NONE}'", "`NONE` is not set"),
        ("service: s, port:", "nothing is given"),
        ("service: [a, b]", "a single value is needed"),
        ("service: s, subset: [a]", "a map is needed"),
    ] {
        refused(&with(upstream), words);
    }
}

#[test]
fn tls_of_a_listener_is_never_silently_off() {
    refused("listeners: {a: {tls:}}", "`certificates` is missing");
    refused(
        "listeners: {a: {tls: {certificates: []}}}",
        "the list is empty",
    );
    refused(
        "listeners: {a: {tls: {certificates: [{certificate: bad.pem, key: k}]}}}",
        "not a certificate",
    );
}

#[test]
fn names_that_differ_only_by_case_are_one() {
    refused(
        "sources:\n  a: {still: {path: x}}\n  A: {still: {path: y}}\n",
        "source a: source a is given twice",
    );
}

#[test]
fn references_are_checked_with_all_routes() {
    plan(ROUTE);
    let text = "listeners: {web: {}}\nroutes: {a: {target: u, listeners: [wbe]}}\nupstreams: {u: {service: s}}\n";
    let told = told(text);
    assert!(
        told.iter()
            .any(|told| told.contains("there is no listener `wbe` (did you mean `web`?)")),
        "{told:#?}"
    );
}
