//! One datacenter, followed by blocking queries.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use portolan_model::SourceId;
use portolan_runtime::{Env, Task};
use tokio::sync::mpsc;

use super::{
    api::{Api, Good},
    crew::{Crew, Fetched},
    crowd::Following,
    map::Entries,
    names::{Names, SIGN_OF_LIFE},
    settings::Settings,
    watches::Watches,
};
use portolan_sources::frame::{Backoff, Ended, Provenance, View};

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
        let wanted = names.first().await?;
        let seats = names.seats().await?;
        // Looking at the checks begins before everything is fetched, so that no change falls
        // in between.
        let looks = if wanted.len() > seats.count() {
            Some(self.look().await?)
        } else {
            None
        };
        let mut crew = Crew::new(self);
        let fetched = self.tell_all(&mut crew, &wanted).await?;
        let _queries = self.start_queries();
        let watches = Watches::new(self, seats);
        let following = Following::new(self.clone(), (crew, watches), wanted, &fetched);
        following.run(names, looks).await
    }

    /// Says everything: services of those names, and the queries as far as they are known.
    async fn tell_all(
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

    /// Executes the prepared queries from time to time, for as long as the task is kept.
    fn start_queries(&self) -> Option<Task> {
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

    pub(super) async fn tell_gone(&self, gone: BTreeSet<String>) -> Result<(), Ended> {
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
