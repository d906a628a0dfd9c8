//! Claims about whole queries and whole answers, read by another codec than ours.

mod names;
mod protocol;
mod streams;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use hickory_proto::op::Message;
use portolan_balance::Board;
use portolan_catalog::{Inbox, InboxHub, Turn, inboxes};
use portolan_config::{Outside, Plan, Shelves, read};
use portolan_model::{
    Change, Departure, Instance, InstanceId, Name, NamedPort, Revision, ServiceKey, SourceId,
    State, Weight,
};
use portolan_runtime::{Env, Task, drain::Drain};
use portolan_snapshot::{Parts, Publisher, View};
use portolan_telemetry::Meters;

use crate::{
    Gateway, Peer, Transport,
    engine::{Asked, Engine, Hand, Outcome},
    settings::Settings,
    wire::{Code, kind},
};

/// The zones of all tests.
const DNS: &str = "zones: [portolan.internal], kubernetes: [cluster.local]";

/// A publisher, and a server that answers by what it publishes.
pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    /// Of its connections.
    pub(super) drain: Drain,
    inbox: Inbox,
    _view: View,
    _hub: InboxHub,
    _publisher: Task,
}

fn plan(dns: &str) -> Plan {
    let outside = Outside {
        shelves: Shelves {
            policies: &[],
            sources: &[],
            balancers: portolan_balance::KINDS,
        },
        folder: Path::new(""),
        ..Outside::default()
    };
    let text = format!("dns: {{{dns}}}");
    read("test.yaml", &text, &outside).unwrap()
}

/// A world with more settings than the zones.
pub(super) fn world(dns: &str) -> World {
    world_of(&format!("{DNS}, {dns}"), Gateway::default())
}

pub(super) fn world_of(dns: &str, gateway: Gateway) -> World {
    let env = Env::virtual_time(1);
    let plan = plan(dns);
    let (mut hub, inflow) = inboxes();
    let inbox = hub.open(&SourceId::new("registry"), Turn::First);
    let parts = Parts {
        env: env.clone(),
        meters: Arc::new(Meters::new(1)),
        board: Board::new(1),
        inflow,
        revision: Revision::FIRST,
    };
    let (publisher, view, _plans) = Publisher::new(parts, &Arc::new(plan.clone()));
    let settings = Settings::new(&plan.dns, gateway);
    let engine = Arc::new(Engine::new(env.clone(), &view, settings));
    World {
        engine,
        drain: Drain::new(),
        inbox,
        _view: view,
        _hub: hub,
        _publisher: env.spawn("publisher", publisher.run()),
    }
}

/// An instance of `service`, named by its address.
pub(super) fn instance(service: &str, address: &str) -> Instance {
    let address: SocketAddr = address.parse().unwrap();
    Instance {
        key: ServiceKey::parse(service).unwrap(),
        id: InstanceId::parse(&format!("i{}", address.port())).unwrap(),
        endpoints: Box::new([port("default", address)]),
        zone: None,
        version: None,
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: [].into(),
        source: SourceId::new("registry"),
        state: State::default(),
    }
}

pub(super) fn port(name: &str, address: SocketAddr) -> NamedPort {
    NamedPort {
        name: Name::parse(name).unwrap(),
        address,
    }
}

impl World {
    pub(super) async fn put(&self, instance: Instance) {
        let instance = Arc::new(instance);
        let put = Change::Put { instance };
        self.inbox.commit(None, put).await.unwrap();
    }

    pub(super) async fn remove(&self, service: &str, id: &str) {
        let remove = Change::Remove {
            key: ServiceKey::parse(service).unwrap(),
            id: InstanceId::parse(id).unwrap(),
            departure: Departure::Explicit,
        };
        self.inbox.commit(None, remove).await.unwrap();
    }

    /// The source no longer knows.
    pub(super) async fn lose(&self) {
        let reason = "it is gone".into();
        let stale = Change::Stale { reason };
        self.inbox.commit(None, stale).await.unwrap();
    }

    /// Names all instances at once.
    pub(super) async fn reset(&self, instances: Vec<Instance>) {
        let mut services: Vec<_> = instances.iter().map(|one| one.key.clone()).collect();
        services.dedup();
        let instances = instances.into_iter().map(Arc::new).collect();
        let reset = Change::Reset {
            services,
            instances,
        };
        self.inbox.commit(None, reset).await.unwrap();
    }

    /// The answer to a query by UDP with EDNS.
    pub(super) fn ask(&self, name: &str, kind: u16) -> Message {
        self.ask_of(&self.query(name, kind).with_edns(1232))
    }

    pub(super) fn ask_of(&self, query: &Ask) -> Message {
        let answer = self.raw(query).expect("there is an answer");
        let message = Message::from_vec(&answer).expect("it is a message");
        assert_eq!(message.metadata.id, 0x1234);
        message
    }

    /// The bytes of the answer.
    pub(super) fn raw(&self, query: &Ask) -> Option<Vec<u8>> {
        let mut hand = self.engine.hand();
        self.with(&mut hand, query)
    }

    pub(super) fn with(&self, hand: &mut Hand, query: &Ask) -> Option<Vec<u8>> {
        let asked = Asked {
            message: &query.bytes,
            peer: query.peer,
            local: IpAddr::from([127, 0, 0, 53]),
            now: self.engine.env.instant(),
        };
        match self.engine.answer(hand, asked) {
            Outcome::Now => Some(hand.out.clone()),
            Outcome::Silent => None,
            Outcome::Later(task) => panic!("{task:?}"),
        }
    }

    #[expect(clippy::unused_self, reason = "it reads as the question of a world")]
    pub(super) fn query(&self, name: &str, kind: u16) -> Ask {
        let mut bytes = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        Ask {
            bytes,
            peer: Peer {
                address: "192.0.2.1:5353".parse().unwrap(),
                transport: Transport::Udp,
            },
        }
    }
}

/// A query that is asked.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) bytes: Vec<u8>,
    pub(super) peer: Peer,
}

impl Ask {
    pub(super) fn with_edns(self, udp: u16) -> Self {
        self.with_options(udp, 0, &[])
    }

    /// Adds OPT with these options.
    pub(super) fn with_options(mut self, udp: u16, version: u8, options: &[u8]) -> Self {
        self.bytes[11] = self.bytes[11].saturating_add(1);
        self.bytes.extend_from_slice(&[0, 0, 41]);
        self.bytes.extend_from_slice(&udp.to_be_bytes());
        self.bytes.extend_from_slice(&[0, version, 0, 0]);
        let length = u16::try_from(options.len()).unwrap();
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(options);
        self
    }

    pub(super) fn from(mut self, client: &str) -> Self {
        self.peer.address = client.parse().unwrap();
        self
    }

    pub(super) fn by_stream(mut self) -> Self {
        self.peer.transport = Transport::Stream;
        self
    }
}

/// The records of the answer as texts, sorted: their order is by chance.
pub(super) fn answers(message: &Message) -> Vec<String> {
    texts(&message.answers)
}

pub(super) fn texts(records: &[hickory_proto::rr::Record]) -> Vec<String> {
    let mut texts: Vec<_> = records.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

pub(super) fn code(message: &Message) -> u16 {
    message.metadata.response_code.into()
}

/// What a name is answered by: its records, or the code and whether there is an SOA.
pub(super) fn told(world: &World, name: &str, kind: u16) -> Vec<String> {
    let message = world.ask(name, kind);
    let answers = answers(&message);
    if !answers.is_empty() {
        assert!(message.metadata.authoritative, "{name}");
        return answers;
    }
    let soa = texts(&message.authorities);
    assert_eq!(soa.len(), 1, "a negative answer has an SOA: {name}");
    let code = match message.metadata.response_code.into() {
        0_u16 => "NODATA",
        3 => "NXDOMAIN",
        other => panic!("{name}: {other}"),
    };
    vec![code.to_owned()]
}

pub(super) const NXDOMAIN: &[&str] = &["NXDOMAIN"];
pub(super) const NODATA: &[&str] = &["NODATA"];

#[test]
fn codes_are_their_numbers() {
    assert_eq!(Code::BadVers.number(), 16);
    assert_eq!(kind::ANY, 255);
}
