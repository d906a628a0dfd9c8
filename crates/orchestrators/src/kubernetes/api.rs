//! The API server: lists in pages, watches, and what its refusals mean.

use std::{fmt, time::Duration};

use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use portolan_runtime::Env;
use portolan_sources::frame::Ended;
use serde_json::Value;
use tokio::{runtime::Handle, task::JoinHandle};

use super::{cluster::OBJECTS_MAX, collection::Collection, map::text, settings::Settings};
use crate::lines::Lines;

/// A call that its own limit does not end is given up this much later.
const GRACE: Duration = Duration::from_secs(1);
/// Objects of one page.
const PAGE: usize = 500;
/// The largest page.
const PAGE_BYTES_MAX: usize = 64 << 20;
/// The largest answer that explains a refusal.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// What is told of it.
const TOLD_CHARS_MAX: usize = 300;

/// A whole list, and the point from which it is watched.
#[derive(Debug)]
pub(super) struct List {
    pub(super) objects: Vec<Value>,
    pub(super) version: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has forgotten the point that was asked for.
    Forgotten,
    Ended(Ended),
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// A watch that is open.
pub(super) struct Watch {
    body: Body,
    lines: Lines,
}

impl Watch {
    /// The next event; `None` at the end. Waits for as long as it takes.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Ended> {
        loop {
            if let Some(line) = self.lines.pop() {
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|error| {
                    Ended::lost(format!(
                        "the API server sent an event that is no JSON: {error}"
                    ))
                });
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| Ended::by(&error))?;
            if let Some(data) = frame.data_ref() {
                self.lines.push(data).map_err(|error| Ended::by(&error))?;
            }
        }
    }
}

/// A client that is being made: the program that a kubeconfig may name for credentials is
/// run for it, and may take forever. Whoever tries again waits for the same one.
#[derive(Default)]
pub(super) struct Opening(Option<JoinHandle<Result<Client, kube::Error>>>);

/// It is not shown what credentials it has.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opening").field(&self.0.is_some()).finish()
    }
}

impl Opening {
    async fn client(&mut self, config: Config, env: &Env, span: Duration) -> Result<Client, Ended> {
        let server = config.cluster_url.to_string();
        let open = || tokio::task::spawn_blocking(move || Client::try_from(config));
        let opening = self.0.get_or_insert_with(open);
        let made = env.timeout(span, opening).await.map_err(|_| {
            Ended::lost(format!(
                "the program that the kubeconfig names for credentials did not end within {span:?}"
            ))
        })?;
        self.0 = None;
        let made = made.map_err(|error| Ended::by(&error))?;
        made.map_err(|error| lost(&format!("{server} can't be called"), &error))
    }
}

/// A connection to the API server of a cluster.
pub(super) struct Api {
    client: Client,
    /// A program is run for credentials, whenever they are over.
    runs_program: bool,
    server: String,
    env: Env,
    timeout: Duration,
}

impl Api {
    /// Reads who we are and where the server is.
    pub(super) async fn open(
        settings: &Settings,
        env: &Env,
        opening: &mut Opening,
    ) -> Result<Self, Ended> {
        let mut config = match settings.kubeconfig.clone() {
            Some(path) => {
                let shown = path.display().to_string();
                let reading = tokio::task::spawn_blocking(move || Kubeconfig::read_from(path));
                let read = reading.await.map_err(|error| Ended::by(&error))?;
                let bad = |error| lost(&format!("the kubeconfig {shown} is of no use"), &error);
                let options = KubeConfigOptions {
                    context: settings.context.clone(),
                    ..KubeConfigOptions::default()
                };
                let config = Config::from_custom_kubeconfig(read.map_err(bad)?, &options).await;
                config.map_err(bad)?
            }
            None => Config::incluster().map_err(|error| {
                lost(
                    "there is no `kubeconfig`, and this is no pod with a service account",
                    &error,
                )
            })?,
        };
        config.connect_timeout = Some(settings.timeout);
        // Pauses between tries are ours.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        Ok(Self {
            runs_program: config.auth_info.exec.is_some(),
            client: opening.client(config, env, settings.timeout).await?,
            server: server.trim_end_matches('/').to_owned(),
            env: env.clone(),
            timeout: settings.timeout,
        })
    }

    /// Everything of a collection, page by page.
    pub(super) async fn list(&self, collection: &Collection) -> Result<List, Failure> {
        let page = PAGE.to_string();
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let mut query = vec![("limit", page.as_str())];
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let mut whole = self.page(collection, &query).await?;
            let items = whole.get_mut("items").map(Value::take);
            let Some(Value::Array(items)) = items else {
                let words = collection.words();
                return Err(Ended::lost(format!(
                    "{} answered with no list of {words}",
                    self.server
                ))
                .into());
            };
            objects.extend(items);
            if objects.len() > OBJECTS_MAX {
                let message = format!("there are more than {OBJECTS_MAX} {}", collection.words());
                return Err(Ended::lost(message).into());
            }
            text(&whole, "/metadata/continue").clone_into(&mut next);
            if next.is_empty() {
                let version = text(&whole, "/metadata/resourceVersion").to_owned();
                return Ok(List { objects, version });
            }
        }
    }

    async fn page(
        &self,
        collection: &Collection,
        query: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let (status, headers, body) = self.send(collection, query).await?;
        if !status.is_success() {
            return Err(self
                .refused(collection, "list", (status, headers, body))
                .await);
        }
        let whole = self
            .env
            .timeout(self.timeout, collect(body, PAGE_BYTES_MAX))
            .await;
        let whole = whole.map_err(|_| self.silent())??;
        let page = serde_json::from_slice(&whole);
        page.map_err(|error| {
            Ended::lost(format!("{} answered with no JSON: {error}", self.server)).into()
        })
    }

    /// What changes in a collection after a point, for no longer than `span`.
    pub(super) async fn watch(
        &self,
        collection: &Collection,
        version: &str,
        span: Duration,
    ) -> Result<Watch, Failure> {
        let seconds = span.as_secs().to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds),
            ("resourceVersion", version),
        ];
        let (status, headers, body) = self.send(collection, &query).await?;
        if !status.is_success() {
            return Err(self
                .refused(collection, "watch", (status, headers, body))
                .await);
        }
        Ok(Watch {
            body,
            lines: Lines::default(),
        })
    }

    /// Whether it answers, whatever.
    pub(super) async fn ping(&self) -> Result<(), Ended> {
        self.ask("/version", "application/json").await.map(|_| ())
    }

    async fn send(
        &self,
        collection: &Collection,
        query: &[(&str, &str)],
    ) -> Result<(StatusCode, HeaderMap, Body), Ended> {
        self.ask(&collection.path(query), collection.accept()).await
    }

    async fn ask(&self, path: &str, accept: &str) -> Result<(StatusCode, HeaderMap, Body), Ended> {
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, "portolan")
            .body(Body::empty());
        let request = request.map_err(|error| Ended::by(&error))?;
        let (client, env, timeout) = (self.client.clone(), self.env.clone(), self.timeout);
        let sending = async move { env.timeout(timeout, client.send(request)).await };
        let sent = if self.runs_program {
            // The client waits for the program without yielding.
            let here = Handle::current();
            let sending = tokio::task::spawn_blocking(move || here.block_on(sending));
            let sent = self.env.timeout(timeout.saturating_add(GRACE), sending);
            let sent = sent.await.map_err(|_| self.silent())?;
            sent.map_err(|error| Ended::by(&error))?
        } else {
            sending.await
        };
        let sent = sent.map_err(|_| self.silent())?;
        let response = sent.map_err(|error| lost(&self.server, &error))?;
        let (head, body) = response.into_parts();
        Ok((head.status, head.headers, body))
    }

    fn silent(&self) -> Ended {
        Ended::lost(format!(
            "{} did not answer within {:?}",
            self.server, self.timeout
        ))
    }

    async fn refused(
        &self,
        collection: &Collection,
        verb: &str,
        (status, headers, body): (StatusCode, HeaderMap, Body),
    ) -> Failure {
        let body = self
            .env
            .timeout(self.timeout, collect(body, REFUSAL_BYTES_MAX))
            .await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        refusal(
            &self.server,
            (collection, verb),
            status,
            text(&said, "/message"),
            &headers,
        )
    }
}

/// What a refusal means, in words for whoever has to mend it.
pub(super) fn refusal(
    server: &str,
    (collection, verb): (&Collection, &str),
    status: StatusCode,
    message: &str,
    headers: &HeaderMap,
) -> Failure {
    if is_forgotten(status.as_u16(), message) {
        return Failure::Forgotten;
    }
    let what = collection.words();
    let told: String = message.chars().take(TOLD_CHARS_MAX).collect();
    let told = if told.is_empty() {
        String::new()
    } else {
        format!(": {told}")
    };
    let reason = match status {
        StatusCode::FORBIDDEN => format!(
            "{server}: our account may not {verb} {what}; it needs the verbs list and watch on them{told}"
        ),
        StatusCode::UNAUTHORIZED => {
            format!(
                "{server} does not know us (is the token or certificate right, and not expired?){told}"
            )
        }
        StatusCode::NOT_FOUND => {
            format!("{server} has no {what} (is it Kubernetes 1.21 or later?){told}")
        }
        _ => format!("{server} answered {status} to {verb} {what}{told}"),
    };
    let after = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Failure::Ended(Ended::Lost {
        reason,
        after: after.map(Duration::from_secs),
    })
}

/// Whether the point that was asked for is no more, or not yet: the server lost its memory.
pub(super) fn is_forgotten(code: u16, message: &str) -> bool {
    code == 410 || message.contains("Too large resource version")
}

async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, Ended> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Ended::by(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if whole.len().saturating_add(data.len()) > limit {
            return Err(Ended::lost(format!(
                "an answer of the API server is over the limit of {limit} bytes"
            )));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole)
}

fn lost(what: &str, error: &dyn std::error::Error) -> Ended {
    match Ended::by(error) {
        Ended::Lost { reason, after } => Ended::Lost {
            reason: format!("{what}: {reason}"),
            after,
        },
        Ended::Closed => Ended::Closed,
    }
}
