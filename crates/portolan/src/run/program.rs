//! The program and its parts, from opening them to their end.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_balance::Board;
use portolan_catalog::inboxes;
use portolan_config::Plan;
use portolan_gateway::{Gateway, Shared};
use portolan_model::Revision;
use portolan_runtime::{Env, Task, sockets::Sockets};
use portolan_snapshot::{Parts, Plans, Publisher, View, WorkersWitness};
use portolan_telemetry::{AccessLog, AccessWriter, Meters};
use portolan_wire::tls::ClientTls;

use super::{
    Next, Outcome,
    needs::{descriptors_needed, open_access_log, tls_files, workers},
    start::Start,
};
use crate::{
    cli,
    control::{Control, ControlParts},
    data_lock::DataLock,
    handover::{Door, Succession, Visit},
    limits,
    load::chain,
    service_manager::{News, ServiceManager},
    signals::{Request, Signals},
    sources::Sources,
    summary,
    upgrade::Invocation,
    watch::FileWatch,
};

/// Most of the wait for sources to speak before the gateway says that it is ready.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// The running program.
pub(super) struct Program {
    pub(super) arguments: cli::Run,
    env: Env,
    pub(super) plan: Arc<Plan>,
    pub(super) plans: Plans,
    pub(super) view: View,
    pub(super) gateway: Gateway,
    pub(super) sockets: Sockets,
    pub(super) sources: Sources,
    pub(super) control: Control,
    door: Door,
    lock: DataLock,
    succession: Option<Succession>,
    manager: ServiceManager,
    invocation: Invocation,
    pub(super) access: Option<(AccessLog, AccessWriter)>,
    pub(super) client_tls: Arc<Mutex<ClientTls>>,
    watch: FileWatch,
    _publisher: Task,
}

impl Program {
    pub(super) fn build(
        arguments: &cli::Run,
        env: &Env,
        plan: Arc<Plan>,
        start: Start,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let workers = workers(&plan);
        let meters = Arc::new(Meters::new(workers.get()));
        let board = Board::new(workers.get());
        let (hub, inflow) = inboxes();
        let parts = Parts {
            env: env.clone(),
            meters: Arc::clone(&meters),
            board: Arc::clone(&board),
            inflow,
            revision: start
                .stored
                .as_ref()
                .map_or(Revision::FIRST, |stored| stored.loaded.revision),
        };
        let (publisher, view, plans) = Publisher::new(parts, &plan);
        let witness =
            WorkersWitness::new(&publisher, view.clone(), Arc::clone(&board), env.clone());
        let publisher = env.spawn("publisher", publisher.run());
        let access = open_access_log(&plan.access_log, arguments)?;
        let client_tls = Arc::new(Mutex::new(ClientTls::new()));
        let mut dice = env.dice();
        let shared = Shared {
            env: env.clone(),
            view: view.clone(),
            board,
            meters: Arc::clone(&meters),
            access: access.as_ref().map(|(log, _)| log.clone()),
            client_tls: Arc::clone(&client_tls),
            gates: Arc::default(),
            start: env.instant(),
            pseudonym: format!("portolan-{:08x}", dice.u32_below(u32::MAX)).into(),
        };
        let gateway = Gateway::start(shared, workers)?;
        let mut sources = Sources::new(hub.of_node(start.node.clone()), env.clone());
        let control = Control::new(ControlParts {
            env: env.clone(),
            plan: Arc::clone(&plan),
            view: view.clone(),
            meters,
            witness: Arc::new(witness),
            node: start.node,
            hub: sources.hub(),
            access: access.as_ref().map(|(log, _)| log.clone()),
            store: start.store,
            stored: start.stored,
        });
        let door = Door::open(&arguments.data_dir, env)?;
        let watch = FileWatch::new(env.clone());
        Ok(Self {
            arguments: arguments.clone(),
            env: env.clone(),
            plan,
            plans,
            view,
            gateway,
            sockets: start.sockets,
            sources,
            control,
            door,
            lock: start.lock,
            succession: start.inheritance,
            manager: ServiceManager::from_env(),
            invocation: Invocation::current()?,
            access,
            client_tls,
            watch,
            _publisher: publisher,
        })
    }

    /// Opens everything: sources, control listeners, listeners.
    pub(super) async fn open(&mut self) -> Outcome {
        let allowed = limits::raise_descriptors();
        limits::warn_of_descriptors(allowed, descriptors_needed(&self.plan));
        self.sources.apply(&self.plan);
        self.control.remember().await;
        self.sources.begin();
        self.control.open(&self.plan, &mut self.sockets).await?;
        let sources = self.sources.ids();
        self.control.wait_for_sources(&sources, FIRST_ANSWERS).await;
        if let Some(succession) = &mut self.succession {
            let state = succession.state().await?;
            self.control.take_in(&state).await;
            self.control.remember().await;
        }
        self.gateway
            .apply(&self.plan, &mut self.sockets)
            .map_err(|errors| {
                let texts: Vec<_> = errors.iter().map(|error| chain(error)).collect();
                texts.join("; ")
            })?;
        let plan = Arc::clone(&self.plan);
        self.control.serve_names(&plan, &mut self.sockets);
        for address in self.sockets.close_inherited() {
            tracing::warn!(%address, "an inherited socket is not configured; it was closed");
        }
        if let Some(succession) = self.succession.take()
            && let Err(error) = succession.ready(&mut self.lock).await
        {
            tracing::warn!(error = chain(&error), "the predecessor is gone");
        }
        self.tell_where();
        self.control.set_ready(true);
        self.manager.tell(News::Ready);
        self.follow_files(&plan);
        summary::welcome(&self.gateway, &self.control, &self.plan, &self.arguments);
        Ok(())
    }

    /// Notices from now on when one of the files changes that this plan depends on.
    pub(super) fn follow_files(&mut self, plan: &Plan) {
        let configuration = self.arguments.config.iter().cloned();
        self.watch.follow(configuration.chain(tls_files(plan)));
    }

    /// Tells the registry where services are reachable by their names.
    pub(super) fn tell_where(&self) {
        let automatic = self.plan.gateway.automatic.is_enabled;
        let first = self.plan.listeners.first().filter(|_| automatic);
        let url = first.and_then(|listener| {
            let (_, address) = self
                .gateway
                .addresses()
                .find(|(name, _)| **name == listener.name)?;
            Some(summary::url(address, listener.tls.is_some()))
        });
        self.control.set_gateway(url);
    }

    pub(super) async fn next(&mut self, signals: &mut Signals) -> Next {
        tokio::select! {
            request = signals.next() => Next::Signal(request),
            () = self.watch.changed() => Next::Changed,
            asked = self.control.asked_to_reload() => Next::Asked(asked),
            visit = self.door.visit() => Next::Visit(visit),
        }
    }

    /// Starts the program anew from its file; the new process then knocks at the door.
    pub(super) fn upgrade(&self) {
        match self.invocation.start_successor() {
            Ok(mut child) => {
                tracing::info!("successor started");
                let waiting = async move {
                    // It ends only if it could not take over.
                    if let Ok(status) = child.wait().await {
                        tracing::error!(%status, "the successor ended");
                    }
                };
                self.env.spawn("successor", waiting).detach();
            }
            Err(error) => tracing::error!(%error, "a successor can't be started"),
        }
    }

    /// Hands everything over. Says whether the successor has it.
    pub(super) async fn hand_over(&mut self, mut visit: Visit) -> bool {
        let version = visit.version().to_owned();
        tracing::info!(version, "handing over");
        let handed = async {
            visit.offer(&self.sockets, &self.lock).await?;
            self.control.stop_accepting().await;
            self.gateway.stop_accepting();
            let state = self.control.export().await;
            visit.hand_over(&state).await
        };
        match handed.await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(error = chain(&error), "the hand-over failed; going on");
                self.control.resume(&self.plan, &mut self.sockets).await;
                if let Err(errors) = self.gateway.resume(&mut self.sockets) {
                    tracing::error!(?errors, "listeners can't be resumed");
                }
                false
            }
        }
    }

    /// Finishes what is under way.
    pub(super) async fn end(mut self, signals: &mut Signals) {
        self.manager.tell(News::Stopping);
        self.control.set_ready(false);
        let deadline = self.plan.gateway.drain;
        tracing::info!(connections = self.gateway.connections(), "draining");
        let drained = tokio::select! {
            drained = self.gateway.drain(deadline) => drained.is_ok(),
            () = asked_again(signals) => false,
        };
        if !drained {
            tracing::warn!(
                connections = self.gateway.connections(),
                "connections were cut"
            );
        }
        self.control.close().await;
        drop(self.access);
        tracing::info!("ended");
    }
}

async fn asked_again(signals: &mut Signals) {
    while signals.next().await != Request::StopNow {}
}
