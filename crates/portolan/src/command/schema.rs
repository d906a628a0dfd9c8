//! `portolan schema`: the JSON Schema of the configuration.

use std::process::ExitCode;

use super::{say, unusable};
use crate::load::SHELVES;

/// Prints the schema.
pub(crate) fn schema() -> ExitCode {
    match serde_json::to_string_pretty(&portolan_config::schema(SHELVES)) {
        Ok(text) => {
            say(&(text + "\n"));
            ExitCode::SUCCESS
        }
        Err(error) => unusable(&error.to_string()),
    }
}
