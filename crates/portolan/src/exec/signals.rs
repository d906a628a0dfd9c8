//! The signals that are meant for the program.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// That the program ends (SIGTERM, SIGINT).
    Stop(Signal),
    /// Whatever the program makes of it (SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2).
    Pass(Signal),
}

/// The signals that are listened to.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: SignalStream,
    interrupt: SignalStream,
    hang_up: SignalStream,
    quit: SignalStream,
    user_1: SignalStream,
    user_2: SignalStream,
}

impl Signals {
    /// Begins to listen, instead of being ended by them.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop(Signal::TERM),
            _ = self.interrupt.recv() => Asked::Stop(Signal::INT),
            _ = self.hang_up.recv() => Asked::Pass(Signal::HUP),
            _ = self.quit.recv() => Asked::Pass(Signal::QUIT),
            _ = self.user_1.recv() => Asked::Pass(Signal::USR1),
            _ = self.user_2.recv() => Asked::Pass(Signal::USR2),
        }
    }
}

/// What people call a signal.
pub(super) fn name(signal: i32) -> String {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    let known = names.iter().find(|(known, _)| known.as_raw() == signal);
    known.map_or_else(
        || format!("signal {signal}"),
        |(_, name)| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(name(Signal::TERM.as_raw()), "SIGTERM");
        assert_eq!(name(64), "signal 64");
    }
}
