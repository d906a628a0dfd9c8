//! A Consul that knows what the test says, in every datacenter the same.

#![expect(clippy::arithmetic_side_effects, reason = "a test's own small numbers")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_model::NodeId;
use portolan_runtime::Env;
use portolan_wire::serve::{Query, Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::testing::{Server, answer, field, node};

#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    index: u64,
    services: BTreeMap<String, (u64, Vec<Value>)>,
    queries: BTreeMap<String, Vec<Value>>,
    refusals: BTreeMap<String, (u16, String)>,
    /// Answers to a path instead of the right ones, for so many times.
    odd: BTreeMap<String, (usize, u16, String)>,
    /// What questions that any server may answer are told of services that changed.
    lagging: BTreeMap<String, (u64, Vec<Value>)>,
    node: Option<NodeId>,
    hides_all: bool,
    token: Option<String>,
    waiting: usize,
    most_waiting: usize,
    fetches: usize,
    /// Fetches of what is now, whatever was seen before.
    anew: usize,
    /// Services that a query blocks for.
    waited_for: BTreeMap<String, usize>,
    /// Queries for services that may block at a time.
    limit: Option<usize>,
    turned_away: usize,
}

/// An entry with a check of its node and one of its own.
pub(super) fn entry(service: &str, id: &str) -> Value {
    json!({
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1"},
        "Service": {
            "ID": id, "Service": service, "Tags": null, "Address": "", "Port": 80,
            "Meta": {}, "Weights": {"Passing": 1, "Warning": 1},
        },
        "Checks": [
            {"Node": "n1", "CheckID": "serfHealth", "Status": "passing", "ServiceName": ""},
            {"Node": "n1", "CheckID": format!("service:{id}"), "Status": "passing", "ServiceName": service},
        ],
    })
}

/// An entry that no check of its own tells about.
pub(super) fn without_checks(service: &str, id: &str) -> Value {
    let mut entry = entry(service, id);
    entry["Checks"].as_array_mut().unwrap().truncate(1);
    entry
}

fn is_same(one: &Value, other: &Value) -> bool {
    let names = ["Node", "CheckID", "Status"];
    names.iter().all(|name| one[name] == other[name])
}

fn checks(entries: &[Value]) -> Vec<Value> {
    let checks = entries
        .iter()
        .map(|entry| entry["Checks"].as_array().unwrap());
    checks.flatten().cloned().collect()
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                index: 10,
                ..State::default()
            })),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn start(&self) -> Server {
        let this = self.clone();
        Server::start(&Env::system(), move |request: Request| {
            this.clone().answer(request)
        })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
    }

    pub(super) fn put(&self, name: &str, entries: &[Value]) {
        self.change(|state| {
            state.index += 1;
            let before = state.services.get(name).map(|(_, entries)| entries.clone());
            let before = checks(before.as_deref().unwrap_or_default());
            let mut entries = entries.to_vec();
            for entry in &mut entries {
                for check in entry["Checks"].as_array_mut().unwrap().iter_mut().skip(1) {
                    // A check that is as it was keeps its index, whatever else is new.
                    let same = before.iter().find(|old| is_same(old, check));
                    let index = same.map_or(json!(state.index), |old| old["ModifyIndex"].clone());
                    check["ModifyIndex"] = index;
                }
            }
            state
                .services
                .insert(name.to_owned(), (state.index, entries));
        });
    }

    /// Changes a service; only the leader knows of it.
    pub(super) fn put_at_leader(&self, name: &str, entries: &[Value]) {
        let mut state = self.state.lock().unwrap();
        let before = state.services.get(name).cloned().unwrap();
        state.lagging.insert(name.to_owned(), before);
        drop(state);
        self.put(name, entries);
    }

    /// Answers to this path oddly, so many times.
    pub(super) fn answer_oddly(&self, path: &str, times: usize, (status, body): (u16, &str)) {
        let odd = (times, status, body.to_owned());
        self.change(|state| {
            state.odd.insert(path.to_owned(), odd);
        });
    }

    pub(super) fn remove(&self, name: &str) {
        self.change(|state| {
            state.index += 1;
            state.services.remove(name);
        });
    }

    /// The check of a node fails, and with it all services there.
    pub(super) fn fail_node(&self, node: &str) {
        self.change(|state| {
            state.index += 1;
            for (_, entries) in state.services.values_mut() {
                let on_it = entries
                    .iter_mut()
                    .filter(|entry| entry["Node"]["Node"] == node);
                for entry in on_it {
                    entry["Checks"][0]["Status"] = json!("critical");
                }
            }
        });
    }

    pub(super) fn query(&self, name: &str, entries: &[Value]) {
        self.change(|state| {
            state.queries.insert(name.to_owned(), entries.to_vec());
        });
    }

    pub(super) fn forget_query(&self, name: &str) {
        self.change(|state| {
            state.queries.remove(name);
        });
    }

    /// Counts from the start again.
    pub(super) fn restart(&self) {
        self.change(|state| {
            state.index = 1;
            for (index, _) in state.services.values_mut() {
                *index = 1;
            }
        });
    }

    pub(super) fn refuse(&self, datacenter: &str, refusal: Option<(u16, &str)>) {
        self.change(|state| match refusal {
            Some((status, words)) => {
                let refusal = (status, words.to_owned());
                state.refusals.insert(datacenter.to_owned(), refusal);
            }
            None => state.refusals.clear(),
        });
    }

    pub(super) fn hide_all(&self) {
        self.change(|state| state.hides_all = true);
    }

    pub(super) fn sign(&self, number: u64) {
        self.change(|state| state.node = Some(node(number)));
    }

    pub(super) fn token(&self) -> Option<String> {
        self.state.lock().unwrap().token.clone()
    }

    /// Questions that are not answered yet.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().unwrap().waiting
    }

    /// Resolves when so many questions are not answered yet.
    pub(super) async fn waits_for(&self, count: usize) {
        let env = Env::system();
        let reached = env.timeout(Duration::from_secs(20), async {
            while self.waiting() != count {
                tokio::task::yield_now().await;
            }
        });
        let reached = reached.await;
        assert!(reached.is_ok(), "{} wait, not {count}", self.waiting());
    }

    /// Whether a query blocks for this service.
    pub(super) fn is_waited_for(&self, name: &str) -> bool {
        let state = self.state.lock().unwrap();
        state.waited_for.get(name).is_some_and(|count| *count > 0)
    }

    /// Refuses more blocking queries for services than this.
    pub(super) fn limit_queries(&self, limit: usize) {
        self.change(|state| state.limit = Some(limit));
    }

    pub(super) fn turned_away(&self) -> usize {
        self.state.lock().unwrap().turned_away
    }

    pub(super) fn most_waiting(&self) -> usize {
        self.state.lock().unwrap().most_waiting
    }

    /// How often a service was asked for.
    pub(super) fn fetches(&self) -> usize {
        self.state.lock().unwrap().fetches
    }

    /// How often a service was asked for without going on from what was seen.
    pub(super) fn anew(&self) -> usize {
        self.state.lock().unwrap().anew
    }

    /// Counts a question, unless it is one too many.
    fn count(&self, path: &str, seen: u64) -> Option<Counted> {
        let mut state = self.state.lock().unwrap();
        if let Some(name) = path.strip_prefix("/v1/health/service/") {
            state.fetches += 1;
            state.anew += usize::from(seen == 0);
            let blocking: usize = state.waited_for.values().sum();
            if seen > 0 && state.limit.is_some_and(|limit| blocking >= limit) {
                state.turned_away += 1;
                return None;
            }
            let count = state.waited_for.entry(name.to_owned()).or_default();
            *count += usize::from(seen > 0);
        }
        state.waiting += 1;
        state.most_waiting = state.most_waiting.max(state.waiting);
        Some(Counted(self.clone(), path.to_owned(), seen))
    }

    pub(super) async fn answer(self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let query = Query::parse(&query).unwrap();
        let number = |name: &str| query.find(name).and_then(|text| text.parse::<u64>().ok());
        let seen = number("index").unwrap_or(0);
        let wait = query
            .find("wait")
            .and_then(|wait| wait.strip_suffix("ms")?.parse().ok());
        let wait = Duration::from_millis(wait.unwrap_or(0));
        let datacenter = query.find("dc").unwrap_or("dc1").to_owned();
        let mut changed = self.changed.subscribe();
        self.state.lock().unwrap().token = field(request.headers(), "x-consul-token");
        let Some(_counted) = self.count(&path, seen) else {
            return answer(429, &[], "slowly");
        };
        let env = Env::system();
        let is_over = async {
            loop {
                let (index, _) = self.state.lock().unwrap().shown(&path);
                let refused = self
                    .state
                    .lock()
                    .unwrap()
                    .refusals
                    .contains_key(&datacenter);
                // As Consul has it, an index that it has not reached is answered at once.
                if index != seen || seen == 0 || refused {
                    return;
                }
                changed.changed().await.unwrap();
            }
        };
        let _over = env.timeout(wait, is_over).await;
        let mut state = self.state.lock().unwrap();
        if let Some((status, words)) = state.refusals.get(&datacenter) {
            return answer(*status, &[], words.clone());
        }
        if let Some((times, status, body)) = state.odd.get_mut(&path)
            && *times > 0
        {
            *times -= 1;
            return answer(*status, &[("x-consul-index", "1")], body.clone());
        }
        let is_stale = query.find("stale").is_some();
        let name = path.strip_prefix("/v1/health/service/");
        let lagging = name.and_then(|name| state.lagging.get(name));
        let (index, body) = match lagging.filter(|_| is_stale) {
            Some((index, entries)) => (*index, Some(json!(entries))),
            None => state.shown(&path),
        };
        let Some(body) = body else {
            return answer(404, &[], "Query not found");
        };
        let index = index.to_string();
        let mut fields = vec![("x-consul-index", index.as_str())];
        if state.hides_all {
            fields.push(("x-consul-results-filtered-by-acls", "true"));
        }
        let signature = state.node.as_ref().map(NodeId::as_str);
        fields.extend(signature.map(|node| (NodeId::FIELD, node)));
        answer(200, &fields, body.to_string())
    }
}

/// A question that is not answered yet; who asked may go away.
struct Counted(Fake, String, u64);

impl Drop for Counted {
    fn drop(&mut self) {
        let Self(fake, path, seen) = self;
        let mut state = fake.state.lock().unwrap();
        state.waiting -= 1;
        let name = path.strip_prefix("/v1/health/service/");
        if let Some(name) = name.filter(|_| *seen > 0) {
            *state.waited_for.get_mut(name).unwrap() -= 1;
        }
    }
}

impl State {
    /// The index and body of a path.
    fn shown(&self, path: &str) -> (u64, Option<Value>) {
        if path == "/v1/catalog/services" {
            let tags = |entries: &[Value]| -> Vec<Value> {
                let tags = entries.iter().map(|entry| &entry["Service"]["Tags"]);
                tags.filter_map(Value::as_array)
                    .flatten()
                    .cloned()
                    .collect()
            };
            let services = self.services.iter();
            let names = services.map(|(name, (_, entries))| (name.clone(), json!(tags(entries))));
            return (self.index, Some(names.collect()));
        }
        if path == "/v1/health/state/any" {
            let services = self.services.values();
            let mut checks: Vec<Value> =
                services.flat_map(|(_, entries)| checks(entries)).collect();
            // A node's check is there once.
            checks.sort_by_key(ToString::to_string);
            checks.dedup();
            return (self.index, Some(json!(checks)));
        }
        if let Some(name) = path.strip_prefix("/v1/health/service/") {
            let found = self.services.get(name);
            let empty = (self.index, Some(json!([])));
            return found.map_or(empty, |(index, entries)| (*index, Some(json!(entries))));
        }
        let name = path.strip_prefix("/v1/query/").unwrap();
        let found = self.queries.get(name.strip_suffix("/execute").unwrap());
        let executed = found.map(|entries| json!({"Service": "x", "Nodes": entries}));
        (0, executed)
    }
}
