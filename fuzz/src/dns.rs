//! What anybody may send to the DNS server.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use hickory_proto::op::Message;
use portolan_balance::Board;
use portolan_catalog::{Turn, inboxes};
use portolan_config::{Outside, Shelves, read};
use portolan_dns::{Answerer, Dns, Peer, Transport};
use portolan_model::{
    Change, Instance, InstanceId, Name, NamedPort, Revision, ServiceKey, SourceId, State, Weight,
};
use portolan_runtime::Env;
use portolan_snapshot::{Parts, Publisher};
use portolan_telemetry::Meters;
use tokio::runtime::{Builder, Runtime};

/// Most bytes of an answer by UDP.
const UDP_BYTES_MAX: usize = 1232;
/// An address of an instance.
const SIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 6);
const PLAN: &str = "dns: {kubernetes: [cluster.local], networks: {192.0.2.0/24: z1}}";

struct World {
    runtime: Runtime,
    answerer: Answerer,
}

/// Whatever comes is answered by a sound message of the same id that is an answer, within the
/// limit of its transport, or by nothing.
///
/// # Panics
/// When it does not hold for `input`.
pub fn dns(input: &[u8]) {
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(World::new);
    world.answer(input);
    if let Some(named) = named(input) {
        world.answer(&named);
    }
}

/// A question for the names of the address that the input begins with, or of one that is there.
fn named(input: &[u8]) -> Option<Vec<u8>> {
    let (family, rest) = input.split_first()?;
    let (labels, zone): (Vec<Vec<u8>>, &[u8]) = if family % 2 == 0 {
        let octets = rest.first_chunk::<4>()?;
        // Every second time a network that has instances.
        let octets = if family % 4 == 0 {
            [10, 0, 0, octets[3]]
        } else {
            *octets
        };
        let digits = octets
            .iter()
            .rev()
            .map(|octet| octet.to_string().into_bytes());
        (digits.collect(), b"\x07in-addr\x04arpa\0")
    } else {
        let octets = rest.first_chunk::<16>()?;
        let octets = if family % 4 == 1 {
            SIX.octets()
        } else {
            *octets
        };
        let halves = octets
            .iter()
            .rev()
            .flat_map(|octet| [octet & 0xf, octet >> 4]);
        let digits = halves.map(|half| format!("{half:x}").into_bytes());
        (digits.collect(), b"\x03ip6\x04arpa\0")
    };
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in &labels {
        message.push(u8::try_from(label.len()).ok()?);
        message.extend_from_slice(label);
    }
    message.extend_from_slice(zone);
    message.extend_from_slice(&[0, 12, 0, 1]);
    // What follows may be another EDNS than is usual.
    let edns = rest.get(16..).unwrap_or_default();
    if edns.first() == Some(&0) {
        message[11] = 1;
        message.extend_from_slice(edns);
    }
    Some(message)
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system gives a runtime");
        let answerer = runtime.block_on(Self::answerer());
        Self { runtime, answerer }
    }

    async fn answerer() -> Answerer {
        let env = Env::system();
        let balancers = portolan_balance::KINDS;
        let shelves = Shelves {
            balancers,
            ..Shelves::default()
        };
        let outside = Outside {
            shelves,
            ..Outside::default()
        };
        let plan = Arc::new(read("", PLAN, &outside).expect("it is a plan"));
        let (mut hub, inflow) = inboxes();
        let inbox = hub.open(&SourceId::new("registry"), Turn::First);
        let parts = Parts {
            env: env.clone(),
            meters: Arc::new(Meters::new(1)),
            board: Board::new(1),
            inflow,
            revision: Revision::FIRST,
        };
        let (publisher, view, _plans) = Publisher::new(parts, &plan);
        let _publisher = env.spawn("publisher", publisher.run());
        for number in 1..=60_u8 {
            let instance = Arc::new(instance(number));
            let put = Change::Put { instance };
            inbox.commit(None, put).await.expect("it is published");
        }
        Dns::new(&env, &view, &plan.dns).answerer()
    }

    fn answer(&self, input: &[u8]) {
        for (transport, limit) in [
            (Transport::Udp, UDP_BYTES_MAX),
            (Transport::Stream, usize::from(u16::MAX)),
        ] {
            let peer = Peer {
                address: SocketAddr::from(([127, 0, 0, 1], 5353)),
                transport,
            };
            let message = Bytes::copy_from_slice(input);
            let local = IpAddr::from([127, 0, 0, 53]);
            let answering = self.answerer.answer(message, peer, local);
            let Some(answer) = self.runtime.block_on(answering) else {
                continue;
            };
            assert!(answer.len() <= limit, "{} bytes", answer.len());
            assert_eq!(answer.get(..2), input.get(..2), "the id");
            assert!(answer.get(2).is_some_and(|flags| flags & 0x80 != 0));
            Message::from_vec(&answer).expect("an answer is a message");
        }
    }
}

fn instance(number: u8) -> Instance {
    let port = |name: &str, port: u16| NamedPort {
        name: Name::parse(name).expect("it is a name"),
        address: match number {
            6 => SocketAddr::from((SIX, port)),
            _ => SocketAddr::from(([10, 0, 0, number], port)),
        },
    };
    Instance {
        key: ServiceKey::parse("orders").expect("it is a key"),
        id: InstanceId::parse(&format!("i{number}")).expect("it is an id"),
        endpoints: Box::new([port("http", 80), port("admin", 81)]),
        zone: (number % 2 == 0).then(|| "z1".into()),
        version: None,
        weight: Weight::NORMAL,
        tags: Box::new(["v1".into()]),
        metadata: if number % 3 == 0 {
            [("hostname".into(), "n".repeat(usize::from(number)).into())].into()
        } else {
            [("a".into(), "b".into())].into()
        },
        source: SourceId::new("registry"),
        state: State::default(),
    }
}
