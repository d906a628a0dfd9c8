//! The datacenters together, and what the inbox is told of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use portolan_model::{Departure, SourceId};
use portolan_runtime::{Env, Task};
use tokio::sync::mpsc;

use super::{
    api::Good,
    follow::{Datacenter, Report, Word},
    settings::Settings,
};
use portolan_sources::frame::{Ended, Follow, Parts, Provenance, Teller, View};

/// Reports that wait to be told.
const REPORTS_MAX: usize = 256;
/// While a part is in doubt, changes are told together this often: each time, everything is
/// said and doubted again.
const GATHERING: Duration = Duration::from_secs(1);

/// A part of what is known: a datacenter, by its number, and a service or query there.
type Key = (usize, Word);

pub(super) struct Watch {
    settings: Arc<Settings>,
    source: SourceId,
    env: Env,
    parts: Parts<Key>,
    unheard: Unheard,
    /// Where each datacenter is asked first, from one session to the next.
    goods: BTreeMap<usize, Good>,
}

/// What never said what it has. The catalogue may know it from before, so nothing is said to
/// be all until it is heard, however long that takes.
struct Unheard {
    datacenters: BTreeSet<usize>,
    queries: BTreeSet<String>,
}

/// What is known of the datacenters in a session.
#[derive(Default)]
struct Standing {
    /// Those that do not answer, and why.
    lost: BTreeMap<usize, (String, Option<Duration>)>,
    /// Queries that can't be known, and why.
    failing: BTreeMap<Word, String>,
    /// What is to be told, together.
    gathered: BTreeMap<Key, View>,
}

impl Follow for Watch {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        let _tasks = self.start(teller, &sender);
        drop(sender);
        self.listen(reports, teller).await
    }
}

impl Watch {
    pub(super) fn new(settings: Settings, source: SourceId, env: Env) -> Self {
        Self {
            unheard: Unheard::of(&settings),
            goods: BTreeMap::new(),
            settings: Arc::new(settings),
            source,
            env,
            parts: Parts::default(),
        }
    }

    async fn listen(
        &mut self,
        mut reports: mpsc::Receiver<(usize, Report)>,
        teller: &mut Teller,
    ) -> Result<Infallible, Ended> {
        let mut standing = Standing::default();
        let env = self.env.clone();
        let gathering = env.sleep(GATHERING);
        tokio::pin!(gathering);
        loop {
            let is_gathering = !standing.gathered.is_empty();
            tokio::select! {
                report = reports.recv() => {
                    let report = report.ok_or_else(nobody)?;
                    self.take(&mut standing, report, teller).await?;
                }
                () = &mut gathering, if is_gathering => {
                    self.settle(&mut standing, &[], teller).await?;
                    self.doubt(&standing, teller).await?;
                }
            }
            if !is_gathering {
                gathering.set(env.sleep(GATHERING));
            }
        }
    }

    fn count(&self) -> usize {
        self.settings.datacenters.len().max(1)
    }

    fn start(&mut self, teller: &Teller, sender: &mpsc::Sender<(usize, Report)>) -> Vec<Task> {
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
                good: self.goods.entry(index).or_default().clone(),
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
        let mut is_back = standing.lost.remove(&index).is_some();
        match report {
            Report::All(words) => {
                self.unheard.datacenters.remove(&index);
                self.take_all(standing, index, words, teller).await?;
            }
            Report::Failing(word, reason) => {
                standing.failing.insert(word, reason);
            }
            Report::Part(word, view) => {
                is_back |= standing.failing.remove(&word).is_some();
                is_back |= self.unheard.hear(&word) && self.unheard.is_empty();
                let part = ((index, word), view);
                if is_back || !standing.is_sound() {
                    standing.gathered.extend([part]);
                } else {
                    self.parts.tell(teller, part, Departure::Inferred).await?;
                }
            }
            Report::Gone(words) => {
                let gone: Vec<_> = words.into_iter().map(|word| (index, word)).collect();
                standing.gathered.retain(|key, _| !gone.contains(key));
                self.settle(standing, &gone, teller).await?;
            }
            Report::Alive | Report::Lost(..) => teller.still_in_part(),
        }
        if is_back && standing.is_sound() {
            // Nothing may be new, and still it is not in doubt any more.
            self.settle(standing, &[], teller).await?;
        }
        self.doubt(standing, teller).await
    }

    /// A datacenter said everything, though its queries only as far as they can be known.
    async fn take_all(
        &mut self,
        standing: &mut Standing,
        index: usize,
        words: BTreeMap<Word, View>,
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let is_over = |(of, word): &Key| {
            *of == index && matches!(word, Word::Service(_)) && !words.contains_key(word)
        };
        let gone: Vec<_> = self
            .parts
            .keys()
            .filter(|key| is_over(key))
            .cloned()
            .collect();
        standing.gathered.retain(|key, _| !is_over(key));
        for (word, view) in words {
            standing.failing.remove(&word);
            self.unheard.hear(&word);
            standing.gathered.insert((index, word), view);
        }
        self.settle(standing, &gone, teller).await
    }

    /// Tells what was gathered, and that some parts are gone: all at once, unless that would
    /// say that something unheard is not there.
    async fn settle(
        &mut self,
        standing: &mut Standing,
        gone: &[Key],
        teller: &mut Teller,
    ) -> Result<(), Ended> {
        let gathered = std::mem::take(&mut standing.gathered);
        if !self.unheard.is_empty() {
            for part in gathered {
                self.parts.tell(teller, part, Departure::Inferred).await?;
            }
            for (key, id) in gone.iter().flat_map(|key| self.parts.remove(key)) {
                teller.remove(&key, &id, Departure::Inferred).await?;
            }
            return Ok(());
        }
        for (key, view) in gathered {
            self.parts.set(key, view);
        }
        for key in gone {
            self.parts.remove(key);
        }
        teller.all(self.parts.whole()).await?;
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

impl Unheard {
    fn of(settings: &Settings) -> Self {
        Self {
            datacenters: (0..settings.datacenters.len().max(1)).collect(),
            queries: settings.queries.iter().cloned().collect(),
        }
    }

    /// Says whether it was not heard before.
    fn hear(&mut self, word: &Word) -> bool {
        matches!(word, Word::Query(query) if self.queries.remove(query))
    }

    fn is_empty(&self) -> bool {
        self.datacenters.is_empty() && self.queries.is_empty()
    }
}

fn nobody() -> Ended {
    Ended::lost("a defect of Portolan: nobody asks Consul")
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
