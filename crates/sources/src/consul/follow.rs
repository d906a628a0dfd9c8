//! One datacenter, followed by blocking queries.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use portolan_model::SourceId;
use portolan_runtime::{Env, Task};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    api::{Api, Cursor, Good},
    crew::{Crew, Fetched},
    map::Entries,
    settings::Settings,
};
use crate::frame::{Backoff, Ended, Provenance, View};

/// Services that have a blocking query each.
pub(super) const FOLLOWED_MAX: usize = 64;
/// How long the query for the names of services blocks at most: a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// What changes all the time is looked at this often.
const REST: Duration = Duration::from_millis(5);
/// Failures that wait to be noticed.
const FAILURES_MAX: usize = 4;
/// Consul itself.
const CONSUL: &str = "consul";

/// What a part of a datacenter is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    Service(String),
    Query(String),
}

/// What is told of a datacenter.
#[derive(Debug)]
pub(super) enum Report {
    /// Here is everything.
    All(BTreeMap<Word, View>),
    /// One of them is so now.
    Part(Word, View),
    /// These are no more.
    Gone(Vec<Word>),
    /// This one can't be known, for that reason; the others are.
    Failing(Word, String),
    /// It is as it was.
    Alive,
    /// It does not answer: why, and for how long it wants to be left alone.
    Lost(String, Option<Duration>),
}

/// What queries were answered last: it is told only when it is another.
type Seen = BTreeMap<String, Entries>;

/// A datacenter.
#[derive(Clone)]
pub(super) struct Datacenter {
    pub(super) settings: Arc<Settings>,
    pub(super) source: SourceId,
    pub(super) env: Env,
    /// The agent's own if there is no name.
    pub(super) name: Option<String>,
    pub(super) index: usize,
    pub(super) provenance: Provenance,
    pub(super) good: Good,
    pub(super) reports: mpsc::Sender<(usize, Report)>,
}

impl Datacenter {
    /// Follows it until nobody listens.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(self.env.dice());
        loop {
            let before = self.env.instant();
            let Err(Ended::Lost { reason, after }) = self.session().await else {
                return;
            };
            if self.env.instant().saturating_duration_since(before) > SIGN_OF_LIFE {
                backoff.reset();
            }
            if self.tell(Report::Lost(reason, after)).await.is_err() {
                return;
            }
            self.env.sleep(backoff.next(after)).await;
        }
    }

    /// Says everything, then what changes.
    async fn session(&self) -> Result<Infallible, Ended> {
        let mut names = Names::new(self);
        let mut crew = Crew::new(self);
        loop {
            let wanted = names.first().await?;
            if wanted.len() > FOLLOWED_MAX {
                self.follow_crowd(&mut crew, &mut names).await?;
                continue;
            }
            let fetched = self.tell_all(&mut crew, &wanted).await?;
            let queries = self.start_queries();
            self.follow_each(fetched, &mut names).await?;
            drop(queries);
        }
    }

    /// Says everything: services of those names, and the queries as far as they are known.
    pub(super) async fn tell_all(
        &self,
        crew: &mut Crew,
        wanted: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Fetched>, Ended> {
        let mut words = BTreeMap::new();
        let mut fetched = crew.fetch(wanted).await?;
        for (name, fetched) in &mut fetched {
            let view = std::mem::take(&mut fetched.view);
            words.insert(Word::Service(name.clone()), view);
        }
        let mut failing = Vec::new();
        let (mut api, mut seen) = (self.api(), Seen::new());
        for query in self.queries() {
            match self.ask_query(&mut api, query, &mut seen).await? {
                Report::Part(word, view) => {
                    words.insert(word, view);
                }
                report @ (Report::All(_)
                | Report::Gone(_)
                | Report::Failing(..)
                | Report::Alive
                | Report::Lost(..)) => failing.push(report),
            }
        }
        self.tell(Report::All(words)).await?;
        for report in failing {
            self.tell(report).await?;
        }
        Ok(fetched)
    }

    /// A blocking query for each service; returns when there are too many of them.
    async fn follow_each(
        &self,
        fetched: BTreeMap<String, Fetched>,
        names: &mut Names,
    ) -> Result<(), Ended> {
        let (failed, mut failures) = mpsc::channel(FAILURES_MAX);
        let start = |name: &str, cursor| {
            let (this, name, failed) = (self.clone(), name.to_owned(), failed.clone());
            self.env.spawn("consul service", async move {
                let Err(ended) = this.follow_service(&name, cursor).await;
                // Whoever does not listen any more ends this task.
                let _unheard = failed.send(ended).await;
            })
        };
        let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
        for (name, fetched) in &fetched {
            tasks.insert(name.clone(), start(name, fetched.cursor));
        }
        loop {
            let wanted = tokio::select! {
                wanted = names.next() => wanted?,
                ended = failures.recv() => {
                    return Err(ended.unwrap_or_else(|| Ended::lost("nobody asks Consul")));
                }
            };
            let Some(wanted) = wanted else {
                self.tell(Report::Alive).await?;
                continue;
            };
            if wanted.len() > FOLLOWED_MAX {
                return Ok(());
            }
            let gone: Vec<_> = tasks
                .keys()
                .filter(|name| !wanted.contains(*name))
                .cloned()
                .collect();
            tasks.retain(|name, _| wanted.contains(name));
            self.tell_gone(gone).await?;
            for name in &wanted {
                if !tasks.contains_key(name) {
                    tasks.insert(name.clone(), start(name, Cursor::default()));
                }
            }
        }
    }

    async fn follow_service(&self, name: &str, mut cursor: Cursor) -> Result<Infallible, Ended> {
        let mut api = self.api();
        loop {
            let (asked, entries) = api.service(name, cursor, self.settings.wait).await?;
            cursor = asked.cursor;
            if let Some(entries) = entries {
                let word = Word::Service(name.to_owned());
                self.tell(Report::Part(word, self.view(&entries))).await?;
                self.env.sleep(REST).await;
            }
        }
    }

    /// Executes the prepared queries from time to time, for as long as the task is kept.
    pub(super) fn start_queries(&self) -> Option<Task> {
        if self.queries().is_empty() {
            return None;
        }
        let this = self.clone();
        let asking = async move {
            let mut dice = this.env.dice();
            let mut api = this.api();
            let mut seen = Seen::new();
            loop {
                let jitter = 1.0 + dice.unit_f64() / 10.0;
                let pause = this.settings.query_interval.mul_f64(jitter);
                this.env.sleep(pause).await;
                if this.ask_queries(&mut api, &mut seen).await.is_err() {
                    return;
                }
            }
        };
        Some(self.env.spawn("consul queries", asking))
    }

    /// A prepared query knows its datacenters itself: one of them is asked.
    fn queries(&self) -> &[String] {
        if self.index == 0 {
            &self.settings.queries
        } else {
            &[]
        }
    }

    async fn ask_queries(&self, api: &mut Api, seen: &mut Seen) -> Result<(), Ended> {
        for query in self.queries() {
            let report = self.ask_query(api, query, seen).await?;
            self.tell(report).await?;
        }
        Ok(())
    }

    async fn ask_query(
        &self,
        api: &mut Api,
        query: &str,
        seen: &mut Seen,
    ) -> Result<Report, Ended> {
        let word = Word::Query(query.to_owned());
        match api.query(query).await {
            Ok(entries) if seen.get(query) == Some(&entries) => Ok(Report::Alive),
            Ok(entries) => {
                let view = self.view(&entries);
                seen.insert(query.to_owned(), entries);
                Ok(Report::Part(word, view))
            }
            Err(Ended::Lost { reason, .. }) => {
                seen.remove(query);
                let reason = format!("prepared query `{query}`: {reason}");
                Ok(Report::Failing(word, reason))
            }
            Err(Ended::Closed) => Err(Ended::Closed),
        }
    }

    pub(super) async fn tell_gone(&self, gone: Vec<String>) -> Result<(), Ended> {
        if gone.is_empty() {
            return Ok(());
        }
        let words = gone.into_iter().map(Word::Service).collect();
        self.tell(Report::Gone(words)).await
    }

    pub(super) fn api(&self) -> Api {
        let name = self.name.as_deref();
        Api::new(
            &self.settings,
            name,
            &self.provenance,
            &self.env,
            &self.good,
        )
    }

    pub(super) fn view(&self, entries: &Entries) -> View {
        let mut view = View::default();
        entries.add(&self.settings, &self.source, &mut view);
        view
    }

    pub(super) async fn tell(&self, report: Report) -> Result<(), Ended> {
        let told = self.reports.send((self.index, report)).await;
        told.map_err(|_| Ended::Closed)
    }
}

/// The names of services, followed.
pub(super) struct Names {
    api: Api,
    settings: Arc<Settings>,
    cursor: Cursor,
    tags: BTreeMap<String, Value>,
    /// Those whose tags became others.
    retagged: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(datacenter: &Datacenter) -> Self {
        Self {
            api: datacenter.api(),
            settings: Arc::clone(&datacenter.settings),
            cursor: Cursor::default(),
            tags: BTreeMap::new(),
            retagged: BTreeSet::new(),
        }
    }

    /// The same, for a task of its own.
    pub(super) fn go_on(&self, datacenter: &Datacenter) -> Self {
        Self {
            cursor: self.cursor,
            tags: self.tags.clone(),
            ..Self::new(datacenter)
        }
    }

    /// Those whose tags became others since this was asked last. They are seen at once,
    /// though no check tells about them.
    pub(super) fn take_retagged(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.retagged)
    }

    /// The names as they are.
    pub(super) async fn first(&mut self) -> Result<BTreeSet<String>, Ended> {
        self.cursor = Cursor::default();
        loop {
            if let Some(names) = self.next().await? {
                return Ok(names);
            }
        }
    }

    /// The names when something changed about any service; none if nothing did for a while.
    pub(super) async fn next(&mut self) -> Result<Option<BTreeSet<String>>, Ended> {
        let wait = self.settings.wait.min(SIGN_OF_LIFE);
        let path = "/v1/catalog/services";
        let asked = self.api.blocking(path, self.cursor, wait).await?;
        self.cursor = asked.cursor;
        if !asked.is_new {
            return Ok(None);
        }
        let found: BTreeMap<String, Value> = self.api.read(&asked.answer)?;
        if found.keys().all(|name| name == CONSUL) {
            self.api.check_rights(&asked)?;
        }
        let known = |name: &String, tags: &Value| self.tags.get(name).is_none_or(|old| old == tags);
        let others = found.iter().filter(|(name, tags)| !known(name, tags));
        self.retagged.extend(others.map(|(name, _)| name.clone()));
        self.tags.clone_from(&found);
        if !self.settings.services.is_empty() {
            return Ok(Some(self.settings.services.clone()));
        }
        let names = found.into_keys().filter(|name| name != CONSUL);
        Ok(Some(names.collect()))
    }
}
