//! Answers in JSON and plain text.

use http::{HeaderValue, StatusCode, header};
use portolan_wire::serve::{Response, full, problem};
use serde::Serialize;

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let Ok(mut body) = serde_json::to_vec(value) else {
        let detail = "a defect of Portolan: an answer has no JSON";
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
    };
    // A terminal's prompt wants a line of its own.
    body.push(b'\n');
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

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

pub(crate) fn method_not_allowed(allowed: &'static str) -> Response {
    let detail = format!("this path takes {allowed}");
    let mut response = refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &detail,
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
