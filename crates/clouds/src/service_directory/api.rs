//! Lists of the API, page by page, and refusals in plain words.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use portolan_model::{ByteSize, percent::encode_component};
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call};
use serde_json::Value;

use super::{
    map::{Listed, annotations, id_of},
    settings::Settings,
    token::Tokens,
};
use portolan_sources::frame::{Backoff, Ended, Servers};

const ANSWER_MAX: ByteSize = ByteSize::from_bytes(16 << 20);
/// The most that the API puts on a page.
const PAGE: usize = 1000;
const PAGES_MAX: usize = 100;
/// A call that is over the quota is made this often.
const TRIES: usize = 6;
/// What is told of a refusal.
const TOLD_CHARS_MAX: usize = 300;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It went while the rest was read.
    Unknown,
    Ended(Ended),
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

#[derive(Debug)]
pub(super) struct Api {
    servers: Servers,
    tokens: Tokens,
    place: String,
    timeout: Duration,
    env: Env,
}

impl Api {
    pub(super) fn new(settings: &Settings, env: &Env) -> Self {
        let tls = settings.servers.tls.clone();
        Self {
            servers: Servers::new(settings.servers.clone(), ANSWER_MAX, env.clone()),
            tokens: Tokens::new(settings.account.clone(), tls, env.clone()),
            place: format!(
                "/v1/projects/{}/locations/{}",
                settings.project, settings.location
            ),
            timeout: settings.timeout,
            env: env.clone(),
        }
    }

    /// The ids of all namespaces.
    pub(super) async fn namespaces(&mut self) -> Result<Vec<String>, Failure> {
        let path = format!("{}/namespaces", self.place);
        let listed = self.list(&path, "namespaces").await?;
        Ok(listed.iter().filter_map(id_of).map(str::to_owned).collect())
    }

    pub(super) async fn services(&mut self, namespace: &str) -> Result<Vec<Listed>, Failure> {
        let path = format!("{}/namespaces/{namespace}/services", self.place);
        let listed = self.list(&path, "services").await?;
        let services = listed.iter().filter_map(|one| {
            Some(Listed {
                namespace: namespace.to_owned(),
                id: id_of(one)?.to_owned(),
                annotations: annotations(one),
            })
        });
        Ok(services.collect())
    }

    pub(super) async fn endpoints(&mut self, service: &Listed) -> Result<Vec<Value>, Failure> {
        let Listed { namespace, id, .. } = service;
        let path = format!(
            "{}/namespaces/{namespace}/services/{id}/endpoints",
            self.place
        );
        self.list(&path, "endpoints").await
    }

    async fn list(&mut self, path: &str, field: &str) -> Result<Vec<Value>, Failure> {
        let mut listed = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let next = if token.is_empty() {
                String::new()
            } else {
                format!("&pageToken={}", encode_component(&token))
            };
            let mut told = self
                .get(&format!("{path}?pageSize={PAGE}{next}"), field)
                .await?;
            if let Some(Value::Array(page)) = told.get_mut(field).map(Value::take) {
                listed.extend(page);
            }
            token = told
                .get("nextPageToken")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                return Ok(listed);
            }
        }
        Err(Ended::lost(format!(
            "the list of {field} has more than {PAGES_MAX} pages"
        ))
        .into())
    }

    async fn get(&mut self, path: &str, what: &str) -> Result<Value, Failure> {
        let mut backoff = Backoff::new(self.env.dice());
        for _ in 0..TRIES {
            let bearer = self.tokens.bearer().await?;
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
            let answer = self
                .servers
                .ask(
                    Call {
                        headers,
                        ..Call::get(path)
                    },
                    self.timeout,
                )
                .await?;
            match answer.status {
                status if status.is_success() => {
                    let told = serde_json::from_slice(&answer.body);
                    return told.map_err(|error| {
                        Ended::lost(format!("the list of {what} is no JSON: {error}")).into()
                    });
                }
                StatusCode::TOO_MANY_REQUESTS => {
                    let asked = answer.headers.get(header::RETRY_AFTER);
                    let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                    self.env
                        .sleep(backoff.next(asked.map(Duration::from_secs)))
                        .await;
                }
                StatusCode::NOT_FOUND => return Err(Failure::Unknown),
                StatusCode::UNAUTHORIZED => {
                    self.tokens.forget();
                    return Err(refused(what, &answer).into());
                }
                _ => return Err(refused(what, &answer).into()),
            }
        }
        Err(Ended::lost("the quota of the API is used up; a longer `poll` asks less").into())
    }
}

/// What a refusal means, in words for whoever has to mend it.
pub(super) fn refused(what: &str, answer: &Answer) -> Ended {
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = told
        .pointer("/error/message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let message: String = message.chars().take(TOLD_CHARS_MAX).collect();
    let hint = match answer.status {
        StatusCode::UNAUTHORIZED => " (is the account's key still good?)",
        StatusCode::FORBIDDEN => {
            " (has the account the role Service Directory Viewer, and the project the API?)"
        }
        _ => "",
    };
    let message = if message.is_empty() {
        message
    } else {
        format!(": {message}")
    };
    Ended::lost(format!(
        "the list of {what} was answered {}{hint}{message}",
        answer.status
    ))
}
