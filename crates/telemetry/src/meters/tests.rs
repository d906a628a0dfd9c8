//! Tests of the meters as a whole.

use std::{collections::HashSet, sync::LazyLock, time::Duration};

use portolan_model::{Cause, Revision, Timestamp, http::Status};

use super::*;
use crate::{Outcome, Timers, Usage};

static DNS: LazyLock<DnsFacts> = LazyLock::new(|| DnsFacts {
    answers: vec![("A", "NOERROR", 3)],
    dropped: vec![("limited", 2)],
    truncated: 1,
    forwarded: vec![("stale", 4)],
    remembered: 5,
    recursors: 6,
    latency: vec![("0.001", 2), ("+Inf", 1)],
    latency_micros: 1_002_000,
});

fn facts(sources: &[SourceFacts]) -> Facts<'_> {
    Facts {
        sources,
        version: "1.2.3",
        started: Timestamp::from_millis(1_780_000_000_123),
        revision: Revision::FIRST,
        services: 2,
        instances: 3,
        stale_sources: 0,
        is_store_healthy: true,
        ledger: LedgerFacts {
            keys: 7,
            sessions: 2,
            objects: 1,
            bytes: 640,
        },
        dns: &DNS,
        guard: GuardFacts {
            held: &[("zone", 4)],
            vouched: 1,
            damped: 2,
            removed: &[("hold_over", 3)],
        },
        denied: &[("admin", "denied", 5)],
        lines_dropped: 0,
        usage: Usage {
            resident_bytes: Some(4096),
            descriptors: Some(10),
            cpu_millis: Some(1500),
        },
    }
}

fn outcome(status: u16, millis: u64) -> Outcome {
    Outcome {
        status: Status::new(status),
        sent_bytes: 10,
        timers: Timers {
            total: Duration::from_millis(millis),
            ..Timers::default()
        },
        ..Outcome::default()
    }
}

fn key(text: &str) -> ServiceKey {
    ServiceKey::parse(text).unwrap()
}

fn page(meters: &Meters) -> String {
    let mut page = String::new();
    meters.expose(&facts(&[]), &mut page);
    page
}

#[track_caller]
fn assert_shows(meters: &Meters, line: &str) {
    let page = page(meters);
    assert!(
        page.lines().any(|shown| shown == line),
        "no `{line}` in:\n{page}"
    );
}

#[test]
fn workers_are_summed_by_service() {
    let meters = Meters::new(2);
    let row = meters.row(&key("shop/orders"));
    for number in 0..2 {
        meters.worker(number).finish(row, &outcome(200, 3));
    }
    let labels = r#"namespace="shop",service="orders""#;
    assert_shows(
        &meters,
        &format!("portolan_requests_total{{{labels},class=\"2xx\"}} 2"),
    );
    assert_shows(
        &meters,
        &format!("portolan_sent_bytes_total{{{labels}}} 20"),
    );
    let bucket = "portolan_request_duration_seconds_bucket";
    assert_shows(&meters, &format!("{bucket}{{{labels},le=\"0.0025\"}} 0"));
    assert_shows(&meters, &format!("{bucket}{{{labels},le=\"0.005\"}} 2"));
    assert_shows(&meters, &format!("{bucket}{{{labels},le=\"+Inf\"}} 2"));
    let sum = "portolan_request_duration_seconds_sum";
    assert_shows(&meters, &format!("{sum}{{{labels}}} 0.006000"));
}

#[test]
fn a_fault_is_counted_by_its_cause() {
    let meters = Meters::new(1);
    let failed = Outcome {
        cause: Some(Cause::ConnectRefused),
        attempts: 3,
        ..outcome(502, 1)
    };
    meters.worker(0).finish(Row::NONE, &failed);
    meters.worker(0).refuse(Cause::TlsFailed);
    let labels = r#"namespace="",service="none""#;
    assert_shows(
        &meters,
        &format!("portolan_faults_total{{{labels},cause=\"connection_refused\"}} 1"),
    );
    assert_shows(&meters, &format!("portolan_retries_total{{{labels}}} 2"));
    assert_shows(
        &meters,
        r#"portolan_connections_refused_total{cause="tls_protocol_error"} 1"#,
    );
}

#[test]
fn open_connections_are_those_accepted_and_not_closed() {
    let meters = Meters::new(2);
    let worker = meters.worker(1);
    worker.count(Count::ConnectionAccepted);
    worker.count(Count::ConnectionAccepted);
    worker.count(Count::ConnectionClosed);
    worker.set(Gauge::UpstreamIdle, 7);
    assert_shows(&meters, r#"portolan_connections_open{worker="1"} 1"#);
    assert_shows(&meters, r#"portolan_connections_open{worker="0"} 0"#);
    assert_shows(
        &meters,
        r#"portolan_upstream_connections_idle{worker="1"} 7"#,
    );
}

#[test]
fn a_reused_row_starts_again_at_zero() {
    let meters = Meters::new(1);
    let worker = meters.worker(0);
    let row = meters.row(&key("old"));
    worker.finish(row, &outcome(200, 1));
    meters.release(&key("old"));
    assert_shows(
        &meters,
        r#"portolan_requests_total{namespace="default",service="old",class="2xx"} 1"#,
    );
    assert_eq!(meters.row(&key("new")), row);
    assert!(!page(&meters).contains("service=\"new\",class"));
    worker.finish(row, &outcome(200, 1));
    assert_shows(
        &meters,
        r#"portolan_requests_total{namespace="default",service="new",class="2xx"} 1"#,
    );
}

/// A strict reading of the text format, as far as this exposition uses it.
#[test]
fn the_exposition_is_well_formed() {
    let meters = Meters::new(1);
    meters.worker(0).finish(Row::OTHER, &outcome(404, 70_000));
    let page = page(&meters);
    let mut family = None;
    let mut series = HashSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap();
            family = families().iter().find(|family| family.name == name);
            assert!(family.is_some(), "{name} is not in the list");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let family = family.unwrap();
            assert_eq!(rest, format!("{} {}", family.name, family.kind.as_str()));
        } else {
            let (id, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(id.to_owned()), "{id} is there twice");
            assert_labels(id, family.unwrap());
        }
    }
}

fn assert_labels(id: &str, family: &Family) {
    let (name, labels) = id.split_once('{').unwrap_or((id, "}"));
    assert!(
        name.starts_with(family.name),
        "{id} is not of {}",
        family.name
    );
    let names: Vec<_> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !label.is_empty())
        .map(|label| label.split_once('=').unwrap().0)
        .filter(|name| *name != "le")
        .collect();
    assert_eq!(names, family.labels, "{id}");
}

#[test]
fn every_metric_is_shown_and_says_its_unit() {
    let page = page(&Meters::new(1));
    for family in families() {
        assert!(
            page.contains(&format!("# HELP {} ", family.name)),
            "{}",
            family.name
        );
        let counter = family.name.ends_with("_total");
        assert_eq!(counter, family.kind == Kind::Counter, "{}", family.name);
        if family.kind == Kind::Histogram {
            assert!(family.name.ends_with("_seconds"), "{}", family.name);
        }
    }
}

#[test]
fn every_source_has_its_series() {
    let meters = Meters::new(1);
    let sources = [SourceFacts {
        id: "consul:east".to_owned(),
        is_stale: true,
        instances: 7,
        changes: 9,
        confirmed_at: Some(Timestamp::from_millis(1_780_000_000_123)),
        ..SourceFacts::default()
    }];
    let mut page = String::new();
    meters.expose(&facts(&sources), &mut page);
    for line in [
        "portolan_source_stale{source=\"consul:east\"} 1",
        "portolan_source_instances{source=\"consul:east\"} 7",
        "portolan_source_changes_total{source=\"consul:east\"} 9",
        "portolan_source_confirmed_timestamp_seconds{source=\"consul:east\"} 1780000000.123",
    ] {
        assert!(page.lines().any(|known| known == line), "{line} in {page}");
    }
}

#[test]
fn answers_of_dns_are_shown_by_type_code_and_time() {
    let mut shown = String::new();
    Meters::new(1).expose(&facts(&[]), &mut shown);
    for line in [
        "portolan_dns_answers_total{type=\"A\",code=\"NOERROR\"} 3",
        "portolan_dns_dropped_total{reason=\"limited\"} 2",
        "portolan_dns_truncated_total 1",
        "portolan_dns_forwarded_total{outcome=\"stale\"} 4",
        "portolan_dns_remembered 5",
        "portolan_dns_recursors 6",
        "portolan_dns_duration_seconds_bucket{le=\"0.001\"} 2",
        "portolan_dns_duration_seconds_bucket{le=\"+Inf\"} 3",
        "portolan_dns_duration_seconds_sum 1.002000",
        "portolan_dns_duration_seconds_count 3",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "{line}");
    }
}
