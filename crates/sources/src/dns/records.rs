//! Records of a service (RFC 2782), and the hosts that they name. Pure.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use portolan_model::Weight;

use super::{
    map::{ADDRESSES_MAX, Answer, Known, NOTHING_TTL, NOTHING_TTL_MAX, Place, Report, pause_after},
    settings::{Family, Limits},
};

/// Hosts that the records of one service may name; the first count.
pub(super) const TARGETS_MAX: usize = 64;

/// One record of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceRecord {
    /// In lower case, without a dot at its end.
    pub(super) host: String,
    pub(super) port: u16,
    /// Lower ones come first.
    pub(super) priority: u16,
    pub(super) weight: u16,
}

/// What came of the question for records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RecordsAnswer {
    /// These, for so long.
    Records(Vec<ServiceRecord>, Duration),
    /// There are none; for so long, if that was said.
    Nothing(Option<Duration>),
    /// Nobody knows, and why.
    Failed(String),
}

/// What is known about a service.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownRecords {
    records: Vec<ServiceRecord>,
    hosts: BTreeMap<String, Host>,
    answered: bool,
    failures: u32,
}

/// What is known about a host that a record names.
#[derive(Clone, Debug, Default)]
struct Host {
    known: Known,
    report: Report,
}

impl KnownRecords {
    /// Takes in the records. Gives why they are not known, and when to ask again.
    pub(super) fn take(
        &mut self,
        answer: RecordsAnswer,
        limits: Limits,
    ) -> (Option<String>, Duration) {
        let (failure, pause) = match answer {
            RecordsAnswer::Records(records, ttl) => {
                self.records = records;
                (None, ttl)
            }
            RecordsAnswer::Nothing(ttl) => {
                self.records.clear();
                (None, ttl.unwrap_or(NOTHING_TTL).min(NOTHING_TTL_MAX))
            }
            RecordsAnswer::Failed(reason) => (Some(reason), Duration::ZERO),
        };
        let pause = if failure.is_some() {
            pause_after(self.failures, limits)
        } else {
            pause.clamp(limits.min_ttl, limits.max_ttl)
        };
        self.failures = if failure.is_some() {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.answered |= failure.is_none();
        let names = self.targets();
        self.hosts.retain(|name, _| names.contains(name));
        (failure, pause)
    }

    /// The hosts that the records name.
    pub(super) fn targets(&self) -> Vec<String> {
        let mut targets: Vec<String> = Vec::new();
        for record in &self.records {
            if !targets.contains(&record.host) && targets.len() < TARGETS_MAX {
                targets.push(record.host.clone());
            }
        }
        targets
    }

    /// Takes in the addresses of a host. Gives when to ask for them again.
    pub(super) fn take_host(
        &mut self,
        name: &str,
        answers: (Answer, Answer),
        (family, limits): (Family, Limits),
    ) -> Duration {
        let host = self.hosts.entry(name.to_owned()).or_default();
        let (report, pause) = host.known.take(answers, family, limits);
        host.report = report;
        pause
    }

    /// Where the service is: the places of the first priority that has any.
    pub(super) fn report(&self, failure: Option<String>) -> Report {
        let failed = |name: &String| {
            let reason = self.hosts.get(name)?.report.failure.as_ref()?;
            Some(format!("{name}: {reason}"))
        };
        let failure = failure.or_else(|| self.targets().iter().find_map(failed));
        let mut priorities: Vec<_> = self.records.iter().map(|record| record.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let mut places = priorities.into_iter().map(|priority| self.places(priority));
        Report {
            addresses: Vec::new(),
            places: places.find(|places| !places.is_empty()).unwrap_or_default(),
            failure,
            answered: self.answered,
        }
    }

    fn places(&self, priority: u16) -> Vec<Place> {
        let records = self
            .records
            .iter()
            .filter(|record| record.priority == priority);
        // Weights count only beside others: where nobody has one, all are alike.
        let weighted = records.clone().any(|record| record.weight > 0);
        let mut places = BTreeMap::new();
        for record in records {
            let addresses = self
                .hosts
                .get(&record.host)
                .into_iter()
                .flat_map(|host| &host.report.addresses);
            for ip in addresses {
                let place = Place {
                    address: SocketAddr::new(*ip, record.port),
                    weight: if weighted {
                        Weight::new(record.weight.max(1)).unwrap_or_default()
                    } else {
                        Weight::NORMAL
                    },
                    host: record.host.clone(),
                    priority,
                };
                places.entry(place.address).or_insert(place);
            }
        }
        places
            .into_values()
            .filter(|place| place.address.port() > 0)
            .take(ADDRESSES_MAX)
            .collect()
    }
}
