//! `headers`: changes the fields of requests and answers.
//!
//! Settings, all optional, for `request` (what the upstream gets) and `response`
//! (what the client gets, also from the gateway and other policies):
//! - `remove`: names to take away; none.
//! - `set`: fields that replace all of their name; none.
//! - `add`: fields besides those that are there, a list for several; none.
//!
//! They are applied in this order. Values are literal.
//!
//! Phase: Shape. Faults: `http_request_head_too_large` if a request would grow out of
//! all bounds. Metrics: none. Trust: the operator; fields that frame a message or
//! belong to one connection are refused when the configuration is read.

mod policy;
mod settings;
#[cfg(test)]
mod tests;

use portolan_policy::PolicyKind;
use serde_json::{Value, json};

/// The row of the table.
pub(crate) const KIND: PolicyKind = PolicyKind {
    name: "headers",
    summary: "Changes the fields of requests and answers.",
    schema,
    example: "\
headers:
  request:
    set: {x-team: shop}
    remove: [x-debug]
  response:
    add: {vary: [accept, origin]}
",
    bad_example: "\
headers:
  request:
    set: {content-length: 0}
",
    parse: settings::parse,
};

fn schema() -> Value {
    let text = json!({ "type": ["string", "number", "boolean"] });
    let changes = |of: &str| {
        json!({
            "type": "object",
            "description": format!("Changes of {of}: `remove`, then `set`, then `add`."),
            "additionalProperties": false,
            "properties": {
                "remove": {
                    "description": "Names of fields to take away.",
                    "type": "array",
                    "items": { "type": "string" },
                },
                "set": {
                    "description": "Fields that replace all of their name.",
                    "type": "object",
                    "additionalProperties": text,
                },
                "add": {
                    "description": "Fields besides those that are there; a list for several.",
                    "type": "object",
                    "additionalProperties": {
                        "anyOf": [text, { "type": "array", "items": text }],
                    },
                },
            },
        })
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "properties": {
            "request": changes("what the upstream gets"),
            "response": changes("what the client gets"),
        },
    })
}
