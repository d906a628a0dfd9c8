//! What the front remembers beside the catalogue: whose id is whose, and nodes. Pure.
//!
//! Services and checks of nodes stand in the catalogue, each with its record; here is the
//! same record, found by the ids that clients use. What checks found is the prober's.
//!
//! Invariant: `checks` and `aliases` name the holders of the checks in `records`, and
//! nobody else.

mod nodes;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use portolan_dialects::consul::{CheckDefinition, CheckKind, Record, Refusal};
use portolan_registry::core::Subject;

use super::{
    clerk::subject,
    terms::{Holder, Key, Nodes, Touched},
};

/// How long the catalogue may still show what was deregistered.
const GONE: Duration = Duration::from_mins(1);
/// The check that says that a node is there.
pub(super) const ALIVE: &str = "serfHealth";

#[derive(Debug, Default)]
pub(super) struct Book {
    records: HashMap<Holder, Record>,
    /// How many of them are checks of nodes.
    node_checks: usize,
    /// What an instance is of.
    subjects: HashMap<Subject, Holder>,
    /// Who was deregistered lately, and until when the catalogue may still show it.
    gone: HashMap<Subject, u64>,
    /// What a check is of.
    checks: HashMap<Key, Holder>,
    /// Who has an alias for a service.
    aliases: HashMap<Key, HashSet<Holder>>,
    nodes: Arc<Nodes>,
    /// How often the ledger was told of a node or a check of one.
    facts_told: u64,
}

impl Book {
    /// What a service becomes that registers, and the record that its id had under another
    /// name.
    pub(super) fn merged(&self, record: Record, replaces: bool) -> (Record, Option<Record>) {
        let known = self.record(&Key::of(&record)).cloned();
        let (mut record, moved) = match known {
            Some(known) if known.service.name == record.service.name => {
                (record.after(known, replaces), None)
            }
            known => (record, known),
        };
        self.name_aliases(&mut record);
        (record, moved)
    }

    /// Takes in a record, in place of what it is of; gives who is different by that.
    pub(super) fn adopt(&mut self, record: Record) -> Vec<Touched> {
        let holder = Holder::of(&record);
        let _before = self.remove(&holder);
        let mut touched = Vec::new();
        for check in &record.checks {
            let key = Key::new(record.node.as_deref(), &check.id);
            // An id is unique on a node: whoever had it loses the check.
            touched.extend(self.take_check(&key));
            self.checks.insert(key, holder.clone());
            if let Some(target) = target(&record, check) {
                self.aliases
                    .entry(target)
                    .or_default()
                    .insert(holder.clone());
            }
        }
        if let Ok(subject) = subject(&record) {
            self.gone.remove(&subject);
            self.subjects.insert(subject, holder.clone());
        }
        self.node_checks += usize::from(record.is_node());
        let key = Key::of(&record);
        if record.checks.iter().any(CheckDefinition::is_of_own_node) {
            touched.extend(self.ensure_alive());
        }
        self.records.insert(holder.clone(), record);
        if matches!(holder, Holder::Service(_)) {
            touched.extend(self.tell_aliases(&key));
        }
        touched
    }

    /// Whether the catalogue's instance is here, or is on its way out.
    pub(super) fn knows(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject) || self.gone.contains_key(subject)
    }

    /// Forgets who was deregistered long enough ago.
    pub(super) fn forget(&mut self, now: u64) {
        self.gone.retain(|_, until| *until > now);
    }

    pub(super) fn holder(&self, subject: &Subject) -> Option<&Holder> {
        self.subjects.get(subject)
    }

    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.subjects.keys().cloned().collect()
    }

    /// A service, or a check of a node, leaves.
    pub(super) fn deregister(&mut self, now: u64, holder: &Holder) -> Option<Record> {
        let record = self.remove(holder)?;
        if let Ok(subject) = subject(&record) {
            self.gone.insert(subject, now.saturating_add(millis(GONE)));
        }
        Some(record)
    }

    /// It is no longer in the catalogue.
    pub(super) fn remove(&mut self, holder: &Holder) -> Option<Record> {
        let record = self.records.remove(holder)?;
        for check in &record.checks {
            let key = Key::new(record.node.as_deref(), &check.id);
            if self.checks.get(&key) == Some(holder) {
                self.checks.remove(&key);
            }
            if let Some(target) = target(&record, check)
                && let Some(holders) = self.aliases.get_mut(&target)
            {
                holders.remove(holder);
                if holders.is_empty() {
                    self.aliases.remove(&target);
                }
            }
        }
        if let Ok(subject) = subject(&record) {
            self.subjects.remove(&subject);
        }
        self.node_checks -= usize::from(record.is_node());
        Some(record)
    }

    /// A service's record.
    pub(super) fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(&Holder::Service(key.clone()))
    }

    /// A check of a node.
    pub(super) fn node_check(&self, key: &Key) -> Option<&Record> {
        self.records.get(&Holder::NodeCheck(key.clone()))
    }

    /// The services' records.
    pub(super) fn services(&self) -> impl Iterator<Item = &Record> {
        let records = self.records.values();
        records.filter(|record| !record.is_node())
    }

    /// A check and what it is of.
    pub(super) fn check(&self, key: &Key) -> Option<(&Record, &CheckDefinition)> {
        let record = self.records.get(self.checks.get(key)?)?;
        Some((record, record.check(&key.id)?))
    }

    /// The service that a check is of; none of a check of a node.
    pub(super) fn service_of(&self, check: &Key) -> Option<&Key> {
        match self.checks.get(check)? {
            Holder::Service(key) => Some(key),
            Holder::NodeCheck(_) => None,
        }
    }

    pub(super) fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes)
    }

    /// A check is registered: with the service that it names, or with its node.
    pub(super) fn add_check(
        &mut self,
        node: Option<&str>,
        definition: CheckDefinition,
    ) -> Result<Vec<Touched>, Refusal> {
        if definition.service_id.is_empty() {
            return self.add_node_check(node, definition);
        }
        let service = Key::new(node, &definition.service_id);
        let mut record = self.record(&service).cloned().ok_or_else(|| {
            let id = &definition.service_id;
            Refusal::missing(format!("ServiceID {id:?} does not exist"))
        })?;
        record.put_check(definition);
        self.name_aliases(&mut record);
        record.probes()?;
        let mut touched = self.adopt(record);
        touched.push(Touched::Checks(service));
        Ok(touched)
    }

    pub(super) fn remove_check(&mut self, now: u64, check: &Key) -> Option<Vec<Touched>> {
        let touched = self.take_check(check)?;
        if let Touched::Gone(record) = &touched
            && let Ok(subject) = subject(record)
        {
            self.gone.insert(subject, now.saturating_add(millis(GONE)));
        }
        Some(vec![touched])
    }

    /// Takes a check away from whatever it is of.
    fn take_check(&mut self, check: &Key) -> Option<Touched> {
        match self.checks.get(check)?.clone() {
            Holder::Service(key) => {
                let holder = Holder::Service(key.clone());
                let mut record = self.remove(&holder)?;
                record.checks.retain(|known| known.id != check.id);
                let _touched = self.adopt(record);
                Some(Touched::Checks(key))
            }
            holder @ Holder::NodeCheck(_) => {
                let record = self.remove(&holder)?;
                Some(Touched::Gone(Box::new(record)))
            }
        }
    }

    /// Says which services aliases are for, as far as that is known.
    fn name_aliases(&self, record: &mut Record) {
        let targets: Vec<_> = record
            .checks
            .iter()
            .map(|check| {
                let known = self.record(&target(record, check)?)?;
                Some(known.service.name.clone())
            })
            .collect();
        for (check, found) in record.checks.iter_mut().zip(targets) {
            if let (CheckKind::Alias { name, .. }, Some(found)) = (&mut check.kind, found) {
                *name = found;
            }
        }
    }

    /// A service has registered: whoever has an alias for its id may learn its name.
    fn tell_aliases(&mut self, key: &Key) -> Vec<Touched> {
        let holders: Vec<_> = self
            .aliases
            .get(key)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let mut touched = Vec::new();
        for holder in holders {
            let Some(mut record) = self.records.get(&holder).cloned() else {
                continue;
            };
            self.name_aliases(&mut record);
            if self.records.get(&holder) != Some(&record) {
                self.records.insert(holder.clone(), record);
                touched.push(match holder {
                    Holder::Service(key) => Touched::Checks(key),
                    Holder::NodeCheck(key) => Touched::NodeCheck(key),
                });
            }
        }
        touched
    }
}

/// The service that a check looks at, if it is an alias for one.
fn target(record: &Record, check: &CheckDefinition) -> Option<Key> {
    match &check.kind {
        CheckKind::Alias { node, service, .. } if !service.is_empty() => {
            let named = Some(node.as_str()).filter(|node| !node.is_empty());
            Some(Key::new(named.or(record.node.as_deref()), service))
        }
        CheckKind::Alias { .. }
        | CheckKind::Ttl(_)
        | CheckKind::Http { .. }
        | CheckKind::Tcp { .. }
        | CheckKind::Udp(_)
        | CheckKind::Grpc { .. }
        | CheckKind::H2Ping { .. }
        | CheckKind::Script(_)
        | CheckKind::Docker { .. }
        | CheckKind::OsService(_)
        | CheckKind::External => None,
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use portolan_dialects::consul::ServiceDefinition;

    use super::*;

    fn record(body: &str) -> Record {
        let service = ServiceDefinition::read(body.as_bytes()).unwrap();
        Record::new(service, None, std::net::Ipv4Addr::LOCALHOST.into())
    }

    fn check(body: &str) -> CheckDefinition {
        CheckDefinition::read(body.as_bytes()).unwrap()
    }

    fn own(id: &str) -> Key {
        Key::new(None, id)
    }

    fn register(book: &mut Book, body: &str) -> Option<Record> {
        let (record, moved) = book.merged(record(body), false);
        book.adopt(record);
        moved
    }

    const WEB: &str = r#"{"Name": "web", "Check": {"TTL": "1s"}}"#;

    #[test]
    fn an_id_that_registers_under_another_name_moves() {
        let mut book = Book::default();
        assert_eq!(register(&mut book, WEB), None);
        assert_eq!(register(&mut book, WEB), None);
        let moved = register(&mut book, r#"{"Name": "shop", "ID": "web"}"#).unwrap();
        assert_eq!(moved.service.name, "web");
        assert_eq!(
            book.check(&own("service:web")),
            None,
            "its check went with it"
        );
    }

    #[test]
    fn checks_belong_to_their_service_or_to_the_node() {
        let mut book = Book::default();
        let of_web = || check(r#"{"Name": "c", "TTL": "1s", "ServiceID": "web"}"#);
        let refusal = book.add_check(None, of_web()).unwrap_err();
        assert_eq!(refusal.text, "ServiceID \"web\" does not exist");
        register(&mut book, WEB);
        let added = book.add_check(None, of_web()).unwrap();
        assert_eq!(added, [Touched::Checks(own("web"))]);
        let alone = check(r#"{"Name": "d", "TTL": "1s"}"#);
        let added = book.add_check(None, alone.clone()).unwrap();
        assert_eq!(added, [Touched::NodeCheck(own("d"))]);
        assert_eq!(book.check(&own("d")).unwrap().1, &alone);
        let gone = book.remove_check(0, &own("d")).unwrap();
        assert_eq!(
            gone,
            [Touched::Gone(Box::new(Record::of_node(None, alone)))]
        );
        assert!(book.remove_check(0, &own("c")).is_some());
        assert_eq!(book.remove_check(0, &own("c")), None);
        assert_eq!(book.record(&own("web")).unwrap().checks.len(), 1);
    }

    #[test]
    fn an_id_of_a_check_is_of_one_thing_only() {
        let mut book = Book::default();
        register(&mut book, WEB);
        register(&mut book, r#"{"Name": "shop"}"#);
        let stolen = r#"{"Name": "service:web", "TTL": "1s", "ServiceID": "shop"}"#;
        let touched = book.add_check(None, check(stolen)).unwrap();
        let both = [Touched::Checks(own("web")), Touched::Checks(own("shop"))];
        assert_eq!(touched, both);
        assert_eq!(book.record(&own("web")).unwrap().checks, []);
    }

    #[test]
    fn a_check_that_can_t_be_run_changes_nothing() {
        let mut book = Book::default();
        register(&mut book, r#"{"Name": "web"}"#);
        let bad = r#"{"Name": "c", "TCP": "nowhere", "Interval": "1s", "ServiceID": "web"}"#;
        assert_eq!(book.add_check(None, check(bad)).unwrap_err().status, 400);
        assert_eq!(book.record(&own("web")).unwrap().checks, []);
    }

    #[test]
    fn an_alias_learns_the_name_of_whom_it_is_for() {
        let mut book = Book::default();
        let alias = r#"{"Name": "side", "Check": {"AliasService": "web-1"}}"#;
        register(&mut book, alias);
        let name = |book: &Book| {
            let kind = &book.record(&own("side")).unwrap().checks[0].kind;
            let CheckKind::Alias { name, .. } = kind else {
                panic!("{kind:?}");
            };
            name.clone()
        };
        assert_eq!(name(&book), "");
        let touched = book.adopt(record(r#"{"Name": "web", "ID": "web-1"}"#));
        assert_eq!(touched, [Touched::Checks(own("side"))]);
        assert_eq!(name(&book), "web");
        register(&mut book, alias);
        assert_eq!(name(&book), "web", "it registered again");
    }
}
