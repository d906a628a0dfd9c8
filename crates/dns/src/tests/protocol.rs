//! What the RFCs ask of a server, whatever the names are.

use super::*;
use crate::engine::MESSAGE_BYTES_MAX;

/// What is done to a query, and the code of its answer.
type Case = (&'static str, fn(&mut Vec<u8>), Option<u16>);

async fn large(settings: &str) -> World {
    let world = world(settings);
    let hundred =
        (1..=100_u8).map(|number| instance("orders", &format!("10.0.0.{number}:{number}")));
    world.reset(hundred.collect()).await;
    world
}

#[tokio::test(start_paused = true)]
async fn answers_are_cut_at_what_the_client_can_take() {
    let world = large("ttl: 0s").await;
    let plain = world.query("orders.portolan.internal", kind::A);
    for (query, limit) in [
        (plain.clone(), 512),
        (plain.clone().with_edns(100), 512),
        (plain.clone().with_edns(600), 600),
        (plain.clone().with_edns(1232), 1232),
        (plain.clone().with_edns(65535), 1232),
    ] {
        let raw = world.raw(&query).unwrap();
        let message = Message::from_vec(&raw).unwrap();
        assert!(message.metadata.truncation);
        assert!(
            raw.len() <= limit && raw.len() > limit - 100,
            "{} of {limit}",
            raw.len()
        );
    }
    let whole = world.ask_of(&plain.clone().by_stream());
    assert_eq!(whole.answers.len(), 100);
    assert!(!whole.metadata.truncation);
    let servers = world.query("orders.portolan.internal", kind::SRV);
    let servers = world.ask_of(&servers.with_edns(1232));
    assert!(servers.metadata.truncation);
}

#[tokio::test(start_paused = true)]
async fn an_answer_by_tcp_ends_at_its_limit() {
    let world = world("ttl: 0s");
    let many = (0..1500_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        let address = format!("10.0.{high}.{low}:80");
        let mut one = instance("orders", &address);
        one.id = InstanceId::parse(&format!("i{number}")).unwrap();
        one
    });
    world.reset(many.collect()).await;
    let query = world
        .query("orders.portolan.internal", kind::SRV)
        .by_stream();
    let raw = world.raw(&query).unwrap();
    assert!(
        raw.len() <= MESSAGE_BYTES_MAX && raw.len() > 64_000,
        "{}",
        raw.len()
    );
    assert!(Message::from_vec(&raw).unwrap().metadata.truncation);
}

#[tokio::test(start_paused = true)]
async fn three_answers_are_given_silently_where_consul_s_way_is_asked_for() {
    let world = large("three_answers: true").await;
    let plain = world.query("orders.service.consul", kind::A);
    let cut = world.ask_of(&plain);
    assert_eq!(cut.answers.len(), 3);
    assert!(!cut.metadata.truncation);
    let able = world.ask_of(&plain.clone().with_edns(1232));
    assert!(able.answers.len() > 3 && able.metadata.truncation);
    assert_eq!(world.ask_of(&plain.by_stream()).answers.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_case_of_a_question_comes_back() {
    let world = large("ttl: 0s").await;
    let query = world.query("oRdErS.pOrToLaN.iNtErNaL", kind::A);
    let raw = world.raw(&query).unwrap();
    assert_eq!(raw[12..query.bytes.len()], query.bytes[12..]);
    assert!(
        raw[query.bytes.len()..].starts_with(&[0xc0, 0x0c]),
        "names are compressed"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_query_is_answered_as_the_rfcs_have_it() {
    let world = large("ttl: 0s").await;
    let query = world.query("orders.portolan.internal", kind::A);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut query = query.clone();
        change(&mut query.bytes);
        let raw = world.raw(&query)?;
        let message = Message::from_vec(&raw).unwrap();
        assert_eq!(raw[..2], [0x12, 0x34]);
        Some(code(&message))
    };
    let cases: [Case; 15] = [
        ("an answer", |b| b[2] |= 0x80, None),
        ("a header cut short", |b| b.truncate(11), None),
        ("nothing", Vec::clear, None),
        ("a notification", |b| b[2] = 0x20, Some(4)),
        ("an update", |b| b[2] = 0x28, Some(4)),
        ("no question", |b| b.truncate(12), Some(1)),
        (
            "no question at all",
            |b| {
                b[5] = 0;
                b.truncate(12);
            },
            Some(1),
        ),
        ("two questions", |b| b[5] = 2, Some(1)),
        ("an answer in it", |b| b[7] = 1, Some(1)),
        ("a byte too many", |b| b.push(0), Some(1)),
        (
            "a byte too few",
            |b| {
                b.pop();
            },
            Some(1),
        ),
        ("another class", |b| *b.last_mut().unwrap() = 3, Some(5)),
        (
            "a transfer",
            |b| {
                let at = b.len() - 3;
                b[at] = 252;
            },
            Some(4),
        ),
        (
            "an incremental transfer",
            |b| {
                let at = b.len() - 3;
                b[at] = 251;
            },
            Some(4),
        ),
        (
            "OPT as a type",
            |b| {
                let at = b.len() - 3;
                b[at] = 41;
            },
            Some(1),
        ),
    ];
    for (what, change, expected) in cases {
        assert_eq!(changed(&change), expected, "{what}");
    }
    assert_eq!(code(&world.ask("example.com", kind::A)), 5, "not ours");
}

#[tokio::test(start_paused = true)]
async fn edns_is_spoken_in_version_zero_only() {
    let world = large("ttl: 0s").await;
    let query = world.query("orders.portolan.internal", kind::A);
    let bad = world.ask_of(&query.clone().with_options(1232, 1, &[]));
    assert_eq!(code(&bad), 16);
    assert!(bad.answers.is_empty() && bad.edns.is_some());
    let twice = query.clone().with_edns(1232).with_edns(1232);
    assert_eq!(code(&world.ask_of(&twice)), 1);
    let unknown = query.clone().with_options(1232, 0, &[0xff, 0xfe, 0, 1, 7]);
    let message = world.ask_of(&unknown);
    assert_eq!(code(&message), 0);
    assert_eq!(message.edns.unwrap().max_payload(), 1232);
    assert!(
        world.ask_of(&query.clone()).edns.is_none(),
        "nobody asked for it"
    );
    for options in [
        &[0, 10, 0, 7, 1, 2, 3, 4, 5, 6, 7][..],
        &[0, 10, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[0, 8, 0, 3, 0, 1, 0],
        &[0, 8, 0, 5, 0, 1, 0, 0, 1],
        &[0, 8, 0, 5, 0, 1, 4, 0, 0x1f],
        &[0, 8, 0, 4, 0, 3, 0, 0],
        &[0, 1, 0, 2, 0],
    ] {
        let query = query.clone().with_options(1232, 0, options);
        assert_eq!(code(&world.ask_of(&query)), 1, "{options:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_shows_a_cookie_of_ours_is_not_limited() {
    let world = large("responses: 2, slip: 2").await;
    let client = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let query = world.query("orders.portolan.internal", kind::A);
    let first = world
        .raw(&query.clone().with_options(1232, 0, &client))
        .unwrap();
    // OPT ends with the cookie: its code, its length, both halves.
    let cookie = &first[first.len() - 28..];
    assert_eq!(cookie[..12], [0, 10, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8]);
    let shown = query.clone().with_options(1232, 0, cookie);
    let mut hand = world.engine.hand();
    for _ in 0..100 {
        let raw = world.with(&mut hand, &shown).unwrap();
        assert!(!Message::from_vec(&raw).unwrap().answers.is_empty());
    }
    let foreign = shown.from("198.51.100.1:53");
    let sent: Vec<_> = (0..6).map(|_| world.with(&mut hand, &foreign)).collect();
    let count = |sent: &[Option<Vec<u8>>]| sent.iter().flatten().count();
    assert_eq!(
        count(&sent),
        4,
        "two by the rate, and each second of the others cut"
    );
    let last = Message::from_vec(sent[5].as_ref().unwrap()).unwrap();
    assert!(last.metadata.truncation && last.answers.is_empty());
    let by_stream = query.from("198.51.100.1:53").by_stream();
    assert_eq!(
        world.ask_of(&by_stream).answers.len(),
        100,
        "TCP is not limited"
    );
}

#[tokio::test(start_paused = true)]
async fn a_query_for_a_cookie_alone_gets_one() {
    let world = large("ttl: 0s").await;
    let mut query = world.query("", kind::A);
    query.bytes.truncate(12);
    query.bytes[5] = 0;
    let query = query.with_options(1232, 0, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let raw = world.raw(&query).unwrap();
    assert_eq!(raw[3] & 0xf, 0);
    assert_eq!(raw[raw.len() - 28..][..4], [0, 10, 0, 24]);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_query_gets_its_question_and_opt_back_as_far_as_it_was_read() {
    let world = large("ttl: 0s").await;
    let query = world.query("orders.portolan.internal", kind::A);
    let mut longer = query.clone().with_edns(1232);
    longer.bytes.push(0);
    let twice = query.clone().with_edns(1232).with_edns(512);
    let bad_option = query.clone().with_options(1232, 0, &[0, 1, 0, 2, 0]);
    for bad in [&longer, &twice, &bad_option] {
        let message = world.ask_of(bad);
        assert_eq!((code(&message), message.queries.len()), (1, 1));
        assert!(message.edns.is_some(), "{:?}", bad.bytes);
    }
    let mut plain = query.clone();
    plain.bytes.push(0);
    let message = world.ask_of(&plain);
    assert_eq!((message.queries.len(), message.edns.is_none()), (1, true));
    let mut unread = query.with_edns(1232);
    unread.bytes[5] = 2;
    let message = world.ask_of(&unread);
    assert_eq!((code(&message), message.queries.len()), (1, 0));
    assert!(message.edns.is_none());
}

/// Allocations of the second of two answers to a query.
fn allocations(world: &World, hand: &mut Hand, query: &Ask) -> u64 {
    let asked = Asked {
        message: &query.bytes,
        peer: query.peer,
        local: IpAddr::from([127, 0, 0, 53]),
        now: world.engine.env.instant(),
    };
    // The first makes room.
    world.engine.answer(hand, asked);
    let counted = allocation_counter::measure(|| {
        let outcome = world.engine.answer(hand, asked);
        assert!(matches!(outcome, Outcome::Now));
    });
    counted.count_total
}

const COOKIE: [u8; 12] = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

#[tokio::test(start_paused = true)]
async fn an_answer_from_the_table_allocates_nothing() {
    let gateway = Gateway {
        addresses: vec![[10, 0, 0, 1].into(), "2001:db8::1".parse().unwrap()],
        tls: Some((8443, vec!["h2", "http/1.1"])),
        plain: Some(8080),
    };
    let world = world_of(&format!("{DNS}, networks: {{192.0.2.0/24: z1}}"), gateway);
    let hundred = (1..=100_u8).map(|last| instance("orders", &format!("10.0.0.{last}:{last}")));
    world.reset(hundred.collect()).await;
    let mut uneven = instance("orders", "10.0.1.1:80");
    uneven.tags = Box::new(["v1".into(), "eu.west".into()]);
    uneven.zone = Some("z1".into());
    uneven.version = Some("1".into());
    uneven.weight = Weight::new(7).unwrap();
    uneven.metadata = [("hostname".into(), "web-0".into())].into();
    uneven.endpoints = Box::new([
        port("default", "10.0.1.1:80".parse().unwrap()),
        port("metrics", "10.0.1.1:81".parse().unwrap()),
    ]);
    world.put(uneven).await;
    world.put(instance("six", "[2001:db8::6]:1")).await;
    let mut hand = world.engine.hand();
    for (name, kind) in [
        ("portolan.internal", kind::SOA),
        ("portolan.internal", kind::NS),
        ("portolan.internal", kind::ANY),
        ("ns.portolan.internal", kind::A),
        ("orders.portolan.internal", kind::A),
        ("orders.portolan.internal", kind::SRV),
        ("orders.portolan.internal", kind::TXT),
        ("orders.portolan.internal", kind::ANY),
        ("orders.portolan.internal", kind::HTTPS),
        ("orders.portolan.internal", kind::SVCB),
        ("six.portolan.internal", kind::AAAA),
        ("_metrics._tcp.orders.portolan.internal", kind::SRV),
        ("_orders._tcp.portolan.internal", kind::PTR),
        ("_orders._tcp.portolan.internal", kind::SRV),
        ("i80._orders._tcp.portolan.internal", kind::SRV),
        ("i80._orders._tcp.portolan.internal", kind::TXT),
        ("nobody._orders._tcp.portolan.internal", kind::TXT),
        ("_services._dns-sd._udp.portolan.internal", kind::PTR),
        ("b._dns-sd._udp.portolan.internal", kind::PTR),
        ("orders.service.consul", kind::A),
        ("v1.orders.service.dc1.consul", kind::SRV),
        ("west.orders.service.consul", kind::A),
        ("_orders._v1.service.consul", kind::SRV),
        ("orders.default.svc.cluster.local", kind::A),
        ("orders.default.svc.cluster.local", kind::SRV),
        ("web-0.orders.default.svc.cluster.local", kind::A),
        ("10-0-0-9.orders.default.svc.cluster.local", kind::A),
        ("nobody.orders.default.svc.cluster.local", kind::A),
        ("_metrics._tcp.orders.default.svc.cluster.local", kind::SRV),
        ("dns-version.cluster.local", kind::TXT),
        ("1.1.0.10.in-addr.arpa", kind::PTR),
        ("0a000001.addr.consul", kind::A),
        ("0a000001.addr.consul", kind::AAAA),
        ("nobody.service.consul", kind::A),
        ("nobody.portolan.internal", kind::A),
        ("example.com", kind::A),
    ] {
        let query = world.query(name, kind).with_options(1232, 0, &COOKIE);
        for query in [&query, &query.clone().by_stream()] {
            let counted = allocations(&world, &mut hand, query);
            assert_eq!(counted, 0, "{name} {kind}");
        }
    }
    let mut bad = world.query("orders.portolan.internal", kind::A);
    bad.bytes.push(0);
    assert_eq!(allocations(&world, &mut hand, &bad), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_made_ready_before_the_query_that_sees_it() {
    let world = large("ttl: 0s").await;
    let mut hand = world.engine.hand();
    let queries = [
        ("orders.service.consul", kind::A),
        ("v1.orders.service.consul", kind::SRV),
        ("i1._orders._tcp.portolan.internal", kind::TXT),
    ];
    let queries = queries.map(|(name, kind)| world.query(name, kind).by_stream());
    for round in 1..=3_u8 {
        let mut more = instance("orders", &format!("10.0.1.{round}:50{round}"));
        more.tags = Box::new(["v1".into()]);
        world.put(more).await;
        for query in &queries {
            let asked = Asked {
                message: &query.bytes,
                peer: query.peer,
                local: IpAddr::from([127, 0, 0, 53]),
                now: world.engine.env.instant(),
            };
            let counted = allocation_counter::measure(|| {
                world.engine.answer(&mut hand, asked);
            });
            // The first round makes room and what nobody has asked for yet; a larger answer
            // may need more room.
            let rooms = if round == 1 { u64::MAX } else { 3 };
            assert!(counted.count_total <= rooms, "{counted:?}");
        }
        let whole = world.with(&mut hand, &queries[0]).unwrap();
        let whole = Message::from_vec(&whole).unwrap();
        assert_eq!(whole.answers.len(), 100 + usize::from(round));
        let tagged = world.with(&mut hand, &queries[1]).unwrap();
        let tagged = Message::from_vec(&tagged).unwrap();
        assert_eq!(tagged.answers.len(), usize::from(round));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_random_names_leaves_nothing_behind() {
    let world = large("responses: 10000000").await;
    let mut hand = world.engine.hand();
    let queries: Vec<_> = (0..2000)
        .map(|number| {
            world
                .query(&format!("x{number}.service.consul"), kind::A)
                .with_edns(1232)
                .from(&format!("198.18.{}.1:53", number % 256))
        })
        .collect();
    world.with(&mut hand, &queries[0]);
    let counted = allocation_counter::measure(|| {
        for query in &queries {
            let asked = Asked {
                message: &query.bytes,
                peer: query.peer,
                local: IpAddr::from([127, 0, 0, 53]),
                now: world.engine.env.instant(),
            };
            world.engine.answer(&mut hand, asked);
        }
    });
    assert_eq!(counted.bytes_current, 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_not_said_to_be_missing() {
    let world = world("ttl: 0s, three_answers: true");
    let mut one = instance("orders", "10.0.0.1:1");
    let texts = ["k1", "k2", "k3"].map(|key| (key.into(), "v".repeat(250).into()));
    one.metadata = texts.into();
    world.put(one).await;
    let query = world.query("i1._orders._tcp.portolan.internal", kind::TXT);
    let message = world.ask_of(&query);
    assert!(message.metadata.truncation && message.answers.is_empty());
    assert!(message.authorities.is_empty(), "that would be NODATA");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_not_known_is_not_told() {
    let gateway = Gateway {
        plain: Some(8080),
        ..Gateway::default()
    };
    let world = world_of("ttl: 0s", gateway);
    world.put(instance("orders", "10.0.0.1:1")).await;
    let ask = async |name: &str, kind: u16, local: [u8; 4]| {
        let query = world.query(name, kind).by_stream();
        let bytes = bytes::Bytes::from(query.bytes.clone());
        let answer = world
            .engine
            .answer_owned(bytes, query.peer, local.into())
            .await;
        Message::from_vec(&answer.unwrap()).unwrap()
    };
    let (here, nowhere) = ([127, 0, 0, 53], [0; 4]);
    for (local, count) in [(here, 1), (nowhere, 0)] {
        let message = ask("portolan.internal", kind::NS, local).await;
        assert_eq!(
            (message.answers.len(), message.additionals.len()),
            (1, count)
        );
        let message = ask("ns.portolan.internal", kind::A, local).await;
        assert_eq!(message.answers.len(), count);
        let message = ask("orders.portolan.internal", kind::SVCB, local).await;
        let text = message.answers[0].to_string();
        assert_eq!(text.contains("ipv4hint"), count == 1, "{text}");
        assert!(
            !text.contains("0.0.0.0") && !text.contains("00000000"),
            "{text}"
        );
    }
}
