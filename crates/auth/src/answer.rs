//! JSON and problem documents.

use http::StatusCode;
use portolan_wire::serve::{Response, problem};

pub(crate) use portolan_wire::serve::{json, method_not_allowed};

use crate::keeping::Fault;

pub(crate) fn malformed(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, "request_malformed", detail)
}

pub(crate) fn invalid(detail: &str) -> Response {
    problem(StatusCode::UNPROCESSABLE_ENTITY, "field_invalid", detail)
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
