//! The control plane of the program: registry, prober, and the listeners of their APIs.
//!
//! Everything here runs on the control runtime; the workers see none of it but
//! snapshots.

mod foreign;
mod gates;
mod listener;
mod ports;
mod probing;

use std::{error::Error, sync::Arc, time::Duration};

use portolan_admin::{Admin, Readiness, Status, silent_sources};
use portolan_catalog::{InboxHub, Turn, Witness};
use portolan_config::Plan;
use portolan_ledger::Ledger;
use portolan_model::{Revision, SourceId};
use portolan_registry::{
    Parts as RegistryParts, Reader, Registry, Stored,
    core::Bounds,
    front::native::{Native, Parts as NativeParts},
    watch::Hub,
};
use portolan_runtime::{Env, Task, drain::Drain, sockets::Sockets};
use portolan_snapshot::View;
use portolan_telemetry::{AccessLog, Meters};
use portolan_wire::serve::{Handler, Hosts};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use foreign::Fronts;
use gates::Gates;
use listener::{Listener, Wanted};
use ports::{Asker, Metrics, Published, Verdicts, links};
use probing::Probing;

use crate::store::{self, Store};

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
    /// Where the registry's inbox comes from.
    pub(crate) hub: &'a mut InboxHub,
    /// Counts the lines that it dropped.
    pub(crate) access: Option<AccessLog>,
    /// Where registrations outlive the process.
    pub(crate) store: Store,
    /// What it held, if it is open already.
    pub(crate) stored: Option<Stored>,
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
    gates: Gates,
    probing: Probing,
    /// Where the gateway serves services by name; none if it does not.
    gateway: watch::Sender<Option<String>>,
    reloads: mpsc::Receiver<Asked>,
    /// Ends watches.
    drain: Drain,
    _tasks: Vec<Task>,
}

impl Control {
    /// The registry and all that serves it, with no listener open yet.
    pub(crate) fn new(parts: ControlParts<'_>) -> Self {
        let ControlParts {
            env,
            plan,
            view,
            meters,
            witness,
            hub,
            access,
            store,
            stored,
        } = parts;
        let reader: Arc<dyn Reader> = Arc::new(Published(view.clone()));
        let inbox = hub.open(&SourceId::new(REGISTRY), Turn::First);
        let (registry, desk, orders) = Registry::new(RegistryParts {
            env: env.clone(),
            inbox,
            bounds: bounds(&plan),
            witness,
            reader: Arc::clone(&reader),
            stored,
        });
        let (watches, watching) = Hub::new(&*reader);
        let bench = Arc::new(Verdicts(hub.open(&SourceId::new(CHECKS), Turn::Fair)));
        let probing = Probing::new(&plan);
        let (prober, states) = probing.prober(&env, &registry, orders, bench);
        let (drain, gateway) = (Drain::new(), watch::Sender::new(None));
        let gates = Gates::new(&env, &view, store.folder().to_owned());
        let (ledger, ledger_task) = Ledger::start(&env, store.ledger());
        let (fronts, keeper) = Fronts::new(
            (&registry, &ledger),
            &watches,
            (&states, &probing),
            drain.watch(),
            (&env, &gates),
        );
        let native = Native::new(NativeParts {
            registry: registry.clone(),
            hub: watches,
            checks: states,
            links: links(gateway.subscribe()),
            drain: drain.watch(),
            env: env.clone(),
        });
        let readiness = Readiness::default();
        let (asker, reloads) = mpsc::channel(RELOADS_MAX);
        let kept = (store.condition(), ledger.clone());
        let metrics = Metrics::new(
            (&env, &view),
            meters,
            access,
            (kept, gates.access().clone()),
        );
        let api = gates.api(Arc::new(native));
        let admin = admin((&view, &readiness), (metrics, api), Asker(asker), &store);
        let tasks = vec![
            ledger_task,
            env.spawn("registry", desk.run()),
            env.spawn("watches", watching.run()),
            env.spawn("prober", prober.run()),
            env.spawn("consul", keeper.run()),
        ];
        let status = Arc::new(Status::new(view.clone(), readiness.clone()));
        Self {
            admin: Listener::new("admin", Arc::new(gates.admin(Arc::new(admin))), env.clone()),
            status: Listener::new("status", status, env.clone()),
            fronts,
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
        let (admin, status) = wanted(plan);
        self.admin.follow(Some(admin), sockets)?;
        self.status.follow(status, sockets)?;
        self.fronts.follow(&plan.registry, sockets);
        Ok(())
    }

    /// Reads tokens from the store, if there is one: without, those of the configuration count.
    async fn read_tokens(&self) {
        let read = self.gates.access().attach(self.store.ledger()).await;
        if let Err(error) = read {
            tracing::error!(
                error = crate::load::chain(&error),
                "stored tokens can't be read"
            );
        }
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
        let _ended = self.registry.rebound(bounds(plan)).await;
        let (admin, status) = wanted(plan);
        for (listener, wanted) in [(&mut self.admin, Some(admin)), (&mut self.status, status)] {
            if let Err(error) = listener.follow(wanted, sockets) {
                tracing::error!(
                    error = crate::load::chain(&*error),
                    "a listener is not as configured"
                );
            }
        }
        self.fronts.follow(&plan.registry, sockets);
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

    /// Stops accepting and gives away what is only in memory: from now on, the registry
    /// takes no writes, so that none is lost that was answered.
    pub(crate) async fn stop_and_export(&mut self) -> Vec<u8> {
        for listener in self.listeners() {
            listener.stop_accepting();
        }
        let handed = self.registry.export().await.unwrap_or_default();
        // The successor opens the store: two processes can't.
        let _ended = self.registry.attach(None).await;
        let _never = self.gates.access().attach(None).await;
        self.close_store().await;
        serde_json::to_vec(&handed).unwrap_or_else(|error| {
            tracing::error!(%error, "registrations can't be handed over");
            Vec::new()
        })
    }

    /// Takes in what a predecessor gave away.
    pub(crate) async fn take_in(&mut self, state: &[u8]) {
        let handed = match serde_json::from_slice(state) {
            Ok(handed) => handed,
            Err(error) => {
                tracing::error!(%error, "the predecessor's registrations can't be read");
                return;
            }
        };
        // A registry that has ended ends with the program.
        let _ended = self.registry.adopt(handed).await;
        self.attach_store().await;
    }

    /// Opens the store, which from then on holds what is in memory.
    async fn attach_store(&mut self) {
        match self.store.open().await {
            Ok(stored) => {
                // A registry that has ended ends with the program.
                let _ended = self.registry.attach(Some(stored)).await;
                self.ledger.attach(self.store.ledger()).await;
            }
            Err(error) => store::without(&error),
        }
        self.read_tokens().await;
    }

    /// Closes the store, with everything in it that anybody was told.
    async fn close_store(&mut self) {
        self.ledger.attach(None).await;
        self.store.close().await;
    }

    /// Goes on after a hand-over that came to nothing.
    pub(crate) async fn resume(&mut self, plan: &Plan, sockets: &mut Sockets) {
        // A registry that has ended ends with the program.
        let _ended = self.registry.resume().await;
        self.attach_store().await;
        self.apply(plan, sockets).await;
    }

    /// Ends watches and lets the answers that have begun come to their end.
    pub(crate) async fn close(&mut self) {
        self.drain.start();
        for listener in self.listeners() {
            listener.stop_accepting();
        }
        let env = self.env.clone();
        let listeners = self.listeners();
        let ended = async {
            for listener in listeners {
                listener.ended().await;
            }
        };
        // Whoever takes longer is cut.
        let _cut = env.timeout(CLOSING, ended).await;
        self.close_store().await;
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

    fn listeners(&mut self) -> [&mut Listener; 4] {
        let [eureka, consul] = self.fronts.listeners();
        [&mut self.admin, &mut self.status, eureka, consul]
    }
}

/// The admin API, with the native front under it.
fn admin(
    (view, readiness): (&View, &Readiness),
    (metrics, registry): (Metrics, impl Handler + 'static),
    asker: Asker,
    store: &Store,
) -> Admin {
    Admin::new(portolan_admin::Parts {
        view: view.clone(),
        readiness: readiness.clone(),
        metrics: Arc::new(metrics),
        reload: Arc::new(asker),
        backup: Arc::new(store.backups()),
        registry: Arc::new(registry),
    })
}

/// What a plan asks of the control listeners: admin, and status if it is wanted.
fn wanted(plan: &Plan) -> (Wanted, Option<Wanted>) {
    let admin = Wanted {
        address: plan.admin.address,
        hosts: Hosts::Named(plan.admin.hosts.clone()),
        security: Some(plan.admin.security.clone()),
    };
    let status = plan.status.as_ref().map(|status| Wanted {
        address: status.address,
        hosts: Hosts::Any,
        security: None,
    });
    (admin, status)
}

fn bounds(plan: &Plan) -> Bounds {
    let registry = &plan.registry;
    Bounds {
        ttl_default: registry.ttl_default,
        ttl_min: registry.ttl_min,
        ttl_max: registry.ttl_max,
        instances_max: registry.instances_max.get(),
    }
}
