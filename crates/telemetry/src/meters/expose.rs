//! Prometheus text format 0.0.4.
//!
//! Series that never counted anything are left out: a gateway with thousands of
//! services has mostly zeros. Reading is racy by a few requests, on purpose.

use std::fmt::{Display, Write as _};

use portolan_model::{Cause, Revision, ServiceKey, Timestamp};

use crate::Usage;

use super::{
    DnsFacts, Meters, dns,
    families::{self, Family},
    histogram::{self, BOUNDS},
    layout::{self, CLASSES, Totals},
    rows::Row,
    worker::{Count, Gauge, Table},
};

/// What the meters do not know themselves.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The program's version.
    pub version: &'a str,
    /// When the process began.
    pub started: Timestamp,
    /// The catalogue's revision.
    pub revision: Revision,
    /// Services in the catalogue.
    pub services: usize,
    /// Instances in the catalogue.
    pub instances: usize,
    /// Sources that are stale.
    pub stale_sources: usize,
    /// Each source.
    pub sources: &'a [SourceFacts],
    /// Whether what is written to the store would survive a restart.
    pub is_store_healthy: bool,
    /// How much the ledger has.
    pub ledger: LedgerFacts,
    /// What the guard does.
    pub guard: GuardFacts<'a>,
    /// What the DNS server counted.
    pub dns: &'a DnsFacts,
    /// Calls to control listeners that were not let, by listener and outcome.
    pub denied: &'a [(&'static str, &'static str, u64)],
    /// Lines that the access log dropped.
    pub lines_dropped: u64,
    /// What the process uses.
    pub usage: Usage,
}

/// How a source is doing.
#[derive(Clone, Debug, Default)]
pub struct SourceFacts {
    /// Its name.
    pub id: String,
    /// It no longer knows.
    pub is_stale: bool,
    /// Instances that it speaks of.
    pub instances: usize,
    /// Changes that it said.
    pub changes: u64,
    /// How often it said everything anew.
    pub resyncs: u64,
    /// How often it lost what it reads.
    pub failures: u64,
    /// What it reads but can't use.
    pub unfit: u64,
    /// When what it reads last confirmed what it says.
    pub confirmed_at: Option<Timestamp>,
}

/// How much the ledger has.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerFacts {
    /// Keys.
    pub keys: usize,
    /// Sessions.
    pub sessions: usize,
    /// Prepared queries, nodes, checks of nodes, and events.
    pub objects: usize,
    /// Bytes of all of it.
    pub bytes: usize,
}

/// What the guard does.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuardFacts<'a> {
    /// Instances that it holds, by the scope of which too much would have gone.
    pub held: &'a [(&'static str, u64)],
    /// Instances that stay by evidence alone.
    pub vouched: usize,
    /// Instances whose traffic is reduced for flapping.
    pub damped: usize,
    /// Instances that went so far, by why they could.
    pub removed: &'a [(&'static str, u64)],
}

impl Meters {
    /// Appends everything in the text exposition format, version 0.0.4.
    pub fn expose(&self, facts: &Facts<'_>, out: &mut String) {
        let shown: Vec<Series> = self
            .shown()
            .into_iter()
            .map(|shown| {
                let totals = self.totals(shown.row);
                let totals = match &shown.before {
                    Some(before) => totals.since(before),
                    None => totals,
                };
                Series {
                    labels: service_labels(shown.row, shown.service.as_ref()),
                    totals,
                }
            })
            .collect();
        let mut page = Page(out);
        services(&mut page, &shown);
        self.workers(&mut page);
        // Two rows belong to no service.
        process(&mut page, facts, shown.len().saturating_sub(2));
    }

    fn workers(&self, page: &mut Page<'_>) {
        page.family(families::REFUSED);
        for cause in Cause::ALL {
            let refused: u64 = self.workers.iter().map(|table| table.refused(*cause)).sum();
            if refused > 0 {
                page.labelled(
                    families::REFUSED,
                    &format!("cause=\"{}\"", cause.id()),
                    refused,
                );
            }
        }
        let counted = |count| move |table: &Table| table.count(count);
        self.each(page, families::ACCEPTED, counted(Count::ConnectionAccepted));
        self.each(page, families::OPEN, |table| {
            difference(
                table.count(Count::ConnectionAccepted),
                table.count(Count::ConnectionClosed),
            )
        });
        self.each(page, families::STARTED, counted(Count::RequestStarted));
        self.each(page, families::ACTIVE, |table| {
            difference(table.count(Count::RequestStarted), table.finished())
        });
        self.each(
            page,
            families::UPSTREAM_OPENED,
            counted(Count::UpstreamOpened),
        );
        self.each(
            page,
            families::UPSTREAM_REUSED,
            counted(Count::UpstreamReused),
        );
        self.each(page, families::UPSTREAM_OPEN, |table| {
            difference(
                table.count(Count::UpstreamOpened),
                table.count(Count::UpstreamClosed),
            )
        });
        self.each(page, families::UPSTREAM_IDLE, |table| {
            table.gauge(Gauge::UpstreamIdle)
        });
        self.each(page, families::PANICS, counted(Count::Panicked));
    }

    fn each(&self, page: &mut Page<'_>, family: Family, value: impl Fn(&Table) -> u64) {
        page.family(family);
        for (number, table) in self.workers.iter().enumerate() {
            page.labelled(family, &format!("worker=\"{number}\""), value(table));
        }
    }
}

/// A row with its labels written out.
struct Series {
    labels: String,
    totals: Totals,
}

fn services(page: &mut Page<'_>, shown: &[Series]) {
    page.family(families::REQUESTS);
    for series in shown {
        for (class, count) in nonzero(&CLASSES, &series.totals.0[layout::CLASS..]) {
            let labels = format!("{},class=\"{class}\"", series.labels);
            page.labelled(families::REQUESTS, &labels, count);
        }
    }
    page.family(families::FAULTS);
    for series in shown {
        for (cause, count) in nonzero(Cause::ALL, &series.totals.0[layout::CAUSE..]) {
            let labels = format!("{},cause=\"{}\"", series.labels, cause.id());
            page.labelled(families::FAULTS, &labels, count);
        }
    }
    page.family(families::DURATION);
    for series in shown {
        page.histogram(families::DURATION, series, layout::TOTAL);
    }
    page.family(families::FIRST_BYTE);
    for series in shown {
        page.histogram(families::FIRST_BYTE, series, layout::FIRST_BYTE);
    }
    let single = [
        (families::RECEIVED, layout::RECEIVED),
        (families::SENT, layout::SENT),
        (families::RETRIES, layout::RETRIES),
    ];
    for (family, cell) in single {
        page.family(family);
        for series in shown.iter().filter(|series| series.totals.requests() > 0) {
            page.labelled(family, &series.labels, series.totals.0[cell]);
        }
    }
}

fn process(page: &mut Page<'_>, facts: &Facts<'_>, rows: usize) {
    page.single(families::REVISION, facts.revision);
    page.single(families::SERVICES, facts.services);
    page.single(families::INSTANCES, facts.instances);
    page.single(families::STALE, facts.stale_sources);
    sources(page, facts.sources);
    page.single(families::STORED, u8::from(facts.is_store_healthy));
    page.single(families::LEDGER_KEYS, facts.ledger.keys);
    page.single(families::LEDGER_SESSIONS, facts.ledger.sessions);
    page.single(families::LEDGER_OBJECTS, facts.ledger.objects);
    page.single(families::LEDGER_BYTES, facts.ledger.bytes);
    let GuardFacts {
        held,
        vouched,
        damped,
        removed,
    } = facts.guard;
    page.family(families::HELD);
    for (scope, count) in held {
        page.labelled(families::HELD, &format!("scope=\"{scope}\""), *count);
    }
    page.single(families::VOUCHED, vouched);
    page.single(families::DAMPED, damped);
    page.family(families::WENT);
    for (reason, count) in removed {
        page.labelled(families::WENT, &format!("reason=\"{reason}\""), *count);
    }
    dns::show(page, facts.dns);
    page.family(families::DENIED);
    for (listener, outcome, count) in facts.denied {
        let labels = format!("listener=\"{listener}\",outcome=\"{outcome}\"");
        page.labelled(families::DENIED, &labels, *count);
    }
    page.single(families::LINES_DROPPED, facts.lines_dropped);
    page.single(families::ROWS, rows);
    page.family(families::BUILD);
    let version = format!("version=\"{}\"", escaped(facts.version));
    page.labelled(families::BUILD, &version, 1);
    page.single(families::STARTED_AT, seconds(facts.started.as_millis(), 3));
    if let Some(bytes) = facts.usage.resident_bytes {
        page.single(families::MEMORY, bytes);
    }
    if let Some(descriptors) = facts.usage.descriptors {
        page.single(families::DESCRIPTORS, descriptors);
    }
    if let Some(millis) = facts.usage.cpu_millis {
        page.single(families::CPU, seconds(millis, 3));
    }
}

/// What a number of a source is.
type SourceNumber = fn(&SourceFacts) -> u64;

fn sources(page: &mut Page<'_>, sources: &[SourceFacts]) {
    let families: [(Family, SourceNumber); 6] = [
        (families::SOURCE_STALE, |source| u64::from(source.is_stale)),
        (families::SOURCE_INSTANCES, |source| source.instances as u64),
        (families::SOURCE_CHANGES, |source| source.changes),
        (families::SOURCE_RESYNCS, |source| source.resyncs),
        (families::SOURCE_FAILURES, |source| source.failures),
        (families::SOURCE_UNFIT, |source| source.unfit),
    ];
    let labels = |source: &SourceFacts| format!("source=\"{}\"", escaped(&source.id));
    for (family, value) in families {
        page.family(family);
        for source in sources {
            page.labelled(family, &labels(source), value(source));
        }
    }
    page.family(families::SOURCE_CONFIRMED);
    for source in sources {
        if let Some(at) = source.confirmed_at {
            let at = seconds(at.as_millis(), 3);
            page.labelled(families::SOURCE_CONFIRMED, &labels(source), at);
        }
    }
}

/// The cells that counted something, each with what it stands for.
fn nonzero<'a, T: Copy>(names: &'a [T], cells: &'a [u64]) -> impl Iterator<Item = (T, u64)> + 'a {
    let cells = names.iter().copied().zip(cells.iter().copied());
    cells.filter(|(_, count)| *count > 0)
}

/// The exposition as it grows. Writing to a string can't fail.
pub(super) struct Page<'a>(&'a mut String);

impl Page<'_> {
    pub(super) fn family(&mut self, family: Family) {
        let Family {
            name, kind, help, ..
        } = family;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {}", kind.as_str()));
    }

    pub(super) fn single(&mut self, family: Family, value: impl Display) {
        self.family(family);
        self.line(format_args!("{} {value}", family.name));
    }

    pub(super) fn labelled(&mut self, family: Family, labels: &str, value: impl Display) {
        self.suffixed(family, &format!("{{{labels}}}"), value);
    }

    pub(super) fn suffixed(&mut self, family: Family, suffix: &str, value: impl Display) {
        self.line(format_args!("{}{suffix} {value}", family.name));
    }

    fn histogram(&mut self, family: Family, series: &Series, first: usize) {
        let Series { labels, totals } = series;
        let cells = &totals.0[first..first + histogram::CELLS];
        let count: u64 = cells[..histogram::SUM].iter().sum();
        if count == 0 {
            return;
        }
        let name = family.name;
        let mut below = 0;
        for ((_, bound), cell) in BOUNDS.iter().zip(cells) {
            below += cell;
            self.line(format_args!(
                "{name}_bucket{{{labels},le=\"{bound}\"}} {below}"
            ));
        }
        self.line(format_args!(
            "{name}_bucket{{{labels},le=\"+Inf\"}} {count}"
        ));
        let sum = seconds(cells[histogram::SUM], 6);
        self.line(format_args!("{name}_sum{{{labels}}} {sum}"));
        self.line(format_args!("{name}_count{{{labels}}} {count}"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let _infallible = writeln!(self.0, "{text}");
    }
}

fn service_labels(row: Row, service: Option<&ServiceKey>) -> String {
    match service {
        Some(key) => format!(
            "namespace=\"{}\",service=\"{}\"",
            escaped(key.namespace.as_str()),
            escaped(key.name.as_str())
        ),
        // No service has an empty namespace, so these names are free.
        None if row == Row::NONE => "namespace=\"\",service=\"none\"".to_owned(),
        None => "namespace=\"\",service=\"other\"".to_owned(),
    }
}

/// A label's value as it may stand between quotes.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

/// A count of 10^-`digits` seconds as a decimal number, without rounding.
fn seconds(parts: u64, digits: u32) -> String {
    let scale = 10_u64.pow(digits);
    let width = digits as usize;
    format!("{}.{:0width$}", parts / scale, parts % scale)
}

/// Two counters are read one after the other, so the later may be ahead.
fn difference(began: u64, ended: u64) -> u64 {
    began.saturating_sub(ended)
}
