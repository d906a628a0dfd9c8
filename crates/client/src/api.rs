//! The native API of whichever registry answers.

use std::{
    error::Error,
    fmt::{self, Write},
    future::Future,
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use portolan_dialects::native::{Heartbeat, Registration, Removed, Span, Written};
use portolan_model::{Health, InstanceId, ServiceKey, percent::encode_component};
use portolan_runtime::Env;
use portolan_wire::{
    call::{Answer, Call, CallError, Line, Url},
    tls::Connector,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The cause of a registry that does not know the instance.
const INSTANCE_UNKNOWN: &str = "instance_not_found";
/// The longest explanation of a registry that is passed on, in characters.
const DETAIL_CHARACTERS_MAX: usize = 400;

/// How the instance is, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its health; never said yet if none.
    pub(crate) health: Option<Health>,
    /// Why.
    pub(crate) note: Option<Arc<str>>,
}

/// Which instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Its service.
    pub(crate) key: ServiceKey,
    /// Its id, if it is not the registry's to say.
    pub(crate) id: Option<InstanceId>,
}

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The registry does not know the instance.
    Unknown,
    /// It is away or will not; in words for people.
    Failed(Arc<str>),
}

/// The calls that keep an instance registered, to one of several registries.
pub(crate) trait Registry: Send + 'static {
    /// Registers the instance. Without an id, the answer has the one that it got.
    fn register(
        &mut self,
        id: Option<&str>,
        report: &Report,
        within: Duration,
    ) -> impl Future<Output = Result<Written, Refusal>> + Send;

    /// Says that it is alive and, if there is news, how it is.
    fn renew(
        &mut self,
        id: &str,
        report: Option<&Report>,
        within: Duration,
    ) -> impl Future<Output = Result<Written, Refusal>> + Send;

    /// Takes it away, when its requests have ended or `drain` is over.
    fn leave(
        &mut self,
        id: &str,
        drain: Duration,
        within: Duration,
    ) -> impl Future<Output = Result<Removed, Refusal>> + Send;

    /// Resolves when the registry that answered last has gone away. Cancel-safe.
    fn closed(&mut self) -> impl Future<Output = ()> + Send;

    /// Speaks to the next registry from now on.
    fn turn(&mut self);

    /// How many registries there are; at least 1.
    fn count(&self) -> usize;

    /// The registry that is spoken to.
    fn place(&self) -> Arc<str>;

    /// The service.
    fn service(&self) -> &ServiceKey;

    /// The instance's id, if it was given.
    fn id(&self) -> Option<&str>;
}

/// A token; never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What it takes to be let in by a registry.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// For `https`.
    pub(crate) tls: Option<Arc<Connector>>,
    /// For one with access control.
    pub(crate) token: Option<Token>,
}

/// [`Registry`] over HTTP, by one line that is kept open.
#[derive(Debug)]
pub(crate) struct Api {
    env: Env,
    urls: Vec<Url>,
    at: usize,
    way: Way,
    line: Option<Line>,
    subject: Subject,
    shape: Registration,
    /// The path of the service's instances.
    path: String,
}

/// What a registry explains.
#[derive(Debug, Deserialize)]
struct Problem {
    cause: Arc<str>,
    detail: String,
}

impl Api {
    /// Calls to the first of `urls` that answers.
    pub(crate) fn new(
        env: &Env,
        urls: Vec<Url>,
        way: Way,
        subject: Subject,
        shape: Registration,
    ) -> Self {
        let key = &subject.key;
        let service = encode_component(key.name.as_str());
        let path = if key.namespace.as_str() == ServiceKey::DEFAULT_NAMESPACE {
            format!("/v1/services/{service}/instances")
        } else {
            let namespace = encode_component(key.namespace.as_str());
            format!("/v1/namespaces/{namespace}/services/{service}/instances")
        };
        Self {
            env: env.clone(),
            urls,
            at: 0,
            way,
            line: None,
            subject,
            shape,
            path,
        }
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        call: Call,
        within: Duration,
    ) -> Result<T, Refusal> {
        let answer = self.call(call, within).await;
        let Answer { status, body, .. } = answer.map_err(|error| Refusal::Failed(chain(&error)))?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|_| {
            let reason = format!("status {status}, but not the answer of a registry");
            Refusal::Failed(reason.into())
        })
    }

    /// Asks on the line, or on a new one if the line turns out to be gone. Every call of
    /// ours may be carried out twice.
    async fn call(&mut self, call: Call, within: Duration) -> Result<Answer, CallError> {
        if let Some(mut line) = self.line.take().filter(Line::is_open) {
            match line.call(call.clone(), within).await {
                Ok(answer) => {
                    self.line = Some(line);
                    return Ok(answer);
                }
                Err(CallError::Broken(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(url) = self.urls.get(self.at) else {
            return std::future::pending().await;
        };
        let mut line = Line::open(url, self.way.tls.as_deref(), &self.env).await?;
        if let Some(Token(token)) = &self.way.token {
            line.authorize(token)?;
        }
        let answer = line.call(call, within).await?;
        self.line = Some(line);
        Ok(answer)
    }

    fn path_of(&self, id: &str) -> String {
        format!("{}/{}", self.path, encode_component(id))
    }
}

impl Registry for Api {
    async fn register(
        &mut self,
        id: Option<&str>,
        report: &Report,
        within: Duration,
    ) -> Result<Written, Refusal> {
        let (method, path) = match id {
            Some(id) => (Method::PUT, self.path_of(id)),
            None => (Method::POST, self.path.clone()),
        };
        let shape = Registration {
            status: report.health.or(self.shape.status),
            note: report.note.clone(),
            ..self.shape.clone()
        };
        let call = Call {
            method,
            path,
            body: Some(json(&shape)),
            ..Call::default()
        };
        self.ask(call, within).await
    }

    async fn renew(
        &mut self,
        id: &str,
        report: Option<&Report>,
        within: Duration,
    ) -> Result<Written, Refusal> {
        let news = report.map(|report| Heartbeat {
            status: report.health,
            note: report.note.clone(),
        });
        let call = Call {
            method: Method::PUT,
            path: format!("{}/heartbeat", self.path_of(id)),
            body: news.as_ref().map(json),
            ..Call::default()
        };
        self.ask(call, within).await
    }

    async fn leave(
        &mut self,
        id: &str,
        drain: Duration,
        within: Duration,
    ) -> Result<Removed, Refusal> {
        let mut path = self.path_of(id);
        if !drain.is_zero() {
            path = format!("{path}?drain={}", Span(drain));
        }
        let call = Call {
            method: Method::DELETE,
            path,
            ..Call::default()
        };
        self.ask(call, within).await
    }

    async fn closed(&mut self) {
        match &mut self.line {
            Some(line) => line.closed().await,
            None => std::future::pending().await,
        }
    }

    fn turn(&mut self) {
        self.line = None;
        self.at = (self.at + 1) % self.urls.len().max(1);
    }

    fn count(&self) -> usize {
        self.urls.len()
    }

    fn place(&self) -> Arc<str> {
        let url = self.urls.get(self.at).map(ToString::to_string);
        url.unwrap_or_default().into()
    }

    fn service(&self) -> &ServiceKey {
        &self.subject.key
    }

    fn id(&self) -> Option<&str> {
        self.subject.id.as_ref().map(InstanceId::as_str)
    }
}

/// What an answer that is no success means.
fn refusal(status: StatusCode, body: &Bytes) -> Refusal {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return Refusal::Failed(format!("status {status}").into());
    };
    if status == StatusCode::NOT_FOUND && &*problem.cause == INSTANCE_UNKNOWN {
        return Refusal::Unknown;
    }
    let detail: String = problem.detail.chars().take(DETAIL_CHARACTERS_MAX).collect();
    Refusal::Failed(format!("status {}: {detail}", status.as_u16()).into())
}

fn json(value: &impl Serialize) -> Bytes {
    // Texts and numbers are always JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> Arc<str> {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a text can't fail.
        let _written = match cause.downcast_ref::<io::Error>() {
            // The system's own words have a number in them that says nothing to people.
            Some(error) if error.raw_os_error().is_some() => write!(text, ": {}", error.kind()),
            Some(_) | None => write!(text, ": {cause}"),
        };
        source = cause.source();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_instance_is_one_to_register_again() {
        let body = |cause: &str| format!(r#"{{"cause":"{cause}","detail":"so"}}"#).into();
        let unknown = refusal(StatusCode::NOT_FOUND, &body(INSTANCE_UNKNOWN));
        assert_eq!(unknown, Refusal::Unknown);
        let foreign = refusal(StatusCode::NOT_FOUND, &body("path_unknown"));
        assert_eq!(foreign, Refusal::Failed("status 404: so".into()));
        let silent = refusal(StatusCode::BAD_GATEWAY, &Bytes::new());
        assert_eq!(silent, Refusal::Failed("status 502 Bad Gateway".into()));
    }

    #[test]
    fn explanations_are_passed_on_up_to_their_limit() {
        for (given, passed) in [(DETAIL_CHARACTERS_MAX, DETAIL_CHARACTERS_MAX), (401, 400)] {
            let detail = "x".repeat(given);
            let body = format!(r#"{{"cause":"a","detail":"{detail}"}}"#).into();
            let expected = format!("status 507: {}", "x".repeat(passed));
            let told = refusal(StatusCode::INSUFFICIENT_STORAGE, &body);
            assert_eq!(told, Refusal::Failed(expected.into()));
        }
    }
}
