//! `portolan init`: a commented configuration to start from.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use portolan_config::STARTING_FILE;

use super::{say, unusable};
use crate::cli;

/// Writes the file; one that is there stays as it is.
pub(crate) fn init(arguments: &cli::Init) -> ExitCode {
    let file = arguments.file.display();
    match write(&arguments.file) {
        Ok(()) => {
            say(&format!(
                "{file} is written; start with `portolan run --config {file}`\n"
            ));
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            unusable(&format!("{file} is there already, and stays as it is"))
        }
        Err(error) => unusable(&format!("can't write {file}: {error}")),
    }
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(STARTING_FILE.as_bytes())
}
