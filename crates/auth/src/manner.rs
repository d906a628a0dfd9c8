//! How a front refuses, as its clients expect.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use portolan_access::{Caller, Need};
use portolan_wire::serve::{Response, full, problem};

/// Whose clients are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Ours: problem documents.
    Native,
    /// Eureka's: plain texts, and basic authentication.
    Eureka,
    /// Consul's: plain texts.
    Consul,
}

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(crate) enum Denial<'d> {
    /// It shows nothing, and needs something.
    Anonymous(&'d Need),
    /// It shows what nobody has.
    Unknown,
    /// It is not allowed what it needs.
    Insufficient(&'d Caller, &'d Need),
    /// There were too many; when to come again.
    Limited(Duration),
    /// Tokens have not been read yet.
    NotRead,
}

impl Manner {
    pub(crate) fn refuse(self, denial: &Denial<'_>) -> Response {
        let (status, cause, detail) = denial.words();
        let mut response = match self {
            Self::Native => problem(status, cause, &detail),
            Self::Eureka => text(status, format!("{detail}\n")),
            // Consul knows no 401 but that of access control that is off.
            Self::Consul if status == StatusCode::UNAUTHORIZED => {
                text(StatusCode::FORBIDDEN, "ACL not found".to_owned())
            }
            Self::Consul => text(status, detail),
        };
        let headers = response.headers_mut();
        match (denial, self) {
            (Denial::Limited(wait), _) => {
                let seconds = wait.as_secs().saturating_add(1);
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
            (Denial::NotRead, _) => {
                headers.insert(header::RETRY_AFTER, 1.into());
            }
            (Denial::Anonymous(_) | Denial::Unknown, Self::Native) => {
                let way =
                    HeaderValue::from_static("Bearer realm=\"portolan\", Basic realm=\"portolan\"");
                headers.insert(header::WWW_AUTHENTICATE, way);
            }
            (Denial::Anonymous(_) | Denial::Unknown, Self::Eureka) => {
                let way = HeaderValue::from_static("Basic realm=\"portolan\", charset=\"UTF-8\"");
                headers.insert(header::WWW_AUTHENTICATE, way);
            }
            (Denial::Anonymous(_) | Denial::Unknown | Denial::Insufficient(..), _) => {}
        }
        response
    }
}

impl Denial<'_> {
    fn words(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::Anonymous(need) => (
                StatusCode::UNAUTHORIZED,
                "token_missing",
                format!("a token with scope `{}` is needed", need.scope()),
            ),
            Self::Unknown => (
                StatusCode::UNAUTHORIZED,
                "token_unknown",
                "nobody has this token, or no longer".to_owned(),
            ),
            Self::Insufficient(caller, need) => (
                StatusCode::FORBIDDEN,
                "scope_missing",
                format!("`{}` lacks scope `{}`", caller.actor(), need.scope()),
            ),
            Self::Limited(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "requests_limited",
                "too many requests of one client; the listener's `limits` say how many it may make"
                    .to_owned(),
            ),
            Self::NotRead => (
                StatusCode::SERVICE_UNAVAILABLE,
                "tokens_unread",
                "tokens have not been read yet".to_owned(),
            ),
        }
    }
}

fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
