//! Answers as addresses, addresses as instances. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_model::{
    BadName, Instance, InstanceId, Name, NamedPort, ServiceKey, SourceId, State, Weight,
};

use super::settings::{Family, Limits, Target};

/// Most addresses of one host; the lowest count.
pub(super) const ADDRESSES_MAX: usize = 256;
/// How soon a name without addresses is asked for again if nobody says when.
pub(super) const NOTHING_TTL: Duration = Duration::from_secs(5);
/// A name without addresses is asked for again no later than this.
pub(super) const NOTHING_TTL_MAX: Duration = Duration::from_secs(30);
/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These, for so long.
    Addresses(Vec<IpAddr>, Duration),
    /// The name does not exist, or has no such addresses; for so long, if that was said.
    Nothing(Option<Duration>),
    /// Nobody knows, and why.
    Failed(String),
}

/// What is known about a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    ipv4: BTreeSet<IpAddr>,
    ipv6: BTreeSet<IpAddr>,
    answered: bool,
    failures: u32,
}

/// What a host has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) addresses: Vec<IpAddr>,
    /// Where a service's records lead, in place of addresses.
    pub(super) places: Vec<Place>,
    /// Why it is not known any better.
    pub(super) failure: Option<String>,
    /// There was an answer, now or before.
    pub(super) answered: bool,
}

impl Known {
    /// Takes in the answers for both families. Gives the report and when to ask again.
    pub(super) fn take(
        &mut self,
        (ipv4, ipv6): (Answer, Answer),
        family: Family,
        limits: Limits,
    ) -> (Report, Duration) {
        let (mut ttl, mut nothing_ttl, mut failure) = (None::<Duration>, None, None);
        for (answer, known) in [(ipv4, &mut self.ipv4), (ipv6, &mut self.ipv6)] {
            match answer {
                Answer::Addresses(addresses, span) => {
                    *known = addresses.into_iter().collect();
                    ttl = Some(ttl.map_or(span, |ttl| ttl.min(span)));
                }
                Answer::Nothing(span) => {
                    known.clear();
                    nothing_ttl = nothing_ttl.or(span);
                }
                Answer::Failed(reason) => failure = failure.or(Some(reason)),
            }
        }
        // One family's addresses are an answer, whatever became of the other.
        let failure = failure.filter(|_| ttl.is_none());
        let pause = match (&failure, ttl) {
            (Some(_), _) => pause_after(self.failures, limits),
            (None, Some(ttl)) => ttl.clamp(limits.min_ttl, limits.max_ttl),
            (None, None) => {
                let ttl = nothing_ttl.unwrap_or(NOTHING_TTL).min(NOTHING_TTL_MAX);
                ttl.clamp(limits.min_ttl, limits.max_ttl)
            }
        };
        self.failures = if failure.is_some() {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.answered |= failure.is_none();
        let report = Report {
            addresses: self.addresses(family),
            answered: self.answered,
            places: Vec::new(),
            failure,
        };
        (report, pause)
    }

    fn addresses(&self, family: Family) -> Vec<IpAddr> {
        let (ipv4, ipv6) = (self.ipv4.iter(), self.ipv6.iter());
        let addresses: Vec<_> = match family {
            Family::Ipv4 => ipv4.copied().collect(),
            Family::PreferIpv4 if !self.ipv4.is_empty() => ipv4.copied().collect(),
            Family::Ipv6 | Family::PreferIpv4 => ipv6.copied().collect(),
            Family::Both => ipv4.chain(ipv6).copied().collect(),
        };
        addresses.into_iter().take(ADDRESSES_MAX).collect()
    }
}

/// Twice as long after every failure.
pub(super) fn pause_after(failures: u32, limits: Limits) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    let pause = limits.min_ttl.saturating_mul(factor);
    pause.min(PAUSE_MAX.max(limits.min_ttl))
}

/// Where a record of a service leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) weight: Weight,
    /// The host that the record names.
    pub(super) host: String,
    pub(super) priority: u16,
}

/// What all hosts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) services: Vec<ServiceKey>,
    pub(super) instances: BTreeMap<(ServiceKey, InstanceId), Arc<Instance>>,
    /// Why it is not known any better, each with its host.
    pub(super) failures: Vec<String>,
}

impl View {
    /// What the hosts that were tried say.
    pub(super) fn of<'a>(
        source: &SourceId,
        hosts: impl IntoIterator<Item = (&'a Target, &'a Option<Report>)>,
    ) -> Self {
        let mut view = Self::default();
        for (target, report) in hosts {
            let Some(report) = report else {
                continue;
            };
            if let Some(reason) = &report.failure {
                view.failures.push(format!("{}: {reason}", target.name()));
            }
            if let Err(bad) = view.add(source, target, report) {
                view.failures.push(format!("{}: {bad}", target.name()));
            }
        }
        view
    }

    fn add(&mut self, source: &SourceId, target: &Target, report: &Report) -> Result<(), BadName> {
        let key = target.service_key()?;
        if let Target::Host(host) = target {
            for ip in &report.addresses {
                let address = SocketAddr::new(*ip, host.port);
                let instance = instance(source, &key, address)?;
                self.put(instance);
            }
        }
        for place in &report.places {
            let mut instance = instance(source, &key, place.address)?;
            instance.weight = place.weight;
            let priority = place.priority.to_string();
            let metadata = [("host", place.host.as_str()), ("priority", &priority)];
            instance.metadata = metadata
                .map(|(name, value)| (name.into(), value.into()))
                .into();
            self.put(instance);
        }
        self.services.push(key);
        Ok(())
    }

    fn put(&mut self, instance: Instance) {
        let place = (instance.key.clone(), instance.id.clone());
        self.instances.insert(place, Arc::new(instance));
    }
}

fn instance(source: &SourceId, key: &ServiceKey, address: SocketAddr) -> Result<Instance, BadName> {
    let name = Name::parse("default")?;
    Ok(Instance {
        key: key.clone(),
        id: InstanceId::parse(&address.to_string())?,
        endpoints: Box::new([NamedPort { name, address }]),
        zone: None,
        version: None,
        weight: Weight::NORMAL,
        tags: Box::default(),
        metadata: BTreeMap::new(),
        source: source.clone(),
        state: State::default(),
    })
}
