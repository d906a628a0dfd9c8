//! Dynamic updates: records added and deleted are instances registered and deregistered.
//!
//! Every update is signed with a key that we share with the client. An address at a
//! service's name is an instance at the configured port; an SRV record is one at its own
//! port; TXT records label all that updates have registered of the service. Only what
//! updates have registered can be deleted by them.
//!
//! Source: RFC 2136; RFC 8945; RFC 9664 (leases).

mod bare;
mod locks;
mod place;
mod plan;
mod port;
mod replay;
mod shown;
#[cfg(test)]
mod tests;
mod tsig;
mod work;

use std::{future::Future, net::IpAddr, num::NonZeroU16, sync::Arc, time::Duration};

use bytes::Bytes;
use hickory_proto::{
    op::{Edns, Message, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use portolan_runtime::Env;
use tokio::sync::mpsc;

use bare::{Unheard, bare};
use locks::{Held, Locks};
use plan::{Changes, Known, Refusal};
use replay::{Done, Replays, Verdict};
use tsig::{Unverified, Verified};

use crate::{Later, Peer, Updates};

pub use port::{
    Doing, LEASE_LABEL, NotDone, RECORD_LABEL, Registered, Registrations, Shown, TEXT_LABEL,
};
pub use tsig::{Algorithm, BadSecret, Key, SECRET_BYTES_MIN};

/// Most records of an update; one more is refused.
const RECORDS_MAX: usize = 512;
/// Shortest and longest lease that is granted, in seconds (RFC 9664, section 5).
const LEASE_MIN: u32 = 30;
const LEASE_MAX: u32 = 86_400;

/// Who may update what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Zones whose names can be updated.
    pub zones: Vec<Name>,
    /// Keys of clients; none takes no updates.
    pub keys: Vec<Key>,
    /// The port of instances that are registered by an address alone.
    pub port: NonZeroU16,
}

/// Takes updates; cheap to clone.
#[derive(Clone)]
pub struct Registrar(Arc<Inner>);

struct Inner {
    settings: Settings,
    env: Env,
    registrations: Arc<dyn Registrations>,
    shown: Arc<dyn Shown>,
    locks: Locks,
    replays: Replays,
    unheard: Unheard,
}

impl Registrar {
    /// Takes updates of these zones.
    #[must_use]
    pub fn new(
        settings: Settings,
        env: Env,
        registrations: Arc<dyn Registrations>,
        shown: Arc<dyn Shown>,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            env,
            registrations,
            shown,
            locks: Locks::default(),
            replays: Replays::default(),
            unheard: Unheard::default(),
        }))
    }

    /// Does what an update asks for, and gives the answer; none if the bytes are no update, or
    /// if the same is being done already. Nothing is decoded before the signature is verified.
    async fn answer(&self, message: &[u8], client: IpAddr) -> Option<Vec<u8>> {
        let inner = &*self.0;
        let refused = bare(message, ResponseCode::Refused)?;
        let now = inner.seconds();
        let verified = match tsig::verify(message, &inner.settings.keys, now) {
            Ok(verified) => verified,
            Err(unverified) => {
                inner.unheard.note(inner.env.instant(), client);
                return inner.refuse(message, refused, unverified);
            }
        };
        let verdict = inner.replays.judge(&verified, now);
        if verdict == Verdict::UnderWay {
            return None;
        }
        if verdict == Verdict::Late {
            let late = bare(message, ResponseCode::NotAuth)?;
            return Some(verified.sign_late(late, now));
        }
        let Ok(update) = Message::from_vec(message) else {
            let malformed = bare(message, ResponseCode::FormErr)?;
            return Some(verified.sign(malformed, now));
        };
        let done = if let Verdict::Done(done) = verdict {
            done
        } else {
            let done = inner.done(&update, &verified, client).await;
            inner.replays.note(&verified, done);
            done
        };
        let answer = answer(&update, done).to_vec().ok()?;
        Some(verified.sign(answer, inner.seconds()))
    }
}

/// Some of an update may have been done when the future is dropped; others that speak of the
/// same services wait until that has come to its end.
impl Updates for Registrar {
    fn update(&self, message: Bytes, peer: Peer) -> Later<'_, Option<Bytes>> {
        let answering = async move { self.answer(&message, peer.address.ip()).await };
        Box::pin(async move { answering.await.map(Bytes::from) })
    }
}

impl Inner {
    fn seconds(&self) -> u64 {
        self.env
            .now()
            .as_millis()
            .checked_div(1000)
            .unwrap_or_default()
    }

    fn refuse(
        &self,
        message: &[u8],
        refused: Vec<u8>,
        unverified: Unverified<'_>,
    ) -> Option<Vec<u8>> {
        match unverified {
            Unverified::Unsigned => Some(refused),
            Unverified::Malformed => bare(message, ResponseCode::FormErr),
            Unverified::Unsignable(record) => {
                bare(message, ResponseCode::NotAuth).map(|answer| tsig::append(answer, &record))
            }
            Unverified::Late(verified) => {
                let answer = bare(message, ResponseCode::NotAuth)?;
                Some(verified.sign_late(answer, self.seconds()))
            }
        }
    }

    async fn done(&self, update: &Message, verified: &Verified<'_>, client: IpAddr) -> Done {
        match self.update(update, verified).await {
            Ok(lease) => (ResponseCode::NoError, lease),
            Err(refusal) => {
                let (status, reason) = (refusal.code, refusal.reason);
                let actor = verified.key.name();
                tracing::info!(peer = %client, %actor, %status, reason, "a dynamic update is not done");
                (status, None)
            }
        }
    }

    /// The lease that was granted, in seconds, if one was asked for.
    async fn update(
        &self,
        update: &Message,
        verified: &Verified<'_>,
    ) -> Result<Option<u32>, Refusal> {
        let zone = self.zone_of(update)?;
        let actor: Arc<str> = format!("dns key {}", verified.key.name()).into();
        let asked = lease_of(update);
        let services = plan::services_of(zone, &[&update.answers, &update.authorities]);
        let held = self.locks.hold(services).await;
        let known = Known {
            zone,
            registrations: &*self.registrations,
            shown: &*self.shown,
            key: verified.key,
            port: self.settings.port,
        };
        known.check(&update.answers)?;
        let changes = known.plan(&update.authorities)?;
        let lease = asked.map(|seconds| Duration::from_secs(seconds.into()));
        let granted = self.apply(changes, &actor, lease, &held).await?;
        let granted = granted.and_then(|granted| u32::try_from(granted.as_secs()).ok());
        Ok(asked.map(|asked| granted.unwrap_or(asked)))
    }

    /// Our zone, if the update is well formed and not too long.
    fn zone_of(&self, update: &Message) -> Result<&Name, Refusal> {
        let malformed = |reason| Refusal {
            code: ResponseCode::FormErr,
            reason,
        };
        let [zone] = &*update.queries else {
            return Err(malformed("an update has one zone"));
        };
        if zone.query_type() != RecordType::SOA || zone.query_class() != DNSClass::IN {
            return Err(malformed("an update's zone is named by SOA and IN"));
        }
        let ours = self.settings.zones.iter().find(|ours| *ours == zone.name());
        let zone = ours.ok_or(Refusal {
            code: ResponseCode::NotAuth,
            reason: "the zone is not ours",
        })?;
        let records = update
            .answers
            .len()
            .saturating_add(update.authorities.len());
        if records > RECORDS_MAX {
            return Err(Refusal {
                code: ResponseCode::Refused,
                reason: "an update has too many records",
            });
        }
        Ok(zone)
    }

    /// Registers before it deregisters, so that a service that moves is never without any. The
    /// shortest lease that was granted to those that the update adds.
    async fn apply(
        &self,
        changes: Changes,
        actor: &Arc<str>,
        lease: Option<Duration>,
        held: &Held,
    ) -> Result<Option<Duration>, Refusal> {
        if changes.register.is_empty() && changes.deregister.is_empty() {
            let settled = self.registrations.settled().await;
            settled.map_err(|error| not_done(&error))?;
        }
        let registering = changes.register.into_iter().map(|one| {
            let (service, mut instance) = (one.service, one.instance);
            let own = instance.metadata.remove(LEASE_LABEL);
            let own = own.and_then(|seconds| seconds.parse().ok());
            let lease = if one.is_named {
                lease
            } else {
                own.map(Duration::from_secs)
            };
            if let Some(lease) = lease {
                let seconds = lease.as_secs().to_string();
                instance.metadata.insert(LEASE_LABEL.into(), seconds.into());
            }
            let (registrations, actor) = (Arc::clone(&self.registrations), Arc::clone(actor));
            async move {
                let granted = registrations
                    .register(actor, service, instance, lease)
                    .await?;
                Ok(one.is_named.then_some(granted))
            }
        });
        let granted = self.all(registering, held).await?;
        let deregistering = changes.deregister.into_iter().map(|(service, id)| {
            let (registrations, actor) = (Arc::clone(&self.registrations), Arc::clone(actor));
            async move { registrations.deregister(actor, service, id).await }
        });
        self.all(deregistering, held).await?;
        Ok(granted.into_iter().flatten().min())
    }

    /// Does all of it at the same time, since each waits for a commit or for requests to end.
    /// The services stay held until all has come to its end, even if nobody waits for it.
    async fn all<T, F>(
        &self,
        changes: impl Iterator<Item = F>,
        held: &Held,
    ) -> Result<Vec<T>, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, NotDone>> + Send + 'static,
    {
        let (told, mut tellings) = mpsc::channel(RECORDS_MAX);
        for change in changes {
            let (told, held) = (told.clone(), Arc::clone(held));
            let doing = async move {
                // Whoever does not listen any more has heard of a failure.
                let _heard = told.send(change.await).await;
                drop(held);
            };
            self.env.spawn("dns update", doing).detach();
        }
        drop(told);
        let mut outcomes = Vec::new();
        while let Some(done) = tellings.recv().await {
            outcomes.push(done);
        }
        let outcome: Result<Vec<T>, NotDone> = outcomes.into_iter().collect();
        outcome.map_err(|error| not_done(&error))
    }
}

/// A name from a configuration, which has looked at it.
#[must_use]
pub fn name_of(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn not_done(error: &NotDone) -> Refusal {
    tracing::warn!(%error, "a dynamic update failed at the registry");
    match error {
        NotDone::Refused(_) => Refusal {
            code: ResponseCode::Refused,
            reason: "the registry does not take it",
        },
        NotDone::Failed(_) => Refusal {
            code: ResponseCode::ServFail,
            reason: "the registry can't do it now",
        },
    }
}

/// An answer with the update's zone and, if it asked for one, its lease.
fn answer(update: &Message, (code, lease): Done) -> Message {
    let mut answer = Message::response(update.metadata.id, OpCode::Update);
    answer.metadata.response_code = code;
    answer.add_queries(update.queries.iter().cloned());
    if update.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        if let Some(lease) = lease {
            let lease = lease.to_be_bytes().to_vec();
            edns.options_mut()
                .insert(EdnsOption::Unknown(EdnsCode::UL.into(), lease));
        }
        answer.set_edns(edns);
    }
    answer
}

/// For how many seconds an update is to hold, if it says.
fn lease_of(update: &Message) -> Option<u32> {
    let option = update.edns.as_ref()?.option(EdnsCode::UL)?;
    let EdnsOption::Unknown(_, bytes) = option else {
        return None;
    };
    let seconds = u32::from_be_bytes(*bytes.first_chunk()?);
    Some(seconds.clamp(LEASE_MIN, LEASE_MAX))
}
