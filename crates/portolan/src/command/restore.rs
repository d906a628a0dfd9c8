//! `portolan restore`: puts a backup in the place of a store that does not run.

use std::process::ExitCode;

use super::{say, unusable};
use crate::{cli, data_lock::DataLock, load::chain, store};

pub(crate) fn restore(arguments: &cli::Restore) -> ExitCode {
    // Held to the end, so that nothing starts on what is half restored.
    let _lock = match DataLock::take(&arguments.data_dir) {
        Ok(lock) => lock,
        Err(error) => return unusable(&chain(&error)),
    };
    let to = arguments.data_dir.join(store::FILE);
    match portolan_store::restore(&arguments.file, &to) {
        Ok(restored) => {
            let aside = restored.set_aside.map_or_else(String::new, |aside| {
                format!("what was there is {} now\n", aside.display())
            });
            let text = format!(
                "{} holds revision {} with {} facts\n{aside}",
                to.display(),
                restored.revision,
                restored.facts
            );
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => unusable(&chain(&error)),
    }
}
