//! A panic in one request is told, counted, and no other request's business.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

use std::{net::SocketAddr, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use portolan_balance::Board;
use portolan_catalog::inboxes;
use portolan_config::{Outside, Shelves, read};
use portolan_gateway::{Gateway, Shared};
use portolan_model::{Revision, Timestamp};
use portolan_policy::{Answer, Exchange, ParsedPolicy, Phase, Policy, PolicyKind, PolicySpec};
use portolan_runtime::{Env, sockets::Sockets};
use portolan_snapshot::{Parts, Publisher};
use portolan_telemetry::{DnsFacts, Facts, Meters, Usage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A policy with a defect: it panics for `/panic`.
const DEFECT: PolicyKind = PolicyKind {
    name: "defect",
    summary: "Panics.",
    schema: || serde_json::json!({ "type": "object" }),
    example: "defect: {}",
    bad_example: "defect: 1",
    parse: |_| ParsedPolicy::Ok(Arc::new(Defect)),
};

#[derive(Clone, Debug)]
struct Defect;

impl PolicySpec for Defect {
    fn phase(&self) -> Phase {
        Phase::Shape
    }

    fn build(&self, _: &Env) -> Arc<dyn Policy> {
        Arc::new(self.clone())
    }
}

impl Policy for Defect {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Answer<'a> {
        assert_ne!(exchange.head.path(), "/panic", "the defect");
        let fault = portolan_policy::Fault::new(portolan_model::Cause::Denied, "no more than that");
        Answer::Now(portolan_policy::Flow::Fail(Box::new(fault)))
    }
}

const CONFIGURATION: &str = "
gateway: {workers: 1}
listeners: {web: {address: 127.0.0.1:0}}
routes:
  all: {policies: [defect: {}], target: nobody}
upstreams:
  nobody: {addresses: ['127.0.0.1:9']}
";

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_is_a_counted_500_and_the_next_request_is_served() {
    let env = Env::system();
    let outside = Outside {
        shelves: Shelves {
            policies: &[DEFECT],
            sources: &[],
            balancers: portolan_balance::KINDS,
        },
        folder: Path::new(""),
        ..Outside::default()
    };
    let plan = Arc::new(read("test.yaml", CONFIGURATION, &outside).unwrap());
    let meters = Arc::new(Meters::new(1));
    let board = Board::new(1);
    let (_hub, inflow) = inboxes();
    let parts = Parts {
        env: env.clone(),
        meters: Arc::clone(&meters),
        board: Arc::clone(&board),
        inflow,
        revision: Revision::FIRST,
    };
    let (publisher, view, _plans) = Publisher::new(parts, &plan);
    let _publisher = env.spawn("publisher", publisher.run());
    let shared = Shared {
        env: env.clone(),
        view,
        board,
        meters: Arc::clone(&meters),
        access: None,
        client_tls: Arc::default(),
        gates: Arc::default(),
        start: env.instant(),
        pseudonym: "test".into(),
    };
    let mut gateway = Gateway::start(shared, NonZeroUsize::MIN).unwrap();
    let mut sockets = Sockets::default();
    gateway.apply(&plan, &mut sockets).unwrap();
    let address = gateway.addresses().next().unwrap().1;

    let answer = ask(address, "/panic").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("proxy_internal_error"), "{answer}");
    let answer = ask(address, "/fine").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(gateway.is_alive());
    let mut page = String::new();
    meters.expose(&nothing(), &mut page);
    let counted = "portolan_panics_total{worker=\"0\"} 1";
    assert!(page.contains(counted), "{page}");
    gateway.drain(Duration::from_secs(5)).await.unwrap();
}

/// There is no DNS server.
static NO_DNS: DnsFacts = DnsFacts {
    answers: Vec::new(),
    dropped: Vec::new(),
    forwarded: Vec::new(),
    remembered: 0,
    recursors: 0,
    truncated: 0,
    latency: Vec::new(),
    latency_micros: 0,
};

fn nothing() -> Facts<'static> {
    Facts {
        version: "test",
        started: Timestamp::default(),
        revision: Revision::FIRST,
        services: 0,
        instances: 0,
        stale_sources: 0,
        sources: &[],
        is_store_healthy: true,
        ledger: portolan_telemetry::LedgerFacts::default(),
        guard: portolan_telemetry::GuardFacts::default(),
        dns: &NO_DNS,
        denied: &[],
        lines_dropped: 0,
        usage: Usage::default(),
    }
}
