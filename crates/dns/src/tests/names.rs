//! Which names have which records.

use portolan_model::{Health, Override, Weight};

use super::*;

async fn shop(settings: &str) -> World {
    let world = world(settings);
    let mut one = instance("orders", "10.0.0.1:9001");
    one.tags = Box::new(["V1".into(), "eu.west".into()]);
    one.metadata = [("colour".into(), "red".into()), ("a/b".into(), "x".into())].into();
    one.version = Some("1.4".into());
    world.put(one).await;
    let mut two = instance("orders", "10.0.0.2:9002");
    two.metadata = [("hostname".into(), "web-0".into())].into();
    two.endpoints = Box::new([
        port("default", "10.0.0.2:9002".parse().unwrap()),
        port("metrics", "10.0.0.2:9102".parse().unwrap()),
    ]);
    world.put(two).await;
    world.put(instance("shop/cart", "[2001:db8::1]:9003")).await;
    let mut down = instance("down", "10.0.0.9:9009");
    down.state.health = Health::Critical;
    world.put(down).await;
    world
}

async fn check(settings: &str, cases: &[(&str, u16, &[&str])]) {
    let world = shop(settings).await;
    for (name, kind, expected) in cases {
        assert_eq!(told(&world, name, *kind), *expected, "{name} {kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_of_consul_s_shape() {
    let both: &[&str] = &[
        "orders.service.consul. 0 IN A 10.0.0.1",
        "orders.service.consul. 0 IN A 10.0.0.2",
    ];
    let one_tag: &[&str] = &["v1.orders.service.consul. 0 IN A 10.0.0.1"];
    check(
        "ttl: 0s",
        &[
            ("orders.service.consul", kind::A, both),
            ("orders.service.consul", kind::ANY, both),
            ("orders.service.consul", kind::AAAA, NODATA),
            ("orders.service.consul", kind::TXT, NODATA),
            ("v1.orders.service.consul", kind::A, one_tag),
            ("eu.west.orders.service.consul", kind::AAAA, NODATA),
            // There are names below (RFC 8020).
            ("west.orders.service.consul", kind::A, NODATA),
            ("west.orders.service.dc1.consul", kind::A, NODATA),
            ("eu.orders.service.consul", kind::A, NXDOMAIN),
            ("v2.orders.service.consul", kind::A, NXDOMAIN),
            ("down.service.consul", kind::A, NXDOMAIN),
            ("nobody.service.consul", kind::A, NXDOMAIN),
            ("service.consul", kind::A, NODATA),
            ("dc1.consul", kind::A, NODATA),
            ("orders.consul", kind::A, NXDOMAIN),
            ("orders.connect.consul", kind::A, NXDOMAIN),
            ("orders.virtual.consul", kind::A, NXDOMAIN),
            ("orders.ingress.consul", kind::A, NXDOMAIN),
            ("nobody.node.consul", kind::A, NXDOMAIN),
            ("nobody.query.consul", kind::A, NXDOMAIN),
            ("orders.service.dc2.consul", kind::A, NXDOMAIN),
            ("_orders._tcp.service.consul", kind::AAAA, NODATA),
            ("_orders._v1.consul", kind::TXT, NODATA),
            ("_orders._v2.service.consul", kind::SRV, NXDOMAIN),
            (
                "7f000001.addr.consul",
                kind::A,
                &["7f000001.addr.consul. 0 IN A 127.0.0.1"],
            ),
            ("7f000001.addr.dc1.consul", kind::AAAA, NODATA),
            ("7f00000.addr.consul", kind::A, NXDOMAIN),
            ("x.7f000001.addr.consul", kind::A, NXDOMAIN),
            (
                "20010db8000000000000000000000001.addr.consul",
                kind::AAAA,
                &["20010db8000000000000000000000001.addr.consul. 0 IN AAAA 2001:db8::1"],
            ),
            (
                "cart.service.shop.ns.consul",
                kind::AAAA,
                &["cart.service.shop.ns.consul. 0 IN AAAA 2001:db8::1"],
            ),
            ("cart.service.consul", kind::AAAA, NXDOMAIN),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_datacentre_may_be_said_in_any_of_its_forms() {
    let world = shop("ttl: 0s").await;
    for name in [
        "orders.service.dc1.consul",
        "orders.service.dc1.dc.consul",
        "orders.service.default.ns.dc1.dc.consul",
        "orders.service.default.ap.dc1.dc.consul",
        "ORDERS.Service.DC1.Consul",
        "_orders._tcp.consul",
        "_orders._tcp.dc1.consul",
        "_orders._tcp.service.dc1.consul",
    ] {
        let message = world.ask(name, kind::SRV);
        assert_eq!(code(&message), 0, "{name}");
        assert_eq!(message.answers.len(), 2, "{name}");
        assert_eq!(message.additionals.len(), 2, "{name}");
        let targets = texts(&message.additionals);
        assert_eq!(targets[0], "0a000001.addr.dc1.consul. 0 IN A 10.0.0.1");
    }
    let message = world.ask("_orders._v1.service.consul", kind::SRV);
    let expected = "_orders._v1.service.consul. 0 IN SRV 1 100 9001 0a000001.addr.dc1.consul.";
    assert_eq!(answers(&message), [expected]);
    let message = world.ask("20010db8000000000000000000000001.addr.consul", kind::A);
    assert_eq!(message.answers.len(), 0);
    assert_eq!(
        texts(&message.additionals),
        ["20010db8000000000000000000000001.addr.consul. 0 IN AAAA 2001:db8::1"]
    );
}

/// The cases of the specification, version 1.1.0, for services without a cluster address.
#[tokio::test(start_paused = true)]
async fn names_of_kubernetes_shape() {
    let version: &[&str] = &["dns-version.cluster.local. 3600 IN TXT 1.1.0"];
    check(
        "ttl: 5s",
        &[
            ("dns-version.cluster.local", kind::TXT, version),
            ("dns-version.cluster.local", kind::A, NODATA),
            (
                "orders.default.svc.cluster.local",
                kind::A,
                &[
                    "orders.default.svc.cluster.local. 5 IN A 10.0.0.1",
                    "orders.default.svc.cluster.local. 5 IN A 10.0.0.2",
                ],
            ),
            (
                "cart.shop.svc.cluster.local",
                kind::AAAA,
                &["cart.shop.svc.cluster.local. 5 IN AAAA 2001:db8::1"],
            ),
            ("cart.shop.svc.cluster.local", kind::A, NODATA),
            ("down.default.svc.cluster.local", kind::A, NXDOMAIN),
            ("nobody.default.svc.cluster.local", kind::A, NXDOMAIN),
            ("orders.nowhere.svc.cluster.local", kind::A, NXDOMAIN),
            ("default.svc.cluster.local", kind::A, NODATA),
            ("nowhere.svc.cluster.local", kind::A, NXDOMAIN),
            ("svc.cluster.local", kind::A, NODATA),
            ("orders.default.cluster.local", kind::A, NXDOMAIN),
            (
                "_metrics._tcp.orders.default.svc.cluster.local",
                kind::SRV,
                &["_metrics._tcp.orders.default.svc.cluster.local. 5 IN SRV 1 100 9102 web-0.orders.default.svc.cluster.local."],
            ),
            ("_metrics._tcp.orders.default.svc.cluster.local", kind::A, NODATA),
            ("_tcp.orders.default.svc.cluster.local", kind::SRV, NODATA),
            ("_other._tcp.orders.default.svc.cluster.local", kind::SRV, NXDOMAIN),
            ("_metrics._udp.orders.default.svc.cluster.local", kind::SRV, NXDOMAIN),
            (
                "web-0.orders.default.svc.cluster.local",
                kind::A,
                &["web-0.orders.default.svc.cluster.local. 5 IN A 10.0.0.2"],
            ),
            (
                "10-0-0-1.orders.default.svc.cluster.local",
                kind::A,
                &["10-0-0-1.orders.default.svc.cluster.local. 5 IN A 10.0.0.1"],
            ),
            ("10-0-0-1.orders.default.svc.cluster.local", kind::AAAA, NODATA),
            ("10-0-0-3.orders.default.svc.cluster.local", kind::A, NXDOMAIN),
            (
                "2001-db8-0-0-0-0-0-1.cart.shop.svc.cluster.local",
                kind::AAAA,
                &["2001-db8-0-0-0-0-0-1.cart.shop.svc.cluster.local. 5 IN AAAA 2001:db8::1"],
            ),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_of_our_own_shape() {
    check(
        "ttl: 0s",
        &[
            (
                "orders.portolan.internal",
                kind::A,
                &[
                    "orders.portolan.internal. 0 IN A 10.0.0.1",
                    "orders.portolan.internal. 0 IN A 10.0.0.2",
                ],
            ),
            (
                "cart.shop.portolan.internal",
                kind::AAAA,
                &["cart.shop.portolan.internal. 0 IN AAAA 2001:db8::1"],
            ),
            ("cart.portolan.internal", kind::AAAA, NXDOMAIN),
            ("shop.portolan.internal", kind::A, NODATA),
            ("down.portolan.internal", kind::A, NXDOMAIN),
            (
                "_metrics._tcp.orders.portolan.internal",
                kind::SRV,
                &["_metrics._tcp.orders.portolan.internal. 0 IN SRV 1 100 9102 0a000002.addr.portolan.internal."],
            ),
            ("addr.portolan.internal", kind::A, NODATA),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn services_can_be_browsed() {
    check(
        "ttl: 0s",
        &[
            (
                "b._dns-sd._udp.portolan.internal",
                kind::PTR,
                &["b._dns-sd._udp.portolan.internal. 3600 IN PTR portolan.internal."],
            ),
            (
                "lb._dns-sd._udp.shop.portolan.internal",
                kind::PTR,
                &["lb._dns-sd._udp.shop.portolan.internal. 3600 IN PTR shop.portolan.internal."],
            ),
            ("lb._dns-sd._udp.nowhere.portolan.internal", kind::PTR, NXDOMAIN),
            (
                "_services._dns-sd._udp.portolan.internal",
                kind::PTR,
                &["_services._dns-sd._udp.portolan.internal. 1 IN PTR _orders._tcp.portolan.internal."],
            ),
            (
                "_services._dns-sd._udp.shop.portolan.internal",
                kind::PTR,
                &["_services._dns-sd._udp.shop.portolan.internal. 1 IN PTR _cart._tcp.shop.portolan.internal."],
            ),
            (
                "_orders._tcp.portolan.internal",
                kind::PTR,
                &[
                    "_orders._tcp.portolan.internal. 0 IN PTR i9001._orders._tcp.portolan.internal.",
                    "_orders._tcp.portolan.internal. 0 IN PTR i9002._orders._tcp.portolan.internal.",
                ],
            ),
            (
                "i9001._orders._tcp.portolan.internal",
                kind::TXT,
                &["i9001._orders._tcp.portolan.internal. 0 IN TXT colour=redversion=1.4"],
            ),
            (
                "I9001._orders._tcp.portolan.internal",
                kind::SRV,
                &["I9001._orders._tcp.portolan.internal. 0 IN SRV 1 100 9001 0a000001.addr.portolan.internal."],
            ),
            (
                "i9003._cart._tcp.shop.portolan.internal",
                kind::TXT,
                &["i9003._cart._tcp.shop.portolan.internal. 0 IN TXT "],
            ),
            ("i9003._orders._tcp.portolan.internal", kind::SRV, NXDOMAIN),
            ("_orders._udp.portolan.internal", kind::PTR, NXDOMAIN),
            ("_nobody._tcp.portolan.internal", kind::PTR, NXDOMAIN),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_zone_has_an_soa_a_server_and_a_minimal_answer_for_anything() {
    let world = shop("negative_ttl: 7s").await;
    let soa = world.ask("consul", kind::SOA);
    let text = &answers(&soa)[0];
    assert!(
        text.starts_with("consul. 7 IN SOA ns.consul. hostmaster.consul. 17802720"),
        "{text}"
    );
    assert!(text.ends_with(" 3600 600 86400 7"), "{text}");
    let ns = world.ask("consul", kind::NS);
    assert_eq!(answers(&ns), ["consul. 3600 IN NS ns.consul."]);
    assert_eq!(texts(&ns.additionals), ["ns.consul. 3600 IN A 127.0.0.53"]);
    let server = world.ask("ns.portolan.internal", kind::A);
    assert_eq!(
        answers(&server),
        ["ns.portolan.internal. 3600 IN A 127.0.0.53"]
    );
    let inner = world.ask("service.consul", kind::ANY);
    assert_eq!(inner.answers.len(), 1, "RFC 8482, section 4.2");
    assert_eq!(u16::from(inner.answers[0].record_type()), kind::HINFO);
    let negative = world.ask("nobody.service.consul", kind::A);
    assert!(texts(&negative.authorities)[0].starts_with("consul. 7 IN SOA "));
}

#[tokio::test(start_paused = true)]
async fn an_address_of_ours_has_the_names_of_its_services() {
    let world = shop("ttl: 0s").await;
    let message = world.ask("2.0.0.10.in-addr.arpa", kind::PTR);
    assert_eq!(
        answers(&message),
        [
            "2.0.0.10.in-addr.arpa. 0 IN PTR orders.default.portolan.internal.",
            "2.0.0.10.in-addr.arpa. 0 IN PTR orders.service.consul.",
            "2.0.0.10.in-addr.arpa. 0 IN PTR web-0.orders.default.svc.cluster.local.",
        ]
    );
    world.remove("orders", "i9002").await;
    assert_eq!(
        code(&world.ask("2.0.0.10.in-addr.arpa", kind::PTR)),
        5,
        "it is not ours any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_is_in_the_next_answer() {
    let world = world("ttl: 0s");
    let mut hand = world.engine.hand();
    for number in 1..=50_u8 {
        world
            .put(instance("orders", &format!("10.0.0.{number}:{number}")))
            .await;
        let query = world
            .query("orders.portolan.internal", kind::A)
            .with_edns(4096);
        let answer = world.with(&mut hand, &query.by_stream()).unwrap();
        let message = Message::from_vec(&answer).unwrap();
        assert_eq!(message.answers.len(), usize::from(number));
    }
    world.remove("orders", "i7").await;
    let query = world.query("orders.portolan.internal", kind::A).by_stream();
    let message = Message::from_vec(&world.with(&mut hand, &query).unwrap()).unwrap();
    assert_eq!(message.answers.len(), 49);
}

#[tokio::test(start_paused = true)]
async fn only_who_may_get_traffic_is_answered_and_by_its_share() {
    let world = world("ttl: 0s");
    let put = async |address: &str, change: fn(&mut Instance)| {
        let mut one = instance("orders", address);
        change(&mut one);
        world.put(one).await;
    };
    put("10.0.0.1:1", |one| one.weight = Weight::new(300).unwrap()).await;
    put("10.0.0.2:2", |one| one.state.health = Health::Warning).await;
    put("10.0.0.4:4", |one| one.state.health = Health::Starting).await;
    put("10.0.0.5:5", |one| one.state.overridden = Override::Drain).await;
    put("10.0.0.6:6", |one| one.state.leaving = true).await;
    assert_eq!(
        told(&world, "_orders._tcp.service.consul", kind::SRV),
        [
            "_orders._tcp.service.consul. 0 IN SRV 1 10 2 0a000002.addr.dc1.consul.",
            "_orders._tcp.service.consul. 0 IN SRV 1 300 1 0a000001.addr.dc1.consul.",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn ttls_are_those_of_the_service_and_longer_when_it_is_stale() {
    let settings = "ttl: 1s, stale_ttl: 9s, ttls: {orders: 30s, 'web-*': 20s, 'shop/*': 3s}";
    let world = world(settings);
    for service in ["orders", "web-a", "shop/cart", "other"] {
        world.put(instance(service, "10.0.0.1:80")).await;
    }
    let ttls = || {
        let names = ["orders", "web-a", "cart.shop", "other"];
        names.map(|name| {
            let message = world.ask(&format!("{name}.portolan.internal"), kind::A);
            message.answers[0].ttl
        })
    };
    assert_eq!(ttls(), [30, 20, 3, 1]);
    world.lose().await;
    assert_eq!(ttls(), [30, 20, 9, 9]);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_zone_comes_first_by_the_client_s_network() {
    let world = world("zone: z1, networks: {192.0.2.0/24: z2, 10.0.0.0/8: z3}");
    for (address, zone) in [
        ("10.0.0.1:1", "z1"),
        ("10.0.0.2:2", "z2"),
        ("10.0.0.3:3", "z3"),
    ] {
        let mut one = instance("orders", address);
        one.zone = Some(zone.into());
        world.put(one).await;
    }
    let first = |query: &Ask| {
        let mut firsts: Vec<_> = (0..50)
            .map(|_| world.ask_of(query).answers[0].data.to_string())
            .collect();
        firsts.dedup();
        firsts
    };
    let plain = world.query("orders.portolan.internal", kind::A);
    assert_eq!(first(&plain), ["10.0.0.2"], "192.0.2.1 asks");
    assert_eq!(first(&plain.clone().from("203.0.113.1:53")), ["10.0.0.1"]);
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2];
    let behind = plain.with_options(1232, 0, &subnet);
    assert_eq!(
        first(&behind),
        ["10.0.0.3"],
        "the client behind a resolver counts"
    );
    let raw = world.raw(&behind).unwrap();
    let echoed = [0, 8, 0, 7, 0, 1, 24, 24, 10, 1, 2];
    assert!(
        raw.ends_with(&echoed),
        "it is echoed with what counted: {raw:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn services_behind_the_gateway_have_service_bindings() {
    let gateway = Gateway {
        addresses: vec![
            "192.0.2.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        ],
        tls: Some((8443, vec!["h2", "http/1.1"])),
        plain: Some(8080),
    };
    let secure = world_of(DNS, gateway.clone());
    secure.put(instance("orders", "10.0.0.1:1")).await;
    let https = &answers(&secure.ask("orders.portolan.internal", kind::HTTPS))[0];
    for part in [
        "IN HTTPS 1 c000020a.addr.portolan.internal.",
        "alpn=h2,http/1.1",
        "port=8443",
        "ipv4hint=192.0.2.10",
        "ipv6hint=2001:db8::10",
    ] {
        assert!(https.contains(part), "{https}");
    }
    let plain = world_of(
        DNS,
        Gateway {
            tls: None,
            ..gateway
        },
    );
    plain.put(instance("orders", "10.0.0.1:1")).await;
    assert_eq!(
        told(&plain, "orders.portolan.internal", kind::HTTPS),
        NODATA,
        "there is no TLS"
    );
    let svcb = &answers(&plain.ask("orders.service.consul", kind::SVCB))[0];
    assert!(
        svcb.contains("1 c000020a.addr.dc1.consul. port=8080"),
        "{svcb}"
    );
}

#[tokio::test(start_paused = true)]
async fn names_of_addresses_are_names() {
    let world = world("ttl: 0s");
    let long = "a".repeat(64);
    world.put(instance(&long, "10.0.0.1:1")).await;
    let parts = ["b".repeat(60), "c".repeat(60), "d".repeat(60)].join(".");
    let mut named = instance(&format!("shop/{parts}"), "10.0.0.1:2");
    named.metadata = [("hostname".into(), "e".repeat(63).into())].into();
    world.put(named).await;
    let mut cart = instance("shop/cart", "10.0.0.2:3");
    cart.metadata = [("hostname".into(), "Web-0".into())].into();
    world.put(cart).await;
    let found = answers(&world.ask("1.0.0.10.in-addr.arpa", kind::PTR));
    let found: Vec<_> = found
        .iter()
        .filter_map(|text| text.split(' ').nth(4))
        .collect();
    let ends = ["service.shop.ns.consul.", "shop.portolan.internal."];
    assert_eq!(found, ends.map(|end| format!("{parts}.{end}")));
    assert_eq!(
        answers(&world.ask("2.0.0.10.in-addr.arpa", kind::PTR)),
        [
            "2.0.0.10.in-addr.arpa. 0 IN PTR cart.service.shop.ns.consul.",
            "2.0.0.10.in-addr.arpa. 0 IN PTR cart.shop.portolan.internal.",
            "2.0.0.10.in-addr.arpa. 0 IN PTR web-0.cart.shop.svc.cluster.local.",
        ]
    );
    for name in [
        "cart.service.shop.ns.consul",
        "web-0.cart.shop.svc.cluster.local",
    ] {
        assert_eq!(
            told(&world, name, kind::A),
            [format!("{name}. 0 IN A 10.0.0.2")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_instances_at_one_address_are_both_found() {
    let world = world("ttl: 0s");
    for (id, host) in [("one", "web-0"), ("two", "web-1")] {
        let mut instance = instance("orders", "10.0.0.1:80");
        instance.id = InstanceId::parse(id).unwrap();
        instance.metadata = [("hostname".into(), host.into())].into();
        world.put(instance).await;
    }
    let mut third = instance("orders", "10.0.0.1:81");
    third.metadata = [("hostname".into(), "web-1".into())].into();
    world.put(third).await;
    for host in ["web-0", "web-1"] {
        let name = format!("{host}.orders.default.svc.cluster.local");
        assert_eq!(
            told(&world, &name, kind::A),
            [format!("{name}. 0 IN A 10.0.0.1")]
        );
    }
    for id in ["one", "two"] {
        let name = format!("{id}._orders._tcp.portolan.internal");
        assert_eq!(told(&world, &name, kind::SRV).len(), 1);
        assert!(told(&world, &name, kind::SRV)[0].contains(" 80 "), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_with_names_below_it_is_there() {
    let world = world("ttl: 0s");
    world.put(instance("shop/a.b.c", "10.0.0.1:1")).await;
    world.put(instance("x.orders", "10.0.0.2:2")).await;
    for name in [
        "c.shop.portolan.internal",
        "b.c.shop.portolan.internal",
        "orders.portolan.internal",
        "_tcp.a.b.c.shop.portolan.internal",
        "_tcp.shop.portolan.internal",
        "_tcp.consul",
        "_tcp.dc1.consul",
        "orders.service.consul",
        "c.shop.svc.cluster.local",
    ] {
        assert_eq!(told(&world, name, kind::A), NODATA, "{name}");
    }
    for name in ["_tcp.other.portolan.internal", "d.shop.portolan.internal"] {
        assert_eq!(told(&world, name, kind::A), NXDOMAIN, "{name}");
    }
    world.remove("shop/a.b.c", "i1").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_has_so_many_tags_and_the_rest_are_unknown() {
    let world = world("ttl: 0s");
    let mut one = instance("orders", "10.0.0.1:9001");
    let tags = (0..1024).map(|count| format!("t{count}").into());
    let empty = std::iter::once("".into());
    one.tags = empty.chain(tags).chain(["last".into()]).collect();
    world.put(one).await;
    for (name, count) in [
        ("t0.orders.service.consul", 1),
        ("t1023.orders.service.consul", 1),
        ("last.orders.service.consul", 0),
        ("_orders._t1023.service.consul", 1),
        ("_orders._.service.consul", 0),
    ] {
        let found = told(&world, name, kind::SRV);
        let found = found
            .iter()
            .filter(|record| record.contains(" SRV "))
            .count();
        assert_eq!(found, count, "{name}");
    }
}
