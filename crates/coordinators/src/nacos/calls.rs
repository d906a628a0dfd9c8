//! Calls over HTTP: who we are, and, where gRPC is not spoken, everything else.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use portolan_model::percent::encode_component;
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Servers};
use portolan_wire::call::{Answer, Call};
use serde::Deserialize;

use super::map::{Service, ServiceInfo};
use crate::secret::Login;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Services of one page.
pub(super) const PAGE: u64 = 500;
/// Most services of one namespace and group.
pub(super) const SERVICES_MAX: usize = 50_000;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A token, and when another is asked for.
#[derive(Clone)]
pub(super) struct Token {
    text: String,
    until: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_ttl: u64,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    count: u64,
    doms: Option<Vec<String>>,
}

impl Token {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is time for another.
    pub(super) fn is_old(&self, env: &Env) -> bool {
        env.instant() >= self.until
    }
}

/// Shows name and password, for a token.
pub(super) async fn log_in(
    servers: &mut Servers,
    login: &Login,
    env: &Env,
) -> Result<Token, Ended> {
    let body = format!(
        "username={}&password={}",
        encode_component(&login.username),
        encode_component(&login.password)
    );
    let call = Call {
        method: Method::POST,
        path: "/v1/auth/login".to_owned(),
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, FORM)]),
        body: Some(body.into()),
    };
    let answer = servers.ask(call, CALL_TIMEOUT).await?;
    let granted: Granted = read(servers, &answer)?;
    // Early enough that none is shown after its time.
    let lasting = Duration::from_secs(granted.token_ttl.max(60)).mul_f64(0.8);
    let now = env.instant();
    Ok(Token {
        text: granted.access_token,
        until: now.checked_add(lasting).unwrap_or(now),
    })
}

/// The names of a namespace's and group's services.
pub(super) async fn names(
    servers: &mut Servers,
    (namespace, group): (&str, &str),
    token: Option<&str>,
) -> Result<Vec<String>, Ended> {
    let mut names = Vec::new();
    for page in 1_u64.. {
        let path = format!(
            "/v1/ns/service/list?pageNo={page}&pageSize={PAGE}&namespaceId={}&groupName={}{}",
            encode_component(namespace),
            encode_component(group),
            shown(token)
        );
        let answer = servers.ask(Call::get(path), CALL_TIMEOUT).await?;
        let listed: Listed = read(servers, &answer)?;
        let found = listed.doms.unwrap_or_default();
        let is_last = found.is_empty();
        names.extend(found);
        if is_last || names.len() >= usize::try_from(listed.count).unwrap_or(usize::MAX) {
            break;
        }
        if names.len() > SERVICES_MAX {
            return Err(too_many(group));
        }
    }
    Ok(names)
}

/// What the server says of a service; `None` if it is gone by now.
pub(super) async fn service(
    servers: &mut Servers,
    service: &Service,
    token: Option<&str>,
) -> Result<Option<ServiceInfo>, Ended> {
    let path = format!(
        "/v1/ns/instance/list?serviceName={}&groupName={}&namespaceId={}&healthyOnly=false{}",
        encode_component(&format!("{}@@{}", service.group, service.name)),
        encode_component(&service.group),
        encode_component(&service.namespace),
        shown(token)
    );
    let answer = servers.ask(Call::get(path), CALL_TIMEOUT).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    read(servers, &answer).map(Some)
}

pub(super) fn too_many(group: &str) -> Ended {
    Ended::lost(format!(
        "group {group} has more than {SERVICES_MAX} services"
    ))
}

fn read<'a, T: Deserialize<'a>>(servers: &Servers, answer: &'a Answer) -> Result<T, Ended> {
    if !answer.status.is_success() {
        return Err(servers.refused(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        let server = servers.url().map(ToString::to_string).unwrap_or_default();
        Ended::lost(format!("{server} answered what can't be read: {error}"))
    })
}

fn shown(token: Option<&str>) -> String {
    let shown = token.map(|token| format!("&accessToken={}", encode_component(token)));
    shown.unwrap_or_default()
}
