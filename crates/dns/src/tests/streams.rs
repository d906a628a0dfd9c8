//! Connections: many queries, answered as they are ready.

use std::time::Duration;

use bytes::Bytes;
use portolan_wire::serve::PerClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::{
    Beyond, Directory, Found, Later, Node, Others, Unknown, Updates,
    serve::{Room, Stay, serve_stream},
};

fn connect(world: &World) -> (DuplexStream, Task) {
    connect_by(world, 1 << 20)
}

/// A room for so many connections, all of them of one client if it likes.
fn room(world: &World, most: usize) -> Arc<Room> {
    let per_client = PerClient {
        // A newcomer may come from there, too.
        limit: most.saturating_add(1),
        includes_this_machine: false,
    };
    Arc::new(Room::new(
        most,
        Some(per_client),
        world.engine.env.instant(),
    ))
}

/// A connection by a pipe that holds so many bytes.
fn connect_by(world: &World, bytes: usize) -> (DuplexStream, Task) {
    connect_to(world, bytes, &room(world, 4))
}

fn connect_to(world: &World, bytes: usize, room: &Arc<Room>) -> (DuplexStream, Task) {
    let (ours, theirs) = duplex(bytes);
    let peer = Peer {
        address: "192.0.2.1:5353".parse().unwrap(),
        transport: Transport::Stream,
    };
    let engine = Arc::clone(&world.engine);
    let env = engine.env.clone();
    let local = IpAddr::from([127, 0, 0, 53]);
    let seat = room.enter(peer.address.ip(), env.instant()).unwrap();
    let stay = Stay::new(world.drain.watch(), seat);
    let serving = async move {
        let _ended = serve_stream(engine, theirs, (peer, local), stay).await;
    };
    (ours, env.spawn("connection", serving))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes()[..], message].concat()
}

async fn read(stream: &mut DuplexStream) -> Option<Message> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.unwrap();
    Some(Message::from_vec(&message).unwrap())
}

/// Knows everything outside, after that time.
struct Slow(Env, Duration);

impl Beyond for Slow {
    fn answer(&self, query: Bytes, _peer: Peer) -> Later<'_, Option<Bytes>> {
        Box::pin(async move {
            self.0.sleep(self.1).await;
            let mut answer = query.to_vec();
            answer[2] |= 0x80;
            Some(answer.into())
        })
    }
}

/// A world in which somebody knows everything outside, after that time.
fn world_with(wait: Duration) -> World {
    let world = world("ttl: 0s");
    let slow = Slow(world.engine.env.clone(), wait);
    world.engine.set_others(Others {
        beyond: Some(Arc::new(slow)),
        ..Others::default()
    });
    world
}

impl World {
    /// A query as it is sent by a connection.
    fn framed(&self, name: &str, kind: u16) -> Vec<u8> {
        framed(&self.query(name, kind).bytes)
    }

    /// Asks like those who are no workers.
    async fn ask_owned(&self, query: &Ask) -> Bytes {
        let local = IpAddr::from([127, 0, 0, 53]);
        let bytes = Bytes::from(query.bytes.clone());
        let answer = self.engine.answer_owned(bytes, query.peer, local).await;
        answer.expect("there is an answer")
    }
}

#[tokio::test(start_paused = true)]
async fn answers_come_as_they_are_ready() {
    let world = world_with(Duration::from_secs(1));
    world.put(instance("orders", "10.0.0.1:1")).await;
    let (mut stream, _task) = connect(&world);
    let late = world.framed("example.com", kind::A);
    let own = world.framed("orders.portolan.internal", kind::A);
    let all = [&late[..], &own, &own].concat();
    // In pieces, as a network may give them.
    for piece in all.chunks(7) {
        stream.write_all(piece).await.unwrap();
    }
    for expected in ["orders", "orders", "example"] {
        let message = read(&mut stream).await.unwrap();
        assert!(
            message.queries[0].to_string().starts_with(expected),
            "{expected}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_answer_has_our_cookie_too() {
    let world = world_with(Duration::from_secs(1));
    let ask = async |query: &Ask| world.ask_owned(query).await;
    let plain = world.query("example.com", kind::A);
    // Whoever answers echoes the OPT as it came, here with another option.
    let other = plain.clone().with_options(1232, 0, &[0xff, 0xfe, 0, 1, 7]);
    assert_eq!(ask(&other).await.len(), other.bytes.len());
    let client = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let asked = plain.with_options(1232, 0, &client);
    let answer = ask(&asked).await;
    let (echoed, added) = answer.split_at(asked.bytes.len());
    assert_eq!(echoed[echoed.len() - 14..][..2], [0, 40], "{echoed:?}");
    assert_eq!(added[..12], [0, 10, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(Message::from_vec(&answer).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_others_answer_is_counted_with_the_time_they_took() {
    let world = world_with(Duration::from_millis(20));
    let beyond = world.engine.others.load().beyond.clone();
    world.engine.set_others(Others {
        beyond,
        updates: Some(Arc::new(Willing)),
        ..Others::default()
    });
    world.ask_owned(&world.query("example.com", kind::A)).await;
    let mut update = world.query("portolan.internal", kind::SOA);
    update.bytes[2] = 5 << 3;
    world.ask_owned(&update).await;
    let own = world.query("orders.portolan.internal", kind::SRV);
    world.ask_owned(&own).await;
    let facts = world.engine.meters.facts();
    let expected = [
        ("A", "NOERROR", 1),
        ("SRV", "NXDOMAIN", 1),
        ("other", "NOERROR", 1),
    ];
    assert_eq!(facts.answers, expected);
    let counts: u64 = facts.latency.iter().map(|(_, count)| count).sum();
    assert_eq!((counts, facts.latency_micros), (3, 20_000));
}

/// Takes every update.
struct Willing;

impl Updates for Willing {
    fn update(&self, message: Bytes, _peer: Peer) -> Later<'_, Option<Bytes>> {
        Box::pin(async move { Some(message) })
    }
}

#[tokio::test(start_paused = true)]
async fn updates_by_datagrams_are_limited_like_queries() {
    let world = world("responses: 2, slip: 2");
    world.engine.set_others(Others {
        updates: Some(Arc::new(Willing)),
        ..Others::default()
    });
    let mut update = world.query("portolan.internal", 6);
    update.bytes[2] = 5 << 3;
    let mut hand = world.engine.hand();
    let mut taken = |update: &Ask| {
        let asked = Asked {
            message: &update.bytes,
            peer: update.peer,
            local: IpAddr::from([127, 0, 0, 53]),
            now: world.engine.env.instant(),
        };
        match world.engine.answer(&mut hand, asked) {
            Outcome::Later(task) => {
                assert_eq!(task, crate::engine::Task::Update);
                "later"
            }
            Outcome::Now => "cut",
            Outcome::Silent => "silent",
        }
    };
    let outcomes: Vec<_> = (0..4).map(|_| taken(&update)).collect();
    assert_eq!(outcomes, ["later", "later", "silent", "cut"]);
    assert_eq!(taken(&update.by_stream()), "later", "TCP is not limited");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let world = world("ttl: 0s");
    let (mut stream, _task) = connect(&world);
    // Half a length is no query.
    stream.write_all(&[0]).await.unwrap();
    let began = world.engine.env.instant();
    assert!(read(&mut stream).await.is_none());
    let idle = world.engine.env.instant() - began;
    assert_eq!(idle, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_said_all_gets_its_answers() {
    let world = world_with(Duration::from_secs(1));
    let (mut stream, _task) = connect(&world);
    let late = world.framed("example.com", kind::A);
    stream.write_all(&late).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(read(&mut stream).await.is_some());
    assert!(read(&mut stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_connection_has_so_many_queries_under_way_and_no_more() {
    let world = world_with(Duration::from_secs(1));
    let (mut stream, _task) = connect(&world);
    let late = world.framed("example.com", kind::A);
    stream.write_all(&late.repeat(65)).await.unwrap();
    let began = world.engine.env.instant();
    let mut times = Vec::new();
    for _ in 0..65 {
        read(&mut stream).await.unwrap();
        times.push((world.engine.env.instant() - began).as_secs());
    }
    assert_eq!((times[63], times[64]), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_an_answer_is_not_silent() {
    let world = world_with(Duration::from_secs(15));
    let (mut stream, _task) = connect(&world);
    let late = world.framed("example.com", kind::A);
    stream.write_all(&late).await.unwrap();
    assert!(read(&mut stream).await.is_some());
    // A stop waits for what is under way, and no longer.
    stream.write_all(&late).await.unwrap();
    tokio::task::yield_now().await;
    world.drain.start();
    let began = world.engine.env.instant();
    let waited = world.drain.wait(&world.engine.env, Duration::MAX).await;
    waited.unwrap();
    let took = world.engine.env.instant() - began;
    assert_eq!(took, Duration::from_secs(15));
    assert!(read(&mut stream).await.is_some());
    assert!(read(&mut stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_silent_connections_at_once() {
    let world = world("ttl: 0s");
    world.put(instance("orders", "10.0.0.1:1")).await;
    let (mut stream, _task) = connect(&world);
    let own = world.framed("orders.portolan.internal", kind::A);
    stream.write_all(&own).await.unwrap();
    assert!(read(&mut stream).await.is_some());
    let began = world.engine.env.instant();
    world.drain.start();
    assert!(read(&mut stream).await.is_none());
    assert_eq!(world.engine.env.instant(), began);
    assert_eq!(world.drain.holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_came_just_before_a_stop_is_answered_once() {
    let world = world("ttl: 0s");
    world.put(instance("orders", "10.0.0.1:1")).await;
    let (mut stream, _task) = connect(&world);
    let (mut silent, _other) = connect(&world);
    world.drain.start();
    tokio::task::yield_now().await;
    let own = world.framed("orders.portolan.internal", kind::A);
    stream.write_all(&own).await.unwrap();
    assert!(read(&mut stream).await.is_some());
    assert!(read(&mut stream).await.is_none());
    let began = world.engine.env.instant();
    assert!(read(&mut silent).await.is_none());
    let waited = world.engine.env.instant() - began;
    assert!(waited <= Duration::from_millis(250), "{waited:?}");
    assert_eq!(world.drain.holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_who_was_accepted_and_has_no_turn_yet() {
    let world = world("ttl: 0s");
    world.put(instance("orders", "10.0.0.1:1")).await;
    let (mut stream, _task) = connect(&world);
    assert_eq!(world.drain.holds(), 1);
    world.drain.start();
    let own = world.framed("orders.portolan.internal", kind::A);
    stream.write_all(&own).await.unwrap();
    let waited = world.drain.wait(&world.engine.env, Duration::MAX).await;
    waited.unwrap();
    assert!(read(&mut stream).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_gives_its_place_to_another_leaves_at_once() {
    let world = world("ttl: 0s");
    let room = room(&world, 1);
    let (mut first, _task) = connect_to(&world, 1 << 10, &room);
    tokio::task::yield_now().await;
    let began = world.engine.env.instant();
    let (_second, _other) = connect_to(&world, 1 << 10, &room);
    assert!(read(&mut first).await.is_none());
    assert_eq!(world.engine.env.instant(), began);
    assert_eq!(world.drain.holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_are_written_before_more_are_made() {
    let world = world("ttl: 0s");
    let many = (1..=1000_u16).map(|port| {
        let [high, low] = port.to_be_bytes();
        instance("orders", &format!("10.0.{high}.{low}:{port}"))
    });
    world.reset(many.collect()).await;
    let (mut stream, _task) = connect_by(&world, 1 << 10);
    let own = world.framed("orders.portolan.internal", kind::SRV);
    // Larger than what the pipe holds: whoever writes all first waits for ever.
    let (mut reading, mut writing) = tokio::io::split(&mut stream);
    let all = own.repeat(200);
    let asking = async { writing.write_all(&all).await.unwrap() };
    let hearing = async {
        // Nobody has read an answer yet.
        world.engine.env.sleep(Duration::from_secs(1)).await;
        let made: u64 = world
            .engine
            .meters
            .facts()
            .answers
            .iter()
            .map(|(.., count)| count)
            .sum();
        assert!(made <= 3, "{made}");
        for _ in 0..200 {
            let length = reading.read_u16().await.unwrap();
            assert!(length > 40_000, "{length}");
            let mut message = vec![0; usize::from(length)];
            reading.read_exact(&mut message).await.unwrap();
        }
    };
    tokio::join!(asking, hearing);
}

/// Knows one node and one query.
struct Book;

impl Directory for Book {
    fn node<'a>(&'a self, name: &'a str) -> Later<'a, Result<Option<Node>, Unknown>> {
        let address = match name {
            "n1" => "10.0.0.1",
            "n2" => "n2.example.com",
            "n4" => return Box::pin(async { Err(Unknown) }),
            _ => return Box::pin(async { Ok(None) }),
        };
        let meta = [
            ("rack".to_owned(), "7".to_owned()),
            ("rfc1035-x".to_owned(), "y".to_owned()),
        ];
        let node = Node {
            address: address.to_owned(),
            meta: meta.into(),
        };
        Box::pin(async { Ok(Some(node)) })
    }

    fn query<'a>(
        &'a self,
        name: &'a str,
        _client: IpAddr,
    ) -> Later<'a, Result<Option<Found>, Unknown>> {
        let found = (name == "near.orders").then(|| Found {
            instances: vec![("10.0.0.1:80".parse().unwrap(), 100)],
            ttl: Some(4),
        });
        Box::pin(async { Ok(found) })
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_and_queries_are_asked_of_who_knows_them() {
    let world = world("ttl: 2s");
    world.engine.set_others(Others {
        directory: Some(Arc::new(Book)),
        ..Others::default()
    });
    let ask = async |name: &str, kind: u16| {
        let query = world.query(name, kind).with_edns(1232);
        Message::from_vec(&world.ask_owned(&query).await).unwrap()
    };
    let told = async |name: &str, kind: u16| answers(&ask(name, kind).await);
    assert_eq!(
        told("n1.node.consul", kind::A).await,
        ["n1.node.consul. 2 IN A 10.0.0.1"]
    );
    assert_eq!(
        told("n1.node.dc1.consul", kind::TXT).await,
        [
            "n1.node.dc1.consul. 2 IN TXT rack=7",
            "n1.node.dc1.consul. 2 IN TXT y"
        ]
    );
    assert_eq!(
        told("n2.node.consul", kind::A).await,
        ["n2.node.consul. 2 IN CNAME n2.example.com."]
    );
    assert_eq!(code(&ask("n3.node.consul", kind::A).await), 3);
    let failed = ask("n4.node.consul", kind::A).await;
    assert_eq!((code(&failed), failed.metadata.authoritative), (2, false));
    assert!(failed.authorities.is_empty());
    assert_eq!(
        told("near.orders.query.consul", kind::SRV).await,
        ["near.orders.query.consul. 4 IN SRV 1 100 80 0a000001.addr.dc1.consul."]
    );
    assert_eq!(
        told("near.orders.query.consul", kind::A).await,
        ["near.orders.query.consul. 4 IN A 10.0.0.1"]
    );
    assert!(
        told("near.orders.query.consul", kind::AAAA)
            .await
            .is_empty()
    );
    assert_eq!(code(&ask("other.query.consul", kind::A).await), 3);
}
