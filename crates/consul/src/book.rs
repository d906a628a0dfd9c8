//! What the front remembers beside the catalogue: the checks that wait to be told, and
//! nodes. Pure.
//!
//! Services stand in the catalogue, each with its record; here is the same record with
//! what was heard since it was told. A check that is not heard within its TTL becomes
//! critical; the service itself stays, as Consul has it, until somebody deregisters it or
//! a check has been critical for as long as it allows.
//!
//! Invariant: every alarm stands once in `due` and once in `alarms`, at the same time.

mod nodes;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use portolan_dialects::consul::{CheckDefinition, CheckKind, Held, Record, Refusal};
use portolan_model::Health;

use super::{
    clerk::subject,
    terms::{Fact, Key, Nodes, Touched},
};
use portolan_registry::core::Subject;

/// How long the catalogue may still show what was deregistered.
const GONE: Duration = Duration::from_mins(1);
/// How long an output that changed alone may wait to be told: heartbeats with a clock in
/// their note must not wake every watcher.
const OUTPUT_REST: Duration = Duration::from_mins(5);

/// What an alarm is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Alarm {
    /// A check should have been told.
    Silent(Key),
    /// A check has been critical for long enough.
    Hopeless(Key),
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// When its record was told last, in uptime.
    told: u64,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    services: HashMap<Key, Entry>,
    /// Which service an instance is.
    subjects: HashMap<Subject, Key>,
    /// Who was deregistered lately, and until when the catalogue may still show it.
    gone: HashMap<Subject, u64>,
    /// Which service a check is of.
    checks: HashMap<Key, Key>,
    nodes: Arc<Nodes>,
    /// How often the ledger was told of a node or a check of one.
    facts_told: u64,
    alarms: HashMap<Alarm, u64>,
    due: BTreeSet<(u64, Alarm)>,
}

impl Book {
    /// A service registers. Gives the record that this id had under another name.
    pub(super) fn register(&mut self, now: u64, record: Record, replaces: bool) -> Option<Record> {
        let key = Key::of(&record);
        let before = self.remove(&key);
        let (record, moved) = match before {
            Some(before) if before.service.name == record.service.name => {
                (record.after(before, replaces), None)
            }
            before => (record, before),
        };
        self.adopt(now, record);
        moved
    }

    /// Takes in a record that the catalogue has. Its checks get their whole time.
    pub(super) fn adopt(&mut self, now: u64, record: Record) {
        let key = Key::of(&record);
        for held in &record.checks {
            let check = Key::new(key.node.as_deref(), &held.definition.id);
            self.checks.insert(check.clone(), key.clone());
            self.arm(now, &check, held);
        }
        if let Ok(subject) = subject(&record) {
            self.gone.remove(&subject);
            self.subjects.insert(subject, key.clone());
        }
        self.services.insert(key, Entry { record, told: now });
    }

    /// Whether the catalogue's instance is here, or is on its way out.
    pub(super) fn knows(&self, subject: &Subject) -> bool {
        self.subjects.contains_key(subject) || self.gone.contains_key(subject)
    }

    /// Forgets who was deregistered long enough ago.
    pub(super) fn forget(&mut self, now: u64) {
        self.gone.retain(|_, until| *until > now);
    }

    pub(super) fn key(&self, subject: &Subject) -> Option<&Key> {
        self.subjects.get(subject)
    }

    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.subjects.keys().cloned().collect()
    }

    /// A service leaves.
    pub(super) fn deregister(&mut self, now: u64, key: &Key) -> Option<Record> {
        let record = self.remove(key)?;
        if let Ok(subject) = subject(&record) {
            self.gone.insert(subject, now.saturating_add(millis(GONE)));
        }
        Some(record)
    }

    /// A service is no longer in the catalogue.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Record> {
        let entry = self.services.remove(key)?;
        for held in &entry.record.checks {
            let check = Key::new(key.node.as_deref(), &held.definition.id);
            self.checks.remove(&check);
            self.disarm(&check);
        }
        if let Ok(subject) = subject(&entry.record) {
            self.subjects.remove(&subject);
        }
        Some(entry.record)
    }

    pub(super) fn record(&self, key: &Key) -> Option<&Record> {
        self.services.get(key).map(|entry| &entry.record)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.services.values().map(|entry| &entry.record)
    }

    pub(super) fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes)
    }

    /// A check is registered: with the service that it names, or with its node.
    pub(super) fn add_check(
        &mut self,
        now: u64,
        node: Option<&str>,
        definition: CheckDefinition,
    ) -> Result<Touched, Refusal> {
        let check = Key::new(node, &definition.id);
        let mut held = Held::new(definition);
        if let Some(known) = self.held(&check)
            && known.definition.kind == held.definition.kind
            && held.definition.status.is_none()
        {
            held.status = known.status;
            held.output.clone_from(&known.output);
        }
        if held.definition.service_id.is_empty() {
            return self.add_node_check(now, &check, &held);
        }
        let service = Key::new(node, &held.definition.service_id);
        let entry = self.services.get_mut(&service).ok_or_else(|| {
            let id = &held.definition.service_id;
            Refusal::failed(format!("ServiceID {id:?} does not exist"))
        })?;
        let checks = &mut entry.record.checks;
        checks.retain(|known| known.definition.id != check.id);
        checks.push(held.clone());
        entry.record.settle();
        self.checks.insert(check.clone(), service.clone());
        self.arm(now, &check, &held);
        Ok(Touched::Service(service))
    }

    pub(super) fn remove_check(&mut self, check: &Key) -> Option<Touched> {
        if let Some(service) = self.checks.remove(check) {
            self.disarm(check);
            let entry = self.services.get_mut(&service)?;
            let checks = &mut entry.record.checks;
            checks.retain(|held| held.definition.id != check.id);
            return Some(Touched::Service(service));
        }
        Arc::make_mut(&mut self.nodes).checks.remove(check)?;
        self.disarm(check);
        Some(Touched::Node(vec![Fact::Check(check.clone())]))
    }

    /// A check is told: what it is and why.
    pub(super) fn hear(
        &mut self,
        now: u64,
        check: &Key,
        (status, output): (Health, &str),
    ) -> Result<Touched, Refusal> {
        let held = self
            .held(check)
            .ok_or_else(|| Refusal::unknown_check(&check.id))?;
        if !matches!(held.definition.kind, CheckKind::Ttl(_)) {
            let text = format!("CheckID {:?} does not have associated TTL", check.id);
            return Err(Refusal::missing(text));
        }
        let touched = self.change(now, check, status, output);
        if let Some(held) = self.held(check).cloned() {
            self.arm(now, check, &held);
        }
        Ok(touched)
    }

    pub(super) fn lacks_check(&self, check: &Key) -> bool {
        self.held(check).is_none()
    }

    /// The service that a check is of; none of a check of a node.
    pub(super) fn service_of(&self, check: &Key) -> Option<&Key> {
        self.checks.get(check)
    }

    fn held(&self, check: &Key) -> Option<&Held> {
        match self.checks.get(check) {
            Some(service) => {
                let mut checks = self.services.get(service)?.record.checks.iter();
                checks.find(|held| held.definition.id == check.id)
            }
            None => self.nodes.checks.get(check),
        }
    }

    fn change(&mut self, now: u64, check: &Key, status: Health, output: &str) -> Touched {
        let Some(service) = self.checks.get(check) else {
            let nodes = Arc::make_mut(&mut self.nodes);
            let Some(held) = nodes.checks.get_mut(check) else {
                return Touched::Nothing;
            };
            // Beats with a clock in their note are nothing to write down.
            let is_fact = held.status != status;
            let facts = is_fact.then(|| Fact::Check(check.clone()));
            return if held.hear(status, output) {
                Touched::Node(facts.into_iter().collect())
            } else {
                Touched::Nothing
            };
        };
        let Some(entry) = self.services.get_mut(service) else {
            return Touched::Nothing;
        };
        let Some(held) = entry.record.check_mut(&check.id) else {
            return Touched::Nothing;
        };
        let was = held.status;
        let is_news = held.hear(status, output);
        let rested = entry.told.saturating_add(millis(OUTPUT_REST));
        if was == status && (!is_news || now < rested) {
            return Touched::Nothing;
        }
        entry.told = now;
        Touched::Service(service.clone())
    }

    /// Whoever should have been heard by now, and services that must go.
    pub(super) fn ring(&mut self, now: u64) -> (Vec<Touched>, Vec<Key>) {
        let (mut touched, mut hopeless) = (Vec::new(), Vec::new());
        while let Some((at, alarm)) = self.due.first().cloned() {
            if at > now {
                break;
            }
            self.due.pop_first();
            self.alarms.remove(&alarm);
            match alarm {
                Alarm::Silent(check) => touched.push(self.expire(now, &check)),
                Alarm::Hopeless(check) => hopeless.extend(self.checks.get(&check).cloned()),
            }
        }
        (touched, hopeless)
    }

    fn expire(&mut self, now: u64, check: &Key) -> Touched {
        let Some(held) = self.held(check).cloned() else {
            return Touched::Nothing;
        };
        let output = match held.output.as_str() {
            "" => "TTL expired".to_owned(),
            last => format!("TTL expired (last output before timeout follows): {last}"),
        };
        let touched = self.change(now, check, Health::Critical, &output);
        self.despair(now, check, &held.definition, Health::Critical);
        touched
    }

    /// When [`Self::ring`] has something to do.
    pub(super) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    fn arm(&mut self, now: u64, check: &Key, held: &Held) {
        let until = match held.definition.kind {
            CheckKind::Ttl(ttl) => Some(now.saturating_add(millis(ttl))),
            CheckKind::Http { .. }
            | CheckKind::Tcp { .. }
            | CheckKind::Udp(_)
            | CheckKind::Grpc { .. }
            | CheckKind::H2Ping { .. }
            | CheckKind::Script(_)
            | CheckKind::Docker(_)
            | CheckKind::Alias { .. }
            | CheckKind::OsService(_)
            | CheckKind::External => None,
        };
        self.set(Alarm::Silent(check.clone()), until);
        if until.is_some() {
            self.despair(now, check, &held.definition, held.status);
        }
    }

    /// Only what is told can be given up here; what is probed, the keeper looks after.
    fn despair(&mut self, now: u64, check: &Key, definition: &CheckDefinition, status: Health) {
        let alarm = Alarm::Hopeless(check.clone());
        let after = definition.deregister_after.map(millis);
        let until = match (after, status) {
            // It goes on since it began.
            (Some(_), Health::Critical) if self.alarms.contains_key(&alarm) => return,
            (Some(after), Health::Critical) => Some(now.saturating_add(after)),
            (Some(_) | None, _) => None,
        };
        self.set(alarm, until);
    }

    fn disarm(&mut self, check: &Key) {
        self.set(Alarm::Silent(check.clone()), None);
        self.set(Alarm::Hopeless(check.clone()), None);
    }

    fn set(&mut self, alarm: Alarm, at: Option<u64>) {
        if let Some(before) = self.alarms.remove(&alarm) {
            self.due.remove(&(before, alarm.clone()));
        }
        if let Some(at) = at {
            self.alarms.insert(alarm.clone(), at);
            self.due.insert((at, alarm));
        }
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use portolan_dialects::consul::{NodeDefinition, ServiceDefinition};

    use super::{nodes::NODES_MAX, *};

    fn record(body: &str) -> Record {
        let service = ServiceDefinition::read(body.as_bytes()).unwrap();
        Record::new(service, None, std::net::Ipv4Addr::LOCALHOST.into())
    }

    fn web(ttl: &str) -> Record {
        record(&format!(
            r#"{{"Name": "web", "Check": {{"TTL": "{ttl}", "DeregisterCriticalServiceAfter": "1m"}}}}"#
        ))
    }

    fn check() -> Key {
        Key::new(None, "service:web")
    }

    fn status(book: &Book) -> Health {
        book.held(&check()).unwrap().status
    }

    #[test]
    fn a_check_that_is_not_heard_in_time_is_critical() {
        let mut book = Book::default();
        book.register(0, web("1s"), false);
        let service = Touched::Service(Key::new(None, "web"));
        let heard = book.hear(500, &check(), (Health::Passing, "ok"));
        assert_eq!(heard, Ok(service.clone()));
        assert_eq!(book.next(), Some(1500), "the hopeless one has hope");
        assert_eq!(book.ring(1499), (vec![], vec![]));
        assert_eq!(book.ring(1500), (vec![service], vec![]));
        assert_eq!(status(&book), Health::Critical);
        let output = &book.held(&check()).unwrap().output;
        assert_eq!(
            output,
            "TTL expired (last output before timeout follows): ok"
        );
    }

    #[test]
    fn beats_that_only_say_something_else_wait_to_be_told() {
        let mut book = Book::default();
        book.register(0, web("1s"), false);
        book.hear(0, &check(), (Health::Passing, "1")).unwrap();
        let rest = millis(OUTPUT_REST);
        let heard =
            |book: &mut Book, now, output| book.hear(now, &check(), (Health::Passing, output));
        assert_eq!(heard(&mut book, rest - 1, "2"), Ok(Touched::Nothing));
        assert_eq!(
            heard(&mut book, rest, "2"),
            Ok(Touched::Nothing),
            "nothing new"
        );
        assert!(matches!(
            heard(&mut book, rest, "3"),
            Ok(Touched::Service(_))
        ));
    }

    #[test]
    fn what_is_critical_for_too_long_goes() {
        let mut book = Book::default();
        book.register(0, web("10s"), false);
        book.hear(5000, &check(), (Health::Critical, "")).unwrap();
        assert_eq!(
            book.ring(59_999).1,
            [],
            "it is critical since it registered"
        );
        assert_eq!(book.ring(60_000).1, [Key::new(None, "web")]);
        assert!(book.deregister(0, &Key::new(None, "web")).is_some());
        assert_eq!(book.next(), None);
        let unknown = book.hear(0, &check(), (Health::Passing, ""));
        assert_eq!(unknown.unwrap_err().status, 404);
    }

    #[test]
    fn an_id_that_registers_under_another_name_moves() {
        let mut book = Book::default();
        assert_eq!(book.register(0, web("1s"), false), None);
        assert_eq!(book.register(0, web("1s"), false), None);
        let other = record(r#"{"Name": "shop", "ID": "web"}"#);
        let moved = book.register(0, other, false).unwrap();
        assert_eq!(moved.service.name, "web");
        assert_eq!(book.next(), None, "its check went with it");
    }

    #[test]
    fn checks_belong_to_their_service_or_to_the_node() {
        let mut book = Book::default();
        let read = |body: &str| CheckDefinition::read(body.as_bytes()).unwrap();
        let of_none = book.add_check(
            0,
            None,
            read(r#"{"Name": "c", "TTL": "1s", "ServiceID": "web"}"#),
        );
        assert_eq!(
            of_none.unwrap_err().text,
            "ServiceID \"web\" does not exist"
        );
        book.register(0, record(r#"{"Name": "web"}"#), false);
        let added = book.add_check(
            0,
            None,
            read(r#"{"Name": "c", "TTL": "1s", "ServiceID": "web"}"#),
        );
        assert!(matches!(added, Ok(Touched::Service(_))));
        let alone = book.add_check(0, None, read(r#"{"Name": "d", "TTL": "1s"}"#));
        assert!(matches!(alone, Ok(Touched::Node(facts)) if facts.len() == 1));
        assert_eq!(book.ring(1000).0.len(), 2);
        assert!(matches!(
            book.remove_check(&Key::new(None, "d")),
            Some(Touched::Node(_))
        ));
        assert!(book.remove_check(&Key::new(None, "c")).is_some());
        assert_eq!(book.remove_check(&Key::new(None, "c")), None);
        assert_eq!(book.next(), None);
    }

    #[test]
    fn nodes_are_taken_up_to_the_limit() {
        let mut book = Book::default();
        let node = |n: usize| NodeDefinition {
            name: n.to_string(),
            ..NodeDefinition::default()
        };
        for n in 0..NODES_MAX {
            book.put_node(node(n), 1).unwrap();
        }
        assert!(book.put_node(node(NODES_MAX), 1).is_err());
        assert!(book.put_node(node(0), 2).is_ok());
        book.touch(5);
        book.touch(5);
        assert_eq!(book.nodes().index, 6, "an index never stands still");
    }
}
