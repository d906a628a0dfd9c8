//! Claims about forwarding, on virtual time and with recursors that do as they are told.

use std::{collections::HashMap, net::SocketAddr};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Asks, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, NS, SOA},
    },
};
use proptest::prelude::{any, proptest};

use super::{answer::Mismatch, exchange::Asking, *};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 53))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A client's query.
fn query(text: &str) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Asks::query(name(text), RecordType::A));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).unwrap()
}

/// What a recursor says about a query.
fn reply(query: &[u8], rcode: ResponseCode, ttl: Option<u32>) -> Message {
    let query = read(query);
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = rcode;
    let asked = query.queries[0].clone();
    match (rcode, ttl) {
        (ResponseCode::NoError, Some(ttl)) => {
            let data = RData::A(A::new(198, 51, 100, 7));
            reply.add_answer(Record::from_rdata(asked.name().clone(), ttl, data));
        }
        (_, Some(ttl)) => {
            let soa = SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, ttl);
            reply.add_authority(Record::from_rdata(name("example."), 3600, RData::SOA(soa)));
        }
        (_, None) => {}
    }
    reply.add_query(asked);
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    reply.set_edns(edns);
    reply
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Answers(u64),
    Nothing(u64),
    Fails,
    Refuses,
    Silent,
}

/// Recursors that do as they are told.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

/// What each recursor does, and who was asked.
type Script = (HashMap<SocketAddr, Way>, Vec<SocketAddr>);

impl Fake {
    fn set(&self, last: u8, way: Way) {
        self.0.lock().unwrap().0.insert(at(last), way);
    }

    fn asked(&self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

/// How long what the recursors of tests say holds.
const TTL: u32 = 60;

struct FakeExchange(Fake, Env);

impl Exchange for FakeExchange {
    fn ask<'a>(&'a self, recursor: SocketAddr, asked: &'a Asked) -> Asking<'a> {
        let way = {
            let mut fake = self.0.0.lock().unwrap();
            fake.1.push(recursor);
            fake.0.get(&recursor).copied().unwrap_or(Way::Silent)
        };
        Box::pin(async move {
            let sent = asked.query(1, &[0xaa; 32], true);
            let (rcode, ttl, millis) = match way {
                Way::Answers(millis) => (ResponseCode::NoError, Some(TTL), millis),
                Way::Nothing(millis) => (ResponseCode::NXDomain, Some(TTL), millis),
                Way::Fails => (ResponseCode::ServFail, None, 1),
                Way::Refuses => return Err(std::io::Error::other("refused").into()),
                Way::Silent => std::future::pending().await,
            };
            self.1.sleep(Duration::from_millis(millis)).await;
            Ok(Answer::read(&sent, &bytes(&reply(&sent, rcode, ttl))).unwrap())
        })
    }
}

fn forwarder(count: u8, change: impl FnOnce(&mut Settings)) -> (Forwarder, Fake, Env) {
    let (fake, env) = (Fake::default(), Env::virtual_time(1));
    let mut settings = Settings {
        recursors: (1..=count).map(at).collect(),
        ..Settings::default()
    };
    change(&mut settings);
    let exchange = Box::new(FakeExchange(fake.clone(), env.clone()));
    (Forwarder::over(settings, env.clone(), exchange), fake, env)
}

async fn ask(forwarder: &Forwarder, text: &str) -> Message {
    answer(forwarder, &query(text), HERE).await
}

async fn answer(forwarder: &Forwarder, query: &Message, client: IpAddr) -> Message {
    let peer = Peer {
        address: (client, 4711).into(),
        transport: Transport::Udp,
    };
    let answer = forwarder.answer(bytes(query).into(), peer).await;
    read(&answer.unwrap())
}

fn ttl_of(message: &Message) -> u32 {
    message.answers[0].ttl
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_from_the_cache_until_its_time_is_over() {
    let (forwarder, fake, env) = forwarder(1, |_| {});
    fake.set(1, Way::Answers(5));
    let first = ask(&forwarder, "www.example.").await;
    assert_eq!(first.metadata.id, 4711);
    assert!(first.metadata.recursion_available && !first.metadata.authoritative);
    assert_eq!(ttl_of(&first), TTL);
    env.sleep(Duration::from_secs(20)).await;
    assert_eq!(ttl_of(&ask(&forwarder, "www.example.").await), TTL - 20);
    assert_eq!(fake.asked().len(), 1);
    env.sleep(Duration::from_secs(41)).await;
    assert_eq!(ttl_of(&ask(&forwarder, "www.example.").await), TTL);
    assert_eq!(fake.asked().len(), 1);
    assert_eq!(forwarder.figures().hits, 1);
}

#[tokio::test(start_paused = true)]
async fn that_there_is_nothing_is_believed_as_long_as_its_soa_says_and_no_longer_than_allowed() {
    let (forwarder, fake, env) = forwarder(1, |settings| {
        settings.negative_ttl_max = Duration::from_secs(10);
    });
    fake.set(1, Way::Nothing(1));
    let answer = ask(&forwarder, "no.example.").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(
        answer.authorities[0].ttl, 10,
        "nobody else keeps it for longer either"
    );
    env.sleep(Duration::from_secs(9)).await;
    ask(&forwarder, "no.example.").await;
    assert_eq!(fake.asked().len(), 1);
    env.sleep(Duration::from_secs(1)).await;
    ask(&forwarder, "no.example.").await;
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_alias_of_nothing_is_believed_no_longer_than_that_there_is_nothing() {
    let mut asked = query("www.example.");
    let sent = asked.to_vec().unwrap();
    asked.metadata.message_type = MessageType::Response;
    let alias = |ttl| {
        let data = RData::CNAME(hickory_proto::rr::rdata::CNAME(name("gone.example.")));
        Record::from_rdata(name("www.example."), ttl, data)
    };
    asked.add_answer(alias(3600));
    let lone = Answer::read(&sent, &asked.to_vec().unwrap()).unwrap();
    assert!(
        lone.is_nothing() && lone.ttl.is_none(),
        "nothing says how long"
    );
    let data = RData::A(A::new(192, 0, 2, 1));
    asked.add_answer(Record::from_rdata(name("gone.example."), 60, data));
    let whole = Answer::read(&sent, &asked.to_vec().unwrap()).unwrap();
    assert_eq!((whole.is_nothing(), whole.ttl), (false, Some(60)));
}

#[test]
fn a_domain_takes_a_quarter_of_the_places_at_most() {
    let flights = Flights::new(8);
    let key = |text: &str| {
        let sent = query(text).to_vec().unwrap();
        Query::read(&sent).unwrap().asked().key()
    };
    let mut under_way = Vec::new();
    for text in ["a.slow.example.", "b.c.slow.example.", "www.other.example."] {
        let Boarded::First(flight, _) = flights.board(&key(text)) else {
            panic!("{text} has a place");
        };
        under_way.push(flight);
    }
    assert!(matches!(
        flights.board(&key("d.slow.example.")),
        Boarded::Full
    ));
    assert!(matches!(
        flights.board(&key("a.slow.example.")),
        Boarded::Joined(_)
    ));
    under_way.remove(0);
    assert!(matches!(
        flights.board(&key("d.slow.example.")),
        Boarded::First(..)
    ));
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_asked_once() {
    let (forwarder, fake, env) = forwarder(1, |_| {});
    fake.set(1, Way::Answers(50));
    let (sender, mut answers) = mpsc::channel(100);
    for _ in 0..100 {
        let (forwarder, sender) = (forwarder.clone(), sender.clone());
        env.spawn("client", async move {
            sender
                .send(ask(&forwarder, "WWW.example.").await)
                .await
                .unwrap();
        })
        .detach();
    }
    for _ in 0..100 {
        let answer = answers.recv().await.unwrap();
        assert_eq!(
            answer.queries[0].name().to_string(),
            "WWW.example.",
            "as it was spelled"
        );
        assert_eq!(answer.answers.len(), 1);
    }
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_ask_is_refused_and_so_is_who_wants_no_recursion() {
    let (forwarder, fake, _env) = forwarder(1, |_| {});
    fake.set(1, Way::Answers(1));
    let mut plain = query("www.example.");
    for (client, is_refused) in [
        ("127.0.0.1", false),
        ("10.1.2.3", false),
        ("::ffff:10.1.2.3", false),
        ("fd00::1", false),
        ("8.8.8.8", true),
        ("2001:db8::1", true),
    ] {
        let answer = answer(&forwarder, &plain, client.parse().unwrap()).await;
        let refused = answer.metadata.response_code == ResponseCode::Refused;
        assert_eq!(refused, is_refused, "{client}");
    }
    plain.metadata.recursion_desired = false;
    let answer = answer(&forwarder, &plain, HERE).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_recursor_that_is_gone_costs_no_answer_and_is_left_alone() {
    let (forwarder, fake, env) = forwarder(2, |_| {});
    fake.set(1, Way::Refuses);
    fake.set(2, Way::Answers(3));
    for number in 0..200 {
        let answer = ask(&forwarder, &format!("n{number}.example.")).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NoError,
            "{number}"
        );
        env.sleep(Duration::from_millis(10)).await;
    }
    let tries = fake.asked().iter().filter(|to| **to == at(1)).count();
    assert!((2..10).contains(&tries), "{tries} tries in two seconds");
    fake.set(1, Way::Answers(1));
    env.sleep(Duration::from_secs(31)).await;
    for number in 0..100 {
        ask(&forwarder, &format!("m{number}.example.")).await;
    }
    assert_eq!(forwarder.figures().recursors, 2);
    assert!(
        fake.asked().iter().filter(|to| **to == at(1)).count() > 80,
        "it is the quickest"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_recursor_is_not_waited_for_alone() {
    let (forwarder, fake, env) = forwarder(2, |_| {});
    fake.set(1, Way::Silent);
    fake.set(2, Way::Answers(3));
    for number in 0..20 {
        let begin = env.instant();
        let answer = ask(&forwarder, &format!("n{number}.example.")).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(env.instant() - begin < Duration::from_millis(450));
    }
    assert_eq!(forwarder.figures().recursors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_recursor_that_fails_at_a_name_is_not_the_last_word() {
    let (forwarder, fake, _env) = forwarder(2, |_| {});
    fake.set(1, Way::Fails);
    fake.set(2, Way::Answers(3));
    for number in 0..20 {
        let answer = ask(&forwarder, &format!("n{number}.example.")).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    }
    assert_eq!(forwarder.figures().recursors, 2, "it does answer");
}

#[tokio::test(start_paused = true)]
async fn without_any_recursor_the_client_is_told_within_the_deadline_and_not_for_long() {
    let (forwarder, fake, env) = forwarder(2, |settings| settings.stale = Duration::ZERO);
    fake.set(1, Way::Silent);
    fake.set(2, Way::Refuses);
    let begin = env.instant();
    let answer = ask(&forwarder, "www.example.").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(env.instant() - begin <= Duration::from_secs(4));
    fake.asked();
    assert_eq!(
        ask(&forwarder, "www.example.").await.metadata.response_code,
        ResponseCode::ServFail
    );
    assert!(fake.asked().is_empty(), "failures are remembered");
    fake.set(1, Way::Answers(1));
    env.sleep(Duration::from_secs(1)).await;
    assert_eq!(
        ask(&forwarder, "www.example.").await.metadata.response_code,
        ResponseCode::NoError
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_outlived_its_time_is_better_than_none_for_as_long_as_allowed() {
    let (forwarder, fake, env) = forwarder(1, |settings| settings.stale = Duration::from_secs(100));
    fake.set(1, Way::Answers(1));
    ask(&forwarder, "www.example.").await;
    fake.set(1, Way::Silent);
    env.sleep(Duration::from_secs(61)).await;
    let begin = env.instant();
    let answer = ask(&forwarder, "www.example.").await;
    assert_eq!(
        (answer.metadata.response_code, ttl_of(&answer)),
        (ResponseCode::NoError, STALE_TTL)
    );
    assert!(
        env.instant() - begin <= STALE_PATIENCE,
        "a client waits for less long then"
    );
    env.sleep(Duration::from_secs(100)).await;
    let answer = ask(&forwarder, "www.example.").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_random_names_does_not_grow_memory_nor_push_out_what_is_in_use() {
    let (forwarder, fake, _env) = forwarder(1, |settings| {
        settings.cache = portolan_model::ByteSize::from_bytes(64 << 10);
    });
    fake.set(1, Way::Nothing(0));
    for number in 0..2000 {
        ask(&forwarder, "in-use.example.").await;
        ask(&forwarder, &format!("random-{number}.example.")).await;
    }
    let entries = forwarder.figures().entries;
    assert!((50..256).contains(&entries), "{entries}");
    let asked = fake.asked().len();
    assert_eq!(asked, 2001, "the one in use was asked for once");
}

#[tokio::test(start_paused = true)]
async fn questions_under_way_and_clients_that_wait_are_limited() {
    for (questions, waiting, limit) in [(3, 100, 3), (100, 3, 3)] {
        let (forwarder, fake, env) = forwarder(1, |settings| {
            (settings.questions_max, settings.waiting_max) = (questions, waiting);
        });
        fake.set(1, Way::Answers(50));
        let (sender, mut answers) = mpsc::channel(10);
        for number in 0..=limit {
            let (forwarder, sender) = (forwarder.clone(), sender.clone());
            env.spawn("client", async move {
                let answer = ask(&forwarder, &format!("n{number}.example.")).await;
                sender.send(answer.metadata.response_code).await.unwrap();
            })
            .detach();
        }
        let mut codes = Vec::new();
        for _ in 0..=limit {
            codes.push(answers.recv().await.unwrap());
        }
        assert_eq!(
            codes[0],
            ResponseCode::ServFail,
            "the one over the limit, at once"
        );
        assert!(codes[1..].iter().all(|code| *code == ResponseCode::NoError));
    }
}

#[test]
fn what_does_not_answer_the_question_is_no_answer() {
    let asked = Query::read(&bytes(&query("www.example."))).unwrap().asked();
    let sent = asked.query(7, &[0x5a; 32], true);
    let good = reply(&sent, ResponseCode::NoError, Some(9));
    assert!(Answer::read(&sent, &bytes(&good)).unwrap().is_final());
    let spoiled = |spoil: fn(&mut Message)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        Answer::read(&sent, &bytes(&bad)).map(|_| ())
    };
    let foreign: [fn(&mut Message); 6] = [
        |bad| bad.metadata.id = 8,
        |bad| bad.metadata.message_type = MessageType::Query,
        |bad| bad.metadata.op_code = OpCode::Update,
        |bad| bad.queries[0] = Asks::query(name("evil.example."), RecordType::A),
        |bad| bad.queries[0] = Asks::query(bad.queries[0].name().clone(), RecordType::AAAA),
        |bad| bad.queries.clear(),
    ];
    for spoil in foreign {
        assert_eq!(spoiled(spoil), Err(Mismatch::Foreign));
    }
    let case = |bad: &mut Message| {
        bad.queries[0] = Asks::query(bad.queries[0].name().to_lowercase(), RecordType::A);
    };
    assert_eq!(spoiled(case), Err(Mismatch::Case));
    let mut folded = good.clone();
    case(&mut folded);
    assert!(
        Answer::read_folded(&sent, &bytes(&folded))
            .unwrap()
            .is_final()
    );
}

#[test]
fn a_lame_recursor_and_a_cut_answer_are_not_final() {
    let asked = Query::read(&bytes(&query("www.example."))).unwrap().asked();
    let sent = asked.query(7, &[0; 32], true);
    let mut lame = reply(&sent, ResponseCode::NoError, None);
    lame.metadata.recursion_available = false;
    lame.add_authority(Record::from_rdata(
        name("example."),
        9,
        RData::NS(NS(name("ns.example."))),
    ));
    assert!(!Answer::read(&sent, &bytes(&lame)).unwrap().is_final());
    let mut cut = reply(&sent, ResponseCode::NoError, Some(5));
    cut.metadata.truncation = true;
    let mut cut = bytes(&cut);
    cut.truncate(cut.len() - 20);
    let answer = Answer::read(&sent, &cut).unwrap();
    assert!(answer.is_truncated && !answer.is_final());
}

#[test]
fn an_answer_over_the_clients_size_is_cut_and_says_so() {
    let mut asking = query("www.example.");
    asking.set_edns(Edns::new());
    let asking = Query::read(&bytes(&asking)).unwrap();
    let sent = asking.asked().query(7, &[0; 32], true);
    let mut long = reply(&sent, ResponseCode::NoError, Some(5));
    for last in 0..60 {
        let data = RData::A(A::new(198, 51, 100, last));
        long.add_answer(Record::from_rdata(name("www.example."), 5, data));
    }
    let answer = Answer::read(&sent, &bytes(&long)).unwrap();
    let whole = answer.told(&asking, Lifetime::Aged(1, 3), usize::MAX);
    let told = read(&whole);
    assert_eq!((told.answers.len(), told.answers[9].ttl), (61, 2));
    assert!(told.edns.is_some());
    assert_eq!(
        answer
            .told(&asking, Lifetime::Aged(0, 9), whole.len())
            .len(),
        whole.len()
    );
    let cut = answer.told(&asking, Lifetime::Aged(0, 9), whole.len() - 1);
    let cut = read(&cut);
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.edns.is_some());
}

#[test]
fn a_question_that_was_not_signed_by_class_or_type_is_kept_apart() {
    let key = |change: fn(&mut Message)| {
        let mut message = query("www.example.");
        change(&mut message);
        Query::read(&bytes(&message)).unwrap().asked().key()
    };
    let plain = key(|_| {});
    let changes: [fn(&mut Message); 4] = [
        |m| m.metadata.checking_disabled = true,
        |m| {
            m.queries[0].set_query_type(RecordType::AAAA);
        },
        |m| {
            m.queries[0].set_query_class(DNSClass::CH);
        },
        |m| {
            let mut edns = Edns::new();
            edns.set_dnssec_ok(true);
            m.set_edns(edns);
        },
    ];
    assert!(changes.into_iter().all(|change| key(change) != plain));
    assert_eq!(key(|m| *m = query("WWW.EXAMPLE.")), plain);
}

proptest! {
    #[test]
    fn hostile_bytes_are_read_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let _any = Query::read(&bytes);
        let client = Query::read(&self::bytes(&query("www.example."))).unwrap();
        let sent = client.asked().query(7, &[0; 32], true);
        let mut real = self::bytes(&reply(&sent, ResponseCode::NoError, Some(9)));
        for (place, value) in flips {
            let place = place.index(real.len());
            real[place] = value;
        }
        if let Ok(answer) = Answer::read(&sent, &real) {
            let _told = answer.told(&client, Lifetime::Aged(3, 100), 512);
        }
        let _folded = Answer::read_folded(&sent, &bytes);
    }
}
