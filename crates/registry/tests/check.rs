//! The prober, on real sockets of loopback and on a virtual clock.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod common;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::World;
use portolan_catalog::Turn;
use portolan_dialects::native::Registration;
use portolan_model::{
    Change, Health, Instance, InstanceId, Metadata, Name, NamedPort, ServiceKey, SourceId, State,
    Verdict, Weight,
    route::{Check, HttpMeans, Means, Probe},
};
use portolan_registry::{
    check::{
        Bench, Checks, Errand, Errands, Hearing, Outcome, Parts, Prober, Probing, Reach,
        ReachSettings, ReportError, ServiceCheck,
    },
    core::Subject,
};
use portolan_runtime::Env;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Keeps what it hears.
struct Listener {
    heard: mpsc::UnboundedSender<(Subject, Option<Verdict>)>,
    states: Checks,
}

impl Bench for Listener {
    fn hear<'a>(
        &'a self,
        subject: &'a Subject,
        _: SocketAddr,
        verdict: Option<Verdict>,
    ) -> Hearing<'a> {
        // Whoever is woken by the verdict looks at the checks, and comes again only with the
        // next one.
        let shown = self.states.of(subject);
        if let Some(verdict) = &verdict {
            assert!(shown.iter().any(|state| state.health == verdict.health));
        }
        self.heard.send((subject.clone(), verdict)).unwrap();
        Box::pin(async {})
    }
}

struct Probed {
    world: World,
    states: Checks,
    heard: mpsc::UnboundedReceiver<(Subject, Option<Verdict>)>,
    checks: watch::Sender<Arc<[ServiceCheck]>>,
}

fn probed() -> Probed {
    let env = Env::system();
    let settings = watch::Sender::new(ReachSettings::default());
    let reach = Reach::new(env.clone(), settings.subscribe());
    probed_by(env, Arc::new(reach))
}

fn probed_by(env: Env, errands: Arc<dyn Errands>) -> Probed {
    let mut world = World::new(env);
    let (sender, heard) = mpsc::unbounded_channel();
    let checks = watch::Sender::new(Arc::from([]));
    let prober = Prober::new(Parts {
        env: world.env.clone(),
        registry: world.registry.clone(),
        orders: world.orders.take().unwrap(),
        checks: checks.subscribe(),
        bench: Arc::new(Listener {
            heard: sender,
            states: world.checks.clone(),
        }),
        errands,
        reports: world.reports.take().unwrap(),
    });
    let states = world.checks.clone();
    let task = world.env.spawn("prober", prober.run());
    world.keep(task);
    Probed {
        world,
        states,
        heard,
        checks,
    }
}

/// Answers every request with the status that the sender holds.
async fn backend(status: u16) -> (u16, watch::Sender<u16>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let statuses = watch::Sender::new(status);
    let status = statuses.subscribe();
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\nHost: "));
            let answer = format!(
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n",
                *status.borrow()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    Env::system().spawn("backend", serving).detach();
    (port, statuses)
}

fn registration(port: u16) -> String {
    let check = json!({
        "http": {"path": "/health"}, "interval": "100ms", "rise": 1, "fall": 1,
    });
    json!({"port": port, "check": check}).to_string()
}

#[tokio::test]
async fn an_instance_is_as_healthy_as_its_check_says() {
    let probed = probed();
    let (port, statuses) = backend(200).await;
    let mut events = probed.world.watch("/v1/watch?service=orders").await;
    let path = "/v1/services/orders/instances/a";
    probed.world.call("PUT", path, &registration(port)).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let event = events.next().await.unwrap();
        if event.name == "put" {
            let words = (event.data["status"].clone(), event.data["note"].clone());
            seen.push(words);
            statuses.send_replace([200, 503, 429, 200, 200][seen.len() - 1]);
        }
    }
    assert_eq!(
        seen,
        [
            (json!("starting"), json!("waiting for its first check")),
            (json!("passing"), json!(null)),
            (json!("critical"), json!("status 503")),
            (json!("warning"), json!("status 429")),
            (json!("passing"), json!(null)),
        ]
    );
}

#[tokio::test]
async fn a_closed_port_is_told_in_plain_words() {
    let probed = probed();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut events = probed.world.watch("/v1/watch?service=orders").await;
    let path = "/v1/services/orders/instances/a";
    probed.world.call("PUT", path, &registration(port)).await;
    loop {
        let event = events.next().await.unwrap();
        if event.data["status"] == "critical" {
            assert_eq!(event.data["note"], "connection refused");
            return;
        }
    }
}

#[tokio::test]
async fn instances_of_other_sources_are_checked_by_the_configuration() {
    let mut probed = probed();
    let (port, _statuses) = backend(503).await;
    let key = ServiceKey::parse("orders").unwrap();
    let source = SourceId::new("file:edge");
    let inbox = probed.world.inboxes.open(&source, Turn::Fair);
    let instance = Instance {
        key: key.clone(),
        id: InstanceId::parse("a").unwrap(),
        endpoints: Box::new([NamedPort {
            name: Name::parse("default").unwrap(),
            address: (Ipv4Addr::LOCALHOST, port).into(),
        }]),
        zone: None,
        version: None,
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: Metadata::new(),
        source,
        state: State::default(),
    };
    let put = Change::Put {
        instance: Arc::new(instance),
    };
    inbox.commit(None, put).await.unwrap();
    let means = Means::Http(Box::new(HttpMeans::get("/health")));
    let check = ServiceCheck {
        key: key.clone(),
        port: None,
        subset: Metadata::new(),
        check: Check::from(Probe {
            interval: Duration::from_millis(100),
            ..Probe::new("http", means)
        }),
    };
    probed.checks.send_replace([check].into());
    let (subject, verdict) = probed.heard.recv().await.unwrap();
    let verdict = verdict.unwrap();
    let [state] = &*probed.states.of(&subject) else {
        panic!("it has one check")
    };
    assert_eq!(
        (state.is_configured, state.health),
        (true, Health::Critical)
    );
    assert_eq!((subject.key, verdict.health), (key, Health::Critical));
    assert_eq!(verdict.note.as_deref(), Some("status 503"));

    probed.checks.send_replace([].into());
    assert_eq!(probed.heard.recv().await.unwrap().1, None);
}

/// Answers by the address: what it says and how long that takes. Hosts that nobody set
/// let every probe time out.
#[derive(Clone)]
struct Fake {
    env: Env,
    answers: Arc<Mutex<HashMap<SocketAddr, (Outcome, Duration)>>>,
    /// Who was probed when.
    probed: Arc<Mutex<Vec<(SocketAddr, Instant)>>>,
}

impl Fake {
    fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            answers: Arc::default(),
            probed: Arc::default(),
        }
    }

    fn answer(&self, address: SocketAddr, outcome: Outcome) {
        let answer = (outcome, Duration::from_millis(1));
        self.answers.lock().unwrap().insert(address, answer);
    }

    fn times(&self, address: SocketAddr) -> Vec<Instant> {
        let probed = self.probed.lock().unwrap();
        let of_it = probed.iter().filter(|(known, _)| *known == address);
        of_it.map(|(_, at)| *at).collect()
    }
}

impl Errands for Fake {
    fn run(&self, errand: Errand) -> Probing<'_> {
        let now = self.env.instant();
        self.probed.lock().unwrap().push((errand.address, now));
        let answer = self.answers.lock().unwrap().get(&errand.address).cloned();
        Box::pin(async move {
            let silence = (Outcome::bad("timed out"), errand.probe.timeout);
            let (outcome, span) = answer.unwrap_or(silence);
            self.env.sleep(span).await;
            outcome
        })
    }
}

fn faked() -> (Probed, Fake) {
    let env = Env::virtual_time(7);
    let fake = Fake::new(&env);
    (probed_by(env, Arc::new(fake.clone())), fake)
}

impl Probed {
    async fn register(&self, id: &str, ip: Ipv4Addr, checks: serde_json::Value) -> SocketAddr {
        let body = json!({"port": 80, "address": ip, "checks": checks});
        let body: Registration = serde_json::from_value(body).unwrap();
        let caller = IpAddr::V4(ip);
        let source = self.world.registry.source();
        let key = subject(id).key;
        let id = InstanceId::parse(id).unwrap();
        let described = body.describe(key, Some(id), caller, source).unwrap();
        self.world.registry.register(None, described).await.unwrap();
        SocketAddr::new(caller, 80)
    }

    /// The health that everybody sees, and why; nothing if it is not there.
    fn seen(&self, id: &str) -> Option<(Health, String)> {
        let catalog = self.world.reader.catalog();
        let subject = subject(id);
        let service = catalog.service(&subject.key)?;
        let instance = service.instances.iter().find(|i| i.id == subject.id)?;
        let note = instance.state.note.as_deref().unwrap_or_default();
        Some((instance.state.health, note.to_owned()))
    }

    async fn pass(&self, millis: u64) {
        self.world.env.sleep(Duration::from_millis(millis)).await;
    }
}

fn subject(id: &str) -> Subject {
    Subject {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(id).unwrap(),
    }
}

fn host(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

const DEAD: u16 = 1000;

#[tokio::test(start_paused = true)]
async fn a_thousand_dead_hosts_do_not_delay_the_check_of_a_live_one() {
    let (probed, fake) = faked();
    let checks = json!([{"tcp": {}, "interval": "10s", "timeout": "10s"}]);
    for number in 1..=DEAD {
        let id = format!("dead-{number}");
        probed.register(&id, host(number), checks.clone()).await;
    }
    // One comes while a thousand probes that will time out are under way.
    let checks = json!([{"tcp": {}, "interval": "1s", "timeout": "1s", "fall": 1}]);
    let began = probed.world.env.instant();
    let address = SocketAddr::from((host(2000), 80));
    fake.answer(address, Outcome::good(""));
    probed.register("live", host(2000), checks).await;
    probed.pass(1500).await;
    let first = *fake.times(address).first().unwrap() - began;
    assert!(first <= Duration::from_secs(1), "{first:?}");
    assert_eq!(probed.seen("live").unwrap().0, Health::Passing);
    // From then on each of its probes is in time, for a minute of the dead's timeouts.
    probed.pass(60_000).await;
    let times = fake.times(address);
    for pair in times.windows(2).skip(1) {
        let apart = pair[1] - pair[0];
        assert!(apart <= Duration::from_millis(1110), "{apart:?} apart");
    }
    assert!(times.len() >= 54, "{}", times.len());
    // And when it dies, that is seen within an interval and its timeout.
    fake.answers.lock().unwrap().remove(&address);
    probed.pass(2200).await;
    let dead = (Health::Critical, "timed out".to_owned());
    assert_eq!(probed.seen("live"), Some(dead));
    // The dead are still probed, each in its turn.
    let some = fake.times(SocketAddr::from((host(DEAD), 80)));
    assert!(some.len() >= 3, "{}", some.len());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_hosts_that_die_at_once_do_not_delay_the_check_of_a_live_one() {
    let (probed, fake) = faked();
    let checks = json!([{"tcp": {}, "interval": "10s", "timeout": "5s"}]);
    for number in 1..=DEAD {
        fake.answer((host(number), 80).into(), Outcome::good(""));
        let id = format!("a-{number}");
        probed.register(&id, host(number), checks.clone()).await;
    }
    let address = SocketAddr::from((host(2000), 80));
    fake.answer(address, Outcome::good(""));
    let checks = json!([{"tcp": {}, "interval": "1s", "timeout": "1s"}]);
    probed.register("live", host(2000), checks).await;
    probed.pass(30_000).await;
    fake.answers
        .lock()
        .unwrap()
        .retain(|known, _| *known == address);
    let died = probed.world.env.instant();
    probed.pass(60_000).await;
    let times = fake.times(address);
    let after: Vec<_> = times.iter().filter(|at| **at > died).collect();
    for pair in after.windows(2) {
        let apart = *pair[1] - *pair[0];
        assert!(apart <= Duration::from_millis(1110), "{apart:?} apart");
    }
    assert!(after.len() >= 54, "{}", after.len());
}

#[tokio::test(start_paused = true)]
async fn probes_are_as_many_as_the_instances_ask_for_and_spread_over_time() {
    let (probed, fake) = faked();
    let checks = json!([{"tcp": {}, "interval": "10s"}]);
    let began = probed.world.env.instant();
    for number in 1..=500 {
        fake.answer((host(number), 80).into(), Outcome::good(""));
        let id = format!("a-{number}");
        probed.register(&id, host(number), checks.clone()).await;
    }
    probed.pass(40_000).await;
    let all = fake.probed.lock().unwrap().clone();
    let mut per_second = [0; 40];
    for (_, at) in &all {
        if let Some(count) = per_second.get_mut(usize::try_from((*at - began).as_secs()).unwrap()) {
            *count += 1;
        }
    }
    // The first comes at once, then fifty a second.
    assert!((500..=600).contains(&per_second[0]), "{per_second:?}");
    for count in &per_second[1..] {
        assert!((20..=100).contains(count), "{per_second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_check_has_its_own_verdict_and_the_worst_is_the_instance_s() {
    let (probed, fake) = faked();
    let checks = json!([
        {"tcp": {}, "interval": "1s", "fall": 1},
        {"id": "own", "ttl": "3s", "status": "passing"},
    ]);
    let address = SocketAddr::from((host(1), 80));
    fake.answer(address, Outcome::good("fine"));
    probed.register("a", host(1), checks).await;
    let waiting = "waiting for its first check".to_owned();
    assert_eq!(probed.seen("a"), Some((Health::Starting, waiting)));
    probed.pass(100).await;
    assert_eq!(probed.seen("a").unwrap().0, Health::Passing);
    let complaint = Verdict {
        health: Health::Warning,
        note: Some("the disk is nearly full".into()),
    };
    let report = |id: &'static str| {
        probed
            .states
            .report(subject("a"), id.into(), complaint.clone())
    };
    report("own").await.unwrap();
    assert_eq!(report("tcp").await, Err(ReportError::NotReported));
    assert_eq!(report("other").await, Err(ReportError::Unknown));
    probed.pass(10).await;
    let told = "own: the disk is nearly full".to_owned();
    assert_eq!(probed.seen("a"), Some((Health::Warning, told)));
    let states = probed.states.of(&subject("a"));
    let told: Vec<_> = states
        .iter()
        .map(|s| (&*s.probe.id, s.health, &*s.output))
        .collect();
    let expected = [
        ("tcp", Health::Passing, "fine"),
        ("own", Health::Warning, "the disk is nearly full"),
    ];
    assert_eq!(told, expected);
    probed.pass(3000).await;
    let told = "own: no report within 3s".to_owned();
    assert_eq!(probed.seen("a"), Some((Health::Critical, told)));
    assert_eq!(probed.states.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_stays_critical_is_deregistered_if_it_asked_for_that() {
    let (probed, fake) = faked();
    let checks = json!([{"tcp": {}, "interval": "1s", "fall": 1, "deregister_after": "30s"}]);
    fake.answer((host(1), 80).into(), Outcome::bad("connection refused"));
    fake.answer((host(2), 80).into(), Outcome::bad("connection refused"));
    probed.register("a", host(1), checks).await;
    let checks = json!([{"tcp": {}, "interval": "1s", "fall": 1}]);
    probed.register("b", host(2), checks).await;
    probed.pass(29_000).await;
    assert_eq!(probed.seen("a").unwrap().0, Health::Critical);
    probed.pass(2000).await;
    assert_eq!(probed.seen("a"), None);
    assert_eq!(probed.seen("b").unwrap().0, Health::Critical);
    let (_, told) = probed.world.call("GET", "/v1/events?limit=1", "").await;
    let event = &told["events"][0];
    assert_eq!(
        (&event["change"], &event["id"]),
        (&json!("remove"), &json!("a"))
    );
    assert_eq!(
        event["origin"],
        json!({"source": "registry", "actor": "check"})
    );
    assert!(probed.states.of(&subject("a")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_alias_follows_whom_it_is_for() {
    let (probed, fake) = faked();
    let address = SocketAddr::from((host(1), 80));
    fake.answer(address, Outcome::good(""));
    let checks = json!([{"alias": {"service": "orders", "instance": "b"}}]);
    probed.register("a", host(9), checks).await;
    probed.pass(10).await;
    let (health, note) = probed.seen("a").unwrap();
    assert_eq!(health, Health::Critical);
    assert!(note.ends_with("b is not there"), "{note}");
    let checks = json!([{"tcp": {}, "interval": "1s", "fall": 1}]);
    probed.register("b", host(1), checks).await;
    probed.pass(100).await;
    assert_eq!(probed.seen("a").unwrap().0, Health::Passing);
    fake.answer(address, Outcome::bad("refused"));
    probed.pass(1200).await;
    assert_eq!(probed.seen("a").unwrap().0, Health::Critical);
    fake.answer(address, Outcome::good(""));
    probed.pass(1200).await;
    assert_eq!(probed.seen("a").unwrap().0, Health::Passing);
}

#[tokio::test(start_paused = true)]
async fn a_departed_instance_s_probe_is_given_up() {
    let (probed, fake) = faked();
    let checks = json!([{"tcp": {}, "interval": "1s", "timeout": "1h"}]);
    let address = probed.register("a", host(1), checks.clone()).await;
    probed.pass(10).await;
    let registry = &probed.world.registry;
    registry.deregister(None, subject("a"), None).await.unwrap();
    fake.answer(address, Outcome::good(""));
    probed.register("a", host(1), checks).await;
    probed.pass(10).await;
    assert_eq!(probed.seen("a").unwrap().0, Health::Passing);
}

#[tokio::test]
async fn checks_are_shown_and_told_one_by_one() {
    let probed = probed();
    let world = &probed.world;
    let path = "/v1/services/orders/instances/a";
    let checks = json!([{"ttl": "1m"}, {"script": {"command": ["true"]}, "fall": 1}]);
    let body = json!({"port": 80, "checks": checks}).to_string();
    assert_eq!(world.call("PUT", path, &body).await.0, 201);
    let report = json!({"status": "warning", "note": "slow"}).to_string();
    let (status, told) = world
        .call("PUT", &format!("{path}/checks/ttl"), &report)
        .await;
    assert_eq!((status, &told["status"]), (200, &json!("warning")));
    assert_eq!(
        (&told["note"], &told["kind"]),
        (&json!("slow"), &json!("ttl"))
    );
    let (status, list) = world.call("GET", &format!("{path}/checks"), "").await;
    let ids = [&list["checks"][0]["id"], &list["checks"][1]["id"]];
    assert_eq!((status, ids), (200, [&json!("ttl"), &json!("script")]));
    for (method, id, expected) in [
        ("GET", "script", 200),
        ("PUT", "script", 409),
        ("PUT", "none", 404),
        ("GET", "none", 404),
        ("POST", "ttl", 405),
    ] {
        let path = format!("{path}/checks/{id}");
        assert_eq!(
            world.call(method, &path, "{}").await.0,
            expected,
            "{method} {id}"
        );
    }
    let absent = "/v1/services/orders/instances/z/checks";
    assert_eq!(world.call("GET", absent, "").await.0, 404);
}
