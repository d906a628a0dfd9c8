//! The life of the program: start, reload, hand over, drain, end.

use std::{
    error::Error,
    fs, io,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_balance::Board;
use portolan_catalog::inboxes;
use portolan_config::{AccessLog as AccessPlan, LogFormat, LogPath, Plan};
use portolan_gateway::{Gateway, Shared};
use portolan_model::Revision;
use portolan_runtime::{Env, Task, sockets::Sockets};
use portolan_snapshot::{Parts, Plans, Publisher, View, WorkersWitness};
use portolan_telemetry::{AccessLog, AccessWriter, Destination, Format, Meters};
use portolan_wire::tls::ClientTls;

use tokio::sync::oneshot;

use crate::{
    cli,
    control::{Control, ControlParts},
    data_lock::DataLock,
    handover::{Door, HandoverError, Inheritance, Succession, Visit, take_over},
    limits,
    load::{LoadError, chain, load},
    logs, report,
    service_manager::{News, ServiceManager, inherited_listeners},
    signals::{Request, Signals, collect_children},
    sources::Sources,
    summary,
    upgrade::Invocation,
    watch::FileWatch,
};

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;
/// Most of the wait for sources to speak before the gateway says that it is ready.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// Runs the program to its end.
pub(crate) fn run(arguments: &cli::Run) -> ExitCode {
    logs::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| {
        let ended = runtime.block_on(live(arguments));
        runtime.shutdown_timeout(Duration::from_millis(200));
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::failure(&*error);
            ExitCode::FAILURE
        }
    }
}

/// What the program is asked for while it runs.
enum Next {
    Signal(Request),
    /// A file that the configuration depends on.
    Changed,
    /// By the admin API, to reload.
    Asked(oneshot::Sender<Result<Revision, String>>),
    /// A successor at the door.
    Visit(Result<Visit, HandoverError>),
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

async fn live(arguments: &cli::Run) -> Outcome {
    let env = Env::system();
    // The signals are listened to first: whatever comes while starting is then not lost.
    let mut signals = Signals::listen()?;
    let _children = collect_children(&env)?;
    let plan = Arc::new(first_plan(arguments)?);
    fs::create_dir_all(&arguments.data_dir)
        .map_err(|error| format!("can't make {}: {error}", arguments.data_dir.display()))?;
    let start = Start::find(arguments, &env).await?;
    let mut program = Program::build(arguments, &env, plan, start).await?;
    program.open().await?;
    loop {
        match program.next(&mut signals).await {
            Next::Signal(Request::Stop) => break,
            Next::Signal(Request::StopNow) => return Ok(()),
            Next::Signal(Request::Reload) | Next::Changed => program.reload().await,
            Next::Signal(Request::Upgrade) => program.upgrade(),
            Next::Asked(asked) => {
                let answer = program.reload_with_answer().await;
                // Who asked may have gone away.
                let _answered = asked.send(answer);
            }
            Next::Visit(Err(error)) => {
                tracing::warn!(error = chain(&error), "a successor was not let in");
            }
            Next::Visit(Ok(visit)) => {
                if program.hand_over(visit).await {
                    break;
                }
            }
        }
    }
    program.end(&mut signals).await;
    Ok(())
}

fn first_plan(arguments: &cli::Run) -> Result<Plan, LoadError> {
    let Some(path) = &arguments.config else {
        return Ok(Plan::zero_config());
    };
    let loaded = load(path)?;
    report::findings(
        &loaded.plan.findings,
        &path.display().to_string(),
        &loaded.text,
    );
    Ok(loaded.plan)
}

/// What the program begins with: nothing, or what a predecessor hands over.
struct Start {
    sockets: Sockets,
    lock: DataLock,
    inheritance: Option<Succession>,
}

impl Start {
    async fn find(arguments: &cli::Run, env: &Env) -> Result<Self, Box<dyn Error + Send + Sync>> {
        if arguments.take_over
            && let Some(inheritance) = take_over(&arguments.data_dir, env).await?
        {
            let Inheritance {
                listeners,
                lock,
                version,
                succession,
            } = inheritance;
            tracing::info!(version, "taking over");
            return Ok(Self {
                sockets: Sockets::new(listeners)?,
                lock,
                inheritance: Some(succession),
            });
        }
        let lock = DataLock::take(&arguments.data_dir)?;
        Ok(Self {
            sockets: Sockets::new(inherited_listeners()?)?,
            lock,
            inheritance: None,
        })
    }
}

struct Program {
    arguments: cli::Run,
    env: Env,
    plan: Arc<Plan>,
    plans: Plans,
    view: View,
    gateway: Gateway,
    sockets: Sockets,
    sources: Sources,
    control: Control,
    door: Door,
    lock: DataLock,
    succession: Option<Succession>,
    manager: ServiceManager,
    invocation: Invocation,
    access: Option<(AccessLog, AccessWriter)>,
    client_tls: Arc<Mutex<ClientTls>>,
    watch: FileWatch,
    _publisher: Task,
}

impl Program {
    async fn build(
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
        };
        let (publisher, view, plans) = Publisher::new(parts, Arc::clone(&plan));
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
        let mut sources = Sources::new(hub, env.clone());
        let control = Control::new(ControlParts {
            env: env.clone(),
            plan: Arc::clone(&plan),
            view: view.clone(),
            meters,
            witness: Arc::new(witness),
            hub: sources.hub(),
            access: access.as_ref().map(|(log, _)| log.clone()),
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
    async fn open(&mut self) -> Outcome {
        let allowed = limits::raise_descriptors();
        limits::warn_of_descriptors(allowed, descriptors_needed(&self.plan));
        self.sources.apply(&self.plan);
        self.control.open(&self.plan, &mut self.sockets)?;
        let sources = self.sources.ids();
        self.control.wait_for_sources(&sources, FIRST_ANSWERS).await;
        if let Some(succession) = &mut self.succession {
            let state = succession.state().await?;
            self.control.take_in(&state).await;
        }
        self.gateway
            .apply(&self.plan, &mut self.sockets)
            .map_err(|errors| {
                let texts: Vec<_> = errors.iter().map(|error| chain(error)).collect();
                texts.join("; ")
            })?;
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
        self.watch.follow(
            self.arguments
                .config
                .iter()
                .cloned()
                .chain(tls_files(&self.plan)),
        );
        summary::welcome(&self.gateway, &self.control, &self.plan, &self.arguments);
        Ok(())
    }

    /// Tells the registry where services are reachable by their names.
    fn tell_where(&self) {
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

    async fn next(&mut self, signals: &mut Signals) -> Next {
        tokio::select! {
            request = signals.next() => Next::Signal(request),
            () = self.watch.changed() => Next::Changed,
            asked = self.control.asked_to_reload() => Next::Asked(asked),
            visit = self.door.visit() => Next::Visit(visit),
        }
    }

    async fn reload(&mut self) {
        if let Err(error) = self.reload_with_answer().await {
            tracing::error!(
                error,
                "the new configuration is not used; the running one stays"
            );
        }
    }

    /// Reads the configuration and certificates again and puts them in force.
    async fn reload_with_answer(&mut self) -> Result<Revision, String> {
        if let Some((log, _)) = &self.access {
            log.reopen();
        }
        if let Err(errors) = self.gateway.reload_certificates() {
            for error in errors {
                tracing::error!(error = chain(&error), "certificates stay as they were");
            }
        }
        for error in self
            .client_tls
            .lock()
            .map(|mut tls| tls.reload())
            .unwrap_or_default()
        {
            tracing::error!(error = chain(&error), "upstream TLS stays as it was");
        }
        let Some(path) = self.arguments.config.clone() else {
            return Ok(self.view.snapshot().revision());
        };
        let loaded = load(&path).map_err(|error| report::load_error(&error))?;
        report::findings(
            &loaded.plan.findings,
            &path.display().to_string(),
            &loaded.text,
        );
        if loaded.plan.digest == self.plan.digest {
            return Ok(self.view.snapshot().revision());
        }
        self.put_in_force(Arc::new(loaded.plan)).await
    }

    async fn put_in_force(&mut self, plan: Arc<Plan>) -> Result<Revision, String> {
        if workers(&plan) != workers(&self.plan) {
            tracing::warn!("another number of workers needs a restart or an upgrade");
        }
        self.sources.apply(&plan);
        let revision = self
            .plans
            .apply(Arc::clone(&plan))
            .await
            .map_err(|error| error.to_string())?;
        if let Err(errors) = self.gateway.apply(&plan, &mut self.sockets) {
            for error in &errors {
                tracing::error!(error = chain(error), "a listener is not as configured");
            }
        }
        self.control.apply(&plan, &mut self.sockets).await;
        self.tell_where();
        self.watch.follow(
            self.arguments
                .config
                .iter()
                .cloned()
                .chain(tls_files(&plan)),
        );
        self.plan = plan;
        tracing::info!(revision = revision.as_u64(), "configuration in force");
        Ok(revision)
    }

    /// Starts the program anew from its file; the new process then knocks at the door.
    fn upgrade(&self) {
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
    async fn hand_over(&mut self, mut visit: Visit) -> bool {
        let version = visit.version().to_owned();
        tracing::info!(version, "handing over");
        let handed = async {
            visit.offer(&self.sockets, &self.lock).await?;
            self.gateway.stop_accepting();
            let state = self.control.stop_and_export().await;
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
    async fn end(mut self, signals: &mut Signals) {
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

fn workers(plan: &Plan) -> NonZeroUsize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    plan.gateway.workers.unwrap_or_else(cores)
}

fn descriptors_needed(plan: &Plan) -> u64 {
    let connections = plan
        .listeners
        .iter()
        .map(|l| u64::from(l.limits.connections_max.get()))
        .sum();
    let listeners = plan.listeners.len() as u64;
    limits::descriptors_needed(connections, listeners, workers(plan).get() as u64)
}

/// The certificates of listeners and upstreams.
fn tls_files(plan: &Plan) -> impl Iterator<Item = PathBuf> {
    let listeners = plan
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref());
    let served = listeners.flat_map(|tls| &tls.certificates);
    let upstreams = plan
        .upstreams
        .iter()
        .filter_map(|planned| planned.upstream.tls.as_ref());
    let shown = upstreams.clone().filter_map(|tls| tls.certificate.as_ref());
    let roots = upstreams.filter_map(|tls| tls.ca.clone());
    served
        .chain(shown)
        .flat_map(|files| [files.certificate.clone(), files.key.clone()])
        .chain(roots)
        .collect::<Vec<_>>()
        .into_iter()
}

fn open_access_log(
    plan: &AccessPlan,
    arguments: &cli::Run,
) -> io::Result<Option<(AccessLog, AccessWriter)>> {
    let on_a_terminal = || io::IsTerminal::is_terminal(&io::stdout()) && arguments.config.is_none();
    if !plan.is_enabled.unwrap_or_else(on_a_terminal) {
        return Ok(None);
    }
    let format = match plan.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let destination = match &plan.path {
        LogPath::Stdout => Destination::Stdout,
        LogPath::File(path) => Destination::File(path.clone()),
    };
    AccessLog::open(format, destination)
        .map(Some)
        .map_err(io::Error::other)
}
