//! JSON and problem documents.

use http::{HeaderValue, StatusCode, header};
use portolan_wire::serve::{Response, full, problem};
use serde::Serialize;

use crate::keeping::Fault;

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Texts and numbers are always JSON; a terminal's prompt wants a line of its own.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

pub(crate) fn malformed(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, "request_malformed", detail)
}

pub(crate) fn invalid(detail: &str) -> Response {
    problem(StatusCode::UNPROCESSABLE_ENTITY, "field_invalid", detail)
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Response {
    let detail = format!("this path takes {allow}");
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &detail,
    );
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

pub(crate) fn fault(fault: &Fault) -> Response {
    let (status, cause) = match fault {
        Fault::Unknown(_) => (StatusCode::NOT_FOUND, "token_not_found"),
        Fault::Taken(_) | Fault::Raced => (StatusCode::CONFLICT, "token_taken"),
        Fault::Fixed(_) => (StatusCode::FORBIDDEN, "token_fixed"),
        Fault::TooMany(_) => (StatusCode::INSUFFICIENT_STORAGE, "tokens_full"),
        Fault::NoStore | Fault::Store(_) | Fault::Record(_) | Fault::Entropy(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_failed")
        }
    };
    problem(status, cause, &fault.to_string())
}
