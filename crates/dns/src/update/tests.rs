//! Claims about updates, with a registry in memory.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Mutex};

use hickory_proto::{
    op::{MessageType, Query},
    rr::{
        RData, Record,
        rdata::{
            A, CNAME, SRV, TXT,
            tsig::{TSIG, TsigAlgorithm, TsigError},
        },
    },
    serialize::binary::BinEncoder,
};
use portolan_model::{InstanceId, ServiceKey};
use proptest::prelude::{any, proptest};
use ring::hmac;

use super::*;

const SECRET: &[u8] = b"sixteen bytes or more";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A registry in memory, which also answers for what it knows.
#[derive(Default)]
struct Fake {
    services: Mutex<BTreeMap<ServiceKey, Vec<Registered>>>,
    leases: Mutex<Vec<Option<Duration>>>,
    said: Mutex<Vec<String>>,
    is_down: bool,
    /// Instances that were registered by other ways.
    others: Vec<String>,
    lease_max: Option<Duration>,
}

impl Fake {
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn labels(&self, service: &str) -> Vec<String> {
        let found = self.registered(&ServiceKey::parse(service).unwrap());
        let labels = found.iter().map(|one| {
            let pairs = one
                .metadata
                .iter()
                .filter(|(key, _)| !key.starts_with("dns/"));
            let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(",")
        });
        labels.collect()
    }
}

impl Registrations for Fake {
    fn registered(&self, service: &ServiceKey) -> Vec<Registered> {
        self.services
            .lock()
            .unwrap()
            .get(service)
            .cloned()
            .unwrap_or_default()
    }

    fn is_others(&self, service: &ServiceKey, id: &InstanceId) -> bool {
        self.others.contains(&format!("{service} {id}"))
    }

    fn register(
        &self,
        actor: Arc<str>,
        service: ServiceKey,
        instance: Registered,
        lease: Option<Duration>,
    ) -> Doing<'_, Duration> {
        Box::pin(async move {
            if self.is_down {
                return Err(NotDone::Failed("down".into()));
            }
            let line = format!("{actor}: + {service} {} {}", instance.id, instance.address);
            self.said.lock().unwrap().push(line);
            self.leases.lock().unwrap().push(lease);
            let mut services = self.services.lock().unwrap();
            let instances = services.entry(service).or_default();
            instances.retain(|one| one.id != instance.id);
            instances.push(instance);
            let asked = lease.unwrap_or(Duration::from_hours(1));
            Ok(self.lease_max.map_or(asked, |max| asked.min(max)))
        })
    }

    fn deregister(&self, actor: Arc<str>, service: ServiceKey, id: InstanceId) -> Doing<'_> {
        Box::pin(async move {
            self.said
                .lock()
                .unwrap()
                .push(format!("{actor}: - {service} {id}"));
            let mut services = self.services.lock().unwrap();
            services
                .entry(service)
                .or_default()
                .retain(|one| one.id != id);
            Ok(())
        })
    }

    fn settled(&self) -> Doing<'_> {
        Box::pin(async move {
            if self.is_down {
                return Err(NotDone::Failed("down".into()));
            }
            Ok(())
        })
    }
}

impl Shown for Fake {
    fn records(&self, asked: &Name, kind: RecordType) -> Option<Vec<RData>> {
        if *asked != name("host.portolan.") {
            return None;
        }
        let address = RData::A(A::new(192, 0, 2, 9));
        Some(
            (kind == RecordType::A)
                .then_some(address)
                .into_iter()
                .collect(),
        )
    }
}

fn updates(fake: &Arc<Fake>) -> Registrar {
    let settings = Settings {
        zones: vec![name("portolan.")],
        keys: vec![Key::new(&name("Desk."), Algorithm::Sha256, SECRET).unwrap()],
        port: NonZeroU16::new(80).unwrap(),
    };
    let env = Env::virtual_time(1);
    Registrar::new(
        settings,
        env,
        Arc::<Fake>::clone(fake),
        Arc::<Fake>::clone(fake),
    )
}

fn update() -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(name("portolan."), RecordType::SOA));
    message
}

fn adding(records: impl IntoIterator<Item = (&'static str, RData)>) -> Message {
    let mut message = update();
    for (owner, data) in records {
        message.add_authority(Record::from_rdata(name(owner), 60, data));
    }
    message
}

fn emptied(owner: &str, kind: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name(owner), 0, kind);
    record.dns_class = class;
    record
}

fn deleting(record: Record) -> Message {
    let mut message = update();
    message.add_authority(record);
    message
}

fn a(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

fn srv(port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(0, 7, port, name(target)))
}

/// A client's signature.
fn signed(message: &Message, key: &str, secret: &[u8], time: u64) -> Vec<u8> {
    let bytes = message.to_vec().unwrap();
    let tsig = TSIG::new(
        TsigAlgorithm::HmacSha256,
        time,
        300,
        Vec::new(),
        4711,
        None,
        Vec::new(),
    );
    let mut variables = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &name(key))
        .unwrap();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mac = hmac::sign(&secret, &[&bytes[..], &variables].concat());
    let record = hickory_proto::rr::rdata::tsig::make_tsig_record(
        name(key),
        tsig.set_mac(mac.as_ref().to_vec()),
    );
    tsig::append(bytes, &record)
}

fn now() -> u64 {
    Env::virtual_time(1).now().as_millis() / 1000
}

async fn send(fake: &Arc<Fake>, message: &Message) -> ResponseCode {
    let answer = updates(fake)
        .answer(&signed(message, "desk.", SECRET, now()), HERE)
        .await;
    let answer = Message::from_vec(&answer.unwrap()).unwrap();
    assert_eq!((answer.metadata.id, answer.queries.len()), (4711, 1));
    assert!(tsig_of(&answer).error.is_none());
    answer.metadata.response_code
}

fn tsig_of(answer: &Message) -> TSIG {
    let signature = answer.additionals.iter().find_map(|record| {
        let RData::TSIG(tsig) = &record.data else {
            return None;
        };
        Some(tsig.clone())
    });
    signature.unwrap()
}

#[tokio::test(start_paused = true)]
async fn addresses_and_locations_register_and_deleting_them_deregisters() {
    let fake = Arc::new(Fake::default());
    let added = adding([
        ("orders.portolan.", a(1)),
        ("_web._tcp.shop.portolan.", srv(8080, "Host.portolan.")),
        ("_web._tcp.shop.portolan.", srv(8081, "beside.portolan.")),
        ("beside.portolan.", a(2)),
        (
            "_web._tcp.shop.portolan.",
            RData::TXT(TXT::new(vec!["path=/v1".into()])),
        ),
    ]);
    assert_eq!(send(&fake, &added).await, ResponseCode::NoError);
    let actor = "dns key desk.";
    assert_eq!(
        fake.said(),
        [
            format!("{actor}: + beside 192.0.2.2 192.0.2.2:80"),
            format!("{actor}: + orders 192.0.2.1 192.0.2.1:80"),
            format!("{actor}: + shop/web beside.portolan:8081 192.0.2.2:8081"),
            format!("{actor}: + shop/web host.portolan:8080 192.0.2.9:8080"),
        ]
    );
    assert_eq!(fake.labels("shop/web"), ["path=/v1", "path=/v1"]);

    let mut one = Record::from_rdata(
        name("_web._tcp.shop.portolan."),
        0,
        srv(8080, "HOST.portolan."),
    );
    one.dns_class = DNSClass::NONE;
    assert_eq!(send(&fake, &deleting(one)).await, ResponseCode::NoError);
    assert!(
        fake.said()
            .contains(&format!("{actor}: - shop/web host.portolan:8080"))
    );

    let all = emptied("orders.portolan.", RecordType::ANY, DNSClass::ANY);
    assert_eq!(send(&fake, &deleting(all)).await, ResponseCode::NoError);
    assert_eq!(fake.said(), [format!("{actor}: - orders 192.0.2.1")]);
    let gone = emptied("orders.portolan.", RecordType::A, DNSClass::ANY);
    assert_eq!(
        send(&fake, &deleting(gone)).await,
        ResponseCode::NoError,
        "it is gone already"
    );
}

#[tokio::test(start_paused = true)]
async fn records_are_applied_in_their_order() {
    let fake = Arc::new(Fake::default());
    send(&fake, &adding([("orders.portolan.", a(1))])).await;
    fake.said();
    let mut moved = update();
    moved.add_authority(emptied("orders.portolan.", RecordType::A, DNSClass::ANY));
    moved.add_authority(Record::from_rdata(name("orders.portolan."), 60, a(2)));
    assert_eq!(send(&fake, &moved).await, ResponseCode::NoError);
    let said = fake.said();
    assert!(
        said[0].contains("+ orders 192.0.2.2") && said[1].contains("- orders 192.0.2.1"),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn texts_label_all_instances_and_go_again() {
    let fake = Arc::new(Fake::default());
    let text =
        |texts: &[&str]| RData::TXT(TXT::new(texts.iter().map(ToString::to_string).collect()));
    let lone = adding([("orders.portolan.", text(&["a=1"]))]);
    assert_eq!(
        send(&fake, &lone).await,
        ResponseCode::Refused,
        "there is nobody to label"
    );
    send(
        &fake,
        &adding([("orders.portolan.", a(1)), ("orders.portolan.", a(2))]),
    )
    .await;
    send(&fake, &adding([("orders.portolan.", text(&["a=1", "b"]))])).await;
    assert_eq!(fake.labels("orders"), ["a=1,b=", "a=1,b="]);
    send(&fake, &adding([("orders.portolan.", a(3))])).await;
    assert_eq!(
        fake.labels("orders"),
        ["a=1,b=", "a=1,b=", "a=1,b="],
        "newcomers, too"
    );
    let mut one = Record::from_rdata(name("orders.portolan."), 0, text(&["a=1"]));
    one.dns_class = DNSClass::NONE;
    send(&fake, &deleting(one)).await;
    assert_eq!(fake.labels("orders"), ["b=", "b=", "b="]);
    send(
        &fake,
        &deleting(emptied("orders.portolan.", RecordType::TXT, DNSClass::ANY)),
    )
    .await;
    assert_eq!(fake.labels("orders"), ["", "", ""]);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_cannot_be_taken_changes_nothing_and_says_why() {
    let fake = Arc::new(Fake::default());
    let ok = ("orders.portolan.", a(1));
    let mut meta = update();
    meta.add_authority(emptied("orders.portolan.", RecordType::AXFR, DNSClass::ANY));
    let mut lifetime = emptied("orders.portolan.", RecordType::A, DNSClass::ANY);
    lifetime.ttl = 5;
    let mut other_zone = adding([ok.clone()]);
    other_zone.queries[0] = Query::query(name("example."), RecordType::SOA);
    let mut no_soa = adding([ok.clone()]);
    no_soa.queries[0] = Query::query(name("portolan."), RecordType::A);
    let mut two_zones = adding([ok.clone()]);
    two_zones.add_query(Query::query(name("portolan."), RecordType::SOA));
    for (message, code) in [
        (
            adding([ok.clone(), ("orders.example.", a(2))]),
            ResponseCode::NotZone,
        ),
        (
            adding([ok.clone(), ("a.b.c.portolan.", a(2))]),
            ResponseCode::Refused,
        ),
        (
            adding([
                ok.clone(),
                ("x.portolan.", RData::CNAME(CNAME(name("y.portolan.")))),
            ]),
            ResponseCode::Refused,
        ),
        (
            adding([ok.clone(), ("x.portolan.", srv(80, "nowhere.example."))]),
            ResponseCode::Refused,
        ),
        (
            adding([ok.clone(), ("x.portolan.", srv(0, "host.portolan."))]),
            ResponseCode::Refused,
        ),
        (
            adding([ok.clone(), ("_x._tcp.portolan.", a(2))]),
            ResponseCode::Refused,
        ),
        (meta, ResponseCode::FormErr),
        (deleting(lifetime), ResponseCode::FormErr),
        (other_zone, ResponseCode::NotAuth),
        (no_soa, ResponseCode::FormErr),
        (two_zones, ResponseCode::FormErr),
    ] {
        let bytes = signed(&message, "desk.", SECRET, now());
        let answer = updates(&fake).answer(&bytes, HERE).await.unwrap();
        let got = Message::from_vec(&answer).unwrap().metadata.response_code;
        assert_eq!(got, code, "{message}");
        assert!(fake.said().is_empty());
    }
    let full = (0..RECORDS_MAX).map(|_| ok.clone());
    assert_eq!(
        send(&fake, &adding(full.clone())).await,
        ResponseCode::NoError
    );
    let over = full.chain([ok.clone()]);
    assert_eq!(send(&fake, &adding(over)).await, ResponseCode::Refused);
}

#[tokio::test(start_paused = true)]
async fn prerequisites_decide() {
    let fake = Arc::new(Fake::default());
    send(
        &fake,
        &adding([("orders.portolan.", a(1)), ("orders.portolan.", a(2))]),
    )
    .await;
    let exact = |last: u8| Record::from_rdata(name("orders.portolan."), 0, a(last));
    let there = |owner, kind| emptied(owner, kind, DNSClass::ANY);
    let absent = |owner, kind| emptied(owner, kind, DNSClass::NONE);
    let (a_, any) = (RecordType::A, RecordType::ANY);
    let mut aged = there("orders.portolan.", a_);
    aged.ttl = 1;
    for (prerequisites, code) in [
        (vec![there("orders.portolan.", any)], ResponseCode::NoError),
        (vec![there("host.portolan.", any)], ResponseCode::NoError),
        (vec![there("none.portolan.", any)], ResponseCode::NXDomain),
        (vec![there("orders.portolan.", a_)], ResponseCode::NoError),
        (
            vec![there("orders.portolan.", RecordType::AAAA)],
            ResponseCode::NXRRSet,
        ),
        (
            vec![absent("orders.portolan.", any)],
            ResponseCode::YXDomain,
        ),
        (vec![absent("none.portolan.", any)], ResponseCode::NoError),
        (vec![absent("orders.portolan.", a_)], ResponseCode::YXRRSet),
        (
            vec![absent("orders.portolan.", RecordType::SRV)],
            ResponseCode::NoError,
        ),
        (vec![exact(1), exact(2)], ResponseCode::NoError),
        (vec![exact(2), exact(1)], ResponseCode::NoError),
        (vec![exact(1)], ResponseCode::NXRRSet),
        (vec![exact(1), exact(3)], ResponseCode::NXRRSet),
        (vec![aged], ResponseCode::FormErr),
        (vec![there("orders.example.", any)], ResponseCode::NotZone),
    ] {
        let mut message = adding([("new.portolan.", a(9))]);
        fake.said();
        for record in prerequisites {
            message.add_answer(record);
        }
        assert_eq!(send(&fake, &message).await, code, "{message}");
        assert_eq!(fake.said().is_empty(), code != ResponseCode::NoError);
    }
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_is_not_good_is_answered_as_the_rfc_says() {
    let fake = Arc::new(Fake::default());
    let message = adding([("orders.portolan.", a(1))]);
    let ask = async |bytes: Vec<u8>| {
        let answer = updates(&fake).answer(&bytes, HERE).await.unwrap();
        assert!(fake.said().is_empty());
        Message::from_vec(&answer).unwrap()
    };
    let unsigned = ask(message.to_vec().unwrap()).await;
    assert_eq!(unsigned.metadata.response_code, ResponseCode::Refused);
    let other = ask(signed(&message, "other.", SECRET, now())).await;
    assert_eq!(other.metadata.response_code, ResponseCode::NotAuth);
    assert_eq!(
        (tsig_of(&other).error, tsig_of(&other).mac.len()),
        (Some(TsigError::BadKey), 0)
    );
    let forged = ask(signed(
        &message,
        "desk.",
        b"another secret, long enough",
        now(),
    ))
    .await;
    assert_eq!(forged.metadata.response_code, ResponseCode::NotAuth);
    assert_eq!(
        (tsig_of(&forged).error, tsig_of(&forged).mac.len()),
        (Some(TsigError::BadSig), 0)
    );
    for time in [now() - 301, now() + 301] {
        let late = ask(signed(&message, "desk.", SECRET, time)).await;
        let tsig = tsig_of(&late);
        assert_eq!(late.metadata.response_code, ResponseCode::NotAuth);
        assert_eq!(
            (tsig.error, tsig.time, tsig.mac.len()),
            (Some(TsigError::BadTime), time, 32)
        );
        assert_eq!(tsig.other, now().to_be_bytes()[2..]);
    }
    let mut moved = signed(&message, "desk.", SECRET, now());
    let record = Record::from_rdata(name("x."), 0, a(1));
    let mut behind = Vec::new();
    hickory_proto::serialize::binary::BinEncodable::emit(
        &record,
        &mut BinEncoder::new(&mut behind),
    )
    .unwrap();
    moved.extend(behind);
    moved[11] += 1;
    assert_eq!(
        updates(&fake)
            .answer(&moved, HERE)
            .await
            .map(|bytes| bytes[3] & 15),
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_signed_over_the_signature_of_its_question() {
    let fake = Arc::new(Fake::default());
    let request = signed(
        &adding([("orders.portolan.", a(1))]),
        "desk.",
        SECRET,
        now(),
    );
    let asked = tsig_of(&Message::from_vec(&request).unwrap());
    let bytes = updates(&fake).answer(&request, HERE).await.unwrap();
    let tsig = tsig_of(&Message::from_vec(&bytes).unwrap());
    let mut plain = answer(
        &Message::from_vec(&request).unwrap(),
        (ResponseCode::NoError, None),
    )
    .to_vec()
    .unwrap();
    let mut context = [&32_u16.to_be_bytes()[..], &asked.mac].concat();
    context.append(&mut plain);
    let mut variables = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &name("desk."))
        .unwrap();
    context.extend(variables);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    assert!(hmac::verify(&key, &context, &tsig.mac).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_granted_within_bounds_and_told() {
    let fake = Arc::new(Fake::default());
    for (asked, granted) in [(5_u32, 30), (60, 60), (1_000_000, 86_400)] {
        let mut message = adding([("orders.portolan.", a(1))]);
        let mut edns = Edns::new();
        let option = EdnsOption::Unknown(EdnsCode::UL.into(), asked.to_be_bytes().to_vec());
        edns.options_mut().insert(option);
        message.set_edns(edns);
        let answer = updates(&fake)
            .answer(&signed(&message, "desk.", SECRET, now()), HERE)
            .await;
        let answer = Message::from_vec(&answer.unwrap()).unwrap();
        assert_eq!(lease_of(&answer), Some(granted));
        assert_eq!(
            fake.leases.lock().unwrap().pop().unwrap(),
            Some(Duration::from_secs(granted.into()))
        );
    }
}

/// A message that asks for a lease of so many seconds.
fn leased(mut message: Message, seconds: u32) -> Message {
    let mut edns = Edns::new();
    let option = EdnsOption::Unknown(EdnsCode::UL.into(), seconds.to_be_bytes().to_vec());
    edns.options_mut().insert(option);
    message.set_edns(edns);
    message
}

#[tokio::test(start_paused = true)]
async fn an_update_leaves_the_instances_and_the_leases_of_others_alone() {
    let fake = Arc::new(Fake::default());
    let label = |fake: &Fake| -> Vec<_> {
        let found = fake.registered(&ServiceKey::parse("orders").unwrap());
        let labels = found
            .iter()
            .map(|one| (one.id.to_string(), one.metadata.get(LEASE_LABEL).cloned()));
        let labels: BTreeMap<_, _> = labels.collect();
        labels.into_values().collect()
    };
    send(&fake, &leased(adding([("orders.portolan.", a(1))]), 60)).await;
    fake.said();
    send(&fake, &leased(adding([("orders.portolan.", a(2))]), 600)).await;
    let said = fake.said();
    assert!(said.len() == 1 && said[0].contains("192.0.2.2"), "{said:?}");
    send(&fake, &adding([("orders.portolan.", a(3))])).await;
    let leases = [Some("60".into()), Some("600".into()), None];
    assert_eq!(label(&fake), leases);
    let text = RData::TXT(TXT::new(vec!["v=1".into()]));
    send(&fake, &leased(adding([("orders.portolan.", text)]), 90)).await;
    assert_eq!(fake.labels("orders"), ["v=1", "v=1", "v=1"]);
    assert_eq!(label(&fake), leases, "a label does not change a lease");
}

#[tokio::test(start_paused = true)]
async fn what_others_registered_is_not_taken_over() {
    let fake = Arc::new(Fake {
        others: vec!["orders 192.0.2.1".into()],
        ..Fake::default()
    });
    let both = adding([("orders.portolan.", a(1)), ("orders.portolan.", a(2))]);
    assert_eq!(send(&fake, &both).await, ResponseCode::Refused);
    assert!(fake.said().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_writes_only_its_services() {
    let key = Key::new(&name("desk."), Algorithm::Sha256, SECRET).unwrap();
    let may = |patterns: &[&str], service: &str| {
        let patterns = patterns.iter().map(|text| Arc::from(*text)).collect();
        let key = key.clone().of_services(patterns);
        key.may_write(&ServiceKey::parse(service).unwrap())
    };
    assert!(may(&[], "orders") && may(&["orders"], "orders") && may(&["shop/*"], "shop/orders"));
    assert!(!may(&["orders"], "orders2") && !may(&["orders"], "shop/orders"));
    assert!(!may(&["shop/*"], "orders"));
    let fake = Arc::new(Fake::default());
    let own = adding([("orders.upstream.portolan.", a(1))]);
    assert_eq!(send(&fake, &own).await, ResponseCode::Refused);
}

#[tokio::test(start_paused = true)]
async fn the_lease_that_the_registry_grants_is_told() {
    let fake = Arc::new(Fake {
        lease_max: Some(Duration::from_secs(45)),
        ..Fake::default()
    });
    let message = leased(adding([("orders.portolan.", a(1))]), 600);
    let bytes = signed(&message, "desk.", SECRET, now());
    let answer = updates(&fake).answer(&bytes, HERE).await.unwrap();
    assert_eq!(lease_of(&Message::from_vec(&answer).unwrap()), Some(45));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_twice_is_done_once_and_answered_twice() {
    let fake = Arc::new(Fake::default());
    let registrar = updates(&fake);
    let bytes = signed(
        &adding([("orders.portolan.", a(1))]),
        "desk.",
        SECRET,
        now(),
    );
    let first = registrar.answer(&bytes, HERE).await.unwrap();
    let gone = emptied("orders.portolan.", RecordType::A, DNSClass::ANY);
    let gone = signed(&deleting(gone), "desk.", SECRET, now());
    registrar.answer(&gone, HERE).await.unwrap();
    fake.said();
    let second = registrar.answer(&bytes, HERE).await.unwrap();
    assert_eq!(first, second);
    assert!(
        fake.said().is_empty(),
        "what was deleted does not come back"
    );
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_remembered_is_too_old() {
    let fake = Arc::new(Fake::default());
    let registrar = updates(&fake);
    let nothing = |number: u32, time: u64| {
        let message = leased(update(), number);
        signed(&message, "desk.", SECRET, time)
    };
    let code = async |bytes: Vec<u8>| {
        let answer = registrar.answer(&bytes, HERE).await.unwrap();
        Message::from_vec(&answer).unwrap().metadata.response_code
    };
    assert_eq!(code(nothing(0, now() - 9)).await, ResponseCode::NoError);
    for id in 1..=4096 {
        assert_eq!(code(nothing(id, now())).await, ResponseCode::NoError);
    }
    assert_eq!(code(nothing(0, now() - 9)).await, ResponseCode::NotAuth);
    assert_eq!(code(nothing(1, now() - 8)).await, ResponseCode::NoError);
}

#[tokio::test(start_paused = true)]
async fn a_weight_of_zero_is_the_least() {
    let fake = Arc::new(Fake::default());
    let least = RData::SRV(SRV::new(0, 0, 80, name("host.portolan.")));
    send(&fake, &adding([("orders.portolan.", least)])).await;
    send(&fake, &adding([("other.portolan.", a(1))])).await;
    let weight = |service: &str| {
        let found = fake.registered(&ServiceKey::parse(service).unwrap());
        found[0].weight.as_u16()
    };
    assert_eq!((weight("orders"), weight("other")), (1, 100));
}

#[tokio::test(start_paused = true)]
async fn updates_of_one_service_come_one_after_the_other() {
    let locks = Locks::default();
    let services = |texts: &[&str]| {
        let keys = texts.iter().map(|text| ServiceKey::parse(text).unwrap());
        keys.collect::<std::collections::BTreeSet<_>>()
    };
    let first = locks.hold(services(&["a", "b"])).await;
    let _other = locks.hold(services(&["c"])).await;
    let mut second = Box::pin(locks.hold(services(&["b", "d"])));
    let waiting = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
    assert!(waiting.is_err());
    drop(first);
    second.await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_is_a_failure_of_ours() {
    let fake = Arc::new(Fake {
        is_down: true,
        ..Fake::default()
    });
    assert_eq!(
        send(&fake, &adding([("orders.portolan.", a(1))])).await,
        ResponseCode::ServFail
    );
    // Nothing is there to be deleted, but maybe since a moment ago only.
    let gone = emptied("orders.portolan.", RecordType::A, DNSClass::ANY);
    assert_eq!(send(&fake, &deleting(gone)).await, ResponseCode::ServFail);
}

#[test]
fn a_secret_has_a_least_length() {
    let key = |bytes: usize| Key::new(&name("desk."), Algorithm::Sha512, &vec![1; bytes]);
    assert!(key(SECRET_BYTES_MIN).is_ok());
    assert_eq!(
        key(SECRET_BYTES_MIN - 1).unwrap_err().bytes,
        SECRET_BYTES_MIN - 1
    );
}

proptest! {
    #[test]
    fn hostile_bytes_are_answered_or_passed_over_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fake = Arc::new(Fake::default());
            let updates = updates(&fake);
            let _any = updates.answer(&bytes, HERE).await;
            let mut real = signed(&adding([("orders.portolan.", a(1))]), "desk.", SECRET, now());
            let before = real.clone();
            for (place, value) in flips {
                let place = place.index(real.len());
                real[place] = value;
            }
            let _flipped = updates.answer(&real, HERE).await;
            // The id may differ (RFC 8945, section 5.1), and letters of names are folded.
            let is_same = real.get(2..).map(<[u8]>::to_ascii_lowercase) == before.get(2..).map(<[u8]>::to_ascii_lowercase);
            assert!(is_same || fake.said().is_empty(), "what was changed on its way is not done");
        });
    }
}
