//! Claims about the `dns` source.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, SOA, SRV},
    },
};
use portolan_catalog::{Fold, GuardSettings, Inflow, News, Saying, Turn, inboxes};
use portolan_model::{Change, Revision, RevisionClock, SourceId, Weight, route::HostPort};
use portolan_runtime::{Env, Task};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
};

use super::{
    linger::Linger,
    map::{ADDRESSES_MAX, Answer, Known, Place, Report, View},
    records::{KnownRecords, RecordsAnswer, ServiceRecord},
    resolve::{Answering, AnsweringRecords, Resolve, Resolver, Version},
    settings::{self, Family, Limits, Settings, Target},
    watch::DnsSource,
};

const LIMITS: Limits = Limits {
    min_ttl: Duration::from_secs(1),
    max_ttl: Duration::from_mins(1),
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn found(texts: &[&str], seconds: u64) -> Answer {
    Answer::Addresses(ips(texts), secs(seconds))
}

fn failed() -> Answer {
    Answer::Failed("request timed out".to_owned())
}

fn nothing() -> Answer {
    Answer::Nothing(None)
}

fn host(text: &str) -> HostPort {
    let (host, port) = text.rsplit_once(':').unwrap();
    HostPort {
        host: host.to_owned(),
        port: port.parse().unwrap(),
    }
}

fn target(text: &str) -> Target {
    if text.starts_with('_') {
        return Target::Records(text.to_owned());
    }
    Target::Host(host(text))
}

#[test]
fn lifetimes_are_kept_within_their_limits() {
    let mut known = Known::default();
    for (ttl, pause) in [(0, 1), (1, 1), (30, 30), (60, 60), (61, 60)] {
        let answers = (found(&["10.0.0.1"], ttl), nothing());
        assert_eq!(
            known.take(answers, Family::PreferIpv4, LIMITS).1,
            secs(pause),
            "{ttl}"
        );
    }
    let shortest = (found(&["10.0.0.1"], 9), found(&["::1"], 3));
    assert_eq!(known.take(shortest, Family::Both, LIMITS).1, secs(3));
    for (ttl, pause) in [(None, 5), (Some(secs(9)), 9), (Some(secs(900)), 30)] {
        let answers = (Answer::Nothing(ttl), nothing());
        assert_eq!(
            known.take(answers, Family::PreferIpv4, LIMITS).1,
            secs(pause)
        );
    }
}

#[test]
fn failures_keep_what_was_known_and_are_retried_ever_later() {
    let mut known = Known::default();
    known.take(
        (found(&["10.0.0.1"], 1), nothing()),
        Family::PreferIpv4,
        LIMITS,
    );
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let (report, again) = known.take((failed(), failed()), Family::PreferIpv4, LIMITS);
        assert_eq!((report.addresses, again), (ips(&["10.0.0.1"]), secs(pause)));
        assert_eq!(report.failure.as_deref(), Some("request timed out"));
    }
    let (report, _) = known.take(
        (found(&["10.0.0.2"], 1), nothing()),
        Family::PreferIpv4,
        LIMITS,
    );
    assert_eq!(
        (report.addresses, report.failure),
        (ips(&["10.0.0.2"]), None)
    );
    assert_eq!(
        known
            .take((failed(), failed()), Family::PreferIpv4, LIMITS)
            .1,
        secs(1)
    );
}

#[test]
fn addresses_of_one_family_are_an_answer() {
    let mut known = Known::default();
    known.take(
        (found(&["10.0.0.1"], 1), found(&["::1"], 1)),
        Family::Both,
        LIMITS,
    );
    let (report, _) = known.take((failed(), found(&["::2"], 1)), Family::Both, LIMITS);
    assert_eq!(
        (report.addresses, report.failure),
        (ips(&["10.0.0.1", "::2"]), None)
    );
}

#[test]
fn ipv6_counts_only_where_there_is_no_ipv4() {
    let mut known = Known::default();
    let both = || (found(&["10.0.0.1"], 1), found(&["::1"], 1));
    assert_eq!(
        known.take(both(), Family::PreferIpv4, LIMITS).0.addresses,
        ips(&["10.0.0.1"])
    );
    let only = (nothing(), found(&["::1"], 1));
    assert_eq!(
        known.take(only, Family::PreferIpv4, LIMITS).0.addresses,
        ips(&["::1"])
    );
}

#[test]
fn addresses_past_the_limit_do_not_count() {
    let addresses = |count: u32| (1..=count).map(|n| IpAddr::from(n.to_be_bytes())).collect();
    for count in [ADDRESSES_MAX, ADDRESSES_MAX + 1] {
        let answer = Answer::Addresses(addresses(u32::try_from(count).unwrap()), secs(1));
        let (report, _) = Known::default().take((answer, nothing()), Family::Ipv4, LIMITS);
        assert_eq!(report.addresses.len(), ADDRESSES_MAX);
    }
}

fn problems(settings: &serde_json::Value) -> Vec<String> {
    let problems = settings::parse(settings).unwrap_err();
    problems
        .iter()
        .map(|problem| format!("{} {}", problem.path, problem.message))
        .collect()
}

#[test]
fn every_problem_of_the_settings_is_named() {
    assert_eq!(
        problems(&json!({
            "hosts": ["a", "a:0", "a b:1", "A:1", "a:1", 7, "::1:1"],
            "resolvers": ["dns.google"], "family": "ipx", "max_ttl": "1ms", "ttl": 3
        })),
        [
            "/hosts/5 this is not a text",
            "/hosts/0 `a` has no port",
            "/hosts/1 the port of `a:0` is not a number from 1 to 65535",
            "/hosts/2 `a b:1` is not a host name and a port",
            "/hosts/4 `a:1` is named twice",
            "/resolvers/0 `dns.google` is not an IP address, with or without a port",
            "/family there is no family `ipx`",
            "/max_ttl `1ms` is not between 1s and 86400s",
            "/ttl there is no field `ttl`",
        ]
    );
    assert_eq!(problems(&json!({})), ["/hosts a `dns` source needs hosts"]);
}

#[test]
fn hosts_are_refused_at_one_past_the_limit() {
    let hosts = |count: usize| (0..count).map(|n| format!("h{n}:1")).collect::<Vec<_>>();
    assert!(settings::parse(&json!({"hosts": hosts(settings::HOSTS_MAX)})).is_ok());
    assert_eq!(
        problems(&json!({"hosts": hosts(settings::HOSTS_MAX + 1)})),
        ["/hosts there are more than 1000 hosts"]
    );
}

#[test]
fn the_source_of_upstreams_is_the_one_that_a_person_would_write() {
    let written = settings::parse(&json!({"hosts": ["API.internal:8080"]})).unwrap();
    let built = settings::for_hosts(&[host("api.internal:8080")]);
    assert!(written.same_as(built.as_ref()));
    assert!(!written.same_as(settings::for_hosts(&[host("api.internal:8081")]).as_ref()));
}

/// Answers what it is told to, at once.
#[derive(Default)]
struct Scripted(
    Mutex<BTreeMap<String, Answer>>,
    Mutex<Option<RecordsAnswer>>,
);

impl Scripted {
    fn says(&self, host: &str, answer: Answer) {
        self.0.lock().unwrap().insert(host.to_owned(), answer);
    }

    fn lists(&self, answer: RecordsAnswer) {
        *self.1.lock().unwrap() = Some(answer);
    }
}

impl Resolve for Scripted {
    fn ask<'a>(&'a self, host: &'a str, version: Version) -> Answering<'a> {
        let answer = match version {
            Version::Ipv4 => self.0.lock().unwrap().get(host).cloned(),
            Version::Ipv6 => None,
        };
        Box::pin(async move { answer.unwrap_or(nothing()) })
    }

    fn records<'a>(&'a self, _name: &'a str) -> AnsweringRecords<'a> {
        let answer = self.1.lock().unwrap().clone();
        Box::pin(async move { answer.unwrap_or(RecordsAnswer::Nothing(None)) })
    }
}

/// A source that asks a script, and the fold that listens.
struct Running {
    inflow: Inflow,
    fold: Fold,
    env: Env,
    script: Arc<Scripted>,
    _source: Task,
}

impl Running {
    fn start(hosts: &[&str], script: Scripted) -> Self {
        let env = Env::virtual_time(7);
        let (mut hub, inflow) = inboxes();
        let id = SourceId::new("dns");
        let settings = Settings {
            hosts: hosts.iter().map(|text| target(text)).collect(),
            ..Settings::default()
        };
        let source = DnsSource::new(settings, id.clone(), env.clone());
        let inbox = hub.open(&id, Turn::Fair);
        let script = Arc::new(script);
        let shared: Arc<dyn Resolve> = Arc::clone(&script) as _;
        let resolver = watch::Sender::new(shared);
        let run = async move {
            source.ask_all(&resolver, &inbox).await.unwrap();
        };
        let now = env.now();
        Self {
            inflow,
            fold: Fold::new(
                GuardSettings::default(),
                RevisionClock::new(Revision::FIRST),
                now,
            ),
            _source: env.spawn("source", run),
            env,
            script,
        }
    }

    /// Folds what is said within a span.
    async fn listen(&mut self, span: Duration) {
        let end = self.env.instant().checked_add(span).unwrap();
        loop {
            let left = end.saturating_duration_since(self.env.instant());
            match self.env.timeout(left, self.inflow.batch(1)).await {
                Ok(batch) => {
                    for arrival in batch {
                        self.fold.apply(self.env.now(), arrival.saying);
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn ids(&self, service: &str) -> Option<Vec<String>> {
        let catalog = self.fold.catalog();
        let service = catalog.service(&service.parse().unwrap())?;
        let instances = service.instances.iter();
        Some(instances.map(|instance| instance.id.to_string()).collect())
    }

    fn reason(&self) -> Option<String> {
        let catalog = self.fold.catalog();
        let stale = catalog.sources()[0].stale.as_ref()?;
        Some(stale.reason.to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_is_a_service_and_its_addresses_are_instances() {
    let script = Scripted::default();
    script.says("api.internal", found(&["10.0.0.1", "10.0.0.2"], 10));
    let mut running = Running::start(&["api.internal:8080", "gone.internal:1"], script);
    running.listen(secs(1)).await;
    let ids = running.ids("dns/api.internal:8080").unwrap();
    assert_eq!(ids, ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert_eq!(running.ids("dns/gone.internal:1"), Some(vec![]));
    assert_eq!(running.reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_host_is_asked_again_when_its_answer_is_over_and_not_before() {
    let script = Scripted::default();
    script.says("api", found(&["10.0.0.1"], 10));
    let mut running = Running::start(&["api:80"], script);
    running.listen(secs(1)).await;
    running.script.says("api", found(&["10.0.0.9"], 10));
    running.listen(secs(8)).await;
    assert_eq!(running.ids("dns/api:80").unwrap(), ["10.0.0.1:80"]);
    running.listen(secs(3)).await;
    assert_eq!(running.ids("dns/api:80").unwrap(), ["10.0.0.9:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_keeps_its_addresses_for_the_hold() {
    let script = Scripted::default();
    script.says("api", found(&["10.0.0.1", "10.0.0.2"], 1));
    let mut running = Running::start(&["api:80"], script);
    running.listen(secs(1)).await;
    running.script.says("api", nothing());
    running.listen(secs(9)).await;
    assert_eq!(running.ids("dns/api:80").unwrap().len(), 2);
    assert_eq!(running.fold.catalog().sources()[0].held, 2);
    running.listen(secs(300)).await;
    // No pass of the guard takes a service from several to none.
    let mut now = running.env.now();
    for left in [1, 0] {
        running.fold.tick(now);
        assert_eq!(running.ids("dns/api:80").unwrap().len(), left);
        now = now.max(running.fold.next_deadline().unwrap_or(now));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_never_empties_a_service() {
    let script = Scripted::default();
    script.says("api", found(&["10.0.0.1"], 1));
    script.says("web", found(&["10.0.0.2"], 1));
    let mut running = Running::start(&["api:80", "web:80"], script);
    running.listen(secs(1)).await;
    running.script.says("api", failed());
    running.listen(secs(3600)).await;
    running.fold.tick(running.env.now());
    assert_eq!(running.ids("dns/api:80").unwrap(), ["10.0.0.1:80"]);
    assert_eq!(running.reason().unwrap(), "api: request timed out");
    running.script.says("web", found(&["10.0.0.3"], 1));
    running.listen(secs(10)).await;
    assert_eq!(running.ids("dns/web:80").unwrap(), ["10.0.0.3:80"]);
    assert_eq!(running.reason().unwrap(), "api: request timed out");
    running.script.says("api", found(&["10.0.0.1"], 1));
    running.listen(secs(60)).await;
    assert_eq!(running.reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_at_the_start_holds_up_no_other() {
    let script = Scripted::default();
    script.says("api", found(&["10.0.0.1"], 1));
    script.says("bad", failed());
    let mut running = Running::start(&["bad:80", "api:80"], script);
    running.listen(secs(1)).await;
    assert_eq!(running.ids("dns/api:80").unwrap(), ["10.0.0.1:80"]);
    assert_eq!(running.reason().unwrap(), "bad: request timed out");
    assert_eq!(running.ids("dns/bad:80"), None);
    running.script.says("api", found(&["10.0.0.2"], 1));
    running.listen(secs(120)).await;
    assert_eq!(running.ids("dns/api:80").unwrap(), ["10.0.0.2:80"]);
    assert_eq!(running.ids("dns/bad:80"), None, "nobody answered for it");
    assert_eq!(running.reason().unwrap(), "bad: request timed out");
    running.script.says("bad", nothing());
    running.listen(secs(60)).await;
    assert_eq!(running.ids("dns/bad:80"), Some(vec![]));
    assert_eq!(running.reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_replaced_in_an_outage_loses_nothing() {
    let script = Scripted::default();
    script.says("api", found(&["10.0.0.1"], 1));
    script.says("web", failed());
    let mut running = Running::start(&["api:80", "web:80"], script);
    let saying = |instance: &str| {
        let address: SocketAddr = instance.parse().unwrap();
        let view = View::of(
            &SourceId::new("dns"),
            [(
                &target("web:80"),
                &Some(Report {
                    addresses: vec![address.ip()],
                    ..Report::default()
                }),
            )],
        );
        let instance = view.instances.into_values().next().unwrap();
        News::Said(Change::Put { instance })
    };
    for news in [saying("10.0.0.7:80"), News::Replaced] {
        let saying = Saying {
            source: SourceId::new("dns"),
            actor: None,
            news,
        };
        running.fold.apply(running.env.now(), saying);
    }
    // An outage may last, and the guard is told that what was replaced needs no hold.
    running.listen(secs(3600)).await;
    assert_eq!(running.ids("dns/web:80").unwrap(), ["10.0.0.7:80"]);
    assert_eq!(running.reason().unwrap(), "web: request timed out");
    running.script.says("web", found(&["10.0.0.8"], 1));
    running.listen(secs(60)).await;
    assert_eq!(running.ids("dns/web:80").unwrap(), ["10.0.0.8:80"]);
    assert_eq!(running.reason(), None);
}

fn record(host: &str, port: u16, priority: u16, weight: u16) -> ServiceRecord {
    ServiceRecord {
        host: host.to_owned(),
        port,
        priority,
        weight,
    }
}

fn records(records: &[ServiceRecord]) -> RecordsAnswer {
    RecordsAnswer::Records(records.to_vec(), secs(5))
}

const RECORDS: &str = "_http._tcp.api.internal";

#[tokio::test(start_paused = true)]
async fn records_of_a_service_give_ports_and_weights() {
    let script = Scripted::default();
    script.says("one", found(&["10.0.0.1"], 60));
    script.says("two", found(&["10.0.0.2", "10.0.0.3"], 60));
    script.says("spare", found(&["10.0.0.9"], 60));
    script.lists(records(&[
        record("one", 8081, 10, 300),
        record("two", 8082, 10, 0),
        record("spare", 8089, 20, 1),
    ]));
    let mut running = Running::start(&[RECORDS], script);
    running.listen(secs(1)).await;
    let service = format!("dns/{RECORDS}");
    assert_eq!(
        running.ids(&service).unwrap(),
        ["10.0.0.1:8081", "10.0.0.2:8082", "10.0.0.3:8082"]
    );
    let catalog = running.fold.catalog();
    let instances = &catalog
        .service(&service.parse().unwrap())
        .unwrap()
        .instances;
    let weights: Vec<_> = instances.iter().map(|one| one.weight.as_u16()).collect();
    assert_eq!(weights, [300, 1, 1]);
    assert_eq!(
        instances[1].metadata.get("host").map(|text| &**text),
        Some("two")
    );
    // The records are asked for again when they are over.
    running.script.lists(records(&[record("two", 8090, 10, 0)]));
    running.listen(secs(7)).await;
    let ids = running.ids(&service).unwrap();
    assert!(ids.contains(&"10.0.0.2:8090".to_owned()), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn records_that_fail_keep_what_they_led_to() {
    let script = Scripted::default();
    script.says("one", found(&["10.0.0.1"], 1));
    script.lists(records(&[record("one", 80, 1, 1)]));
    let mut running = Running::start(&[RECORDS], script);
    running.listen(secs(1)).await;
    running
        .script
        .lists(RecordsAnswer::Failed("request timed out".to_owned()));
    running.listen(secs(60)).await;
    assert_eq!(
        running.ids(&format!("dns/{RECORDS}")).unwrap(),
        ["10.0.0.1:80"]
    );
    assert_eq!(
        running.reason().unwrap(),
        format!("{RECORDS}: request timed out")
    );
    running.script.lists(records(&[record("one", 80, 1, 1)]));
    running.script.says("one", failed());
    running.listen(secs(60)).await;
    assert_eq!(
        running.ids(&format!("dns/{RECORDS}")).unwrap(),
        ["10.0.0.1:80"]
    );
    assert_eq!(
        running.reason().unwrap(),
        format!("{RECORDS}: one: request timed out")
    );
}

#[test]
fn the_next_priority_counts_only_where_the_first_leads_nowhere() {
    let mut known = KnownRecords::default();
    known.take(
        records(&[record("a", 1, 5, 0), record("b", 2, 9, 0)]),
        LIMITS,
    );
    known.take_host(
        "b",
        (found(&["10.0.0.2"], 1), nothing()),
        (Family::Ipv4, LIMITS),
    );
    let places = |known: &KnownRecords| {
        let places = known.report(None).places.into_iter();
        places
            .map(|place| (place.address.to_string(), place.weight.as_u16()))
            .collect::<Vec<_>>()
    };
    assert_eq!(places(&known), [("10.0.0.2:2".to_owned(), 100)]);
    known.take_host(
        "a",
        (found(&["10.0.0.1"], 1), nothing()),
        (Family::Ipv4, LIMITS),
    );
    assert_eq!(places(&known), [("10.0.0.1:1".to_owned(), 100)]);
    let (failure, pause) = known.take(RecordsAnswer::Nothing(Some(secs(900))), LIMITS);
    assert_eq!((failure, pause), (None, secs(30)));
    assert_eq!(places(&known), []);
}

#[test]
fn names_of_records_are_told_from_hosts() {
    let read = |text: &str| settings::parse(&json!({"hosts": [text]})).map(|_| ());
    for good in ["_http._tcp.api.internal", "_grpc._tcp.a.", "a_b:80"] {
        assert!(read(good).is_ok(), "{good}");
    }
    for bad in ["_http.api.internal", "_http._tcp.api:80", "_http", "_"] {
        let problems = read(bad).unwrap_err();
        assert!(
            problems[0].message.contains("service's records"),
            "{bad}: {problems:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_stay_for_a_while_where_answers_are_a_few_out_of_many() {
    let now = Env::virtual_time(1).instant();
    let mut linger = Linger::default();
    let mut over = |texts: &[&str], at: u64| {
        let report = Report {
            addresses: ips(texts),
            ..Report::default()
        };
        linger.over(report, secs(10), now + secs(at)).addresses
    };
    assert_eq!(over(&["10.0.0.1"], 0), ips(&["10.0.0.1"]));
    assert_eq!(over(&["10.0.0.2"], 5), ips(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(over(&["10.0.0.2"], 11), ips(&["10.0.0.2"]));
    assert_eq!(
        over(&[], 12),
        ips(&[]),
        "a name that has nothing has nothing"
    );
}

#[test]
fn what_lingers_is_bounded_and_never_in_the_way_of_what_is_named_now() {
    let now = Env::virtual_time(1).instant();
    let mut linger = Linger::default();
    let answer = |round: u8, number: u8| IpAddr::from([10, 0, round, number]);
    for round in (0..100).rev() {
        let addresses: Vec<_> = (0..100).map(|number| answer(round, number)).collect();
        let places = addresses.iter().map(|ip| Place {
            address: SocketAddr::new(*ip, 80),
            weight: Weight::NORMAL,
            host: "a".to_owned(),
            priority: 0,
        });
        let report = Report {
            places: places.collect(),
            addresses: addresses.clone(),
            ..Report::default()
        };
        let at = now + secs(u64::from(100 - round));
        let said = linger.over(report, secs(3600), at);
        assert!(said.addresses.len() <= 256 && said.places.len() <= 256);
        assert!(addresses.iter().all(|ip| said.addresses.contains(ip)));
        let is_place = |ip: &IpAddr| said.places.iter().any(|one| one.address.ip() == *ip);
        assert!(addresses.iter().all(is_place), "round {round}");
        // Then those that were named last.
        if round < 99 {
            assert!(said.addresses.contains(&answer(round + 1, 99)));
        }
        assert!(linger.len() <= 512, "{} are remembered", linger.len());
    }
}

/// A DNS server on a free port that knows a few names.
struct Server {
    address: SocketAddr,
    _tasks: [Task; 2],
}

impl Server {
    async fn start(env: &Env) -> Self {
        let (socket, listener) = Self::sockets().await;
        let address = socket.local_addr().unwrap();
        let serve_streams = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _gone = Self::serve_stream(stream).await;
            }
        };
        let serve = async move {
            let mut buffer = [0; 4096];
            while let Ok((bytes, client)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..bytes]).unwrap();
                if let Some(answer) = Self::answer(&question).map(cut) {
                    socket
                        .send_to(&answer.to_vec().unwrap(), client)
                        .await
                        .unwrap();
                }
            }
        };
        Self {
            address,
            _tasks: [
                env.spawn("fake dns", serve),
                env.spawn("fake dns streams", serve_streams),
            ],
        }
    }

    async fn serve_stream(mut stream: TcpStream) -> io::Result<()> {
        loop {
            let size = stream.read_u16().await?;
            let mut question = vec![0; size.into()];
            stream.read_exact(&mut question).await?;
            let question = Message::from_vec(&question).unwrap();
            let Some(answer) = Self::answer(&question) else {
                return Ok(());
            };
            let answer = answer.to_vec().unwrap();
            let size = u16::try_from(answer.len()).unwrap();
            stream.write_u16(size).await?;
            stream.write_all(&answer).await?;
        }
    }

    /// Of both kinds on one port; somebody else may have the one that is free for the other.
    async fn sockets() -> (UdpSocket, TcpListener) {
        loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            if let Ok(listener) = TcpListener::bind(address).await {
                return (socket, listener);
            }
        }
    }

    fn answer(question: &Message) -> Option<Message> {
        let query = question.queries[0].clone();
        let (name, kind) = (query.name().clone(), query.query_type());
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        let target = Name::from_ascii("target.internal.").unwrap();
        match (name.to_ascii().trim_end_matches('.'), kind) {
            ("api.internal", RecordType::A) => {
                answer.add_answer(Record::from_rdata(
                    name.clone(),
                    30,
                    RData::CNAME(CNAME(target.clone())),
                ));
                let addresses = [A::new(10, 0, 0, 1), A::new(10, 0, 0, 2)];
                answer.add_answers(
                    addresses.map(|ip| Record::from_rdata(target.clone(), 90, RData::A(ip))),
                );
            }
            ("many.internal", RecordType::A) => {
                let addresses = (1..=200).map(|n| A::new(10, 1, 0, n));
                answer.add_answers(
                    addresses.map(|ip| Record::from_rdata(name.clone(), 60, RData::A(ip))),
                );
            }
            (RECORDS, RecordType::SRV) => {
                let records = [
                    SRV::new(1, 2, 8080, target.clone()),
                    SRV::new(9, 0, 81, Name::root()),
                ];
                answer.add_answers(
                    records.map(|srv| Record::from_rdata(name.clone(), 60, RData::SRV(srv))),
                );
            }
            ("broken.internal", _) => answer.metadata.response_code = ResponseCode::ServFail,
            ("silent.internal", _) => return None,
            ("api.internal", _) => {}
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        let soa = SOA::new(target.clone(), target.clone(), 1, 1, 1, 1, 7);
        answer.add_authority(Record::from_rdata(target, 20, RData::SOA(soa)));
        Some(answer)
    }
}

/// What fits into a datagram of a server that has not much room.
fn cut(mut answer: Message) -> Message {
    if answer.answers.len() > 100 {
        answer.answers.clear();
        answer.metadata.truncation = true;
    }
    answer
}

async fn resolver() -> (Resolver, Server) {
    let server = Server::start(&Env::system()).await;
    let settings = Settings {
        resolvers: vec![server.address],
        timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    (Resolver::open(&settings), server)
}

#[tokio::test]
async fn a_server_is_asked_and_a_chain_lives_as_long_as_its_shortest_link() {
    let (resolver, _server) = resolver().await;
    let answer = resolver.ask("api.internal", Version::Ipv4).await;
    assert_eq!(answer, found(&["10.0.0.1", "10.0.0.2"], 30));
    let answer = resolver.ask("api.internal", Version::Ipv6).await;
    assert_eq!(answer, Answer::Nothing(Some(secs(7))));
}

#[tokio::test]
async fn an_answer_that_was_cut_is_asked_for_over_tcp() {
    let (resolver, _server) = resolver().await;
    let answer = resolver.ask("many.internal", Version::Ipv4).await;
    assert!(
        matches!(&answer, Answer::Addresses(found, _) if found.len() == 200),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_server_is_asked_for_the_records_of_a_service() {
    let (resolver, _server) = resolver().await;
    let answer = resolver.records(RECORDS).await;
    let expected = RecordsAnswer::Records(vec![record("target.internal", 8080, 1, 2)], secs(60));
    assert_eq!(answer, expected);
    let answer = resolver.records("_no._tcp.internal").await;
    assert_eq!(answer, RecordsAnswer::Nothing(Some(secs(7))));
}

#[tokio::test]
async fn an_unknown_name_is_nothing_and_not_a_failure() {
    let (resolver, _server) = resolver().await;
    let answer = resolver.ask("unknown.internal", Version::Ipv4).await;
    assert_eq!(answer, Answer::Nothing(Some(secs(7))));
}

#[tokio::test]
async fn a_server_that_fails_or_is_silent_is_a_failure() {
    let (resolver, _server) = resolver().await;
    for host in ["broken.internal", "silent.internal"] {
        let answer = resolver.ask(host, Version::Ipv4).await;
        assert!(matches!(answer, Answer::Failed(_)), "{host}: {answer:?}");
    }
}

#[tokio::test]
async fn some_names_need_no_server() {
    let (resolver, server) = resolver().await;
    drop(server);
    for (host, version, ip) in [
        ("localhost", Version::Ipv4, "127.0.0.1"),
        ("api.localhost", Version::Ipv4, "127.0.0.1"),
        ("10.1.2.3", Version::Ipv4, "10.1.2.3"),
        ("::5", Version::Ipv6, "::5"),
    ] {
        let answer = resolver.ask(host, version).await;
        assert!(
            matches!(&answer, Answer::Addresses(found, _) if found.contains(&ip.parse().unwrap())),
            "{host}: {answer:?}"
        );
    }
    assert!(matches!(
        resolver.ask("10.1.2.3", Version::Ipv6).await,
        Answer::Nothing(_)
    ));
}

#[tokio::test]
async fn a_whole_source_finds_a_host_by_a_real_server() {
    let env = Env::system();
    let server = Server::start(&env).await;
    let spec = settings::parse(&json!({
        "hosts": ["api.internal:8080"], "resolvers": [server.address.to_string()]
    }));
    let id = SourceId::new("dns");
    let (mut hub, mut inflow) = inboxes();
    let source = spec.unwrap().build(&id, &env);
    let _running = env.spawn("source", source.run(hub.open(&id, Turn::Fair)));
    let now = env.now();
    let mut fold = Fold::new(
        GuardSettings::default(),
        RevisionClock::new(Revision::FIRST),
        now,
    );
    for arrival in inflow.batch(1).await {
        fold.apply(env.now(), arrival.saying);
    }
    let catalog = fold.catalog();
    let service = catalog
        .service(&"dns/api.internal:8080".parse().unwrap())
        .unwrap();
    assert_eq!(service.instances[0].id.as_str(), "10.0.0.1:8080");
}
