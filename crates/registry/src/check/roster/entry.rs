//! One instance's checks.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use portolan_model::{
    Health, Verdict,
    route::{Place, Probe},
};

use super::{Wish, millis};
use crate::{
    check::{counter::Counter, turns::Pace},
    core::Subject,
};

/// What an instance waits for while one of its checks has not ended, and others have.
const UNCHECKED: &str = "waiting for its first check";

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) struct Judgement {
    pub(in crate::check) subject: Subject,
    /// The instance's first address.
    pub(in crate::check) home: SocketAddr,
    pub(in crate::check) verdict: Option<Verdict>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) home: SocketAddr,
    pub(super) targets: Vec<Target>,
    pub(super) told: Option<Verdict>,
}

#[derive(Debug)]
pub(in crate::check) struct Target {
    pub(super) serial: u64,
    pub(in crate::check) wish: Wish,
    pub(super) address: SocketAddr,
    pub(in crate::check) probe: Arc<Probe>,
    pub(in crate::check) counter: Counter,
    pub(in crate::check) output: Arc<str>,
    /// Since when its health is what it is.
    pub(in crate::check) since: u64,
    pub(super) pace: Pace,
    /// When it is due; while its probe is under way, when that began.
    pub(super) at: u64,
    /// When the instance is to be deregistered.
    pub(super) doom: Option<u64>,
}

/// What is known of a check that has not ended yet.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) verdict: Option<Verdict>,
    pub(super) output: Arc<str>,
}

impl From<Verdict> for Known {
    fn from(verdict: Verdict) -> Self {
        Self {
            output: verdict.note.clone().unwrap_or_default(),
            verdict: Some(verdict),
        }
    }
}

impl Target {
    pub(super) fn new(
        serial: u64,
        wish: Wish,
        (address, probe): (SocketAddr, Arc<Probe>),
        now: u64,
    ) -> Self {
        let word = probe.initial;
        let word = word.map(|health| Verdict { health, note: None });
        Self {
            serial,
            wish,
            address,
            counter: Counter::new(word),
            probe,
            output: "".into(),
            since: now,
            pace: Pace::New,
            at: now,
            doom: None,
        }
    }

    /// Begins with what was known of the check before.
    pub(super) fn recall(&mut self, known: &Known) {
        self.counter = Counter::new(known.verdict.clone());
        self.output = Arc::clone(&known.output);
    }

    /// What another check of the same id and address may begin with.
    pub(super) fn known(&self) -> Known {
        Known {
            verdict: self.counter.verdict().cloned(),
            output: Arc::clone(&self.output),
        }
    }

    /// The host that is probed, as far as that can be told without asking for its name.
    pub(super) fn host(&self) -> IpAddr {
        match self.probe.means.place() {
            Some(Place::Address(address)) => address.ip(),
            Some(Place::Home | Place::Port(_) | Place::Host(_)) | None => self.address.ip(),
        }
    }

    pub(super) fn is(&self, (address, probe): &(SocketAddr, Arc<Probe>)) -> bool {
        self.address == *address && self.probe == *probe
    }

    /// Whether that is news.
    pub(super) fn set_output(&mut self, output: &Arc<str>) -> bool {
        let is_news = self.output != *output;
        if is_news {
            self.output = Arc::clone(output);
        }
        is_news
    }

    /// When the instance is to be deregistered, as things stand.
    pub(super) fn doom_at(&self, now: u64) -> Option<u64> {
        let after = self
            .probe
            .deregister_after
            .filter(|_| self.wish == Wish::Own)?;
        let verdict = self.counter.verdict()?;
        let is_critical = verdict.health == Health::Critical;
        let doom = self
            .doom
            .unwrap_or_else(|| now.saturating_add(millis(after)));
        is_critical.then_some(doom)
    }

    /// What it found, or what was asked to hold until then. A bad word to begin with is
    /// no verdict: whoever registers has no traffic yet, and whoever was handed over by a
    /// predecessor must not lose it.
    fn verdict(&self) -> Option<&Verdict> {
        let verdict = self.counter.verdict()?;
        let is_good = matches!(verdict.health, Health::Passing | Health::Warning);
        (is_good || self.counter.is_found()).then_some(verdict)
    }
}

impl Entry {
    pub(super) const fn new(home: SocketAddr) -> Self {
        Self {
            home,
            targets: Vec::new(),
            told: None,
        }
    }

    /// The worst that its checks found, if that is news.
    pub(super) fn judge(&mut self, subject: &Subject) -> Option<Judgement> {
        let verdict = self.verdict();
        if self.told == verdict {
            return None;
        }
        self.told = verdict;
        Some(Judgement {
            subject: subject.clone(),
            home: self.home,
            verdict: self.told.clone(),
        })
    }

    fn verdict(&self) -> Option<Verdict> {
        let mut worst: Option<(&Target, &Verdict)> = None;
        for target in &self.targets {
            let Some(verdict) = target.verdict() else {
                continue;
            };
            let severity = |verdict: &Verdict| verdict.health.severity();
            if worst.is_none_or(|(_, known)| severity(verdict) > severity(known)) {
                worst = Some((target, verdict));
            }
        }
        let waiting = |target: &&Target| target.wish == Wish::Own && target.verdict().is_none();
        let waiting = self.targets.iter().find(waiting);
        let is_alone = self.targets.len() == 1;
        match (worst, waiting) {
            (Some((target, verdict)), None) => Some(told(target, verdict, is_alone)),
            (Some((target, verdict)), Some(_)) if verdict.health.severity() > 0 => {
                Some(told(target, verdict, is_alone))
            }
            // Nothing speaks against it, but not everything was heard.
            (Some(_), Some(waiting)) => self.told.as_ref().map(|_| Verdict {
                health: Health::Starting,
                note: Some(format!("{}: {UNCHECKED}", waiting.probe.id).into()),
            }),
            (None, _) => None,
        }
    }
}

/// A verdict with the name of its check, unless that is the only one.
fn told(target: &Target, verdict: &Verdict, is_alone: bool) -> Verdict {
    if is_alone || verdict.health == Health::Passing {
        return verdict.clone();
    }
    let id = &target.probe.id;
    let note = match &verdict.note {
        Some(note) => format!("{id}: {note}"),
        None => format!("check {id}"),
    };
    Verdict {
        health: verdict.health,
        note: Some(note.into()),
    }
}
