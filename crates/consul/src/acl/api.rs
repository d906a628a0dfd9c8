//! The endpoints under `acl/`.

use std::sync::Arc;

use portolan_access::{Level, Resource, Secret};
use portolan_auth::{Access, Fault, Policy, Token, uuid};
use portolan_dialects::consul::{
    AclPlace, AclTokenBody, PolicyLink, Refusal,
    answer::{PolicyView, TokenView},
};
use portolan_wire::serve::{Peer, Request, Response};
use serde_json::{Value, json};

use super::{
    policies::{policy, put_policy},
    views,
};
use crate::{Parts, agent::acl_disabled, answering};

/// Endpoints of the access control that Consul had before 1.4.
const LEGACY: [&str; 7] = [
    "create", "update", "destroy", "info", "clone", "list", "rules",
];

/// A write under `acl/`.
#[derive(Debug)]
pub(crate) struct Deed {
    place: AclPlace,
    is_delete: bool,
    is_from_here: bool,
}

impl Deed {
    /// What a request asks for.
    pub(crate) fn of(request: &Request, place: AclPlace) -> Self {
        let peer = request.extensions().get::<Peer>();
        Self {
            place,
            is_delete: *request.method() == http::Method::DELETE,
            is_from_here: peer.is_none_or(|peer| peer.address.ip().to_canonical().is_loopback()),
        }
    }
}

/// Answers reads.
///
/// # Errors
/// 401 without access control, 403, 404.
pub(crate) fn read(parts: &Parts, place: &AclPlace) -> Result<Response, Refusal> {
    let path = match place {
        AclPlace::Bootstrap => "bootstrap",
        AclPlace::Other(path) => path,
    };
    let segments: Vec<&str> = path.split('/').collect();
    let access = enabled(parts, &segments)?;
    let may_read = || parts.permit.require(Resource::Acl, "", Level::Read);
    match segments.as_slice() {
        ["token", "self"] => answering::json(&itself(parts, access)?),
        ["replication"] => answering::json(&json!({
            "Enabled": false, "Running": false, "SourceDatacenter": "", "ReplicationType": "",
            "ReplicatedIndex": 0, "LastSuccess": "0001-01-01T00:00:00Z",
            "LastError": "0001-01-01T00:00:00Z", "LastErrorMessage": "",
        })),
        ["tokens"] => {
            may_read()?;
            let tokens = access.tokens().into_iter();
            let views = tokens.map(|token| views::token(access, token, None));
            answering::json(&views.collect::<Vec<TokenView>>())
        }
        ["token", id] => {
            may_read()?;
            let token = access.token(id).ok_or_else(|| no_token(id))?;
            answering::json(&views::token(access, token, None))
        }
        ["policies"] => {
            may_read()?;
            let policies = access.policies().into_iter();
            let views = policies.map(|policy| views::policy(policy, false));
            answering::json(&views.collect::<Vec<PolicyView>>())
        }
        ["policy", "name", name] => {
            may_read()?;
            let named = |(policy, _): &(Policy, _)| *policy.name == **name;
            answering::json(&views::policy(policy(access, named)?, true))
        }
        ["policy", id] => {
            may_read()?;
            let of_id = |(policy, _): &(Policy, _)| *policy.id == **id;
            answering::json(&views::policy(policy(access, of_id)?, true))
        }
        ["roles" | "auth-methods" | "binding-rules"] => {
            may_read()?;
            answering::json(&json!([]))
        }
        ["templated-policies"] => {
            may_read()?;
            answering::json(&json!({}))
        }
        [
            "role" | "auth-method" | "binding-rule" | "templated-policy",
            ..,
        ] => {
            may_read()?;
            Err(Refusal::missing("Portolan has only tokens and policies"))
        }
        _ => Err(Refusal::missing(
            "Invalid URL path: not a recognized HTTP API endpoint",
        )),
    }
}

/// Does writes.
///
/// # Errors
/// 401 without access control, 400, 403, 404, 500.
pub(crate) async fn write(parts: &Parts, deed: Deed, body: &[u8]) -> Result<Response, Refusal> {
    let path = match &deed.place {
        AclPlace::Bootstrap => "bootstrap",
        AclPlace::Other(path) => path,
    };
    let segments: Vec<&str> = path.split('/').collect();
    let access = enabled(parts, &segments)?;
    if segments == ["bootstrap"] {
        return bootstrap(parts, &deed, body).await;
    }
    if matches!(segments.as_slice(), ["login" | "logout"]) {
        return Err(Refusal::new(
            403,
            "Permission denied: there are no auth methods",
        ));
    }
    parts.permit.require(Resource::Acl, "", Level::Write)?;
    match segments.as_slice() {
        ["token", id] if deed.is_delete => {
            access
                .revoke(id)
                .await
                .map_err(|error| refusal(&error, id))?;
            answering::json(&true)
        }
        ["token"] => create_token(parts, body).await,
        ["token", id] => update_token(parts, id, body).await,
        ["token", id, "clone"] => clone_token(parts, id, body).await,
        ["policy", id] if deed.is_delete => {
            let removed = access.remove_policy(id).await;
            removed.map_err(|error| refusal(&error, id))?;
            answering::json(&true)
        }
        ["policy"] => put_policy(parts, access, (None, body)).await,
        ["policy", id] => put_policy(parts, access, (Some(id), body)).await,
        _ => Err(Refusal::missing("Portolan has only tokens and policies")),
    }
}

/// The access control, if it is on and the endpoint one of this age.
fn enabled<'p>(parts: &'p Parts, segments: &[&str]) -> Result<&'p Access, Refusal> {
    if !parts.access.is_on() {
        return Err(acl_disabled());
    }
    match segments.first() {
        Some(first) if LEGACY.contains(first) => Err(Refusal::new(
            410,
            format!(
                "Endpoint /v1/acl/{first} for the legacy ACL system was removed in Consul 1.11"
            ),
        )),
        Some(_) | None => Ok(&parts.access),
    }
}

fn itself(parts: &Parts, access: &Access) -> Result<TokenView, Refusal> {
    let caller = parts.permit.caller();
    match (&caller.token, &caller.name) {
        (Some(id), _) => {
            let token = access.token(id).ok_or_else(|| no_token(id))?;
            Ok(views::token(access, token, None))
        }
        (None, None) => Ok(views::anonymous()),
        // The configuration declares it, and Consul's clients can't know it by an id.
        (None, Some(name)) => Err(no_token(name)),
    }
}

async fn bootstrap(parts: &Parts, deed: &Deed, body: &[u8]) -> Result<Response, Refusal> {
    if !deed.is_from_here {
        let text = "Permission denied: bootstrapping is for this machine only; make a token by `portolan token create`";
        return Err(Refusal::new(403, text));
    }
    let given: Option<Value> = serde_json::from_slice(body).ok();
    let given = given.and_then(|body| Some(body.get("BootstrapSecret")?.as_str()?.to_owned()));
    let secret = match given {
        Some(secret) if is_uuid(&secret) => Secret::given(secret),
        Some(_) => return Err(Refusal::bad("BootstrapSecret is not a valid UUID")),
        None => new_secret()?,
    };
    let token = blank(parts, "Bootstrap Token (Global Management)");
    let made = parts.access.bootstrap(token, secret).await;
    let (token, modified, secret) = made.map_err(|error| {
        if matches!(error, Fault::Taken(_) | Fault::Raced) {
            let text = "Permission denied: ACL bootstrap no longer allowed (reset index: 1)";
            return Refusal::new(403, text);
        }
        refusal(&error, "bootstrap")
    })?;
    answering::json(&views::token(
        &parts.access,
        (token, modified),
        Some(secret.reveal()),
    ))
}

async fn create_token(parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    let asked = AclTokenBody::read(body)?;
    let secret = match asked.secret_id.as_str() {
        "" => new_secret()?,
        given if is_uuid(given) => Secret::given(given),
        _ => return Err(Refusal::bad("Invalid Token: SecretID is not a valid UUID")),
    };
    if !asked.accessor_id.is_empty() && !is_uuid(&asked.accessor_id) {
        return Err(Refusal::bad(
            "Invalid Token: AccessorID is not a valid UUID",
        ));
    }
    let token = Token {
        id: asked.accessor_id.as_str().into(),
        policies: links(&parts.access, &asked.policies)?,
        expires: asked.expiration_ttl.map(|life| parts.env.now().after(life)),
        is_local: asked.local,
        ..blank(parts, &asked.description)
    };
    made(parts, token, secret).await
}

async fn made(parts: &Parts, token: Token, secret: Secret) -> Result<Response, Refusal> {
    let made = parts.access.create(token, Some(secret)).await;
    let (token, modified, secret) = made.map_err(|error| refusal(&error, "token"))?;
    answering::json(&views::token(
        &parts.access,
        (token, modified),
        Some(secret.reveal()),
    ))
}

async fn update_token(parts: &Parts, id: &str, body: &[u8]) -> Result<Response, Refusal> {
    let asked = AclTokenBody::read(body)?;
    let (token, _) = parts.access.token(id).ok_or_else(|| no_token(id))?;
    if !asked.accessor_id.is_empty() && asked.accessor_id != *token.id {
        return Err(Refusal::bad(
            "Token Accessor ID in URL and payload do not match",
        ));
    }
    let token = Token {
        name: asked.description.as_str().into(),
        policies: links(&parts.access, &asked.policies)?,
        ..token
    };
    let modified = parts.access.update(token.clone()).await;
    let modified = modified.map_err(|error| refusal(&error, id))?;
    answering::json(&views::token(&parts.access, (token, modified), None))
}

async fn clone_token(parts: &Parts, id: &str, body: &[u8]) -> Result<Response, Refusal> {
    let (model, _) = parts.access.token(id).ok_or_else(|| no_token(id))?;
    let asked: Option<Value> = serde_json::from_slice(body).ok();
    let description = asked.as_ref().and_then(|body| body.get("Description"));
    let description = description.and_then(Value::as_str);
    let token = Token {
        scopes: model.scopes,
        policies: model.policies,
        expires: model.expires,
        is_local: model.is_local,
        ..blank(parts, description.unwrap_or(&model.name))
    };
    made(parts, token, new_secret()?).await
}

/// The ids of policies that are named by id or by name.
fn links(access: &Access, links: &[PolicyLink]) -> Result<Vec<Arc<str>>, Refusal> {
    let known = access.policies();
    let id_of = |link: &PolicyLink| {
        let named = known.iter().map(|(policy, _)| policy).find(|policy| {
            if link.id.is_empty() {
                *policy.name == *link.name
            } else {
                *policy.id == *link.id
            }
        });
        let missing = || {
            let which = if link.id.is_empty() {
                format!("name {:?}", link.name)
            } else {
                format!("ID {:?}", link.id)
            };
            Refusal::failed(format!("No such ACL policy with {which}"))
        };
        named
            .map(|policy| Arc::clone(&policy.id))
            .ok_or_else(missing)
    };
    links.iter().map(id_of).collect()
}

/// A token without powers, made now.
fn blank(parts: &Parts, description: &str) -> Token {
    let description = description.trim();
    let name = if description.is_empty() {
        "consul"
    } else {
        description
    };
    Token {
        id: "".into(),
        name: name.into(),
        hash: String::new(),
        scopes: Vec::new(),
        policies: Vec::new(),
        created: parts.env.now(),
        creator: parts.permit.actor(),
        expires: None,
        used: None,
        is_local: false,
    }
}

/// A secret in the form that Consul's clients know.
fn new_secret() -> Result<Secret, Refusal> {
    let made = uuid().map_err(|error| Refusal::failed(error.to_string()))?;
    Ok(Secret::given(&*made))
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let is_hex = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(is_hex)
}

fn no_token(id: &str) -> Refusal {
    Refusal::missing(format!("token does not exist: ACL not found: {id:?}"))
}

pub(super) fn refusal(fault: &Fault, id: &str) -> Refusal {
    match fault {
        Fault::Unknown("token") => no_token(id),
        Fault::Unknown(_) => Refusal::missing("Requested policy does not exist: ACL not found"),
        Fault::Taken(_) => Refusal::failed("Invalid Token: AccessorID or SecretID is in use"),
        Fault::Fixed(_) => Refusal::failed(format!(
            "Delete operation not permitted on the builtin {fault}"
        )),
        Fault::TooMany(_) | Fault::Raced | Fault::Record(_) | Fault::Entropy(_) => {
            Refusal::failed(fault.to_string())
        }
        Fault::NoStore | Fault::Store(_) => Refusal::new(503, fault.to_string()),
    }
}
