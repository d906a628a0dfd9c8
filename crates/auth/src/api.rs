//! Tokens and the audit trail over HTTP, mounted on the admin listener under `/v1`.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use portolan_access::{Caller, Need, Object, Scopes};
use portolan_model::{ByteSize, Timestamp, parse_span};
use portolan_wire::serve::{
    Answering, CollectError, Handler, Query, Request, Response, collect, decode, problem,
};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{fault, invalid, json, malformed, method_not_allowed},
    audit_api,
    keeping::Access,
    record::Token,
};

/// Every method and path that is served here.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/tokens"),
    ("post", "/v1/tokens"),
    ("get", "/v1/tokens/self"),
    ("delete", "/v1/tokens/{token}"),
    ("get", "/v1/audit"),
];

/// The largest body.
const BODY_MAX: ByteSize = ByteSize::from_bytes(64 << 10);
/// The longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest that a token may be good for.
const LIFE_MAX: Duration = Duration::from_hours(24 * 3_650);

/// Tokens and the trail as a handler; whatever else is asked goes on to the next one.
#[derive(Clone)]
pub struct Api {
    access: Access,
    next: Arc<dyn Handler>,
}

/// What somebody wants a token to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires_in: Option<String>,
}

/// A token as it is shown.
#[derive(Debug, Serialize)]
struct View {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Arc<str>>,
    name: Arc<str>,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Arc<str>>,
    /// `store` or `configuration`.
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Debug, Serialize)]
struct List {
    /// Whether there is access control.
    is_on: bool,
    tokens: Vec<View>,
}

#[derive(Debug, Serialize)]
struct Itself {
    is_on: bool,
    actor: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Arc<str>>,
}

/// What a request to one of these paths needs; none if it is none of them.
#[must_use]
pub fn need(path: &str) -> Option<Need> {
    match path.strip_prefix("/v1/")?.split('/').next()? {
        "tokens" if path == "/v1/tokens/self" => Some(Need::Name),
        "tokens" | "audit" => Some(Need::Admin),
        _ => None,
    }
}

impl Api {
    /// The paths of tokens and the trail, before `next`.
    #[must_use]
    pub fn new(access: Access, next: Arc<dyn Handler>) -> Self {
        Self { access, next }
    }

    async fn answer(self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        };
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.unwrap_or_default();
        match (path.trim_start_matches("/v1/"), method) {
            ("tokens", Method::GET) => self.list(),
            ("tokens", Method::POST) => match read(request).await {
                Ok(wanted) => self.create(wanted, &caller).await,
                Err(response) => *response,
            },
            ("tokens", _) => method_not_allowed("GET, POST"),
            ("tokens/self", Method::GET) => self.itself(&caller),
            ("audit", Method::GET) => {
                let query = request.uri().query().unwrap_or_default();
                match Query::parse(query) {
                    Ok(query) => audit_api::find(&self.access, &query).await,
                    Err(error) => malformed(&error.to_string()),
                }
            }
            ("tokens/self" | "audit", _) => method_not_allowed("GET"),
            (path, Method::DELETE) => self.revoke(path.trim_start_matches("tokens/")).await,
            (_, _) => method_not_allowed("DELETE"),
        }
    }

    fn list(&self) -> Response {
        let stored = self.access.tokens().into_iter();
        let stored = stored.map(|(token, _)| View::of(token, None));
        let declared = self.access.declared().into_iter();
        let declared = declared.map(|(name, scopes)| View::declared(name, scopes));
        let list = List {
            is_on: self.access.is_on(),
            tokens: stored.chain(declared).collect(),
        };
        json(StatusCode::OK, &list)
    }

    fn itself(&self, caller: &Caller) -> Response {
        let itself = Itself {
            is_on: self.access.is_on(),
            actor: caller.actor(),
            token: caller.token.clone(),
        };
        json(StatusCode::OK, &itself)
    }

    async fn create(&self, wanted: Wanted, caller: &Caller) -> Response {
        let token = match wanted.token(caller, self.access.env().now()) {
            Ok(token) => token,
            Err(detail) => return invalid(&detail),
        };
        // The trail tells tokens apart by their names.
        let stored = self.access.tokens().into_iter();
        let stored = stored.map(|(known, _)| known.name);
        let declared = self.access.declared().into_iter().map(|(name, _)| name);
        if stored.chain(declared).any(|known| known == token.name) {
            return fault(&crate::Fault::Taken("token"));
        }
        match self.access.create(token, None).await {
            Ok((token, _, secret)) => {
                let object = Object(Arc::clone(&token.name));
                let secret = Some(secret.reveal().to_owned());
                let mut response = json(StatusCode::CREATED, &View::of(token, secret));
                response.extensions_mut().insert(object);
                response
            }
            Err(error) => fault(&error),
        }
    }

    async fn revoke(&self, which: &str) -> Response {
        let which = match decode(which) {
            Ok(which) => which,
            Err(error) => return malformed(&error.to_string()),
        };
        match self.access.revoke(&which).await {
            Ok((token, _)) => json(StatusCode::OK, &View::of(token, None)),
            Err(error) => fault(&error),
        }
    }
}

impl Handler for Api {
    fn handle(&self, request: Request) -> Answering {
        if need(request.uri().path()).is_some() {
            Box::pin(self.clone().answer(request))
        } else {
            self.next.handle(request)
        }
    }
}

impl Wanted {
    fn token(self, caller: &Caller, now: Timestamp) -> Result<Token, String> {
        let name = self.name.trim();
        let is_fine =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
        if !is_fine {
            return Err(format!(
                "/name: a name has from 1 to {NAME_BYTES_MAX} bytes, all of them visible"
            ));
        }
        if self.scopes.is_empty() {
            return Err("/scopes: a token without scopes is good for nothing".to_owned());
        }
        let scopes = Scopes::parse(self.scopes.iter().map(String::as_str));
        let scopes = scopes.map_err(|error| format!("/scopes: {error}"))?;
        let life = self.expires_in.as_deref().map(parse_span).transpose();
        let life = life.map_err(|error| format!("/expires_in: {error}"))?;
        if life.is_some_and(|life| life.is_zero() || life > LIFE_MAX) {
            return Err("/expires_in: from 1ms to 3650d".to_owned());
        }
        Ok(Token {
            id: "".into(),
            name: name.into(),
            hash: String::new(),
            scopes: scopes.to_texts(),
            policies: Vec::new(),
            created: now,
            creator: caller.actor(),
            expires: life.map(|life| now.after(life)),
            used: None,
            is_local: false,
        })
    }
}

impl View {
    fn of(token: Token, secret: Option<String>) -> Self {
        Self {
            id: Some(token.id),
            name: token.name,
            scopes: token.scopes,
            policies: token.policies,
            origin: "store",
            created: Some(token.created.to_string()),
            creator: Some(token.creator),
            expires: token.expires.map(|at| at.to_string()),
            used: token.used.map(|at| at.to_string()),
            secret,
        }
    }

    const fn declared(name: Arc<str>, scopes: Vec<String>) -> Self {
        Self {
            id: None,
            name,
            scopes,
            policies: Vec::new(),
            origin: "configuration",
            created: None,
            creator: None,
            expires: None,
            used: None,
            secret: None,
        }
    }
}

async fn read(request: Request) -> Result<Wanted, Box<Response>> {
    let body = collect(request.into_body(), BODY_MAX).await;
    let body = body.map_err(|error| match error {
        CollectError::TooLarge { .. } => problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            &error.to_string(),
        ),
        CollectError::Body(error) => malformed(&error.to_string()),
    })?;
    let read = serde_json::from_slice(&body);
    let read =
        read.map_err(|error| problem(StatusCode::BAD_REQUEST, "json_invalid", &error.to_string()));
    Ok(read?)
}
