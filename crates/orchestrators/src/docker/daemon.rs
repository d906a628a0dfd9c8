//! The daemon: three questions over its socket, or over TCP.

use std::{io, path::Path, time::Duration};

use portolan_model::ByteSize;
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Servers};
use portolan_wire::call::{Answer, Call, CallError, Line, Stream, Url};
use serde_json::Value;

use super::settings::{Host, Settings};

/// The largest answer: some thousand containers.
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(32 << 20);
/// Events that may change what is known.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";
/// What is told of a body that explains a refusal.
const TOLD_CHARS_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Daemon {
    host: Host,
    servers: Option<Servers>,
    env: Env,
    timeout: Duration,
    idle: Option<Line>,
}

impl Daemon {
    pub(super) fn new(settings: &Settings, env: &Env) -> Self {
        let servers = match &settings.host {
            Host::Socket(_) => None,
            Host::Servers(servers) => Some(Servers::new(servers.clone(), ANSWER_MAX, env.clone())),
        };
        Self {
            host: settings.host.clone(),
            servers,
            env: env.clone(),
            timeout: settings.timeout,
            idle: None,
        }
    }

    /// Opens the stream of events; what happens from now on is in it.
    pub(super) async fn events(&mut self) -> Result<Stream, Ended> {
        let line = self.open().await?;
        let stream = line.stream(Call::get(EVENTS), self.timeout).await;
        let stream = stream.map_err(|error| self.lost(&error))?;
        if stream.status.is_success() {
            return Ok(stream);
        }
        let (status, headers) = (stream.status, stream.headers.clone());
        let body = stream.rest(self.timeout).await.unwrap_or_default();
        Err(self.refused(&Answer {
            status,
            headers,
            body,
        }))
    }

    /// The ids of all containers that run.
    pub(super) async fn containers(&mut self) -> Result<Vec<String>, Ended> {
        let answer = self.ask("/containers/json").await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let listed: Result<Vec<Value>, _> = serde_json::from_slice(&answer.body);
        let listed = listed.map_err(|error| {
            Ended::lost(format!(
                "{} answered with no list of containers: {error}",
                self.place()
            ))
        })?;
        let ids = listed.iter().filter_map(|one| one.get("Id")?.as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// A container as the daemon describes it, which may be nonsense; `None` if there is none.
    pub(super) async fn container(&mut self, id: &str) -> Result<Option<Value>, Ended> {
        let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_id {
            return Ok(None);
        }
        let answer = self.ask(&format!("/containers/{id}/json")).await?;
        if answer.status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        // What is no JSON describes nothing; the others are not to suffer for it, and the
        // container may well be there.
        Ok(Some(
            serde_json::from_slice(&answer.body).unwrap_or_default(),
        ))
    }

    /// Whether it is there.
    pub(super) async fn ping(&mut self) -> Result<(), Ended> {
        let answer = self.ask("/_ping").await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(self.refused(&answer))
    }

    async fn ask(&mut self, path: &str) -> Result<Answer, Ended> {
        if let Some(servers) = &mut self.servers {
            return servers.ask(Call::get(path), self.timeout).await;
        }
        if let Some(mut line) = self.idle.take().filter(Line::is_open)
            && let Ok(answer) = line.call(Call::get(path), self.timeout).await
        {
            self.idle = Some(line);
            return Ok(answer);
        }
        let mut line = self.open().await?;
        let answer = line.call(Call::get(path), self.timeout).await;
        let answer = answer.map_err(|error| self.lost(&error))?;
        self.idle = Some(line);
        Ok(answer)
    }

    async fn open(&mut self) -> Result<Line, Ended> {
        if let Some(servers) = &mut self.servers {
            return servers.open().await;
        }
        let Host::Socket(path) = &self.host else {
            return Err(Ended::lost("there is no daemon to ask"));
        };
        let url = Url::parse("http://docker").map_err(|error| Ended::by(&error))?;
        let line = Line::open_socket(path, &url, &self.env).await;
        let line = line.map_err(|error| self.lost(&error))?;
        Ok(line.with_answers_up_to(ANSWER_MAX))
    }

    /// Where it is, in words.
    fn place(&self) -> String {
        match &self.host {
            Host::Socket(path) => format!("the daemon at {}", path.display()),
            Host::Servers(servers) => {
                let url = servers.urls.first().map(ToString::to_string);
                format!("the daemon at {}", url.unwrap_or_default())
            }
        }
    }

    fn lost(&self, error: &CallError) -> Ended {
        let hint = if let CallError::Socket { path, source } = error {
            hint(path, source)
        } else {
            ""
        };
        match Ended::by(error) {
            Ended::Lost { reason, after } => Ended::Lost {
                reason: format!("{}: {reason}{hint}", self.place()),
                after,
            },
            Ended::Closed => Ended::Closed,
        }
    }

    fn refused(&self, answer: &Answer) -> Ended {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let words = body
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let words: String = words.chars().take(TOLD_CHARS_MAX).collect();
        let hint = if answer.status == http::StatusCode::FORBIDDEN {
            " (does the proxy in front of it let `GET /containers` and `GET /events` through?)"
        } else {
            ""
        };
        let mut reason = format!("{} answered {}{hint}", self.place(), answer.status);
        if !words.is_empty() {
            reason = format!("{reason}: {words}");
        }
        Ended::lost(reason)
    }
}

fn hint(path: &Path, error: &io::Error) -> &'static str {
    let is_there = path.parent().is_some_and(Path::exists);
    #[expect(clippy::wildcard_enum_match_arm, reason = "most errors need no hint")]
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (is this user in the socket's group, usually `docker`?)"
        }
        io::ErrorKind::NotFound if is_there => " (does the daemon run?)",
        io::ErrorKind::NotFound => " (is the folder mounted into this container?)",
        io::ErrorKind::ConnectionRefused => " (the daemon does not run)",
        _ => "",
    }
}
