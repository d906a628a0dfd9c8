//! The datacenters together, and what the inbox is told of them.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use portolan_catalog::{Inbox, Source, SourceRun};
use portolan_model::{Departure, SourceId};
use portolan_runtime::{Env, Task};
use tokio::sync::mpsc;

use super::{
    follow::{Datacenter, Report, Word},
    settings::Settings,
};
use crate::frame::{Ended, Follow, Parts, Provenance, Teller, follow};

/// Reports that wait to be told.
const REPORTS_MAX: usize = 256;
/// A datacenter that was never heard is waited for this long: the catalogue may know its
/// services from before.
const FIRST_REPORTS: Duration = Duration::from_mins(1);

/// A part of what is known: a datacenter, by its number, and a service or query there.
type Key = (usize, Word);

#[derive(Debug)]
pub(super) struct ConsulSource {
    settings: Settings,
    source: SourceId,
    env: Env,
}

impl ConsulSource {
    pub(super) const fn new(settings: Settings, source: SourceId, env: Env) -> Self {
        Self {
            settings,
            source,
            env,
        }
    }
}

impl Source for ConsulSource {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        let env = self.env.clone();
        let watch = Watch {
            settings: Arc::new(self.settings),
            source: self.source,
            env: self.env,
            parts: Parts::default(),
        };
        Box::pin(follow(watch, inbox, env))
    }
}

struct Watch {
    settings: Arc<Settings>,
    source: SourceId,
    env: Env,
    parts: Parts<Key>,
}

/// What is known of the datacenters in a session.
struct Standing {
    heard: Vec<bool>,
    /// Those that do not answer, and why.
    lost: BTreeMap<usize, (String, Option<Duration>)>,
    /// Queries that can't be known, and why.
    failing: BTreeMap<Word, String>,
    /// Everything was said at once.
    is_whole: bool,
}

impl Follow for Watch {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
        let _tasks = self.start(teller, &sender);
        drop(sender);
        let mut standing = Standing {
            heard: vec![false; self.count()],
            lost: BTreeMap::new(),
            failing: BTreeMap::new(),
            is_whole: false,
        };
        let env = self.env.clone();
        let waited = env.sleep(FIRST_REPORTS);
        tokio::pin!(waited);
        loop {
            let report = tokio::select! {
                report = reports.recv() => report,
                () = &mut waited, if !standing.is_whole => {
                    if standing.heard.contains(&true) {
                        teller.all(self.parts.whole()).await?;
                        standing.is_whole = true;
                        self.doubt(&standing, teller).await?;
                    }
                    waited.set(env.sleep(FIRST_REPORTS));
                    continue;
                }
            };
            let Some((index, report)) = report else {
                return Err(Ended::lost("a defect of Portolan: nobody asks Consul"));
            };
            self.take(&mut standing, (index, report), teller).await?;
        }
    }
}

impl Watch {
    fn count(&self) -> usize {
        self.settings.datacenters.len().max(1)
    }

    fn start(&self, teller: &Teller, sender: &mpsc::Sender<(usize, Report)>) -> Vec<Task> {
        let names = self.settings.datacenters.iter();
        let mut names: Vec<_> = names.cloned().map(Some).collect();
        if names.is_empty() {
            names.push(None);
        }
        let start = |(index, name)| {
            let datacenter = Datacenter {
                settings: Arc::clone(&self.settings),
                source: self.source.clone(),
                env: self.env.clone(),
                name,
                index,
                provenance: Provenance::new(teller),
                reports: sender.clone(),
            };
            self.env.spawn("consul datacenter", datacenter.run())
        };
        names.into_iter().enumerate().map(start).collect()
    }

    async fn take(
        &mut self,
        standing: &mut Standing,
        (index, report): (usize, Report),
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        if let Report::Lost(reason, after) = report {
            standing.lost.insert(index, (reason, after));
            return self.lose(standing, teller).await;
        }
        if let Some(heard) = standing.heard.get_mut(index) {
            *heard = true;
        }
        let is_back = standing.lost.remove(&index).is_some();
        match report {
            Report::All(words) => {
                // Queries are told one by one.
                self.parts.retain(|(of, word)| {
                    *of != index || words.contains_key(word) || matches!(word, Word::Query(_))
                });
                self.take_all(standing, index, words, teller).await?;
            }
            Report::Failing(word, reason) => {
                standing.failing.insert(word, reason);
            }
            Report::Part(word, view) => {
                standing.failing.remove(&word);
                let part = ((index, word), view);
                let departure = Departure::Inferred;
                self.parts.tell(teller, part, departure).await?;
            }
            Report::Gone(words) => {
                for word in words {
                    self.parts.remove(&(index, word));
                }
                if standing.is_whole {
                    teller.all(self.parts.whole()).await?;
                }
            }
            Report::Alive if is_back && standing.is_sound() && standing.is_whole => {
                teller.still().await?;
            }
            Report::Alive | Report::Lost(..) => teller.still_in_part(),
        }
        self.doubt(standing, teller).await
    }

    async fn take_all(
        &mut self,
        standing: &mut Standing,
        index: usize,
        words: BTreeMap<Word, crate::frame::View>,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        standing.is_whole |= standing.heard.iter().all(|heard| *heard);
        if standing.is_whole {
            for (word, view) in words {
                self.parts.set((index, word), view);
            }
            teller.all(self.parts.whole()).await?;
            return Ok(());
        }
        for (word, view) in words {
            let part = ((index, word), view);
            let departure = Departure::Inferred;
            self.parts.tell(teller, part, departure).await?;
        }
        Ok(())
    }

    /// One datacenter does not answer. The others go on; if there is none, it is an outage.
    async fn lose(&self, standing: &Standing, teller: &mut Teller) -> Result<(), Ended> {
        if standing.lost.len() < self.count() {
            return self.doubt(standing, teller).await;
        }
        let after = standing.lost.values().filter_map(|(_, after)| *after).max();
        let reason = standing.reasons();
        Err(Ended::Lost { reason, after })
    }

    /// Whatever was said, what is lost is still in doubt.
    async fn doubt(&self, standing: &Standing, teller: &mut Teller) -> Result<(), Ended> {
        if !standing.is_sound() {
            teller.doubt(&standing.reasons()).await?;
        }
        Ok(())
    }
}

impl Standing {
    fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.failing.is_empty()
    }

    fn reasons(&self) -> String {
        let lost = self.lost.values().map(|(reason, _)| reason);
        let reasons: Vec<_> = lost.chain(self.failing.values()).cloned().collect();
        reasons.join("; ")
    }
}
