//! Calls of the API: signed, repeated where it throttles, and refusals in plain words.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use portolan_model::ByteSize;
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call, Url};
use serde_json::{Value, json};

use super::{
    credentials::Credentials,
    map::ServiceName,
    settings::{Keys, Settings},
    sign::{Scope, Signable, authorization, stamp},
};
use portolan_sources::frame::{Backoff, Ended, Servers};

const SERVICE: &str = "servicediscovery";
const TARGET: &str = "Route53AutoNaming_v20170314";
const JSON: &str = "application/x-amz-json-1.1";
const ANSWER_MAX: ByteSize = ByteSize::from_bytes(16 << 20);
/// Pages of one list.
const PAGES_MAX: usize = 200;
/// A call that is throttled is made this often.
const TRIES: usize = 6;
/// What is told of a refusal.
const TOLD_CHARS_MAX: usize = 200;

/// Which of the API's two hosts is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Control,
    Data,
}

/// A namespace, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    pub(super) id: String,
    pub(super) name: String,
}

/// All instances of a service, and at which revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Instances {
    pub(super) instances: Vec<Value>,
    pub(super) revision: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such service any more.
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
    control: Servers,
    data: Servers,
    credentials: Credentials,
    region: String,
    timeout: Duration,
    env: Env,
}

impl Api {
    pub(super) fn new(settings: &Settings, env: &Env) -> Self {
        let servers = |settings| Servers::new(settings, ANSWER_MAX, env.clone());
        Self {
            control: servers(settings.control.clone()),
            data: servers(settings.data.clone()),
            credentials: Credentials::new(settings.credentials.clone(), env.clone()),
            region: settings.region.clone(),
            timeout: settings.timeout,
            env: env.clone(),
        }
    }

    pub(super) async fn namespaces(&mut self) -> Result<Vec<Namespace>, Failure> {
        let listed = self.list("ListNamespaces", "Namespaces", json!({})).await?;
        let namespaces = listed.iter().filter_map(|one| {
            let text = |name: &str| Some(one.get(name)?.as_str()?.to_owned());
            Some(Namespace {
                id: text("Id")?,
                name: text("Name")?,
            })
        });
        Ok(namespaces.collect())
    }

    pub(super) async fn services(
        &mut self,
        namespace: &Namespace,
    ) -> Result<Vec<ServiceName>, Failure> {
        let filter = json!({"Filters": [{"Name": "NAMESPACE_ID", "Values": [namespace.id], "Condition": "EQ"}]});
        let listed = self.list("ListServices", "Services", filter).await?;
        let names = listed.iter().filter_map(|one| one.get("Name")?.as_str());
        let service = |name: &str| ServiceName {
            namespace: namespace.name.clone(),
            name: name.to_owned(),
        };
        Ok(names.map(service).collect())
    }

    pub(super) async fn instances(&mut self, service: &ServiceName) -> Result<Instances, Failure> {
        let body = json!({
            "NamespaceName": service.namespace, "ServiceName": service.name,
            "MaxResults": 1000, "HealthStatus": "ALL",
        });
        let mut told = self.call(Side::Data, "DiscoverInstances", &body).await?;
        let instances = told.get_mut("Instances").map(Value::take);
        Ok(Instances {
            instances: instances
                .and_then(|list| list.as_array().cloned())
                .unwrap_or_default(),
            revision: told.get("InstancesRevision").and_then(Value::as_u64),
        })
    }

    pub(super) async fn revision(&mut self, service: &ServiceName) -> Result<Option<u64>, Failure> {
        let body = json!({"NamespaceName": service.namespace, "ServiceName": service.name});
        let told = self
            .call(Side::Data, "DiscoverInstancesRevision", &body)
            .await?;
        Ok(told.get("InstancesRevision").and_then(Value::as_u64))
    }

    async fn list(
        &mut self,
        action: &str,
        field: &str,
        mut body: Value,
    ) -> Result<Vec<Value>, Failure> {
        let mut listed = Vec::new();
        for _ in 0..PAGES_MAX {
            let mut told = self.call(Side::Control, action, &body).await?;
            if let Some(Value::Array(page)) = told.get_mut(field).map(Value::take) {
                listed.extend(page);
            }
            let next = told
                .get("NextToken")
                .and_then(Value::as_str)
                .filter(|next| !next.is_empty());
            let (Some(next), Some(body)) = (next, body.as_object_mut()) else {
                return Ok(listed);
            };
            body.insert("NextToken".to_owned(), json!(next));
        }
        Err(Ended::lost(format!("{action} has more than {PAGES_MAX} pages")).into())
    }

    async fn call(&mut self, side: Side, action: &str, body: &Value) -> Result<Value, Failure> {
        let mut backoff = Backoff::new(self.env.dice());
        for _ in 0..TRIES {
            let answer = self.once(side, action, body).await?;
            if answer.status.is_success() {
                let told = serde_json::from_slice(&answer.body);
                return told.map_err(|error| {
                    Ended::lost(format!("{action} answered with no JSON: {error}")).into()
                });
            }
            let refusal = Refusal::read(&answer);
            match refusal.kind() {
                Kind::Throttled => self.env.sleep(backoff.next(None)).await,
                Kind::Unknown => return Err(Failure::Unknown),
                Kind::Credentials => {
                    self.credentials.forget();
                    return Err(Ended::lost(refusal.words(action, &answer)).into());
                }
                Kind::Other => return Err(Ended::lost(refusal.words(action, &answer)).into()),
            }
        }
        Err(Ended::lost(format!(
            "the API throttles {action}; a longer `poll` asks less"
        ))
        .into())
    }

    async fn once(&mut self, side: Side, action: &str, body: &Value) -> Result<Answer, Ended> {
        let keys = self.credentials.keys().await?;
        let servers = match side {
            Side::Control => &mut self.control,
            Side::Data => &mut self.data,
        };
        let Some(host) = servers.url().map(host_of) else {
            return Err(Ended::lost("there is no endpoint to ask"));
        };
        let date = stamp(self.env.now());
        let body = body.to_string();
        let headers = signed(
            &keys,
            &self.region,
            (&host, &format!("{TARGET}.{action}")),
            &date,
            body.as_bytes(),
        )?;
        let call = Call {
            method: Method::POST,
            path: "/".to_owned(),
            headers,
            body: Some(body.into()),
        };
        servers.ask(call, self.timeout).await
    }
}

fn signed(
    keys: &Keys,
    region: &str,
    (host, target): (&str, &str),
    date: &str,
    body: &[u8],
) -> Result<HeaderMap, Ended> {
    let mut fields = vec![("content-type", JSON), ("host", host), ("x-amz-date", date)];
    if let Some(token) = &keys.token {
        fields.push(("x-amz-security-token", token));
    }
    fields.push(("x-amz-target", target));
    let signable = Signable {
        method: "POST",
        path: "/",
        query: "",
        fields: &fields,
        body,
    };
    let authorization = authorization(
        keys,
        Scope {
            region,
            service: SERVICE,
        },
        signable,
        date,
    );
    let mut headers = HeaderMap::new();
    for (name, value) in fields.into_iter().filter(|(name, _)| *name != "host") {
        headers.insert(HeaderName::from_static(name), value_of(value)?);
    }
    headers.insert(header::AUTHORIZATION, value_of(&authorization)?);
    Ok(headers)
}

fn value_of(text: &str) -> Result<HeaderValue, Ended> {
    let value = HeaderValue::from_str(text);
    let mut value =
        value.map_err(|_| Ended::lost("the credentials have characters that can't be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The host as the call will name it.
fn host_of(url: &Url) -> String {
    let text = url.to_string();
    let rest = text
        .split_once("://")
        .map_or(text.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    name: String,
    message: String,
}

/// What a refusal means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Throttled,
    Unknown,
    Credentials,
    Other,
}

impl Refusal {
    pub(super) fn read(answer: &Answer) -> Self {
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| told.get(name)?.as_str());
            found
                .unwrap_or_default()
                .chars()
                .take(TOLD_CHARS_MAX)
                .collect::<String>()
        };
        let name = text(["__type", "code"]);
        Self {
            name: name.rsplit('#').next().unwrap_or_default().to_owned(),
            message: text(["message", "Message"]),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.name.as_str() {
            "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "TooManyRequestsException" => Kind::Throttled,
            "ServiceNotFound" | "NamespaceNotFound" => Kind::Unknown,
            "ExpiredTokenException"
            | "ExpiredToken"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId" => Kind::Credentials,
            _ => Kind::Other,
        }
    }

    fn words(&self, action: &str, answer: &Answer) -> String {
        let hint = match self.name.as_str() {
            "AccessDeniedException" => {
                format!(" (do these credentials allow `{SERVICE}:{action}`?)")
            }
            "InvalidSignatureException" => {
                " (is the secret right, and the clock of this machine?)".to_owned()
            }
            _ if self.kind() == Kind::Credentials => {
                " (are the credentials right, and not expired?)".to_owned()
            }
            _ => String::new(),
        };
        let mut words = format!("{action} was answered {}", answer.status);
        for part in [&self.name, &self.message] {
            if !part.is_empty() {
                words = format!("{words}: {part}");
            }
        }
        words + &hint
    }
}
