//! Answers in JSON, and refusals as RFC 9457 says.

use http::{HeaderValue, StatusCode, header};

use super::{Response, full};

/// An answer that says what is wrong: `application/problem+json` with `type`, `title`,
/// `status`, `detail` and `cause`, as the gateway writes them, too. `cause` is a stable word
/// for programs, `detail` a sentence for people that names nothing secret. The type is
/// `about:blank`: `cause` says all that a type could, and a title of the status needs no page.
#[must_use]
pub fn problem(status: StatusCode, cause: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "cause": cause,
    });
    let body = format!("{body}\n").into_bytes();
    typed(status, "application/problem+json", body)
}

/// A value as `application/json`.
#[must_use]
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    let Ok(mut body) = serde_json::to_vec(value) else {
        let detail = "a defect of Portolan: an answer has no JSON";
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
    };
    // A terminal's prompt wants a line of its own.
    body.push(b'\n');
    typed(status, "application/json", body)
}

/// The refusal of a method, with those that the path takes: `GET, PUT`.
#[must_use]
pub fn method_not_allowed(allowed: &'static str) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let detail = format!("this path takes {allowed}");
    let mut response = problem(status, "method_not_allowed", &detail);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

fn typed(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use portolan_model::ByteSize;

    use super::{super::collect, *};

    async fn body_of(response: Response) -> Vec<u8> {
        let kib = ByteSize::parse("1KiB").unwrap();
        collect(response.into_body(), kib).await.unwrap().into()
    }

    #[tokio::test]
    async fn a_problem_has_the_title_of_its_status_and_a_cause() {
        let response = problem(StatusCode::NOT_FOUND, "path_unknown", "no such path");
        let body = String::from_utf8(body_of(response).await).unwrap();
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no such path","cause":"path_unknown"}
"#
        );
    }

    #[tokio::test]
    async fn an_answer_ends_with_a_line_and_a_refused_method_with_those_that_are_taken() {
        let response = json(StatusCode::CREATED, &[1, 2]);
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(body_of(response).await, b"[1,2]\n");
        let refused = method_not_allowed("GET, PUT");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[header::ALLOW], "GET, PUT");
    }
}
