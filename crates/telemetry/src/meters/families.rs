//! The one list of metrics: names, meanings, labels.
//!
//! `docs/reference/metrics.md` is generated from it, and the exposition can show
//! nothing that is not in it.

/// How a metric's values are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the process ends.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Buckets with a sum and a count.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: one name, many series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, ending in its unit.
    pub name: &'static str,
    /// How to read it.
    pub kind: Kind,
    /// The labels that tell its series apart; each has a bounded set of values.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $name:literal, $kind:ident, $labels:expr, $help:literal;)+) => {
        $(pub(super) const $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
        };)+

        /// Every metric, in the order of the exposition.
        #[must_use]
        pub const fn families() -> &'static [Family] {
            &[$($constant,)+]
        }
    };
}

const SERVICE: &[&str] = &["namespace", "service"];
const WORKER: &[&str] = &["worker"];
const SOURCE: &[&str] = &["source"];

families! {
    REQUESTS = "portolan_requests_total", Counter, &["namespace", "service", "class"],
        "Finished requests by class of status; class `none` sent no head.";
    FAULTS = "portolan_faults_total", Counter, &["namespace", "service", "cause"],
        "Finished requests in which something went wrong, by cause id.";
    DURATION = "portolan_request_duration_seconds", Histogram, SERVICE,
        "From a request's first byte to its answer's last.";
    FIRST_BYTE = "portolan_first_byte_seconds", Histogram, SERVICE,
        "From sending a request to an instance to the first byte of its answer.";
    RECEIVED = "portolan_received_bytes_total", Counter, SERVICE,
        "Bytes of request bodies.";
    SENT = "portolan_sent_bytes_total", Counter, SERVICE,
        "Bytes of answer bodies.";
    RETRIES = "portolan_retries_total", Counter, SERVICE,
        "Tries of a request after its first.";
    REFUSED = "portolan_connections_refused_total", Counter, &["cause"],
        "Connections that ended before they brought a request, by cause id.";
    ACCEPTED = "portolan_connections_accepted_total", Counter, WORKER,
        "Connections accepted from clients.";
    OPEN = "portolan_connections_open", Gauge, WORKER,
        "Connections of clients that are open.";
    STARTED = "portolan_requests_started_total", Counter, WORKER,
        "Requests that began.";
    ACTIVE = "portolan_requests_active", Gauge, WORKER,
        "Requests under way.";
    UPSTREAM_OPENED = "portolan_upstream_connections_opened_total", Counter, WORKER,
        "Connections opened to instances.";
    UPSTREAM_REUSED = "portolan_upstream_connections_reused_total", Counter, WORKER,
        "Requests sent over a kept connection.";
    UPSTREAM_OPEN = "portolan_upstream_connections_open", Gauge, WORKER,
        "Connections to instances that are open.";
    UPSTREAM_IDLE = "portolan_upstream_connections_idle", Gauge, WORKER,
        "Connections to instances that wait for a request.";
    PANICS = "portolan_panics_total", Counter, WORKER,
        "Requests that met a defect and were answered 500.";
    REVISION = "portolan_catalog_revision", Gauge, &[],
        "The catalogue's revision.";
    SERVICES = "portolan_catalog_services", Gauge, &[],
        "Services in the catalogue.";
    INSTANCES = "portolan_catalog_instances", Gauge, &[],
        "Instances in the catalogue.";
    STALE = "portolan_sources_stale", Gauge, &[],
        "Sources that no longer know; their last known instances are kept.";
    SOURCE_STALE = "portolan_source_stale", Gauge, SOURCE,
        "1 while a source no longer knows; its last known instances are kept.";
    SOURCE_INSTANCES = "portolan_source_instances", Gauge, SOURCE,
        "Instances that a source speaks of, those that are held included.";
    SOURCE_CHANGES = "portolan_source_changes_total", Counter, SOURCE,
        "Changes that a source said.";
    SOURCE_RESYNCS = "portolan_source_resyncs_total", Counter, SOURCE,
        "How often a source said everything anew.";
    SOURCE_FAILURES = "portolan_source_failures_total", Counter, SOURCE,
        "How often a source lost what it reads.";
    SOURCE_UNFIT = "portolan_source_unfit_instances", Gauge, SOURCE,
        "What a source reads but can't use; `portolan sources` says why.";
    SOURCE_CONFIRMED = "portolan_source_confirmed_timestamp_seconds", Gauge, SOURCE,
        "When what a source reads last confirmed what it says, in seconds since the Unix epoch.";
    STORED = "portolan_store_healthy", Gauge, &[],
        "1 while new registrations would survive a restart; 0 if the disk is full or broken.";
    LEDGER_KEYS = "portolan_ledger_keys", Gauge, &[],
        "Keys in the ledger, which Consul's `kv` shows.";
    LEDGER_SESSIONS = "portolan_ledger_sessions", Gauge, &[],
        "Sessions that hold locks or could.";
    LEDGER_OBJECTS = "portolan_ledger_objects", Gauge, &[],
        "Prepared queries, nodes registered by hand, checks of nodes and events in the ledger.";
    LEDGER_BYTES = "portolan_ledger_bytes", Gauge, &[],
        "Bytes of keys, values and objects in the ledger; at most 256 MiB are taken.";
    HELD = "portolan_guard_held_instances", Gauge, &["scope"],
        "Instances that the guard holds as suspects, by the scope of which too much would have gone.";
    VOUCHED = "portolan_guard_vouched_instances", Gauge, &[],
        "Instances of which their source does not speak and that stay because they are there.";
    DAMPED = "portolan_guard_damped_instances", Gauge, &[],
        "Instances whose traffic is reduced because they went down again and again.";
    WENT = "portolan_guard_removed_instances_total", Counter, &["reason"],
        "Instances that went by inference or out of a hold: `within_share`, `hold_over`, `found_dead`, `released`.";
    DNS_ANSWERS = "portolan_dns_answers_total", Counter, &["type", "code"],
        "Answers of the DNS server by the type that was asked for and the code of the answer.";
    DNS_DROPPED = "portolan_dns_dropped_total", Counter, &["reason"],
        "DNS queries without a full answer: `malformed` are no queries, `limited` are beyond the rate of their network, `slipped` the same but answered cut, `overload` found too much under way.";
    DNS_TRUNCATED = "portolan_dns_truncated_total", Counter, &[],
        "DNS answers that were cut, so that the client asks by TCP.";
    DNS_FORWARDED = "portolan_dns_forwarded_total", Counter, &["outcome"],
        "DNS queries for names of others: `remembered` from the cache, `asked` of recursors, `stale` beyond its time because no recursor answered, `failed`, `refused` to a client that may not ask.";
    DNS_REMEMBERED = "portolan_dns_remembered", Gauge, &[],
        "Questions to recursors whose answers are remembered.";
    DNS_RECURSORS = "portolan_dns_recursors", Gauge, &[],
        "Recursors that answer; the others are left alone for a while.";
    DNS_DURATION = "portolan_dns_duration_seconds", Histogram, &[],
        "From receiving a DNS query, or the batch that it came in, to its answer; with the time that others took where they answer.";
    DENIED = "portolan_control_denied_total", Counter, &["listener", "outcome"],
        "Calls to control listeners that were not let: `denied` by access control, `limited` by rate.";
    LINES_DROPPED = "portolan_access_lines_dropped_total", Counter, &[],
        "Lines of the access log that were dropped because its writer was behind or failed.";
    ROWS = "portolan_metric_services", Gauge, &[],
        "Services that have a row of their own here; those beyond the limit count as `other`.";
    BUILD = "portolan_build_info", Gauge, &["version"],
        "Always 1; the version is in the label.";
    STARTED_AT = "process_start_time_seconds", Gauge, &[],
        "When the process began, in seconds since the Unix epoch.";
    MEMORY = "process_resident_memory_bytes", Gauge, &[],
        "Memory of the process that is in RAM.";
    DESCRIPTORS = "process_open_fds", Gauge, &[],
        "Open file descriptors.";
    CPU = "process_cpu_seconds_total", Counter, &[],
        "Time that the process spent on processors.";
}
