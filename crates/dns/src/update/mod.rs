//! Dynamic updates: records added and deleted are instances registered and deregistered.
//!
//! Every update is signed with a key that we share with the client. An address at a
//! service's name is an instance at the configured port; an SRV record is one at its own
//! port; TXT records label all that updates have registered of the service. Only what
//! updates have registered can be deleted by them.
//!
//! Source: RFC 2136; RFC 8945; RFC 9664 (leases).

mod place;
mod plan;
mod port;
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
        DNSClass, Name, Record, RecordType,
        rdata::opt::{EdnsCode, EdnsOption},
    },
};
use portolan_runtime::Env;
use tokio::sync::mpsc;

use plan::{Changes, Known, Refusal};
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
        }))
    }

    /// Does what an update asks for, and gives the answer; none if the bytes are no update.
    async fn answer(&self, message: &[u8], client: IpAddr) -> Option<Vec<u8>> {
        let inner = &*self.0;
        let update = Message::from_vec(message).ok()?;
        if update.metadata.op_code != OpCode::Update {
            return None;
        }
        let verified = tsig::verify(message, &inner.settings.keys, inner.seconds());
        let verified = match verified {
            Ok(verified) => verified,
            Err(unverified) => {
                tracing::warn!(peer = %client, "a dynamic update is not signed as it should be");
                return inner.refuse(&update, unverified);
            }
        };
        let done = inner.update(&update, &verified).await;
        let code = match done {
            Ok(()) => ResponseCode::NoError,
            Err(refusal) => {
                let (status, reason) = (refusal.code, refusal.reason);
                let actor = verified.key.name();
                tracing::info!(peer = %client, %actor, %status, reason, "a dynamic update is not done");
                status
            }
        };
        let answer = answer(&update, code).to_vec().ok()?;
        Some(verified.sign(answer, inner.seconds()))
    }
}

/// Some of an update may have been done when the future is dropped.
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

    fn refuse(&self, update: &Message, unverified: Unverified<'_>) -> Option<Vec<u8>> {
        let told = |code| answer(update, code).to_vec().ok();
        match unverified {
            Unverified::Unsigned => told(ResponseCode::Refused),
            Unverified::Malformed => told(ResponseCode::FormErr),
            Unverified::Unsignable(record) => {
                told(ResponseCode::NotAuth).map(|answer| tsig::append(answer, &record))
            }
            Unverified::Late(late) => {
                let (verified, asked) = &*late;
                let answer = told(ResponseCode::NotAuth)?;
                Some(verified.sign_late(answer, asked, self.seconds()))
            }
        }
    }

    async fn update(&self, update: &Message, verified: &Verified<'_>) -> Result<(), Refusal> {
        let changes = self.plan(update)?;
        let actor: Arc<str> = format!("dns key {}", verified.key.name()).into();
        let lease = lease_of(update).map(|seconds| Duration::from_secs(seconds.into()));
        self.apply(changes, &actor, lease).await
    }

    fn plan(&self, update: &Message) -> Result<Changes, Refusal> {
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
        let (prerequisites, updates): (&[Record], &[Record]) =
            (&update.answers, &update.authorities);
        if prerequisites.len().saturating_add(updates.len()) > RECORDS_MAX {
            return Err(Refusal {
                code: ResponseCode::Refused,
                reason: "an update has too many records",
            });
        }
        let known = Known {
            zone,
            registrations: &*self.registrations,
            shown: &*self.shown,
            port: self.settings.port,
        };
        known.check(prerequisites)?;
        known.plan(updates)
    }

    /// Registers before it deregisters, so that a service that moves is never without any.
    async fn apply(
        &self,
        changes: Changes,
        actor: &Arc<str>,
        lease: Option<Duration>,
    ) -> Result<(), Refusal> {
        let registering = changes.register.into_iter().map(|(service, mut instance)| {
            instance.metadata.remove(LEASE_LABEL);
            if let Some(lease) = lease {
                let seconds = lease.as_secs().to_string();
                instance.metadata.insert(LEASE_LABEL.into(), seconds.into());
            }
            let (registrations, actor) = (Arc::clone(&self.registrations), Arc::clone(actor));
            async move {
                registrations
                    .register(actor, service, instance, lease)
                    .await
            }
        });
        self.all(registering).await?;
        let deregistering = changes.deregister.into_iter().map(|(service, id)| {
            let (registrations, actor) = (Arc::clone(&self.registrations), Arc::clone(actor));
            async move { registrations.deregister(actor, service, id).await }
        });
        self.all(deregistering).await
    }

    /// Does all of it at the same time, since each waits for a commit or for requests to end.
    async fn all<F>(&self, changes: impl Iterator<Item = F>) -> Result<(), Refusal>
    where
        F: Future<Output = Result<(), NotDone>> + Send + 'static,
    {
        let (told, mut tellings) = mpsc::channel(RECORDS_MAX);
        for change in changes {
            let told = told.clone();
            let doing = async move {
                // Whoever does not listen any more has heard of a failure.
                let _heard = told.send(change.await).await;
            };
            self.env.spawn("dns update", doing).detach();
        }
        drop(told);
        let mut outcome = Ok(());
        while let Some(done) = tellings.recv().await {
            outcome = outcome.and(done);
        }
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
fn answer(update: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(update.metadata.id, OpCode::Update);
    answer.metadata.response_code = code;
    answer.add_queries(update.queries.iter().cloned());
    if update.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        if let Some(lease) = lease_of(update).filter(|_| code == ResponseCode::NoError) {
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
