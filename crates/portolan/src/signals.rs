//! What the operating system asks of the program.
//!
//! As process 1 of a container, the program also has to collect the children that
//! others have left behind; nobody else will.

use std::io;

use portolan_runtime::{Env, Task};
use rustix::process::{WaitOptions, getpid, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A request to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Finish what is under way and end (SIGTERM, SIGINT).
    Stop,
    /// End at once: asked to stop for the second time.
    StopNow,
    /// Read configuration and certificates again (SIGHUP).
    Reload,
    /// Start the program anew from its file and hand over to it (SIGUSR2).
    Upgrade,
}

/// The signals that are listened to.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
    is_stopping: bool,
}

impl Signals {
    /// Begins to listen, instead of being ended by them.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined2())?,
            is_stopping: false,
        })
    }

    /// Waits for the next request. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => self.stop(),
            _ = self.interrupt.recv() => self.stop(),
            _ = self.hang_up.recv() => Request::Reload,
            _ = self.user.recv() => Request::Upgrade,
        }
    }

    fn stop(&mut self) -> Request {
        let again = std::mem::replace(&mut self.is_stopping, true);
        if again {
            Request::StopNow
        } else {
            Request::Stop
        }
    }
}

/// Collects the children that others have left behind, if this is process 1.
///
/// # Errors
/// The system's, if it can't be told of them.
pub(crate) fn collect_children(env: &Env) -> io::Result<Option<Task>> {
    if !getpid().is_init() {
        return Ok(None);
    }
    let mut ended = signal(SignalKind::child())?;
    Ok(Some(env.spawn("collect children", async move {
        loop {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            ended.recv().await;
        }
    })))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, kill_process};

    use super::*;

    #[tokio::test]
    async fn signals_become_requests_and_the_second_stop_is_at_once() {
        let mut signals = Signals::listen().unwrap();
        for (signal, request) in [
            (Signal::HUP, Request::Reload),
            (Signal::USR2, Request::Upgrade),
            (Signal::INT, Request::Stop),
            (Signal::HUP, Request::Reload),
            (Signal::TERM, Request::StopNow),
            (Signal::TERM, Request::StopNow),
        ] {
            kill_process(getpid(), signal).unwrap();
            assert_eq!(signals.next().await, request, "{signal:?}");
        }
    }
}
