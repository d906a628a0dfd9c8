//! The program that is run: a child process in a group of its own.
//!
//! In a group of its own a Ctrl-C on the terminal reaches us only, so that the program's
//! requests can end before it is told. Every child that ends is collected, also those that
//! others have left behind, because as process 1 of a container we inherit them.

use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait},
};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// What shells add to the number of the signal that ended a program.
const BY_SIGNAL: i32 = 128;
/// What shells say when there is no such program.
const NOT_FOUND: u8 = 127;
/// What shells say when it can't be run.
const NOT_RUNNABLE: u8 = 126;

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    pid: Pid,
    children: SignalStream,
    ended: Option<End>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With that code.
    Code(u8),
    /// By that signal.
    Signal(i32),
    /// Somebody else collected it.
    Unseen,
}

/// A program that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("can't start the program")]
pub(super) struct NotStarted(#[from] io::Error);

impl Program {
    /// Starts a program, with our own input and outputs.
    ///
    /// # Errors
    /// The system's: there is no such program, or it can't be run.
    pub(super) fn start(command: &[OsString]) -> Result<Self, NotStarted> {
        // Before the program begins, so that its end can't be missed.
        let children = signal(SignalKind::child())?;
        let [program, arguments @ ..] = command else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        let child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Self {
            pid,
            children,
            ended: None,
        })
    }

    /// Its process.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until it has ended, and collects whatever ends meanwhile. Cancel-safe.
    pub(super) async fn ended(&mut self) -> End {
        loop {
            if let Some(end) = self.ended {
                return end;
            }
            if !self.collect() {
                self.children.recv().await;
            }
        }
    }

    /// Collects all children that have ended; whether the program is among them.
    fn collect(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => self.ended = End::of(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return self.ended.is_some(),
                Err(_) => {
                    // There are no children: none of ours either.
                    self.ended.get_or_insert(End::Unseen);
                    return true;
                }
            }
        }
    }

    /// Sends it a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // It is there until we collect it.
            let _sent = kill_process(self.pid, signal);
        }
    }

    /// Ends it and all of its group, at once.
    pub(super) fn kill(&self) {
        let _sent = kill_process_group(self.pid, Signal::KILL);
    }
}

impl End {
    fn of(status: WaitStatus) -> Option<Self> {
        let code = status
            .exit_status()
            .and_then(|code| u8::try_from(code).ok());
        match (code, status.terminating_signal()) {
            (Some(code), _) => Some(Self::Code(code)),
            (None, Some(signal)) => Some(Self::Signal(signal)),
            // Stopped or continued.
            (None, None) => None,
        }
    }

    /// What a shell would end with.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(BY_SIGNAL + signal).unwrap_or(u8::MAX),
            Self::Unseen => 1,
        }
    }
}

impl NotStarted {
    /// What a shell would end with.
    pub(super) fn exit_code(&self) -> u8 {
        if self.0.kind() == io::ErrorKind::NotFound {
            NOT_FOUND
        } else {
            NOT_RUNNABLE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(End::Code(3).exit_code(), 3);
        assert_eq!(End::Signal(15).exit_code(), 143);
        assert_eq!(End::Signal(64).exit_code(), 192);
        let of = |kind: io::ErrorKind| NotStarted(kind.into()).exit_code();
        assert_eq!(of(io::ErrorKind::NotFound), 127);
        assert_eq!(of(io::ErrorKind::PermissionDenied), 126);
    }
}
