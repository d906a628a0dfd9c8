//! Lines for a program: one JSON object, names that stay.
//!
//! What is not known is left out. Spans are whole microseconds. The names are an
//! interface: new ones may come, none may change its meaning.

use std::fmt::Write as _;

use crate::Record;

use super::clipped;

/// Appends the line, without its end.
pub(super) fn write(record: &Record<'_>, out: &mut String) {
    let mut object = Object { out };
    object.out.push('{');
    write_request(record, &mut object);
    write_destination(record, &mut object);
    write_outcome(record, &mut object);
    object.out.push('}');
}

fn write_request(record: &Record<'_>, object: &mut Object<'_>) {
    push(object.out, format_args!("\"time\":\"{}\"", record.at));
    object.text("listener", record.listener);
    // Addresses, versions and ids of our own need no escaping.
    object.plain("client", record.client);
    object.plain("protocol", record.version.as_str());
    object.optional("tls", record.tls);
    object.text("method", record.method);
    object.text("authority", record.authority);
    object.text("path", record.path);
    object.text("request_id", record.request_id);
    object.optional("trace_id", record.trace_id);
}

fn write_destination(record: &Record<'_>, object: &mut Object<'_>) {
    object.optional("route", record.route);
    object.optional("upstream", record.upstream);
    if let Some(service) = record.service {
        object.plain("service", service);
    }
    object.optional("instance", record.instance);
    if let Some(address) = record.address {
        object.plain("address", address);
    }
}

fn write_outcome(record: &Record<'_>, object: &mut Object<'_>) {
    let outcome = record.outcome;
    if let Some(status) = outcome.status {
        object.number("status", u128::from(status.as_u16()));
    }
    object.optional("cause", outcome.cause.map(portolan_model::Cause::id));
    object.optional("detail", record.detail);
    object.number("attempts", u128::from(outcome.attempts));
    object.number("received_bytes", u128::from(outcome.received_bytes));
    object.number("sent_bytes", u128::from(outcome.sent_bytes));
    let timers = &outcome.timers;
    let parts = [
        ("queue_us", timers.queue),
        ("connect_us", timers.connect),
        ("first_byte_us", timers.first_byte),
        ("total_us", Some(timers.total)),
    ];
    for (name, timer) in parts {
        if let Some(timer) = timer {
            object.number(name, timer.as_micros());
        }
    }
}

/// An object as it grows; the first member is written by its owner.
struct Object<'a> {
    out: &'a mut String,
}

impl Object<'_> {
    fn text(&mut self, name: &str, value: &str) {
        push(self.out, format_args!(",\"{name}\":\""));
        escape(self.out, clipped(value));
        self.out.push('"');
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        push(self.out, format_args!(",\"{name}\":\"{value}\""));
    }

    fn number(&mut self, name: &str, value: u128) {
        push(self.out, format_args!(",\"{name}\":{value}"));
    }
}

/// Escapes what JSON demands (RFC 8259, section 7), and all else that could steer a terminal.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    push(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}
