//! `redirect`: sends the client elsewhere.
//!
//! Settings, at least one besides `status`, `prefix` and `path` not together:
//! - `status`: 301, 302, 303, 307 or 308; 302, which no client keeps for ever.
//! - `scheme`: `http` or `https`; the request's.
//! - `host`: a name or an address; the request's.
//! - `port`: the request's if neither `scheme` nor `host` is given, otherwise the
//!   scheme's own.
//! - `prefix`: put in place of what the route's path condition matched; none.
//! - `path`: put in place of the whole path; `{name}` stands for what the route's
//!   template or regular expression captured; none.
//!
//! The query is kept. The location is always absolute, so that a path that begins
//! with two slashes can't name another host.
//!
//! Phase: Shape. Faults: `http_request_malformed` if the request names no host and
//! one is needed, `proxy_configuration_error` if the route does not capture what `path`
//! asks for. Metrics: none. Trust: the host may be the client's own word.

mod policy;
mod settings;
#[cfg(test)]
mod tests;

use portolan_policy::PolicyKind;
use serde_json::{Value, json};

/// The row of the table.
pub(crate) const KIND: PolicyKind = PolicyKind {
    name: "redirect",
    summary: "Sends the client elsewhere.",
    schema,
    example: "\
redirect:
  status: 308
  scheme: https
",
    bad_example: "\
redirect:
  status: 200
",
    parse: settings::parse,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "not": { "required": ["prefix", "path"] },
        "properties": {
            "status": {
                "description": "Status of the answer.",
                "enum": settings::STATUSES,
                "default": 302,
            },
            "scheme": {
                "description": "The scheme; the request's when absent.",
                "enum": ["http", "https"],
            },
            "host": {
                "description": "The host; the request's when absent.",
                "type": "string",
            },
            "port": {
                "description": "The port; when absent the request's, or the scheme's own if \
                                `scheme` or `host` is given.",
                "type": "integer",
                "minimum": 1,
                "maximum": 65535,
            },
            "prefix": {
                "description": "Put in place of what the route's path condition matched.",
                "type": "string",
                "pattern": "^/",
            },
            "path": {
                "description": "Put in place of the whole path; `{name}` stands for a capture.",
                "type": "string",
                "pattern": "^/",
            },
        },
    })
}
