//! `portolan backup`: copies the store of a program that runs.

use std::{process::ExitCode, time::Duration};

use http::{Method, StatusCode};
use portolan_model::Name;
use portolan_runtime::Env;
use portolan_wire::call::{Call, CallError, Line, Url};

use super::{say, unusable};
use crate::{cli, load::chain};

/// How long a copy may take.
const COPYING: Duration = Duration::from_mins(10);

pub(crate) fn backup(arguments: &cli::Backup) -> ExitCode {
    let url = match Url::parse(&arguments.admin) {
        Ok(url) => url,
        Err(error) => return unusable(&chain(&error)),
    };
    if let Err(error) = Name::parse(&arguments.name) {
        return unusable(&chain(&error));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answered = match runtime {
        Ok(runtime) => runtime.block_on(ask(&url, &arguments.name)),
        Err(error) => return unusable(&error.to_string()),
    };
    match answered {
        Ok((StatusCode::OK, body)) => {
            say(&format!("{}\n", field(&body, "file")));
            ExitCode::SUCCESS
        }
        Ok((status, body)) => unusable(&format!("{status}: {}", field(&body, "detail"))),
        Err(error) => unusable(&format!(
            "{}; is the program running? A store that does not run can be copied as it is",
            chain(&error)
        )),
    }
}

async fn ask(url: &Url, name: &str) -> Result<(StatusCode, serde_json::Value), CallError> {
    let mut line = Line::open(url, None, &Env::system()).await?;
    let call = Call {
        method: Method::POST,
        // A name needs no encoding.
        path: format!("/v1/backup?name={name}"),
        body: None,
    };
    let answer = line.call(call, COPYING).await?;
    let body = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok((answer.status, body))
}

fn field<'a>(body: &'a serde_json::Value, name: &str) -> &'a str {
    body.get(name)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}
