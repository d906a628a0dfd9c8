//! `portolan backup`: copies the store of a program that runs.

use std::{process::ExitCode, time::Duration};

use http::{Method, StatusCode};
use portolan_model::Name;
use portolan_wire::call::{Answer, Call};

use super::{contact::ask, say, unusable};
use crate::{cli, load::chain};

/// How long a copy may take.
const COPYING: Duration = Duration::from_mins(10);

pub(crate) fn backup(arguments: &cli::Backup) -> ExitCode {
    if let Err(error) = Name::parse(&arguments.name) {
        return unusable(&chain(&error));
    }
    let call = Call {
        method: Method::POST,
        // A name needs no encoding.
        path: format!("/v1/backup?name={}", arguments.name),
        ..Call::default()
    };
    match ask(&arguments.contact, call, COPYING) {
        Ok(Answer { status, body, .. }) => {
            let body = serde_json::from_slice(&body).unwrap_or_default();
            if status == StatusCode::OK {
                say(&format!("{}\n", field(&body, "file")));
                return ExitCode::SUCCESS;
            }
            unusable(&format!("{status}: {}", field(&body, "detail")))
        }
        Err(why) => unusable(&format!(
            "{why} A store that does not run can be copied as it is"
        )),
    }
}

fn field<'a>(body: &'a serde_json::Value, name: &str) -> &'a str {
    body.get(name)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}
