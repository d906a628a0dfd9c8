//! What an update asks for, as changes of registrations. Pure.
//!
//! The records are applied one after the other, in memory, to what updates have registered;
//! the difference is what is done. So an update that can't be taken changes nothing.
//!
//! Source: RFC 2136, section 3.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name as DnsName, RData, Record, RecordData as _, RecordType},
};
use portolan_model::{InstanceId, ServiceKey, Weight};

use super::{
    place::Place,
    port::{RECORD_LABEL, Registered, Registrations, Shown},
    tsig::Key,
    work::{Work, text_of},
};

/// Types that are questions, not records (RFC 6895, section 3.1).
const QUESTIONS: std::ops::RangeInclusive<u16> = 128..=255;

/// What is known while an update is looked at.
pub(super) struct Known<'a> {
    pub(super) zone: &'a DnsName,
    pub(super) registrations: &'a dyn Registrations,
    pub(super) shown: &'a dyn Shown,
    /// Who asks.
    pub(super) key: &'a Key,
    /// The port of instances that are registered by an address alone.
    pub(super) port: NonZeroU16,
}

/// Why an update is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ResponseCode,
    pub(super) reason: &'static str,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) register: Vec<Registering>,
    pub(super) deregister: Vec<(ServiceKey, InstanceId)>,
}

/// An instance that is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registering {
    pub(super) service: ServiceKey,
    pub(super) instance: Registered,
    /// The update adds it, so that its lease is the update's. Others keep their own.
    pub(super) is_named: bool,
}

const fn refusal(code: ResponseCode, reason: &'static str) -> Refusal {
    Refusal { code, reason }
}

const fn malformed(reason: &'static str) -> Refusal {
    refusal(ResponseCode::FormErr, reason)
}

pub(super) const fn no_place(reason: &'static str) -> Refusal {
    refusal(ResponseCode::Refused, reason)
}

impl Known<'_> {
    /// Whether what the client takes for granted is so.
    ///
    /// # Errors
    /// [`Refusal`] with the code that says which is not.
    pub(super) fn check(&self, prerequisites: &[Record]) -> Result<(), Refusal> {
        let mut wanted: BTreeMap<(DnsName, RecordType), Vec<String>> = BTreeMap::new();
        for record in prerequisites {
            self.check_in_zone(&record.name)?;
            let kind = record.record_type();
            if record.ttl != 0 {
                return Err(malformed("a prerequisite has a lifetime"));
            }
            match record.dns_class {
                DNSClass::ANY | DNSClass::NONE if !record.data.is_update() => {
                    return Err(malformed("a prerequisite of its class has no data"));
                }
                DNSClass::ANY => self.check_there(&record.name, kind)?,
                DNSClass::NONE => self.check_absent(&record.name, kind)?,
                DNSClass::IN if !QUESTIONS.contains(&u16::from(kind)) => {
                    let name = record.name.to_lowercase();
                    let texts = wanted.entry((name, kind)).or_default();
                    texts.push(text_of(&record.data));
                }
                DNSClass::IN
                | DNSClass::CH
                | DNSClass::HS
                | DNSClass::OPT(_)
                | DNSClass::Unknown(_) => {
                    return Err(malformed("a prerequisite's class or type means nothing"));
                }
            }
        }
        for ((name, kind), mut texts) in wanted {
            texts.sort_unstable();
            texts.dedup();
            if !self.sets(&name, kind).contains(&texts) {
                let reason = "a prerequisite's records are not these";
                return Err(refusal(ResponseCode::NXRRSet, reason));
            }
        }
        Ok(())
    }

    fn check_there(&self, name: &DnsName, kind: RecordType) -> Result<(), Refusal> {
        if kind == RecordType::ANY {
            let reason = "a prerequisite's name does not exist";
            return self
                .has_name(name)
                .then_some(())
                .ok_or(refusal(ResponseCode::NXDomain, reason));
        }
        let reason = "a prerequisite's records do not exist";
        self.has_records(name, kind)
            .then_some(())
            .ok_or(refusal(ResponseCode::NXRRSet, reason))
    }

    fn check_absent(&self, name: &DnsName, kind: RecordType) -> Result<(), Refusal> {
        if kind == RecordType::ANY {
            let reason = "a prerequisite's name exists";
            return (!self.has_name(name))
                .then_some(())
                .ok_or(refusal(ResponseCode::YXDomain, reason));
        }
        let reason = "a prerequisite's records exist";
        (!self.has_records(name, kind))
            .then_some(())
            .ok_or(refusal(ResponseCode::YXRRSet, reason))
    }

    /// The changes that these records ask for.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of the update can be done.
    pub(super) fn plan(&self, updates: &[Record]) -> Result<Changes, Refusal> {
        for record in updates {
            self.check_in_zone(&record.name)?;
            check_form(record)?;
        }
        let mut services: BTreeMap<ServiceKey, Work> = BTreeMap::new();
        for record in updates {
            let place = Place::of(&record.name, self.zone);
            let Some(key) = place.service() else {
                if record.dns_class == DNSClass::IN {
                    return Err(no_place("the name can't be a service's"));
                }
                // There is nothing to delete.
                continue;
            };
            if !self.key.may_write(key) {
                return Err(no_place("the key may not write this service"));
            }
            let work = services
                .entry(key.clone())
                .or_insert_with(|| Work::new(self.registrations.registered(key)));
            match record.dns_class {
                DNSClass::IN => self.add((key, work), &place, record, updates)?,
                DNSClass::ANY => work.remove_all(&place, record.record_type()),
                DNSClass::NONE
                | DNSClass::CH
                | DNSClass::HS
                | DNSClass::OPT(_)
                | DNSClass::Unknown(_) => {
                    // Only NONE is well formed.
                    work.remove(&text_of(&record.data), &record.data);
                }
            }
        }
        let mut changes = Changes::default();
        for (key, work) in services {
            work.finish(&key, &mut changes)?;
        }
        Ok(changes)
    }

    fn add(
        &self,
        (key, work): (&ServiceKey, &mut Work),
        place: &Place,
        record: &Record,
        updates: &[Record],
    ) -> Result<(), Refusal> {
        match (&record.data, place) {
            (RData::A(_) | RData::AAAA(_), Place::Service(_)) => {
                let Some(ip) = record.data.ip_addr() else {
                    return Ok(());
                };
                let id = self.id_of(key, ip.to_string())?;
                let address = SocketAddr::new(ip, self.port.get());
                work.put(id, address, Weight::NORMAL, record);
                Ok(())
            }
            (RData::SRV(srv), Place::Service(_) | Place::Located(_)) => {
                if srv.port == 0 || srv.target.is_root() {
                    return Err(no_place(
                        "an SRV record without a port or a target registers nothing",
                    ));
                }
                let ip = self.address_of(&srv.target, updates).ok_or(no_place(
                    "an SRV record's target has no address, in the update or in our zones",
                ))?;
                let target = srv.target.to_lowercase().to_ascii();
                let id = format!("{}:{}", target.trim_end_matches('.'), srv.port);
                let id = self.id_of(key, id)?;
                // Zero is "hardly ever" beside others (RFC 2782), and not the usual share.
                let weight = Weight::new(srv.weight.max(1)).unwrap_or_default();
                work.put(id, SocketAddr::new(ip, srv.port), weight, record);
                Ok(())
            }
            (RData::TXT(txt), Place::Service(_) | Place::Located(_)) => {
                txt.txt_data.iter().try_for_each(|text| work.label(text))
            }
            _ => Err(no_place(
                "only A, AAAA, SRV and TXT records register, where they have a meaning",
            )),
        }
    }

    /// The id of an instance that may be registered: what others registered is left alone.
    fn id_of(&self, key: &ServiceKey, id: String) -> Result<InstanceId, Refusal> {
        let id = InstanceId::try_from(id)
            .map_err(|_| no_place("a target can't be an instance's name"))?;
        if self.registrations.is_others(key, &id) {
            return Err(no_place("the instance was registered by other ways"));
        }
        Ok(id)
    }

    fn address_of(&self, target: &DnsName, updates: &[Record]) -> Option<IpAddr> {
        let mut beside = updates
            .iter()
            .filter(|record| record.dns_class == DNSClass::IN && record.name == *target);
        let shown = || {
            let kinds = [RecordType::A, RecordType::AAAA];
            let mut found = kinds
                .into_iter()
                .filter_map(|kind| self.shown.records(target, kind));
            found.find_map(|records| records.iter().find_map(RData::ip_addr))
        };
        beside
            .find_map(|record| record.data.ip_addr())
            .or_else(shown)
    }

    fn check_in_zone(&self, name: &DnsName) -> Result<(), Refusal> {
        let reason = "a name is not in the zone";
        self.zone
            .zone_of(name)
            .then_some(())
            .ok_or(refusal(ResponseCode::NotZone, reason))
    }

    fn has_name(&self, name: &DnsName) -> bool {
        self.shown.records(name, RecordType::A).is_some() || !self.by_updates(name).is_empty()
    }

    fn has_records(&self, name: &DnsName, kind: RecordType) -> bool {
        self.sets(name, kind).iter().any(|set| !set.is_empty())
    }

    /// The records of a name: as updates registered them, and as they are answered.
    fn sets(&self, name: &DnsName, kind: RecordType) -> [Vec<String>; 2] {
        let start = format!("{kind} ");
        let by_updates = self.by_updates(name);
        let registered = by_updates
            .iter()
            .filter_map(|one| one.metadata.get(RECORD_LABEL));
        let registered = registered
            .filter(|text| text.starts_with(&start))
            .map(ToString::to_string);
        let shown = self.shown.records(name, kind).unwrap_or_default();
        let mut sets = [
            registered.collect::<Vec<_>>(),
            shown.iter().map(text_of).collect(),
        ];
        for set in &mut sets {
            set.sort_unstable();
            set.dedup();
        }
        sets
    }

    fn by_updates(&self, name: &DnsName) -> Vec<Registered> {
        let place = Place::of(name, self.zone);
        let key = place.service();
        key.map(|key| self.registrations.registered(key))
            .unwrap_or_default()
    }
}

/// The services that an update speaks of.
pub(super) fn services_of(zone: &DnsName, records: &[&[Record]]) -> BTreeSet<ServiceKey> {
    let records = records.iter().copied().flatten();
    records
        .filter_map(|record| Place::of(&record.name, zone).service().cloned())
        .collect()
}

/// What the form of a record must be (RFC 2136, section 3.4.1).
fn check_form(record: &Record) -> Result<(), Refusal> {
    let kind = record.record_type();
    let is_question = QUESTIONS.contains(&u16::from(kind));
    let is_sound = match record.dns_class {
        DNSClass::IN => !is_question && !record.data.is_update(),
        DNSClass::ANY => {
            let is_question = is_question && kind != RecordType::ANY;
            record.ttl == 0 && record.data.is_update() && !is_question
        }
        DNSClass::NONE => record.ttl == 0 && !is_question,
        DNSClass::CH | DNSClass::HS | DNSClass::OPT(_) | DNSClass::Unknown(_) => false,
    };
    is_sound.then_some(()).ok_or(malformed(
        "a record's class, type, lifetime or data don't fit together",
    ))
}
