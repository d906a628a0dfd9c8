//! A service that an update speaks of: what updates have registered, before and after. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use hickory_proto::rr::{RData, Record, RecordType};
use portolan_model::{InstanceId, Metadata, ServiceKey, Weight};

use super::{
    place::Place,
    plan::{Changes, Refusal, Registering, no_place},
    port::{RECORD_LABEL, Registered, TEXT_LABEL},
};

type Instances = BTreeMap<InstanceId, Registered>;
type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// A service that an update speaks of.
pub(super) struct Work {
    before: Instances,
    after: Instances,
    /// Those that the update adds, be they there already: it renews their leases.
    named: BTreeSet<InstanceId>,
    /// Labels of all of its instances.
    texts: Texts,
}

impl Work {
    /// A service of which updates have registered these.
    pub(super) fn new(found: Vec<Registered>) -> Self {
        let found = found.into_iter();
        let before: Instances = found.map(|one| (one.id.clone(), one)).collect();
        let texts = before.values().next().map(texts_of).unwrap_or_default();
        Self {
            after: before.clone(),
            before,
            named: BTreeSet::new(),
            texts,
        }
    }

    /// Labels all of its instances.
    pub(super) fn label(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let (key, value) = label_of(text)?;
        self.texts.insert(key, value);
        Ok(())
    }

    pub(super) fn put(
        &mut self,
        id: InstanceId,
        address: SocketAddr,
        weight: Weight,
        record: &Record,
    ) {
        let mut metadata = Metadata::new();
        metadata.insert(RECORD_LABEL.into(), text_of(&record.data).into());
        let registered = Registered {
            id: id.clone(),
            address,
            weight,
            metadata,
        };
        self.named.insert(id.clone());
        self.after.insert(id, registered);
    }

    pub(super) fn remove_all(&mut self, place: &Place, kind: RecordType) {
        let is_located = matches!(place, Place::Located(_));
        let kinds = match (kind, is_located) {
            (RecordType::ANY, true) => vec![RecordType::SRV],
            (RecordType::ANY, false) => vec![RecordType::SRV, RecordType::A, RecordType::AAAA],
            (kind, _) => vec![kind],
        };
        if kind == RecordType::TXT || kind == RecordType::ANY && !is_located {
            self.texts.clear();
        }
        let goes = |one: &Registered| {
            let record = one.metadata.get(RECORD_LABEL).map_or("", |text| text);
            kinds.iter().any(|kind| {
                record
                    .split_once(' ')
                    .is_some_and(|(first, _)| first == kind.to_string())
            })
        };
        self.after.retain(|_, one| !goes(one));
    }

    pub(super) fn remove(&mut self, text: &str, data: &RData) {
        if let RData::TXT(txt) = data {
            for (key, value) in txt.txt_data.iter().filter_map(|text| label_of(text).ok()) {
                if self.texts.get(&key) == Some(&value) {
                    self.texts.remove(&key);
                }
            }
        }
        self.after.retain(|_, one| {
            one.metadata
                .get(RECORD_LABEL)
                .is_none_or(|record| **record != *text)
        });
    }

    /// Says what is to be done: nothing to instances that stay as they are.
    pub(super) fn finish(mut self, key: &ServiceKey, changes: &mut Changes) -> Result<(), Refusal> {
        if self.after.is_empty() && !self.texts.is_empty() && self.before.is_empty() {
            return Err(no_place("a TXT record labels instances, and there is none"));
        }
        let names: Vec<&str> = self.texts.keys().map(|key| &**key).collect();
        let names: Arc<str> = names.join(" ").into();
        for one in self.after.values_mut() {
            let kept = texts_of(one).into_keys().chain([TEXT_LABEL.into()]);
            for key in kept {
                one.metadata.remove(&key);
            }
            if !names.is_empty() {
                one.metadata.insert(TEXT_LABEL.into(), Arc::clone(&names));
                one.metadata.extend(self.texts.clone());
            }
        }
        let gone = self
            .before
            .keys()
            .filter(|id| !self.after.contains_key(*id));
        changes
            .deregister
            .extend(gone.map(|id| (key.clone(), id.clone())));
        let (known, adds) = (&self.before, &self.named);
        let register = self.after.into_values().filter_map(|instance| {
            let is_named = adds.contains(&instance.id);
            let is_changed = known.get(&instance.id) != Some(&instance);
            (is_named || is_changed).then(|| Registering {
                service: key.clone(),
                instance,
                is_named,
            })
        });
        changes.register.extend(register);
        Ok(())
    }
}

/// Labels that came by TXT records.
fn texts_of(one: &Registered) -> Texts {
    let names = one.metadata.get(TEXT_LABEL).map_or("", |names| names);
    let pairs = names
        .split(' ')
        .filter_map(|name| one.metadata.get_key_value(name));
    pairs
        .map(|(key, value)| (Arc::clone(key), Arc::clone(value)))
        .collect()
}

/// A text as a label (RFC 6763, section 6.4).
fn label_of(text: &[u8]) -> Result<(Arc<str>, Arc<str>), Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| no_place("a TXT record is not UTF-8"))?;
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || key.starts_with("dns/") {
        return Err(no_place(
            "a TXT record's label is not `key=value` with a plain key",
        ));
    }
    Ok((key.into(), value.into()))
}

/// A record as text, its names folded.
pub(super) fn text_of(data: &RData) -> String {
    let kind = data.record_type();
    if let RData::SRV(srv) = data {
        let target = srv.target.to_lowercase();
        return format!(
            "{kind} {} {} {} {target}",
            srv.priority, srv.weight, srv.port
        );
    }
    format!("{kind} {data}")
}
