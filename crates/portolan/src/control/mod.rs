//! The control plane of the program: registry, prober, and the listeners of their APIs.
//!
//! Everything here runs on the control runtime; the workers see none of it but
//! snapshots.

mod beyond;
mod foreign;
mod gates;
mod listener;
mod names;
mod parts;
mod ports;
mod probing;
mod signed;
mod succession;
mod updates;

use std::{error::Error, sync::Arc, time::Duration};

use portolan_admin::{Readiness, silent_sources};
use portolan_catalog::{InboxHub, Pulses, SAMPLING, Turn, Witness};
use portolan_config::Plan;
use portolan_ledger::Ledger;
use portolan_model::{NodeId, Revision, SourceId};
use portolan_registry::{Reader, Registry, Stored, watch::Hub};
use portolan_runtime::{Env, Task, drain::Drain, sockets::Sockets};
use portolan_snapshot::View;
use portolan_telemetry::{AccessLog, Meters};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use foreign::Fronts;
use gates::Gates;
use listener::Listener;
use names::Names;
use ports::{Asker, Metrics, Published, Verdicts, links};
use probing::Probing;

use crate::{history::History, memory::Memory, store::Store};

/// The source that our own instances are of.
const REGISTRY: &str = "registry";
/// Where verdicts about instances of other sources come from.
const CHECKS: &str = "checks";
/// Reloads that may wait.
const RELOADS_MAX: usize = 16;
/// How long answers of control listeners may take to end when the program does.
const CLOSING: Duration = Duration::from_secs(1);

/// Who asked for a reload, and waits for its revision.
pub(crate) type Asked = oneshot::Sender<Result<Revision, String>>;

/// What the control plane is made of.
pub(crate) struct ControlParts<'a> {
    /// Clock and tasks.
    pub(crate) env: Env,
    /// The plan that is in force.
    pub(crate) plan: Arc<Plan>,
    /// What is published.
    pub(crate) view: View,
    /// The gateway's counters.
    pub(crate) meters: Arc<Meters>,
    /// Sees when workers have let go of an instance.
    pub(crate) witness: Arc<dyn Witness>,
    /// Who this Portolan is.
    pub(crate) node: NodeId,
    /// Where the registry's inbox comes from.
    pub(crate) hub: &'a mut InboxHub,
    /// Counts the lines that it dropped.
    pub(crate) access: Option<AccessLog>,
    /// Where registrations outlive the process.
    pub(crate) store: Store,
    /// What it held, if it is open already.
    pub(crate) stored: Option<Stored>,
}

/// Keeps the rates of the sources up to date.
async fn sample(pulses: Pulses, env: Env) {
    loop {
        pulses.sample(env.now());
        env.sleep(SAMPLING).await;
    }
}

/// The control plane.
pub(crate) struct Control {
    env: Env,
    view: View,
    registry: Registry,
    ledger: Ledger,
    store: Store,
    readiness: Readiness,
    admin: Listener,
    status: Listener,
    fronts: Fronts,
    names: Names,
    gates: Gates,
    probing: Probing,
    /// Where the gateway serves services by name; none if it does not.
    gateway: watch::Sender<Option<String>>,
    reloads: mpsc::Receiver<Asked>,
    /// Ends watches.
    drain: Drain,
    memory: Memory,
    history: History,
    _tasks: Vec<Task>,
}

impl Control {
    /// The registry and all that serves it, with no listener open yet.
    pub(crate) fn new(given: ControlParts<'_>) -> Self {
        let ControlParts {
            env,
            plan,
            view,
            meters,
            witness,
            node,
            hub,
            access,
            store,
            stored,
        } = given;
        let reader: Arc<dyn Reader> = Arc::new(Published(view.clone()));
        let memory = Memory::new(&env, &view, hub.recollection(), store.opened());
        let history = History::new(&env, &view, hub.recollection(), store.opened());
        let inbox = hub.open(&SourceId::new(REGISTRY), Turn::First);
        let kept = (inbox, Arc::clone(&reader));
        let (registry, desk, orders) = parts::registry(&env, &plan, witness, kept, stored);
        let archive = Arc::new(history.archive(&view, store.opened()));
        let registry = registry.with_journal(history.stored(), archive);
        let (watches, watching) = Hub::new(&*reader);
        let bench = Arc::new(Verdicts(hub.open(&SourceId::new(CHECKS), Turn::Fair)));
        let probing = Probing::new(&plan);
        let (prober, found) = probing.prober(&env, &registry, orders, bench);
        let (drain, gateway) = (Drain::new(), watch::Sender::new(None));
        let gates = Gates::new(&env, &view, store.folder().to_owned());
        let (ledger, ledger_task) = Ledger::start(&env, store.ledger());
        let (kept, around) = ((&registry, &ledger), (&env, &gates, &node));
        let checks = (&found, &probing);
        let (fronts, keeper) = Fronts::new(kept, &watches, checks, drain.watch(), around);
        let names = Names::new((&env, &view), &plan, fronts.consul(), &registry);
        let around = (links(gateway.subscribe()), drain.watch());
        let native = parts::native(&registry, (watches, found), hub.pulses(), around, &env);
        let (readiness, (asker, reloads)) = (Readiness::default(), mpsc::channel(RELOADS_MAX));
        let told = ((store.condition(), ledger.clone()), gates.access().clone());
        let counted = (told, hub.pulses(), names.meters());
        let metrics = Metrics::new((&env, &view), meters, access, counted);
        let api = gates.api(Arc::new(native));
        let admin = parts::admin((&view, &readiness), (metrics, api), Asker(asker), &store);
        let tasks = vec![
            env.spawn("pulses", sample(hub.pulses(), env.clone())),
            ledger_task,
            env.spawn("registry", desk.run()),
            env.spawn("watches", watching.run()),
            env.spawn("prober", prober.run()),
            env.spawn("consul", keeper.run()),
        ];
        let admin = parts::signed(&gates, admin, &node);
        Self {
            admin: Listener::new("admin", names.over_https(admin), env.clone()),
            status: parts::status(&view, &readiness, &env),
            fronts,
            names,
            gates,
            _tasks: tasks,
            env,
            view,
            registry,
            ledger,
            store,
            readiness,
            probing,
            gateway,
            reloads,
            drain,
            memory,
            history,
        }
    }

    /// Begins to keep what sources say and what happens, and waits until the catalogue has what
    /// there was before. The sources' inboxes must be open.
    pub(crate) async fn remember(&mut self) {
        self.memory.begin();
        if self.store.ledger().is_some() {
            self.memory.wait().await;
        }
        if let Some(journaled) = self.store.take_journaled() {
            // A registry that has ended ends with the program.
            let _adopted = self.registry.caught_up().await;
            let source = SourceId::new(REGISTRY);
            self.history.begin(journaled, &source).await;
        }
    }

    /// Opens the listeners.
    ///
    /// # Errors
    /// One can't be listened on.
    pub(crate) async fn open(
        &mut self,
        plan: &Plan,
        sockets: &mut Sockets,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.gates.follow(plan);
        if self.store.ledger().is_some() {
            self.read_tokens().await;
        }
        let (admin, status) = parts::wanted(plan);
        self.admin.follow(Some(admin), sockets)?;
        self.status.follow(status, sockets)?;
        self.fronts.follow(&plan.registry, sockets);
        Ok(())
    }

    /// Reads the certificates of control listeners again.
    pub(crate) fn reload_certificates(&mut self) {
        for listener in self.listeners() {
            for error in listener.reload_certificates().err().unwrap_or_default() {
                let error = crate::load::chain(&error);
                tracing::error!(error, "certificates stay as they were");
            }
        }
    }

    /// Puts a new plan in force; a listener that can't be opened stays as it was.
    pub(crate) async fn apply(&mut self, plan: &Plan, sockets: &mut Sockets) {
        self.probing.apply(plan);
        self.gates.follow(plan);
        // A registry that has ended ends with the program.
        let _ended = self.registry.rebound(parts::bounds(plan)).await;
        let (admin, status) = parts::wanted(plan);
        for (listener, wanted) in [(&mut self.admin, Some(admin)), (&mut self.status, status)] {
            if let Err(error) = listener.follow(wanted, sockets) {
                tracing::error!(
                    error = crate::load::chain(&*error),
                    "a listener is not as configured"
                );
            }
        }
        self.fronts.follow(&plan.registry, sockets);
        self.serve_names(plan, sockets);
    }

    /// Says where the gateway serves services by their names; none if it does not.
    pub(crate) fn set_gateway(&self, url: Option<String>) {
        self.gateway.send_replace(url);
    }

    /// Says whether traffic should come.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.readiness.set(is_ready);
        if is_ready {
            self.fronts.set_warm();
        }
    }

    /// Waits until all of those sources have said something, or that they do not know.
    pub(crate) async fn wait_for_sources(&self, sources: &[SourceId], within: Duration) {
        let mut changes = self.view.changes();
        let silent = || silent_sources(&self.view.snapshot(), sources.iter());
        let all_spoke = async {
            while !silent().is_empty() {
                match changes.recv().await {
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        };
        if self.env.timeout(within, all_spoke).await.is_err() {
            for source in silent() {
                tracing::warn!(%source, "source has not answered yet; starting without it");
            }
        }
    }

    /// The next who asks for a reload. Cancel-safe.
    pub(crate) async fn asked_to_reload(&mut self) -> Asked {
        match self.reloads.recv().await {
            Some(asked) => asked,
            // The admin API, which holds the other end, lives as long as we.
            None => std::future::pending().await,
        }
    }

    /// Ends watches and lets the answers that have begun come to their end.
    pub(crate) async fn close(&mut self) {
        self.drain.start();
        self.names.stop_accepting();
        for listener in self.listeners() {
            listener.stop_accepting();
        }
        // Whoever takes longer is cut.
        let _cut = self.env.clone().timeout(CLOSING, self.ended()).await;
        self.close_store().await;
    }

    /// Resolves when nobody accepts and no answer is under way any more.
    async fn ended(&mut self) {
        self.names.ended().await;
        for listener in self.listeners() {
            listener.ended().await;
        }
    }

    /// Where the admin API is.
    pub(crate) fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.address()
    }

    /// Where clients of Eureka are served, if they are.
    pub(crate) fn eureka_address(&self) -> Option<std::net::SocketAddr> {
        self.fronts.eureka_address()
    }

    /// Where clients of Consul are served, if they are.
    pub(crate) fn consul_address(&self) -> Option<std::net::SocketAddr> {
        self.fronts.consul_address()
    }

    fn listeners(&mut self) -> [&mut Listener; 5] {
        let [eureka, consul] = self.fronts.listeners();
        let names = self.names.listener();
        [&mut self.admin, &mut self.status, eureka, consul, names]
    }
}
