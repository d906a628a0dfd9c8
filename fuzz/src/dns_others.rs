//! What recursors answer, and updates that nobody has signed.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hickory_proto::rr::{Name, RData, RecordType};
use portolan_dns::{
    Peer, Transport, Updates as _,
    update::{
        Algorithm, Doing, Key, Registered, Registrar, Registrations, Settings, Shown, name_of,
    },
};
use portolan_forwarder::lifetime;
use portolan_model::{InstanceId, ServiceKey};
use portolan_runtime::Env;

/// The question of all messages.
const QUESTION: &[u8] = b"\x03www\x07example\x04test\0\0\x01\0\x01";
/// The zone of all updates, by SOA.
const ZONE: &[u8] = b"\x07example\x04test\0\0\x06\0\x01";

/// The first bytes are counts of sections, the others what follows the question: as an answer
/// it says how long it holds, if at all, and as an update it is not done.
///
/// # Panics
/// When it does not hold for `input`.
pub fn dns_others(input: &[u8]) {
    let Some((counts, rest)) = input.split_first_chunk::<3>() else {
        return;
    };
    let query = [&[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], QUESTION].concat();
    let counts = counts.map(|count| [0, count]).concat();
    let answer = [&[7, 7, 0x81, 0x80, 0, 1], &counts[..], QUESTION, rest].concat();
    if let Some(ttl) = lifetime(&query, &answer) {
        assert!(ttl < 1 << 31, "a lifetime is not negative");
    }
    let _any = lifetime(&query, input);
    update(&[&[7, 7, 0x28, 0, 0, 1], &counts[..], ZONE, rest].concat());
    update(input);
}

fn update(message: &[u8]) {
    let secret = [7; 32];
    let name = name_of("desk").expect("it is a name");
    let settings = Settings {
        zones: name_of("example.test").into_iter().collect(),
        keys: vec![Key::new(&name, Algorithm::Sha256, &secret).expect("it is long enough")],
        port: NonZeroU16::MIN,
    };
    let registrar = Registrar::new(settings, Env::system(), Arc::new(Nobody), Arc::new(Nobody));
    let peer = Peer {
        address: (IpAddr::V4(Ipv4Addr::LOCALHOST), 7).into(),
        transport: Transport::Stream,
    };
    let mut answering = registrar.update(Bytes::copy_from_slice(message), peer);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = answering.as_mut().poll(&mut context) else {
        panic!("nobody signed it, so there is nothing to wait for");
    };
    if let Some(answer) = answer {
        assert_eq!(
            answer[..2],
            message[..2],
            "it is the answer to another update"
        );
        assert_ne!(answer[3] & 0xf, 0, "nobody signed it");
    }
}

/// A registry that is not asked.
struct Nobody;

impl Registrations for Nobody {
    fn registered(&self, _: &ServiceKey) -> Vec<Registered> {
        panic!("nobody signed the update");
    }

    fn is_others(&self, _: &ServiceKey, _: &InstanceId) -> bool {
        panic!("nobody signed the update");
    }

    fn register(
        &self,
        _: Arc<str>,
        _: ServiceKey,
        _: Registered,
        _: Option<Duration>,
    ) -> Doing<'_, Duration> {
        panic!("nobody signed the update");
    }

    fn deregister(&self, _: Arc<str>, _: ServiceKey, _: InstanceId) -> Doing<'_> {
        panic!("nobody signed the update");
    }

    fn settled(&self) -> Doing<'_> {
        panic!("nobody signed the update");
    }
}

impl Shown for Nobody {
    fn records(&self, _: &Name, _: RecordType) -> Option<Vec<RData>> {
        panic!("nobody signed the update");
    }
}
