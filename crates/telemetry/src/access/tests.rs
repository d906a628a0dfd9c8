//! Tests of lines, limits and rotation.

use std::{fs, net::SocketAddr, time::Duration};

use portolan_model::{
    Cause, ServiceKey, Timestamp,
    http::{Status, Version},
};
use portolan_testkit::Scratch;

use super::*;
use crate::{Outcome, Timers};

const OUTCOME: Outcome = Outcome {
    status: Some(Status::OK),
    cause: None,
    attempts: 1,
    received_bytes: 0,
    sent_bytes: 1024,
    timers: Timers {
        queue: None,
        connect: Some(Duration::from_micros(80)),
        first_byte: Some(Duration::from_micros(2_900)),
        total: Duration::from_micros(3_207),
    },
};

fn record<'a>(outcome: &'a Outcome, service: Option<&'a ServiceKey>) -> Record<'a> {
    Record {
        at: Timestamp::from_millis(1_767_225_600_000),
        listener: "web",
        client: SocketAddr::from(([10, 0, 0, 7], 5123)),
        version: Version::Http11,
        tls: None,
        method: "GET",
        authority: "shop.example.com",
        path: "/api/orders",
        request_id: "r1",
        trace_id: None,
        route: Some("shop"),
        upstream: None,
        service,
        instance: Some("a1"),
        address: Some(SocketAddr::from(([127, 0, 0, 1], 9001))),
        outcome,
        detail: None,
    }
}

fn line(format: Format, record: &Record<'_>) -> String {
    let mut line = String::new();
    match format {
        Format::Text => text::write(record, &mut line),
        Format::Json => json::write(record, &mut line),
    }
    line
}

#[test]
fn a_text_line_reads_from_client_to_instance() {
    let service = ServiceKey::parse("orders").unwrap();
    assert_eq!(
        line(Format::Text, &record(&OUTCOME, Some(&service))),
        "2026-01-01T00:00:00.000Z 10.0.0.7:5123 GET shop.example.com/api/orders h1.1 200 3.207ms \
         orders@a1 127.0.0.1:9001 route=shop listener=web in=0 out=1024 connect=0.080ms \
         first_byte=2.900ms id=r1"
    );
}

#[test]
fn a_json_line_holds_what_is_known() {
    let failed = Outcome {
        status: None,
        cause: Some(Cause::ClientGone),
        ..OUTCOME
    };
    let record = Record {
        detail: Some("\u{1b}[31m\"quoted\"\r\nforged 😀"),
        ..record(&failed, None)
    };
    let line = line(Format::Json, &record);
    assert!(
        line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{line}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["detail"], "\u{1b}[31m\"quoted\"\r\nforged 😀");
    assert_eq!(value["cause"], "client_disconnected");
    assert_eq!(value["total_us"], 3207);
    assert!(value.get("status").is_none());
    assert!(value.get("service").is_none());
}

#[test]
fn a_client_can_not_forge_a_text_line() {
    let record = Record {
        path: "/a\r\n2026 forged\u{1b}[2J",
        method: "G T",
        detail: Some("two words \"and\" more\n"),
        ..record(&OUTCOME, None)
    };
    let line = line(Format::Text, &record);
    assert!(
        line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{line}"
    );
    assert!(
        line.contains(r"/a\u{d}\u{a}2026\u{20}forged\u{1b}[2J"),
        "{line}"
    );
    assert!(
        line.contains(r#"detail="two words \"and\" more\u{a}""#),
        "{line}"
    );
}

#[test]
fn a_field_is_cut_at_its_limit() {
    let fits = "a".repeat(FIELD_BYTES_MAX);
    assert_eq!(clipped(&fits), fits);
    assert_eq!(clipped(&format!("{fits}b")), fits);
    let wide = format!("{}ü", "a".repeat(FIELD_BYTES_MAX - 1));
    assert_eq!(clipped(&wide).len(), FIELD_BYTES_MAX - 1);
}

#[test]
fn a_file_is_found_again_after_rotation() {
    let scratch = Scratch::new();
    let (path, rotated) = (
        scratch.path().join("access"),
        scratch.path().join("access.1"),
    );
    let destination = Destination::File(path.clone());
    let (log, writer) = AccessLog::open(Format::Text, destination.clone()).unwrap();
    log.write(&record(&OUTCOME, None));
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);

    let (log, writer) = AccessLog::open(Format::Text, destination).unwrap();
    fs::rename(&path, &rotated).unwrap();
    log.reopen();
    while !path.exists() {
        std::thread::yield_now();
    }
    log.write(&record(&OUTCOME, None));
    drop(writer);
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    assert_eq!(log.dropped(), 0);
}

#[test]
fn lines_past_the_limit_are_dropped_and_counted() {
    let shared = Arc::<Shared>::default();
    let (lines, inbox) = std::sync::mpsc::sync_channel(2);
    let log = AccessLog {
        format: Format::Text,
        lines,
        shared,
    };
    for _ in 0..3 {
        log.write(&record(&OUTCOME, None));
    }
    assert_eq!(log.dropped(), 1);
    drop(inbox);
    log.write(&record(&OUTCOME, None));
    assert_eq!(log.dropped(), 2);
}

#[test]
fn a_file_that_can_not_be_opened_is_an_error() {
    let destination = Destination::File("/nowhere/at/all".into());
    let error = AccessLog::open(Format::Json, destination).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the access log /nowhere/at/all can't be opened"
    );
}
