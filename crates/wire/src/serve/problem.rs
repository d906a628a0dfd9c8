//! Refusals as RFC 9457 says.

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use super::{Response, full};

/// An answer that says what is wrong: `application/problem+json` with `type`, `title`,
/// `status`, `detail` and `cause`. `cause` is a stable word for programs, `detail` a
/// sentence for people that names nothing secret.
#[must_use]
pub fn problem(status: StatusCode, cause: &str, detail: &str) -> Response {
    let body = json!({
        "type": format!("urn:portolan:cause:{cause}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "cause": cause,
    });
    let mut response = Response::new(full(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}
