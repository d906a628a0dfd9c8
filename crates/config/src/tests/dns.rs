//! The DNS server's section.

use std::time::Duration;

use super::*;

#[test]
fn dns_is_on_loopback_with_the_usual_zones() {
    let dns = plan("").dns;
    assert!(dns.is_enabled);
    assert_eq!(dns.address.to_string(), "127.0.0.1:8600");
    assert_eq!(dns.zones.consul, ["consul"]);
    assert_eq!(dns.zones.plain, ["portolan.internal"]);
    assert!(dns.zones.kubernetes.is_empty());
    assert_eq!((dns.udp_bytes_max, dns.rate.slip), (1232, 2));
    assert_eq!(dns.rate.responses_per_second, None);
    assert_eq!(dns.ttl, Duration::ZERO);
}

#[test]
fn everything_of_dns_is_read() {
    let dns = plan(
        "dns:\n  address: 127.0.0.1:53\n  workers: 3\n  consul: [Consul., other]\n  datacenter: eu\n  \
         kubernetes: [cluster.local]\n  zones: []\n  ttl: 1s\n  ttls: {Orders: 2s, 'shop/*': 0s}\n  \
         stale_ttl: 9s\n  negative_ttl: 0s\n  udp_size: 512\n  three_answers: true\n  zone: z1\n  \
         networks: {10.0.0.0/8: z2}\n  gateway: [192.0.2.1, '::1']\n  responses: 5\n  slip: 0\n  \
         connections: 7\n",
    )
    .dns;
    assert_eq!(dns.zones.consul, ["consul", "other"]);
    assert_eq!(&*dns.zones.datacenter, "eu");
    let ttls = dns.ttls.iter();
    let ttls: Vec<_> = ttls.map(|(name, ttl)| (&**name, ttl.as_secs())).collect();
    assert_eq!(ttls, [("orders", 2), ("shop/*", 0)]);
    assert_eq!(dns.networks.len(), 1);
    assert_eq!(dns.gateway.len(), 2);
    assert_eq!(dns.rate.responses_per_second, Some(5));
    assert!(dns.cuts_silently && dns.zone.as_deref() == Some("z1"));
    assert_eq!((dns.udp_bytes_max, dns.connections_max.get()), (512, 7));
}

#[test]
fn what_dns_could_not_answer_by_is_refused() {
    refused("dns: {ttls: {'a*b': 1s}}", "has a `*` before its end");
    refused("dns: {zones: [consul]}", "the zone `consul` is named twice");
    refused("dns: {gateway: [example.com]}", "is not an IP address");
    refused("dns: {udp_size: 511}", "out of bounds");
    refused("dns: {networks: {a: b}}", "is not a network");
}

#[test]
fn the_port_of_dns_gives_way_unless_it_was_asked_for() {
    let listener = "listeners: {a: {address: 127.0.0.1:8600}}";
    assert!(!plan(listener).dns.is_enabled);
    assert!(!plan("dns: {enabled: false}").dns.is_enabled);
    refused(
        "listeners: {a: {address: 127.0.0.1:8601}}\ndns: {address: 127.0.0.1:8601}",
        "is taken by another listener",
    );
    let over_tls = |rest: &str| {
        format!(
            "{rest}over_tls: {{address: 127.0.0.1:8601, tls: {{certificates: [{{certificate: a.pem, key: b.pem}}]}}}}}}"
        )
    };
    for rest in [
        "listeners: {a: {address: 127.0.0.1:8601}}\ndns: {",
        "dns: {address: 0.0.0.0:8601, ",
    ] {
        refused(
            &over_tls(rest),
            "127.0.0.1:8601 is taken by another listener",
        );
    }
}
