//! The commands that do not serve: they read, compare and write configurations, copy the
//! store, and make tokens.
//!
//! They exit with 0 when all is well, 1 when a configuration has errors, and 2 when
//! they can't do what was asked.

mod backup;
mod check;
mod contact;
mod diff;
mod findings;
mod init;
mod restore;
mod schema;
mod sources;
mod token;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

pub(crate) use backup::backup;
pub(crate) use check::check;
pub(crate) use contact::{token_of_environment, token_of_file};
pub(crate) use diff::diff;
pub(crate) use findings::print_findings;
pub(crate) use init::init;
pub(crate) use restore::restore;
pub(crate) use schema::schema;
pub(crate) use sources::sources;
pub(crate) use token::token;

/// The configuration has errors.
const ERRORS: u8 = 1;
/// It can't be done.
const UNUSABLE: u8 = 2;

/// Whether a stream is for eyes that see colours.
fn wants_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints to standard output. Whoever stops reading has seen enough.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _reader_is_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Says why it can't be done.
fn unusable(message: &str) -> ExitCode {
    eprintln!("portolan: {message}");
    ExitCode::from(UNUSABLE)
}
