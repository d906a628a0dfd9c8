//! Answers in JSON and plain text.

use http::{HeaderValue, StatusCode, header};
use portolan_wire::serve::{Response, full, problem};

pub(crate) use portolan_wire::serve::{json, method_not_allowed};

pub(crate) fn text(content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(full(body));
    let content_type = HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

pub(crate) fn refuse(status: StatusCode, cause: &str, detail: &str) -> Response {
    problem(status, cause, detail)
}

pub(crate) fn not_found() -> Response {
    let detail = "no such path; `/` lists what is here";
    refuse(StatusCode::NOT_FOUND, "path_unknown", detail)
}
