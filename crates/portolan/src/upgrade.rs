//! Starts the program anew, to hand over to.
//!
//! The file and the arguments are noted at the start: after an upgrade the same path
//! holds another program, and that is the one to run.

use std::{env, ffi::OsString, io, path::PathBuf};

use tokio::process::{Child, Command};

/// The argument that makes a new process ask its predecessor to hand over.
const TAKE_OVER: &str = "--take-over";
/// The subcommand that may be left out.
const RUN: &str = "run";

/// How this program was started.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Invocation {
    /// How this process was started.
    ///
    /// # Errors
    /// The system's, if it does not know the program's file.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self {
            program: env::current_exe()?,
            arguments: env::args_os().skip(1).collect(),
        })
    }

    /// Starts the program that is at the same path now, with the same arguments, to
    /// take over from this process. What becomes of it is for the caller to watch.
    ///
    /// # Errors
    /// The system's, if it can't be started.
    pub(crate) fn start_successor(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .args(self.successor_arguments())
            .spawn()
    }

    fn successor_arguments(&self) -> Vec<OsString> {
        let mut arguments = self.arguments.clone();
        if arguments.iter().any(|argument| argument == TAKE_OVER) {
            return arguments;
        }
        if arguments.is_empty() {
            arguments.push(RUN.into());
        }
        arguments.push(TAKE_OVER.into());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_gets_the_same_arguments_and_takes_over() {
        for (given, expected) in [
            (&[][..], &["run", "--take-over"][..]),
            (
                &["run", "--config", "a.yaml"],
                &["run", "--config", "a.yaml", "--take-over"],
            ),
            (&["run", "--take-over"], &["run", "--take-over"]),
        ] {
            let invocation = Invocation {
                program: PathBuf::from("portolan"),
                arguments: given.iter().map(OsString::from).collect(),
            };
            assert_eq!(invocation.successor_arguments(), expected);
        }
    }

    #[tokio::test]
    async fn a_program_that_is_gone_is_an_error() {
        let invocation = Invocation {
            program: PathBuf::from("/nowhere/portolan"),
            arguments: Vec::new(),
        };
        assert!(invocation.start_successor().is_err());
    }
}
