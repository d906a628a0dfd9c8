//! Answers as addresses, addresses as instances. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_model::{
    BadName, Instance, InstanceId, Name, NamedPort, ServiceKey, SourceId, State, Weight,
    route::HostPort,
};

use super::settings::{Family, Limits};

/// Most addresses of one host; the lowest count.
pub(super) const ADDRESSES_MAX: usize = 256;
/// How soon a name without addresses is asked for again if nobody says when.
const NOTHING_TTL: Duration = Duration::from_secs(5);
/// A name without addresses is asked for again no later than this.
const NOTHING_TTL_MAX: Duration = Duration::from_secs(30);
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
            (Some(_), _) => self.pause(limits),
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
            failure,
        };
        (report, pause)
    }

    /// Twice as long after every failure.
    fn pause(&self, limits: Limits) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        limits
            .min_ttl
            .saturating_mul(factor)
            .min(PAUSE_MAX.max(limits.min_ttl))
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
        hosts: impl IntoIterator<Item = (&'a HostPort, &'a Option<Report>)>,
    ) -> Self {
        let mut view = Self::default();
        for (host, report) in hosts {
            let Some(report) = report else {
                continue;
            };
            if let Some(reason) = &report.failure {
                view.failures.push(format!("{}: {reason}", host.host));
            }
            if let Err(bad) = view.add(source, host, &report.addresses) {
                view.failures.push(format!("{}: {bad}", host.host));
            }
        }
        view
    }

    fn add(
        &mut self,
        source: &SourceId,
        host: &HostPort,
        addresses: &[IpAddr],
    ) -> Result<(), BadName> {
        let key = host.service_key()?;
        for ip in addresses {
            let address = SocketAddr::new(*ip, host.port);
            let id = InstanceId::parse(&address.to_string())?;
            let name = Name::parse("default")?;
            let instance = Instance {
                key: key.clone(),
                id: id.clone(),
                endpoints: vec![NamedPort { name, address }],
                zone: None,
                version: None,
                weight: Weight::NORMAL,
                tags: Vec::new(),
                metadata: BTreeMap::new(),
                source: source.clone(),
                state: State::default(),
            };
            self.instances.insert((key.clone(), id), Arc::new(instance));
        }
        self.services.push(key);
        Ok(())
    }
}
