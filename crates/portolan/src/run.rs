//! The life of the program: start, reload, hand over, drain, end.

mod needs;
mod program;
mod reload;
mod start;

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use portolan_config::Plan;
use portolan_model::Revision;
use portolan_runtime::Env;
use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

use self::{program::Program, start::Start};
use crate::{
    cli,
    handover::{HandoverError, Visit},
    load::{LoadError, chain, load},
    logs, report,
    signals::{Request, Signals, collect_children},
};

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;
/// By how much they stand back behind the workers where a core is short: 5 is a third of a
/// worker's share of it, so that a burst of changes gives way to requests and still gets done.
const CONTROL_NICENESS: i32 = 5;

/// Runs the program to its end.
pub(crate) fn run(arguments: &cli::Run) -> ExitCode {
    logs::start();
    let own = getpriority_process(None).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .on_thread_start(move || stand_back(own))
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

/// Lowers the priority of this thread behind the program's own, and so that of what it starts:
/// the store's thread, and the programs of script checks. Workers are started by the first
/// thread, which keeps the program's.
fn stand_back(own: i32) {
    if let Err(error) = setpriority_process(None, own.saturating_add(CONTROL_NICENESS)) {
        tracing::debug!(%error, "a thread of the control plane keeps its priority");
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
    let plan = Arc::new(apart(|| first_plan(arguments))?);
    let start = Start::find(arguments, &env).await?;
    let mut program = Program::build(arguments, &env, plan, start)?;
    program.open().await?;
    // What the first plan left behind goes back by the end of another thread.
    drop(apart(|| Box::new(0_u64)));
    loop {
        match program.next(&mut signals).await {
            Next::Signal(Request::Stop) => break,
            Next::Signal(Request::StopNow) => return Ok(()),
            Next::Signal(Request::Reload) | Next::Changed => {
                // Why it failed is in the log.
                let _failed = program.reload().await;
            }
            Next::Signal(Request::Upgrade) => program.upgrade(),
            Next::Asked(asked) => {
                let answer = program.reload().await;
                // Who asked may have gone away.
                let _answered = asked.send(answer.map_err(|error| error.in_one_line()));
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

/// Reads on a thread that ends: a large file leaves much free memory behind, and the
/// allocator gives back what a thread had when it ends, where it would keep it for a thread
/// that goes on.
fn apart<T: Send>(read: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(read).join() {
        Ok(read) => read,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn first_plan(arguments: &cli::Run) -> Result<Plan, LoadError> {
    let Some(path) = &arguments.config else {
        return Ok(Plan::zero_config());
    };
    let loaded = load(path)?;
    report::loaded(&loaded, path);
    Ok(loaded.plan)
}
