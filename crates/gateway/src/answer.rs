//! Answers that the gateway makes itself. The only place that knows status codes.
//!
//! A fault is told in the client's voice: problem+json (RFC 9457), or a gRPC status
//! in trailers for gRPC clients; `Proxy-Status` (RFC 9209) in both. What is for the
//! log stays out.

use std::{
    fmt::Write,
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use httpdate::HttpDate;
use portolan_model::{
    Cause,
    http::{Fields, Known, RequestHead, ResponseHead, Status},
    percent::encode_grpc_message,
};
use portolan_policy::{Fault, Reply};
use portolan_runtime::Env;

/// Bytes of a date in the form of RFC 9110: `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;

/// What the client is told about a fault.
pub(crate) fn of_fault(fault: &Fault, request: Option<&RequestHead>, request_id: &str) -> Reply {
    let is_grpc = request.is_some_and(|head| is_grpc(&head.fields));
    let mut reply = if is_grpc {
        grpc(fault)
    } else {
        problem(fault, request_id)
    };
    let status = format!("portolan; error={}", fault.cause.id());
    add(&mut reply.fields, "proxy-status", &status);
    if fault.cause == Cause::MethodUnsupported && !fault.allowed.is_empty() {
        add(&mut reply.fields, "allow", &fault.allowed);
    }
    reply
}

/// Whether a request is gRPC (its HTTP/2 protocol, section "Requests").
pub(crate) fn is_grpc(fields: &Fields) -> bool {
    fields
        .known(Known::ContentType)
        .is_some_and(|value| value.starts_with(b"application/grpc"))
}

fn problem(fault: &Fault, request_id: &str) -> Reply {
    let status = Status::new(fault.cause.status()).unwrap_or(Status::OK);
    let mut body = String::with_capacity(256);
    let title = if status.reason().is_empty() {
        "Error"
    } else {
        status.reason()
    };
    let _infallible = writeln!(
        body,
        "{{\"type\":\"about:blank\",\"title\":{},\"status\":{},\"detail\":{},\"cause\":{},\"request_id\":{}}}",
        quoted(title),
        status.as_u16(),
        quoted(&fault.explanation),
        quoted(fault.cause.id()),
        quoted(request_id),
    );
    let mut fields = Fields::default();
    add(&mut fields, "content-type", "application/problem+json");
    add(&mut fields, "cache-control", "no-store");
    Reply {
        status,
        fields,
        body: Bytes::from(body),
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// gRPC tells its own status in what HTTP takes for a good answer without a body.
fn grpc(fault: &Fault) -> Reply {
    let code = match fault.cause.status() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        408 | 504 => 4,
        429 | 502 | 503 => 14,
        _ => 2,
    };
    let mut fields = Fields::default();
    add(&mut fields, "content-type", "application/grpc");
    add(&mut fields, "grpc-status", &code.to_string());
    add(
        &mut fields,
        "grpc-message",
        &encode_grpc_message(&fault.explanation),
    );
    Reply {
        status: Status::OK,
        fields,
        body: Bytes::new(),
    }
}

fn add(fields: &mut Fields, name: &str, value: &str) {
    // Names and values are ours; an explanation never gets here unescaped.
    let _added = fields.push(name, value.as_bytes());
}

/// The head of a policy's or the gateway's own reply.
pub(crate) fn head_of(reply: &Reply, env: &Env) -> ResponseHead {
    let mut head = ResponseHead {
        status: reply.status,
        fields: reply.fields.clone(),
        ..ResponseHead::default()
    };
    date(&mut head, env);
    head
}

/// Says when the answer was made, or came, unless that is known (RFC 9110, section 6.6.1).
/// Allocates nothing: it may be on the way of every answer.
pub(crate) fn date(head: &mut ResponseHead, env: &Env) {
    if head.fields.known(Known::Date).is_some() {
        return;
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(env.now().as_millis());
    let mut text = [0; DATE_BYTES];
    // It fits exactly: the form has one length.
    let written = io::Write::write_fmt(
        &mut text.as_mut_slice(),
        format_args!("{}", HttpDate::from(at)),
    );
    if written.is_ok() {
        // A head that is full to the brim goes without.
        let _added = head.fields.push_known(Known::Date, &[&text]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_as_problem_json_without_its_detail() {
        let fault = Fault::new(Cause::NoInstance, "service \"orders\": no instances")
            .with_detail("10.0.0.7 refused");
        let reply = of_fault(&fault, None, "id-1");
        let body = std::str::from_utf8(&reply.body).unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(reply.status.as_u16(), 503);
        assert_eq!(json["detail"], "service \"orders\": no instances");
        assert_eq!(json["cause"], "destination_unavailable");
        assert_eq!(json["request_id"], "id-1");
        assert!(!body.contains("10.0.0.7"));
    }

    #[test]
    fn grpc_clients_get_a_grpc_status() {
        let mut head = RequestHead::default();
        head.fields
            .push("content-type", b"application/grpc+proto")
            .unwrap();
        let fault = Fault::new(Cause::NoInstance, "50 % ä");
        let reply = of_fault(&fault, Some(&head), "id");
        assert_eq!(reply.status.as_u16(), 200);
        assert_eq!(reply.fields.get("grpc-status"), Some(&b"14"[..]));
        assert_eq!(
            reply.fields.get("grpc-message"),
            Some(&b"50 %25 %C3%A4"[..])
        );
    }
}
