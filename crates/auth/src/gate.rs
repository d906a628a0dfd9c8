//! The gate before a front: who calls, how often, whether it may; and what came of it.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{Method, header};
use portolan_access::{Caller, Kind, Meter, Need, Object, Rate};
use portolan_model::Revision;
use portolan_wire::serve::{
    Answering, CertifiedNames, Handler, Peer, PerClient, Request, Response, while_allowed,
};

use crate::{
    audit::{Added, Entry, Outcome},
    credentials::secret_of,
    directory::Shown,
    keeping::Access,
    manner::{Denial, Manner},
};

/// How long a request waits for tokens to be read, after a start.
const READING: Duration = Duration::from_secs(10);
/// What a watch is answered as.
const EVENT_STREAM: &str = "text/event-stream";
/// Lines about denied calls that are logged in a second.
const DENIALS_LOGGED: u64 = 10;

/// What the gate must know of the front behind it.
#[derive(Clone, Copy, Debug)]
pub struct Front {
    /// The listener, as the trail names it.
    pub listener: &'static str,
    /// How it refuses.
    pub manner: Manner,
    /// What a request does. Called for each; must be cheap.
    pub kind: fn(&Method, &str) -> Kind,
    /// What a request needs. The front may ask for more when it has read the body.
    pub need: fn(&Method, &str) -> Need,
}

/// How many requests a client of one listener may make; follows the configuration.
#[derive(Debug, Default)]
pub struct Throttle {
    rate: ArcSwapOption<PerClient<Rate>>,
    /// Made when there is somebody to count.
    meter: OnceLock<Meter>,
    keys: RandomState,
}

impl Throttle {
    /// Puts a limit in force.
    pub fn follow(&self, rate: PerClient<Rate>) {
        self.rate.store(Some(Arc::new(rate)));
    }

    /// The limit of a client at that address.
    fn of(&self, address: IpAddr) -> Option<Rate> {
        let rate = self.rate.load();
        rate.as_ref().and_then(|rate| rate.of(address))
    }

    fn count(&self, client: &impl Hash, now: Duration, rate: Rate) -> Result<(), Duration> {
        let meter = self.meter.get_or_init(Meter::default);
        meter.count(self.keys.hash_one(client), now, rate)
    }
}

/// A front behind its gate. Cloning is cheap.
#[derive(Clone)]
pub struct Gate(Arc<Parts>);

struct Parts {
    front: Front,
    inner: Arc<dyn Handler>,
    access: Access,
    throttle: Arc<Throttle>,
    revision: Box<dyn Fn() -> Revision + Send + Sync>,
    /// The second whose denials are being logged, and how many have been.
    logged: AtomicU64,
}

/// A request, as the trail will tell of it.
struct Deed {
    method: Method,
    path: String,
    is_routine: bool,
}

/// What a request showed of its sender.
struct Proof {
    address: IpAddr,
    secret: Option<String>,
    names: Option<Arc<[String]>>,
}

impl Gate {
    /// The gate before `inner`; `revision` is the catalogue's at the moment.
    #[must_use]
    pub fn new(
        front: Front,
        inner: Arc<dyn Handler>,
        access: Access,
        throttle: Arc<Throttle>,
        revision: impl Fn() -> Revision + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Parts {
            front,
            inner,
            access,
            throttle,
            revision: Box::new(revision),
            logged: AtomicU64::default(),
        }))
    }

    async fn attend(self, mut request: Request, kind: Kind) -> Response {
        let parts = &*self.0;
        let need = (parts.front.need)(request.method(), request.uri().path());
        let deed = Deed {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            is_routine: is_routine(&need, request.uri().path()),
        };
        let has_read = parts.has_read(&need).await;
        let proof = parts.proof(&request, kind);
        let caller = match parts.admit(&request, &need, has_read) {
            Ok(caller) => caller,
            Err(refused) => {
                let (caller, response) = *refused;
                parts.remember(&caller, &deed, &response);
                return response;
            }
        };
        request.extensions_mut().insert(caller.clone());
        let response = parts.inner.handle(request).await;
        let is_denied = Outcome::of_status(response.status().as_u16()) == Outcome::Denied;
        if kind == Kind::Change || (is_denied && !caller.grant.is_open()) {
            let added = parts.remember(&caller, &deed, &response);
            let is_done = response.status().is_success();
            if let Added::Entry(sequence) = added
                && is_done
                && !deed.is_routine
            {
                parts.access.has_stored(sequence).await;
            }
        }
        match proof {
            Some(proof) => self.watched(response, proof, need),
            None => response,
        }
    }

    /// What was asked for takes its time: a token that was revoked meanwhile gets no answer,
    /// and a watch ends with it.
    fn watched(&self, response: Response, proof: Proof, need: Need) -> Response {
        let parts = Arc::clone(&self.0);
        let may_go_on = move || parts.still_may(&proof, &need);
        if !may_go_on() {
            return self.0.front.manner.refuse(&Denial::Unknown);
        }
        let kind = response.headers().get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind == EVENT_STREAM) {
            return response.map(|body| while_allowed(body, may_go_on));
        }
        response
    }
}

impl Parts {
    /// Whether tokens have been read, where they count; waits a while for it.
    async fn has_read(&self, need: &Need) -> bool {
        if *need == Need::Nothing || !self.access.is_on() {
            return true;
        }
        let env = self.access.env();
        env.timeout(READING, self.access.has_read()).await.is_ok()
    }

    /// What a read shows of its sender, where there is access control.
    fn proof(&self, request: &Request, kind: Kind) -> Option<Proof> {
        if kind != Kind::Read || !self.access.is_on() {
            return None;
        }
        let query = request.uri().query().unwrap_or_default();
        let names = request.extensions().get::<CertifiedNames>();
        Some(Proof {
            address: address_of(request),
            secret: secret_of(self.front.manner, query, request.headers()),
            names: names.map(|names| Arc::clone(&names.0)),
        })
    }

    /// Whether who showed that may still do it.
    fn still_may(&self, proof: &Proof, need: &Need) -> bool {
        let directory = self.access.directory();
        let shown = Shown {
            address: proof.address,
            secret: proof.secret.as_deref(),
            names: proof.names.as_deref().unwrap_or_default(),
        };
        let found = directory.find(shown, self.access.env().now());
        *need == Need::Nothing || found.is_ok_and(|(caller, _)| caller.may(need))
    }

    /// Who calls, if it may.
    fn admit(
        &self,
        request: &Request,
        need: &Need,
        has_read: bool,
    ) -> Result<Caller, Box<(Caller, Response)>> {
        let address = address_of(request);
        let refuse = |caller: Caller, denial: &Denial<'_>| {
            let response = self.front.manner.refuse(denial);
            Err(Box::new((caller, response)))
        };
        let nobody = || Caller::unnamed(address);
        if *need == Need::Nothing {
            return Ok(nobody());
        }
        if !has_read {
            return refuse(nobody(), &Denial::NotRead);
        }
        let directory = self.access.directory();
        // Without access control nobody looks at it.
        let secret = if directory.is_on {
            let query = request.uri().query().unwrap_or_default();
            secret_of(self.front.manner, query, request.headers())
        } else {
            None
        };
        let names = request.extensions().get::<CertifiedNames>();
        let shown = Shown {
            address,
            secret: secret.as_deref(),
            names: names.map_or(&[], |names| &names.0),
        };
        let found = self.access.identify(&directory, shown);
        if let Err(wait) = self.count(found.as_ref().ok(), address) {
            let caller = found.unwrap_or_else(|_| nobody());
            return refuse(caller, &Denial::Limited(wait));
        }
        let Ok(caller) = found else {
            return refuse(nobody(), &Denial::Unknown);
        };
        if caller.may(need) {
            return Ok(caller);
        }
        let denial = match &caller.name {
            None => Denial::Anonymous(need),
            Some(_) => Denial::Insufficient(&caller, need),
        };
        refuse(caller.clone(), &denial)
    }

    fn count(&self, caller: Option<&Caller>, address: IpAddr) -> Result<(), Duration> {
        let Some(rate) = self.throttle.of(address) else {
            return Ok(());
        };
        let now = self.access.uptime();
        let known = caller.and_then(|caller| caller.token.as_ref().or(caller.name.as_ref()));
        match known {
            Some(name) => self.throttle.count(name, now, rate),
            None => self.throttle.count(&network(address), now, rate),
        }
    }

    fn remember(&self, caller: &Caller, deed: &Deed, response: &Response) -> Added {
        let status = response.status().as_u16();
        let object = response.extensions().get::<Object>();
        let entry = Entry {
            sequence: 0,
            at: self.access.env().now(),
            actor: caller.actor(),
            token: caller.token.clone(),
            address: caller.address.to_canonical(),
            listener: self.front.listener.into(),
            method: deed.method.as_str().into(),
            path: deed.path.as_str().into(),
            object: object.map(|Object(object)| Arc::clone(object)),
            status,
            outcome: Outcome::of_status(status),
            revision: (self.revision)(),
            count: 1,
        };
        self.log(&entry, deed.is_routine);
        self.access.note(entry, deed.is_routine)
    }

    /// What operators do is told as it happens; what programs do all day, to who asks.
    fn log(&self, entry: &Entry, is_routine: bool) {
        let Entry {
            actor,
            address,
            listener,
            method,
            path,
            status,
            revision,
            ..
        } = entry;
        match entry.outcome {
            Outcome::Denied | Outcome::Limited => {
                if self.may_log(entry.at.as_millis() / 1_000) {
                    tracing::warn!(
                        target: "audit", %actor, peer = %address, %listener, %method, resource = %path, status,
                        "call denied"
                    );
                }
            }
            Outcome::Done | Outcome::Failed if is_routine => tracing::debug!(
                target: "audit", %actor, peer = %address, %listener, %method, resource = %path, status,
                revision = revision.as_u64(), "change"
            ),
            Outcome::Done | Outcome::Failed => tracing::info!(
                target: "audit", %actor, peer = %address, %listener, %method, resource = %path, status,
                revision = revision.as_u64(), "change"
            ),
        }
    }

    /// Whether one more line about a denial may be logged in that second. Two threads at once
    /// may log one line more, which does no harm.
    fn may_log(&self, second: u64) -> bool {
        let state = self.logged.load(Ordering::Relaxed);
        let (known, count) = (state >> 8, state & 0xff);
        let count = if known == second { count } else { 0 };
        let may = count < DENIALS_LOGGED;
        if may {
            self.logged
                .store(second << 8 | (count + 1), Ordering::Relaxed);
        }
        may
    }
}

impl Handler for Gate {
    fn handle(&self, request: Request) -> Answering {
        let parts = &*self.0;
        let kind = (parts.front.kind)(request.method(), request.uri().path());
        let passes = kind != Kind::Change
            && !parts.access.is_on()
            && request.extensions().get::<CertifiedNames>().is_none()
            && parts.throttle.of(address_of(&request)).is_none();
        if passes {
            return parts.inner.handle(request);
        }
        Box::pin(self.clone().attend(request, kind))
    }
}

fn address_of(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.address.ip())
}

/// What programs do all day, other than what operators do.
fn is_routine(need: &Need, path: &str) -> bool {
    match need {
        Need::Register(_) | Need::RegisterSome => true,
        Need::Rules => !path.starts_with("/v1/acl/") && !path.contains("/maintenance"),
        Need::Nothing | Need::Name | Need::Read | Need::Operate | Need::Admin => false,
    }
}

/// What counts as one client: an IPv4 address, or a network of IPv6.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 | 1 << 127,
    }
}
