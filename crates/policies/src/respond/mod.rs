//! `respond`: answers without an upstream.
//!
//! Settings, all optional:
//! - `status`: from 200 to 599; 200.
//! - `body`: a text of at most 64 KiB; none.
//! - `headers`: fields of the answer, a list for several of one name; `content-type:
//!   text/plain; charset=utf-8` if there is a body and no other type is given.
//!
//! Phase: Shape. Faults: none. Metrics: none. Trust: nothing of the request is read.

mod policy;
mod settings;
#[cfg(test)]
mod tests;

use portolan_policy::PolicyKind;
use serde_json::{Value, json};

/// The row of the table.
pub(crate) const KIND: PolicyKind = PolicyKind {
    name: "respond",
    summary: "Answers without an upstream.",
    schema,
    example: "\
respond:
  status: 503
  body: \"We are back at nine.\"
  headers: {retry-after: 3600}
",
    bad_example: "\
respond:
  status: 204
  body: \"never sent\"
",
    parse: settings::parse,
};

fn schema() -> Value {
    let text = json!({ "type": ["string", "number", "boolean"] });
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "status": {
                "description": "Status of the answer.",
                "type": "integer",
                "minimum": 200,
                "maximum": 599,
                "default": 200,
            },
            "body": {
                "description": "The whole body.",
                "type": "string",
                "maxLength": settings::BODY_BYTES_MAX,
            },
            "headers": {
                "description": "Fields of the answer; a list for several of one name.",
                "type": "object",
                "additionalProperties": {
                    "anyOf": [text, { "type": "array", "items": text }],
                },
            },
        },
    })
}
