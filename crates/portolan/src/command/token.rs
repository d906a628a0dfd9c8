//! `portolan token`: makes, lists and revokes tokens.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use http::Method;
use portolan_access::Secret;
use portolan_model::percent::encode_component;
use portolan_wire::call::{Answer, Call};
use serde_json::{Value, json};

use super::{contact::ask, say, unusable};
use crate::cli::{self, Contact, TokenAction};

/// How long an answer may take.
const ANSWERING: Duration = Duration::from_secs(30);

pub(crate) fn token(arguments: cli::Token) -> ExitCode {
    let done = match arguments.action {
        TokenAction::Create {
            name,
            scopes,
            expires_in,
            contact,
        } => {
            let wanted = json!({"name": name, "scopes": scopes, "expires_in": expires_in});
            create(&contact, &wanted)
        }
        TokenAction::List { json, contact } => list(&contact, json),
        TokenAction::Revoke { which, contact } => revoke(&contact, &which),
        TokenAction::Generate => generate(),
    };
    match done {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(why) => unusable(&why),
    }
}

/// Only the secret is printed to standard output, so that it can go to where it is needed.
fn create(contact: &Contact, wanted: &Value) -> Result<String, String> {
    let made = call(contact, Method::POST, "/v1/tokens", Some(wanted))?;
    let expires = made.get("expires").and_then(Value::as_str);
    eprintln!(
        "token `{}` has id {}{}; its secret is shown this once:",
        text(&made, "name"),
        text(&made, "id"),
        expires.map_or_else(String::new, |at| format!(" and expires at {at}")),
    );
    Ok(format!("{}\n", text(&made, "secret")))
}

fn list(contact: &Contact, as_json: bool) -> Result<String, String> {
    let answer = call(contact, Method::GET, "/v1/tokens", None)?;
    if as_json {
        return Ok(format!("{answer:#}\n"));
    }
    let mut lines = String::new();
    if answer.get("is_on") == Some(&Value::Bool(false)) {
        lines.push_str("access control is off: there is no `access:` in the configuration\n");
    }
    let tokens = answer.get("tokens").and_then(Value::as_array);
    for token in tokens.into_iter().flatten() {
        let list = |name: &str| {
            let texts = token.get(name).and_then(Value::as_array);
            let texts = texts.into_iter().flatten().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(",")
        };
        let scopes = [list("scopes"), list("policies")].concat();
        let id = match text(token, "id") {
            "" => "(in the configuration)",
            id => id,
        };
        let used = match text(token, "used") {
            "" => "never used".to_owned(),
            at => format!("used {at}"),
        };
        let end = match text(token, "expires") {
            "" => String::new(),
            at => format!(", expires {at}"),
        };
        // Writing to a text can't fail.
        let _written = writeln!(
            lines,
            "{id:<36}  {:<20}  {scopes}  {used}{end}",
            text(token, "name")
        );
    }
    Ok(lines)
}

fn revoke(contact: &Contact, which: &str) -> Result<String, String> {
    let path = format!("/v1/tokens/{}", encode_component(which));
    let gone = call(contact, Method::DELETE, &path, None)?;
    Ok(format!(
        "revoked `{}` ({})\n",
        text(&gone, "name"),
        text(&gone, "id")
    ))
}

fn generate() -> Result<String, String> {
    let secret: Secret = portolan_auth::new_secret().map_err(|error| error.to_string())?;
    Ok(format!(
        "secret: {}\nhash:   {}\n",
        secret.reveal(),
        secret.hash()
    ))
}

fn call(
    contact: &Contact,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let call = Call {
        method,
        path: path.to_owned(),
        body: body.map(|body| body.to_string().into()),
        ..Call::default()
    };
    let Answer { status, body, .. } = ask(contact, call, ANSWERING)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    Err(format!("{status}: {}", text(&body, "detail")))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
