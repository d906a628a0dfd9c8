//! What single objects say and default to.

use std::time::Duration;

use portolan_model::{
    ByteSize, Name, ServiceKey,
    http::Method,
    route::{
        Destination, FieldMatch, HostMatch, HttpMeans, Means, PathMatch, Place, Protocol,
        ProxyVersion, Retry, TextMatch, Timeouts, Verify,
    },
};

use super::*;
use crate::{LogFormat, LogPath, ProxyHeader};

pub(crate) const EVERYTHING: &str = r#"
gateway:
  workers: 2
  drain: 10s
  automatic: {enabled: true, filter: {env: prod, version: 1.10}}
  trusted_proxies: [10.0.0.0/8]
  zone: eu-1
admin:
  address: "127.0.0.1:9999"
  hosts: [Admin.example.com]
  tls: {certificates: [{certificate: a.pem, key: a.key}], versions: ["1.3"], client_ca: ca.pem, client_certificates: optional}
  limits: {head: 16KiB, headers: 50, body: 2MiB, connections: 10, connections_per_client: 5, requests: 100, burst: 300}
  insecure: false
access:
  anonymous: [read]
  tokens:
    ci: {hash: "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", scopes: [read, "register:shop-*"]}
  certificates: {ops.example: operate}
status: {address: "0.0.0.0:9071"}
access_log: {enabled: true, format: json, path: access.log}
listeners:
  web:
    address: 0.0.0.0:${env:PORT}
    protocols: [http1]
    proxy_protocol: optional
    tls:
      certificates: [{certificate: a.pem, key: /keys/a.key}]
      versions: ["1.3"]
    limits: {head: 16KiB, headers: 50, uri: 4KiB, body: 1MiB, connections: 5, streams: 6, resets: 7}
    timeouts: {head: 1s, idle: 2s, body: 3s}
    policies: [{mark: {level: 1}}]
policies:
  - mark: {level: 2}
routes:
  shop:
    listeners: [web]
    hosts: [Shop.example.com, "*.shop.example.com"]
    match:
      - {prefix: /api, method: [GET, HEAD], headers: {x-env: canary, x-id: {regex: "[0-9]+"}, x-any: {present: true}}, query: {v: "2"}}
      - exact: /login
        method: POST
      - {template: "/users/{id}"}
      - {regex: "/v[0-9]+/.*"}
    policies:
      - mark: {level: 3}
    targets:
      - {upstream: orders, weight: 9, subset: {version: v2}}
      - upstream: fixed
upstreams:
  orders:
    service: shop/orders
    port: grpc
    subset: {version: v1}
    balance: round_robin
    protocol: http2
    timeouts: {connect: 1s, first_byte: 2s, idle: 3s, total: 4s}
    retry: {attempts: 3, budget_percent: 5, budget_per_second: 1}
    tls: {server_name: orders.internal, ca: ca.pem, certificate: c.pem, key: c.key}
    check: {http: {path: /health?x=1, host: x}, interval: 5s, timeout: 1s, rise: 2, fall: 4}
    proxy_protocol: v2
    connections: 100
    preserve_host: false
  fixed:
    addresses: ["127.0.0.1:9001", "[::1]:9001"]
    balance: {random: {}}
    check: [{tcp: {}}, {script: {command: [/bin/test, -e, /tmp]}}, {grpc: {port: 9, service: a.B}}]
sources:
  edge: {still: {path: services.yaml}}
registry: {ttl: {default: 10s, min: 2s, max: 1h}, instances: 1000, eureka: {address: "127.0.0.1:8762", hosts: [eureka.internal]}, consul: {address: "127.0.0.1:8502"}, checks: {docker: /run/d.sock}}
guard: {share: 20, hold: 0s}
"#;

#[test]
fn every_field_is_read() {
    let plan = plan(EVERYTHING);
    assert_eq!(plan.gateway.workers.unwrap().get(), 2);
    assert_eq!(plan.gateway.drain, Duration::from_secs(10));
    assert!(plan.gateway.automatic.is_enabled);
    assert_eq!(&*plan.gateway.automatic.filter["version"], "1.10");
    assert_eq!(plan.gateway.trusted_proxies[0].to_string(), "10.0.0.0/8");
    assert_eq!(plan.gateway.zone.as_deref(), Some("eu-1"));
    assert_eq!(plan.admin.address.port(), 9999);
    assert_eq!(plan.admin.hosts, ["admin.example.com"]);
    assert_eq!(
        plan.status.as_ref().unwrap().address.to_string(),
        "0.0.0.0:9071"
    );
    assert_eq!(plan.access_log.is_enabled, Some(true));
    assert_eq!(plan.access_log.format, LogFormat::Json);
    assert_eq!(
        plan.access_log.path,
        LogPath::File("/etc/portolan/access.log".into())
    );
    assert_eq!(plan.registry.ttl_max, Duration::from_hours(1));
    assert_eq!(plan.registry.instances_max.get(), 1000);
    let eureka = &plan.registry.eureka;
    assert_eq!(eureka.address.port(), 8762);
    assert_eq!(eureka.hosts, ["eureka.internal"]);
    assert_eq!(
        (plan.guard.share_percent, plan.guard.hold),
        (20, Duration::ZERO)
    );
    assert_eq!(plan.policies.len(), 1);
    assert_eq!(plan.sources[0].id.as_str(), "still:edge");
    let still = Still("/etc/portolan/services.yaml".into());
    assert!(plan.sources[0].spec.same_as(&still));
}

#[test]
fn a_listener_is_read_whole() {
    let plan = plan(EVERYTHING);
    let web = plan.listener(&Name::parse("web").unwrap()).unwrap();
    assert_eq!(web.address.to_string(), "0.0.0.0:8443");
    assert!(web.protocols.http1 && !web.protocols.http2);
    assert_eq!(web.proxy_protocol, ProxyHeader::Optional);
    let tls = web.tls.as_ref().unwrap();
    assert_eq!(
        tls.certificates[0].certificate.to_str(),
        Some("/etc/portolan/a.pem")
    );
    assert_eq!(tls.certificates[0].key.to_str(), Some("/keys/a.key"));
    assert!(tls.tls13 && !tls.tls12);
    assert_eq!(web.limits.head_max, ByteSize::parse("16KiB").unwrap());
    assert_eq!(web.limits.body_max, Some(ByteSize::parse("1MiB").unwrap()));
    assert_eq!(
        (web.limits.headers_max, web.limits.resets_max.get()),
        (50, 7)
    );
    assert_eq!(web.timeouts.body, Duration::from_secs(3));
    assert_eq!(web.policies[0].kind, "mark");
}

#[test]
fn a_route_is_read_whole() {
    let plan = plan(EVERYTHING);
    let planned = &plan.routes[0];
    let route = &planned.route;
    assert!(planned.quarantine.is_none());
    assert_eq!(planned.policies.len(), 1);
    assert_eq!(route.policies[0].kind, "mark");
    assert_eq!(
        route.hosts,
        [
            HostMatch::Exact("shop.example.com".into()),
            HostMatch::Suffix(".shop.example.com".into())
        ]
    );
    let [api, login, users, version] = route.matches.as_slice() else {
        panic!()
    };
    assert_eq!(api.path, PathMatch::Prefix("/api".into()));
    assert_eq!(api.methods, [Method::Get, Method::Head]);
    let field = |name: &str, value| FieldMatch {
        name: name.into(),
        value,
    };
    assert_eq!(
        api.headers,
        [
            field("x-env", TextMatch::Exact("canary".into())),
            field("x-id", TextMatch::Regex("[0-9]+".into())),
            field("x-any", TextMatch::Present),
        ]
    );
    assert_eq!(api.query, [field("v", TextMatch::Exact("2".into()))]);
    assert_eq!(
        (&login.path, &login.methods[..]),
        (&PathMatch::Exact("/login".into()), &[Method::Post][..])
    );
    assert_eq!(users.path, PathMatch::Template("/users/{id}".into()));
    assert_eq!(version.path, PathMatch::Regex("/v[0-9]+/.*".into()));
    let [first, second] = route.targets.as_slice() else {
        panic!()
    };
    assert_eq!((first.upstream.as_str(), first.weight), ("orders", 9));
    assert_eq!(&*first.subset["version"], "v2");
    assert_eq!((second.upstream.as_str(), second.weight), ("fixed", 1));
}

#[test]
fn an_upstream_is_read_whole() {
    let plan = plan(EVERYTHING);
    let orders = &plan
        .upstream(&Name::parse("orders").unwrap())
        .unwrap()
        .upstream;
    let key = ServiceKey::parse("shop/orders").unwrap();
    assert_eq!(orders.destination, Destination::Service(key));
    assert_eq!(orders.port.as_ref().unwrap().as_str(), "grpc");
    assert_eq!(orders.balance.kind, "round_robin");
    assert_eq!(orders.protocol, Protocol::Http2);
    assert_eq!(orders.timeouts.total, Some(Duration::from_secs(4)));
    assert_eq!(
        orders.retry,
        Retry {
            attempts_max: 3,
            budget_percent: 5,
            budget_per_second: 1
        }
    );
    let tls = orders.tls.as_ref().unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("orders.internal"));
    assert_eq!(
        tls.ca.as_ref().unwrap().to_str(),
        Some("/etc/portolan/ca.pem")
    );
    assert_eq!(
        tls.certificate.as_ref().unwrap().key.to_str(),
        Some("/etc/portolan/c.key")
    );
    assert_eq!(tls.verify, Verify::Full);
    let [check] = orders.check.as_ref().unwrap().probes() else {
        panic!()
    };
    let http = HttpMeans {
        host: Some("x".into()),
        tls: orders.tls.clone(),
        ..HttpMeans::get("/health?x=1")
    };
    assert_eq!(check.means, Means::Http(Box::new(http)));
    assert_eq!((check.rise.get(), check.fall.get()), (2, 4));
    assert_eq!(orders.proxy_protocol, Some(ProxyVersion::V2));
    assert_eq!(orders.connections_max.unwrap().get(), 100);
    assert!(!orders.preserve_host);
    let fixed = &plan
        .upstream(&Name::parse("fixed").unwrap())
        .unwrap()
        .upstream;
    assert!(matches!(&fixed.destination, Destination::Addresses(list) if list.len() == 2));
    let probes = fixed.check.as_ref().unwrap().probes();
    let means: Vec<_> = probes.iter().map(|probe| &probe.means).collect();
    let tcp = Means::Tcp {
        at: Place::Home,
        tls: None,
    };
    let script = Means::Script {
        command: vec!["/bin/test".into(), "-e".into(), "/tmp".into()],
    };
    let grpc = Means::Grpc {
        at: Place::Port(9),
        service: "a.B".into(),
        tls: None,
    };
    assert_eq!(means, [&tcp, &script, &grpc]);
    assert_eq!(plan.registry.checks.docker.to_str(), Some("/run/d.sock"));
    assert!(!plan.registry.checks.runs_programs);
}

#[test]
fn zero_configuration_is_the_gateway_with_the_automatic_lane() {
    let plan = Plan::zero_config();
    let [listener] = plan.listeners.as_slice() else {
        panic!()
    };
    assert_eq!(listener.address.to_string(), "127.0.0.1:8080");
    assert!(listener.protocols.http1 && listener.protocols.http2 && listener.tls.is_none());
    assert_eq!(plan.admin.address.to_string(), "127.0.0.1:9070");
    let eureka = &plan.registry.eureka;
    assert_eq!(eureka.address.to_string(), "127.0.0.1:8761");
    assert!(eureka.is_enabled && eureka.hosts.is_empty());
    let consul = &plan.registry.consul;
    assert_eq!(consul.address.to_string(), "127.0.0.1:8500");
    assert!(consul.is_enabled && consul.hosts.is_empty());
    assert!(plan.gateway.automatic.is_enabled);
    assert_eq!(plan.access_log.is_enabled, None);
    assert!(plan.routes.is_empty() && plan.status.is_none() && plan.findings.is_empty());
    assert_eq!(plan.digest, super::plan("").digest);
    assert_eq!(plan.guard, portolan_catalog::GuardSettings::default());
}

#[test]
fn defaults_of_the_table_are_those_of_the_model() {
    let plan = plan("routes: {a: {target: u}}\nupstreams: {u: {service: s}}");
    let upstream = &plan.upstreams[0].upstream;
    assert_eq!(upstream.timeouts, Timeouts::default());
    assert_eq!(upstream.retry, Retry::default());
    assert_eq!(upstream.balance.kind, portolan_balance::KINDS[0].name);
    assert!(upstream.preserve_host && upstream.tls.is_none());
}

#[test]
fn the_automatic_lane_is_off_with_routes_unless_asked_for() {
    let routes = "routes: {a: {target: u}}\nupstreams: {u: {service: s}}\n";
    assert!(!plan(routes).gateway.automatic.is_enabled);
    let asked = format!("{routes}gateway: {{automatic: {{enabled: true}}}}");
    assert!(plan(&asked).gateway.automatic.is_enabled);
    assert!(
        !plan("gateway: {automatic: {enabled: false}}")
            .gateway
            .automatic
            .is_enabled
    );
}

#[test]
fn one_item_may_stand_for_a_list() {
    let text = "routes: {a: {hosts: a.example, match: {exact: /x}, targets: {upstream: u}}}\n\
                upstreams: {u: {addresses: 127.0.0.1:1}}";
    let plan = plan(text);
    assert_eq!(plan.routes[0].route.hosts.len(), 1);
    assert_eq!(plan.routes[0].route.targets.len(), 1);
}

#[test]
fn an_empty_list_of_listeners_opens_none() {
    assert!(plan("listeners: {}").listeners.is_empty());
    assert_eq!(
        plan("listeners: {a: {address: 127.0.0.1:81}}")
            .listeners
            .len(),
        1
    );
}

#[test]
fn what_was_written_is_kept_without_defaults_and_secrets() {
    let text = "sources: {s: {still: {path: '${env:SECRET}'}}}\n\
                listeners: {l: {address: '127.0.0.1:${env:PORT}', protocols: [http1, http2], limits: {headers: 100}}}";
    let plan = plan(text);
    let written = |name: &str| {
        let mut objects = plan.objects.iter();
        let (_, described) = objects
            .find(|(object, _)| object.to_string() == name)
            .unwrap();
        described.written.to_string()
    };
    assert_eq!(written("source s"), r#"{"still":{"path":"${env:SECRET}"}}"#);
    assert_eq!(
        written("listener l"),
        r#"{"address":"127.0.0.1:${env:PORT}"}"#
    );
    assert_eq!(written("section guard"), "{}");
}

#[test]
fn digests_see_changes_of_meaning_only() {
    let digest = |text: &str| plan(text).digest;
    let base = digest("admin: {address: 127.0.0.1:9070}");
    assert_eq!(base, digest(""));
    assert_eq!(
        base,
        digest("# comment\nadmin:\n  address: '127.0.0.1:9070'\n")
    );
    assert_ne!(base, digest("admin: {address: 127.0.0.1:9071}"));
}

#[test]
fn the_starting_file_has_no_findings() {
    let plan = plan(crate::STARTING_FILE);
    assert_eq!(plan.routes.len(), 1);
    assert!(plan.gateway.automatic.is_enabled);
}
