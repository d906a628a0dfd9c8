//! The task that keeps a registration.
//!
//! It makes one call at a time and rests in between. A renewal is dropped when an order to
//! leave comes; a registration is not, because only its answer says what there is to undo.

use std::{sync::Arc, time::Duration};

use portolan_dialects::native::Written;
use portolan_runtime::{Dice, Env};
use tokio::sync::{mpsc, watch};

use crate::{
    LeaveError, Left, Registered, Standing,
    api::{Refusal, Registry, Report},
    keeper::Order,
    pace,
};

/// How soon programs that follow a registry by themselves hear that an instance leaves. The
/// registry knows of the calls of gateways only: without this, it has left before others know.
const HEARD_WITHIN: Duration = Duration::from_millis(500);

/// The longest drain that a registry takes.
const DRAIN_MAX: Duration = Duration::from_hours(1);

/// What the task is made of.
pub(crate) struct Parts<R> {
    pub(crate) registry: R,
    pub(crate) env: Env,
    /// How long the instance may be silent, if it says.
    pub(crate) ttl: Option<Duration>,
    pub(crate) drain_on_drop: Duration,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) reports: watch::Receiver<Report>,
    pub(crate) standing: watch::Sender<Standing>,
}

/// The task.
pub(crate) struct Keep<R> {
    parts: Parts<R>,
    dice: Dice,
    ttl: Duration,
    /// The instance's id, once it is known.
    id: Option<Arc<str>>,
    /// What holds, as long as the registry does not say otherwise.
    registered: Option<Registered>,
    /// What the registry knows the instance to report.
    told: Option<Report>,
    failures: u32,
}

/// How a rest ended.
enum Rested {
    /// It is time for the next call.
    Due,
    /// The instance is to leave; nobody ordered it if the handle was dropped.
    Leave(Option<Order>),
}

impl<R: Registry> Keep<R> {
    pub(crate) fn new(parts: Parts<R>) -> Self {
        Self {
            dice: parts.env.dice(),
            ttl: parts.ttl.unwrap_or(pace::TTL),
            id: parts.registry.id().map(Into::into),
            registered: None,
            told: None,
            failures: 0,
            parts,
        }
    }

    /// Keeps the instance registered until it is to leave, and lets it leave.
    pub(crate) async fn run(mut self) {
        let order = self.keep().await;
        let order_drain = order.as_ref().map(|order| order.drain);
        let drain = order_drain.unwrap_or(self.parts.drain_on_drop);
        self.parts.standing.send_replace(Standing::Leaving);
        let left = self.leave(drain).await;
        let shown = match &left {
            Ok(Left::Drained(drained)) => Ok(Some(*drained)),
            Ok(Left::Removed | Left::Unknown) => Ok(None),
            Err(error) => Err(error.to_string().into()),
        };
        self.parts.standing.send_replace(Standing::Left(shown));
        if let Some(order) = order {
            // Whoever ordered it may no longer care.
            let _answered = order.answer.send(left);
        }
    }

    async fn keep(&mut self) -> Option<Order> {
        loop {
            let report = self.parts.reports.borrow_and_update().clone();
            let outcome = match self.ask(&report).await {
                Ok(outcome) => outcome,
                Err(order) => return order,
            };
            let wait = match outcome {
                Ok(written) => self.is_held(written, report),
                // It forgot us: told at once.
                Err(Refusal::Unknown) if self.registered.is_some() => {
                    self.is_lost();
                    continue;
                }
                Err(Refusal::Unknown) => self.has_failed("the registry takes and forgets".into()),
                Err(Refusal::Failed(reason)) => self.has_failed(reason),
            };
            if let Rested::Leave(order) = self.rest(wait).await {
                return order;
            }
        }
    }

    /// Makes the call that is due. The outer error is the order that came meanwhile.
    async fn ask(&mut self, report: &Report) -> Result<Result<Written, Refusal>, Option<Order>> {
        let within = pace::call_within(self.ttl);
        let Parts {
            registry, orders, ..
        } = &mut self.parts;
        let (Some(id), true) = (&self.id, self.registered.is_some()) else {
            let id = self.id.as_deref();
            return Ok(registry.register(id, report, within).await);
        };
        let news = (self.told.as_ref() != Some(report)).then_some(report);
        tokio::select! {
            biased;
            order = orders.recv() => Err(order),
            outcome = registry.renew(id, news, within) => Ok(outcome),
        }
    }

    /// The registry has the instance; the wait until it wants to hear of it again.
    fn is_held(&mut self, written: Written, report: Report) -> Duration {
        self.failures = 0;
        self.ttl = written.ttl.0;
        self.told = Some(report);
        self.id = Some(Arc::clone(&written.id));
        let registry = self.parts.registry.place();
        // A renewal is at a later revision, but says nothing new.
        let revision = self.registered.as_ref().map(|known| known.revision);
        if revision.is_none() {
            let service = self.parts.registry.service();
            tracing::info!(%service, instance = %written.id, revision = %written.revision, "registered");
        }
        let registered = Registered {
            id: written.id,
            revision: revision.unwrap_or(written.revision),
            registry,
            url: written.url.map(Into::into),
            ttl: self.ttl,
        };
        self.registered = Some(registered.clone());
        self.tell(Standing::Registered(registered));
        pace::renew_in(self.ttl, &mut self.dice)
    }

    fn is_lost(&mut self) {
        let service = self.parts.registry.service();
        tracing::info!(%service, "the registry does not know the instance; it registers again");
        self.registered = None;
        self.told = None;
    }

    /// The registry can't be told; the wait until it is tried again.
    fn has_failed(&mut self, reason: Arc<str>) -> Duration {
        if self.failures == 0 {
            let service = self.parts.registry.service();
            tracing::warn!(%service, reason = %reason, "the registry can't be told; it is tried again");
        }
        self.failures = self.failures.saturating_add(1);
        self.told = None;
        self.parts.registry.turn();
        self.tell(Standing::Retrying {
            reason,
            failures: self.failures,
        });
        let count = self.parts.registry.count();
        pace::retry_in(self.failures, count, self.ttl, &mut self.dice)
    }

    /// Waits for the next call: for so long, for news about the instance, or for the end
    /// of the line to a registry that went away.
    async fn rest(&mut self, wait: Duration) -> Rested {
        let is_held = self.failures == 0;
        let Parts {
            registry,
            env,
            orders,
            reports,
            ..
        } = &mut self.parts;
        let began = env.instant();
        let mut due = began + wait;
        let mut listens = is_held;
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => return Rested::Leave(order),
                () = env.sleep_until(due) => return Rested::Due,
                changed = reports.changed(), if is_held => match changed {
                    Ok(()) => return Rested::Due,
                    // The handle is being dropped.
                    Err(_) => return Rested::Leave(None),
                },
                () = registry.closed(), if listens => {
                    listens = false;
                    let now = env.instant();
                    due = due.min(now + pace::hint_in(now - began, &mut self.dice));
                }
            }
        }
    }

    /// Tells one registry after the other until one has taken it or the time is up.
    async fn leave(&mut self, drain: Duration) -> Result<Left, LeaveError> {
        let Some(id) = self.id.clone() else {
            return Ok(Left::Unknown);
        };
        let env = self.parts.env.clone();
        let began = env.instant();
        let drain = drain.min(DRAIN_MAX);
        let most = drain.saturating_add(pace::call_within(self.ttl));
        let count = self.parts.registry.count();
        let (mut failures, mut passed) = (0, Duration::ZERO);
        loop {
            let (drain, within) = (drain.saturating_sub(passed), most.saturating_sub(passed));
            // The answer comes when the drain is over, so that one that drains and one that
            // hangs look the same: another one is told, too.
            let within = match count {
                0 | 1 => within,
                _ => within.min(pace::call_within(self.ttl)),
            };
            let reason = match self.tell_leaving(&id, drain, within).await {
                Ok(left) => {
                    env.sleep_until(began + HEARD_WITHIN.min(drain)).await;
                    return Ok(left);
                }
                Err(reason) => reason,
            };
            failures += 1;
            self.parts.registry.turn();
            let wait = pace::retry_in(failures, count, self.ttl, &mut self.dice);
            let next = env.instant() + wait;
            passed = next.saturating_duration_since(began);
            if passed + pace::CALL_GAP >= most {
                return Err(LeaveError::Away { reason });
            }
            env.sleep_until(next).await;
        }
    }

    async fn tell_leaving(
        &mut self,
        id: &str,
        drain: Duration,
        within: Duration,
    ) -> Result<Left, Arc<str>> {
        let Parts { registry, env, .. } = &mut self.parts;
        let told = env.timeout(within, registry.leave(id, drain, within)).await;
        match told {
            Ok(Ok(removed)) => Ok(removed.drain.map_or(Left::Removed, Left::Drained)),
            Ok(Err(Refusal::Unknown)) => Ok(Left::Unknown),
            Ok(Err(Refusal::Failed(reason))) => Err(reason),
            Err(_elapsed) => Err("time ran out".into()),
        }
    }

    fn tell(&self, standing: Standing) {
        self.parts.standing.send_if_modified(|known| {
            let is_new = *known != standing;
            if is_new {
                *known = standing;
            }
            is_new
        });
    }
}
