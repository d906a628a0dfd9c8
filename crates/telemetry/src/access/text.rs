//! Lines for a person.
//!
//! Whatever a client or an instance chose is escaped, so that no line can be forged
//! and no terminal be steered (CWE-117).

use std::{fmt::Write as _, time::Duration};

use crate::Record;

use super::clipped;

/// Appends the line, without its end.
pub(super) fn write(record: &Record<'_>, out: &mut String) {
    let outcome = record.outcome;
    write_start(record, out);
    match outcome.status {
        Some(status) => push(out, format_args!(" {}", status.as_u16())),
        None => out.push_str(" -"),
    }
    out.push(' ');
    span(out, outcome.timers.total);
    write_destination(record, out);
    let (received, sent) = (outcome.received_bytes, outcome.sent_bytes);
    push(out, format_args!(" in={received} out={sent}"));
    if outcome.attempts > 1 {
        push(out, format_args!(" attempts={}", outcome.attempts));
    }
    let parts = [
        (" queue=", outcome.timers.queue),
        (" connect=", outcome.timers.connect),
        (" first_byte=", outcome.timers.first_byte),
    ];
    for (name, timer) in parts {
        if let Some(timer) = timer {
            out.push_str(name);
            span(out, timer);
        }
    }
    word(out, " id=", Some(record.request_id));
    word(out, " trace=", record.trace_id);
    word(out, " cause=", outcome.cause.map(portolan_model::Cause::id));
    if let Some(detail) = record.detail {
        out.push_str(" detail=\"");
        escape(out, detail, Blanks::Keep);
        out.push('"');
    }
}

/// Time, client and request.
fn write_start(record: &Record<'_>, out: &mut String) {
    push(out, format_args!("{} {}", record.at, record.client));
    word(out, " ", Some(record.method));
    word(out, " ", Some(record.authority));
    escape(out, record.path, Blanks::Escape);
    push(out, format_args!(" h{}", record.version.as_str()));
    word(out, "+tls", record.tls);
}

/// Which route, service and instance.
fn write_destination(record: &Record<'_>, out: &mut String) {
    if let Some(service) = record.service {
        push(out, format_args!(" {service}"));
        word(out, "@", record.instance);
    }
    if let Some(address) = record.address {
        push(out, format_args!(" {address}"));
    }
    word(out, " route=", record.route);
    word(out, " upstream=", record.upstream);
    word(out, " listener=", Some(record.listener));
}

fn word(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.push_str(name);
        escape(out, value, Blanks::Escape);
    }
}

/// Milliseconds to the microsecond.
fn span(out: &mut String, span: Duration) {
    let micros = span.as_micros();
    push(
        out,
        format_args!("{}.{:03}ms", micros / 1000, micros % 1000),
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blanks {
    Keep,
    Escape,
}

fn escape(out: &mut String, text: &str, blanks: Blanks) {
    for character in clipped(text).chars() {
        match character {
            ' ' if blanks == Blanks::Keep => out.push(' '),
            '"' | '\\' => out.extend(['\\', character]),
            '!'..='~' => out.push(character),
            other => out.extend(other.escape_unicode()),
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}
