//! Answers in Consul's manner: JSON with its headers, errors as plain texts.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use portolan_dialects::consul::{Consistency, Refusal, blocking::shown};
use portolan_wire::serve::{Response, full};
use serde::Serialize;

use portolan_registry::RegistryError;

pub(super) fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    encoded(value).map(json_bytes)
}

pub(super) fn encoded(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::failed(error.to_string()))
}

pub(super) fn json_bytes(bytes: impl Into<Bytes>) -> Response {
    response(200, "application/json", bytes)
}

/// An empty answer: it is done.
pub(super) fn done() -> Response {
    response(200, "application/json", Bytes::new())
}

pub(super) fn text(status: u16, text: impl Into<Vec<u8>>) -> Response {
    response(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn refused(refusal: Refusal) -> Response {
    text(refusal.status, refusal.text)
}

fn response(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    put(&mut response, header::CONTENT_TYPE, content_type);
    response
}

/// What a reader wants to know about the answer as a whole.
pub(super) fn indexed(mut response: Response, index: u64, consistency: Consistency) -> Response {
    let index = shown(index).to_string();
    let numbered = HeaderValue::from_str(&index).ok();
    if let Some(index) = numbered {
        response.headers_mut().insert(name("x-consul-index"), index);
    }
    put(&mut response, name("x-consul-knownleader"), "true");
    put(&mut response, name("x-consul-lastcontact"), "0");
    let consistency = consistency.as_str();
    let effective = name("x-consul-effective-consistency");
    put(&mut response, effective, consistency);
    response
}

/// What every answer says.
pub(super) fn finished(mut response: Response) -> Response {
    put(&mut response, name("x-consul-default-acl-policy"), "allow");
    put(&mut response, header::VARY, "Accept-Encoding");
    response
}

pub(super) fn put(response: &mut Response, name: HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}

const fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

/// What the registry refuses, as a client of Consul is told.
pub(super) fn refusal(error: &RegistryError) -> Refusal {
    use portolan_registry::core::Refusal as Refused;
    let status = match error {
        RegistryError::Unknown | RegistryError::NoRuling => 404,
        RegistryError::Refused(Refused::Misfit(_)) => 400,
        RegistryError::Refused(Refused::HandedOver) | RegistryError::Stopped => 503,
        RegistryError::Refused(_) | RegistryError::NotStored(_) => 500,
    };
    Refusal::new(status, error.to_string())
}
