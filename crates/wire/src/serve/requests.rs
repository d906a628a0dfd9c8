//! The requests of one HTTP/2 connection: each is a task, and they are counted.

use std::{future::Future, time::Duration};

use hyper::rt::Executor;
use portolan_runtime::Env;
use tokio::sync::watch;

/// Runs them; cloning is cheap.
#[derive(Clone)]
pub(super) struct Requests {
    env: Env,
    running: watch::Sender<usize>,
}

/// How many there are.
pub(super) struct Busy(watch::Receiver<usize>);

impl Requests {
    pub(super) fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            running: watch::Sender::new(0),
        }
    }

    pub(super) fn busy(&self) -> Busy {
        Busy(self.running.subscribe())
    }
}

/// A request's task ends with the last byte of its answer.
impl<F> Executor<F> for Requests
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, request: F) {
        let counted = Counted::new(self.running.clone());
        let run = async move {
            request.await;
            drop(counted);
        };
        self.env.spawn("control request", run).detach();
    }
}

struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(running: watch::Sender<usize>) -> Self {
        running.send_modify(|count| *count = count.saturating_add(1));
        Self(running)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Busy {
    /// Resolves once there was no request for so long.
    pub(super) async fn idle_for(&mut self, env: &Env, span: Duration) {
        loop {
            // Both end early only with the connection.
            drop(self.0.wait_for(|count| *count == 0).await);
            let next = self.0.wait_for(|count| *count > 0);
            if env.timeout(span, next).await.is_err() {
                return;
            }
        }
    }
}
