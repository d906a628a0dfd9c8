//! `rewrite`: changes the path and the host that the upstream gets.
//!
//! Settings, at least one of them, `prefix` and `path` not together:
//! - `prefix`: put in place of what the route's path condition matched; none.
//! - `path`: put in place of the whole path; `{name}` stands for what the route's
//!   template or regular expression captured; none.
//! - `host`: put in place of the host, with a port if it needs one; none.
//!
//! The query is kept.
//!
//! Phase: Shape. Faults: `proxy_configuration_error` if the route does not capture
//! what `path` asks for. Metrics: none. Trust: captured text is the client's; it is in
//! canonical form and can't climb out of the segments it is put into.

mod policy;
mod settings;
#[cfg(test)]
mod tests;

use portolan_policy::PolicyKind;
use serde_json::{Value, json};

/// The row of the table.
pub(crate) const KIND: PolicyKind = PolicyKind {
    name: "rewrite",
    summary: "Changes the path and the host that the upstream gets.",
    schema,
    example: "\
rewrite:
  path: \"/users/{id}/full\"
  host: users.internal
",
    bad_example: "\
rewrite:
  prefix: /v2
  path: /other
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
            "host": {
                "description": "Put in place of the host, with a port if it needs one.",
                "type": "string",
            },
        },
    })
}
