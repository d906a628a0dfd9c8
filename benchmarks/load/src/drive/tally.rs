//! What came of the requests, and how it is printed: one JSON object a line.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::client::Failure;
use super::request::Request;
use crate::histogram::Histogram;

/// Failures that are printed one by one; the others are only counted.
const FAILURES_PRINTED_MAX: u64 = 20_000;

/// Counts of a run.
pub(crate) struct Tally {
    answered: u64,
    failed_idempotent: u64,
    failed_other: u64,
    causes: BTreeMap<String, u64>,
    latencies: Histogram,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            answered: 0,
            failed_idempotent: 0,
            failed_other: 0,
            causes: BTreeMap::new(),
            latencies: Histogram::new(),
        }
    }

    /// Books one request; a failure is printed at once, with its time.
    pub(crate) fn add(
        &mut self,
        request: &Request,
        latency: Duration,
        result: Result<(), Failure>,
    ) {
        let Err(failure) = result else {
            self.answered += 1;
            self.latencies.add(latency);
            return;
        };
        let idempotent = request.is_idempotent();
        *(if idempotent {
            &mut self.failed_idempotent
        } else {
            &mut self.failed_other
        }) += 1;
        if self.failed_idempotent + self.failed_other <= FAILURES_PRINTED_MAX {
            println!(
                r#"{{"failure":"{}","at_us":{},"method":"{}","path":"{}","idempotent":{},"waited_us":{},"answer":"{}"}}"#,
                failure.cause,
                unix_us(),
                request.method,
                escape(&request.path),
                idempotent,
                latency.as_micros(),
                escape(&failure.answer),
            );
        }
        *self.causes.entry(failure.cause).or_default() += 1;
    }

    /// Prints the counts so far.
    ///
    /// # Errors
    /// Nobody reads them any more.
    pub(crate) fn print_interval(&self) -> Result<(), String> {
        let line = format!(
            r#"{{"interval":true,"at_us":{},"answered":{},"failed_idempotent":{},"failed_other":{}}}"#,
            unix_us(),
            self.answered,
            self.failed_idempotent,
            self.failed_other,
        );
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(|error| error.to_string())
    }

    /// Prints the last line of a run.
    pub(crate) fn print_summary(&self, elapsed: Duration, unsent: u64) {
        let causes: Vec<_> = self
            .causes
            .iter()
            .map(|(cause, count)| format!(r#""{cause}":{count}"#))
            .collect();
        println!(
            r#"{{"summary":true,"elapsed_s":{:.3},"answered":{},"unsent":{},"failed_idempotent":{},"failed_other":{},"causes":{{{}}},"p50_us":{:.1},"p90_us":{:.1},"p99_us":{:.1},"p999_us":{:.1},"max_us":{:.1}}}"#,
            elapsed.as_secs_f64(),
            self.answered,
            unsent,
            self.failed_idempotent,
            self.failed_other,
            causes.join(","),
            self.latencies.quantile_us(0.5),
            self.latencies.quantile_us(0.9),
            self.latencies.quantile_us(0.99),
            self.latencies.quantile_us(0.999),
            self.latencies.max_us(),
        );
    }
}

fn unix_us() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
