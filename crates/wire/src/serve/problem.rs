//! Refusals as RFC 9457 says.

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use super::{Response, full};

/// An answer that says what is wrong: `application/problem+json` with `type`, `title`,
/// `status`, `detail` and `cause`, as the gateway writes them, too. `cause` is a stable word
/// for programs, `detail` a sentence for people that names nothing secret. The type is
/// `about:blank`: `cause` says all that a type could, and a title of the status needs no page.
#[must_use]
pub fn problem(status: StatusCode, cause: &str, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank",
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

#[cfg(test)]
mod tests {
    use portolan_model::ByteSize;
    use serde_json::Value;

    use super::*;
    use crate::serve::collect;

    #[tokio::test]
    async fn a_problem_has_the_title_of_its_status_and_a_cause() {
        let response = problem(StatusCode::NOT_FOUND, "path_unknown", "no such path");
        let kib = ByteSize::parse("1KiB").unwrap();
        let body = collect(response.into_body(), kib).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Not Found",
                "status": 404,
                "detail": "no such path",
                "cause": "path_unknown",
            })
        );
    }
}
