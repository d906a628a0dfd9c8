//! What the control plane's parts ask of the rest of the program.

use std::{net::SocketAddr, sync::Arc};

use portolan_admin::{Expose, Reload, Reloading};
use portolan_auth::Access as Control;
use portolan_catalog::{Catalog, HoldStatus, Inbox, Judgement, Keeping, Pulses, Scope};
use portolan_ledger::Ledger;
use portolan_model::{Revision, ServiceKey, Timestamp, Verdict};
use portolan_registry::{
    Follow, Following, Published as Publication, Reader,
    check::{Bench, Hearing},
    core::Subject,
    front::native::Links,
};
use portolan_runtime::Env;
use portolan_snapshot::View;
use portolan_store::Condition;
use portolan_telemetry::{AccessLog, Facts, GuardFacts, LedgerFacts, Meters, SourceFacts, Usage};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, oneshot, watch,
};

use super::Asked;

/// The catalogue as it was published last.
pub(super) struct Published(pub(super) View);

impl Reader for Published {
    fn catalog(&self) -> Catalog {
        self.0.snapshot().catalog.clone()
    }

    fn revision(&self) -> Revision {
        self.0.snapshot().revision()
    }

    fn follow(&self) -> Box<dyn Follow> {
        Box::new(Followed(self.0.changes()))
    }
}

struct Followed(broadcast::Receiver<portolan_snapshot::Publication>);

impl Follow for Followed {
    fn next(&mut self) -> Following<'_> {
        Box::pin(async {
            match self.0.recv().await {
                Ok(publication) => {
                    let portolan_snapshot::Publication { revision, changed } = publication;
                    Some(Publication::Changed(revision, changed))
                }
                Err(RecvError::Lagged(_)) => Some(Publication::Missed),
                Err(RecvError::Closed) => None,
            }
        })
    }
}

/// Takes verdicts about instances of other sources to the catalogue.
pub(super) struct Verdicts(pub(super) Inbox);

impl Bench for Verdicts {
    fn hear<'a>(
        &'a self,
        subject: &'a Subject,
        address: SocketAddr,
        verdict: Option<Verdict>,
    ) -> Hearing<'a> {
        let judgement = Judgement {
            key: subject.key.clone(),
            id: subject.id.clone(),
            address,
            verdict,
        };
        Box::pin(async move {
            // A catalogue that has ended needs no verdicts.
            let _ended = self.0.judge(judgement).await;
        })
    }
}

/// Asks the program's main loop to read the configuration again.
pub(super) struct Asker(pub(super) mpsc::Sender<Asked>);

impl Reload for Asker {
    fn reload(&self) -> Reloading {
        let sender = self.0.clone();
        Box::pin(async move {
            let ending = || "the program is coming to its end".to_owned();
            let (asked, answer) = oneshot::channel();
            sender.send(asked).await.map_err(|_| ending())?;
            answer.await.map_err(|_| ending())?
        })
    }
}

/// Writes the metrics.
pub(super) struct Metrics {
    started: Timestamp,
    meters: Arc<Meters>,
    view: View,
    access: Option<AccessLog>,
    /// How the store is.
    store: watch::Receiver<Condition>,
    ledger: Ledger,
    /// Who was not let.
    control: Control,
    /// How the sources are getting on.
    pulses: Pulses,
    dns: Arc<portolan_dns::Meters>,
}

/// How the store is, the ledger, and who was not let.
type Told = ((watch::Receiver<Condition>, Ledger), Control);

impl Metrics {
    pub(super) fn new(
        (env, view): (&Env, &View),
        meters: Arc<Meters>,
        access: Option<AccessLog>,
        (((store, ledger), control), pulses, dns): (Told, Pulses, Arc<portolan_dns::Meters>),
    ) -> Self {
        Self {
            started: env.now(),
            meters,
            view: view.clone(),
            access,
            store,
            ledger,
            control,
            pulses,
            dns,
        }
    }

    fn sources(&self, catalog: &Catalog) -> Vec<SourceFacts> {
        let sources = catalog.sources().iter().map(|source| {
            let pulse = self.pulses.report(&source.id).unwrap_or_default();
            SourceFacts {
                id: source.id.to_string(),
                is_stale: source.stale.is_some(),
                instances: source.instances,
                changes: pulse.changes,
                resyncs: pulse.resyncs,
                failures: pulse.failures,
                unfit: pulse.unfit,
                confirmed_at: pulse.confirmed_at,
            }
        });
        sources.collect()
    }
}

impl Expose for Metrics {
    fn expose(&self, out: &mut String) {
        let snapshot = self.view.snapshot();
        let catalog = &snapshot.catalog;
        let sources = catalog.sources().iter();
        let guard = catalog.guard();
        let totals = guard.totals;
        let holds_by = |wanted: &dyn Fn(&HoldStatus) -> bool| {
            let holds = guard.holds.iter();
            holds.filter(|hold| wanted(hold)).count()
        };
        let held: Vec<_> = Scope::NAMES
            .iter()
            .map(|name| {
                let is_held = |hold: &HoldStatus| {
                    hold.keeping != Keeping::Vouched && hold.cause.scope.as_str() == *name
                };
                (*name, holds_by(&is_held) as u64)
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        let counts = self.ledger.counts();
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            revision: catalog.revision(),
            services: catalog.service_count(),
            instances: catalog
                .services()
                .map(|service| service.instances.len())
                .sum(),
            stale_sources: sources.filter(|source| source.stale.is_some()).count(),
            sources: &self.sources(catalog),
            is_store_healthy: *self.store.borrow() == Condition::Healthy,
            ledger: LedgerFacts {
                keys: counts.keys,
                sessions: counts.sessions,
                objects: counts.objects,
                bytes: counts.bytes,
            },
            guard: GuardFacts {
                held: &held,
                vouched: holds_by(&|hold| hold.keeping == Keeping::Vouched),
                damped: guard.flaps.iter().filter(|flap| flap.is_damped).count(),
                removed: &[
                    ("within_share", totals.within_share),
                    ("hold_over", totals.hold_over),
                    ("found_dead", totals.found_dead),
                    ("released", totals.released),
                ],
            },
            dns: &self.dns.facts(),
            denied: &self.control.denied(),
            lines_dropped: self.access.as_ref().map_or(0, AccessLog::dropped),
            usage: Usage::read(),
        };
        self.meters.expose(&facts, out);
    }
}

/// Where the gateway serves a service, from where it serves all.
pub(super) fn links(gateway: watch::Receiver<Option<String>>) -> Links {
    Arc::new(move |key| {
        let is_served = key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE;
        if !is_served {
            return None;
        }
        let gateway = gateway.borrow();
        let base = gateway.as_deref()?;
        Some([base, "/", key.name.as_str(), "/"].concat())
    })
}
