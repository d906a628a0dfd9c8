//! Keeps asking, one task a host, and tells the inbox what changed.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_catalog::{Inbox, InboxClosed, Source, SourceRun};
use portolan_model::{Change, Departure, SourceId};
use portolan_runtime::{Dice, Env, Task};
use tokio::sync::{mpsc, watch};

use super::{
    linger::Linger,
    map::{Answer, Known, Report, View},
    records::KnownRecords,
    resolve::{Resolve, Resolver, Version},
    settings::{Family, Limits, Settings, Target},
};

/// Reports that wait to be told.
const REPORTS_MAX: usize = 64;
/// How often the system's files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What the system's resolver is configured by.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// Failures that are told; the others are counted.
const FAILURES_TOLD_MAX: usize = 3;

type SharedResolver = Arc<dyn Resolve>;

#[derive(Debug)]
pub(super) struct DnsSource {
    settings: Settings,
    id: SourceId,
    env: Env,
}

impl DnsSource {
    pub(super) const fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        Self { settings, id, env }
    }

    async fn follow(self, inbox: Inbox) {
        let opened: SharedResolver = Arc::new(Resolver::open(&self.settings));
        let resolver = watch::Sender::new(opened);
        let asked = self.ask_all(&resolver, &inbox);
        tokio::select! {
            _closed = asked => {}
            () = self.follow_system(&resolver) => {}
        }
    }

    /// Opens the resolver anew when the system's files change. Never ends.
    async fn follow_system(&self, resolver: &watch::Sender<SharedResolver>) {
        let mut looks = looks();
        loop {
            self.env.sleep(LOOK).await;
            let now = self::looks();
            if now != looks {
                looks = now;
                resolver.send_replace(Arc::new(Resolver::open(&self.settings)));
            }
        }
    }

    /// Asks for every host, over and over, until the inbox is closed.
    pub(super) async fn ask_all(
        &self,
        resolver: &watch::Sender<SharedResolver>,
        inbox: &Inbox,
    ) -> Result<(), InboxClosed> {
        let Settings {
            hosts,
            family,
            limits,
            keep,
            ..
        } = &self.settings;
        let (reports, mut told) = mpsc::channel(REPORTS_MAX);
        let asker = |(index, target): (usize, &Target)| {
            let asker = Asker {
                index,
                target: target.clone(),
                keep: *keep,
                family: *family,
                limits: *limits,
                env: self.env.clone(),
                dice: self.env.dice(),
                resolver: resolver.subscribe(),
            };
            self.env.spawn("dns host", asker.run(reports.clone()))
        };
        let _askers: Vec<Task> = hosts.iter().enumerate().map(asker).collect();
        drop(reports);
        let mut teller = Teller::new(self.id.clone(), hosts.clone());
        while let Some(report) = told.recv().await {
            teller.take(report);
            while let Ok(report) = told.try_recv() {
                teller.take(report);
            }
            teller.tell(inbox).await?;
        }
        Ok(())
    }
}

impl Source for DnsSource {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        Box::pin(self.follow(inbox))
    }
}

/// When the system's files last changed.
fn looks() -> [Option<SystemTime>; 2] {
    SYSTEM_FILES.map(|path| {
        let metadata = fs::metadata(Path::new(path)).ok()?;
        metadata.modified().ok()
    })
}

/// Asks for one host.
struct Asker {
    index: usize,
    target: Target,
    family: Family,
    limits: Limits,
    keep: Duration,
    env: Env,
    dice: Dice,
    resolver: watch::Receiver<SharedResolver>,
}

impl Asker {
    async fn run(mut self, reports: mpsc::Sender<(usize, Report)>) {
        let mut known = Knowledge::default();
        let mut linger = Linger::default();
        // Hosts don't ask in step: one a millisecond at the start, by jitter later.
        let start = u64::try_from(self.index).unwrap_or_default();
        self.env.sleep(Duration::from_millis(start)).await;
        loop {
            let resolver = Arc::clone(&self.resolver.borrow_and_update());
            let (report, pause) = self.round(resolver.as_ref(), &mut known).await;
            let report = linger.over(report, self.keep, self.env.instant());
            if reports.send((self.index, report)).await.is_err() {
                return;
            }
            let pause = pause.mul_f64(1.0 + self.dice.unit_f64() / 10.0);
            tokio::select! {
                () = self.env.sleep(pause) => {}
                changed = self.resolver.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    /// Asks once. Gives what is known then, and when to ask again.
    async fn round(&self, resolver: &dyn Resolve, known: &mut Knowledge) -> (Report, Duration) {
        match &self.target {
            Target::Host(host) => {
                let answers = self.ask(resolver, &host.host).await;
                known.host.take(answers, self.family, self.limits)
            }
            Target::Records(name) => {
                let records = &mut known.records;
                let answer = resolver.records(name).await;
                let (failure, mut pause) = records.take(answer, self.limits);
                for target in records.targets() {
                    let answers = self.ask(resolver, &target).await;
                    let again = records.take_host(&target, answers, (self.family, self.limits));
                    pause = pause.min(again);
                }
                (records.report(failure), pause)
            }
        }
    }

    async fn ask(&self, resolver: &dyn Resolve, host: &str) -> (Answer, Answer) {
        match self.family {
            Family::Ipv4 => (
                resolver.ask(host, Version::Ipv4).await,
                Answer::Nothing(None),
            ),
            Family::Ipv6 => (
                Answer::Nothing(None),
                resolver.ask(host, Version::Ipv6).await,
            ),
            Family::PreferIpv4 => match resolver.ask(host, Version::Ipv4).await {
                found @ Answer::Addresses(..) => (found, Answer::Nothing(None)),
                other @ (Answer::Nothing(_) | Answer::Failed(_)) => {
                    (other, resolver.ask(host, Version::Ipv6).await)
                }
            },
            Family::Both => tokio::join!(
                resolver.ask(host, Version::Ipv4),
                resolver.ask(host, Version::Ipv6)
            ),
        }
    }
}

/// What is known about a target, of either kind.
#[derive(Debug, Default)]
struct Knowledge {
    host: Known,
    records: KnownRecords,
}

/// Knows what the inbox was told.
struct Teller {
    source: SourceId,
    hosts: Vec<Target>,
    reports: Vec<Option<Report>>,
    told: View,
    /// A `Reset` said everything once.
    whole: bool,
}

impl Teller {
    fn new(source: SourceId, hosts: Vec<Target>) -> Self {
        Self {
            source,
            reports: vec![None; hosts.len()],
            hosts,
            told: View::default(),
            whole: false,
        }
    }

    fn take(&mut self, (index, report): (usize, Report)) {
        if let Some(place) = self.reports.get_mut(index) {
            *place = Some(report);
        }
    }

    /// Until every host was answered for, however long that takes, what is found is put
    /// beside what the catalogue may know from before the settings changed; then everything
    /// is said at once whenever it changes, so that the guard can tell a move from an outage.
    async fn tell(&mut self, inbox: &Inbox) -> Result<(), InboxClosed> {
        let view = View::of(&self.source, self.hosts.iter().zip(&self.reports));
        let is_answered = |report: &Option<Report>| report.as_ref().is_some_and(|r| r.answered);
        let whole = self.whole || self.reports.iter().all(is_answered);
        let spoke = if whole {
            self.tell_whole(inbox, &view).await?
        } else {
            self.tell_part(inbox, &view).await?
        };
        if !view.failures.is_empty() && (spoke || view.failures != self.told.failures) {
            let reason = shorten(&view.failures);
            tracing::warn!(source = %self.source, %reason, "dns fails; keeping last known addresses");
            let reason = reason.into();
            inbox.send(Change::Stale { reason }).await?;
        }
        (self.told, self.whole) = (view, whole);
        Ok(())
    }

    /// Says what is new, and what went of what was said here.
    async fn tell_part(&self, inbox: &Inbox, view: &View) -> Result<bool, InboxClosed> {
        let mut spoke = false;
        for (place, instance) in &view.instances {
            if self.told.instances.get(place) != Some(instance) {
                let instance = Arc::clone(instance);
                inbox.send(Change::Put { instance }).await?;
                spoke = true;
            }
        }
        for (key, id) in self.told.instances.keys() {
            let place = (key.clone(), id.clone());
            if !view.instances.contains_key(&place) {
                let (key, id) = place;
                let departure = Departure::Inferred;
                inbox.send(Change::Remove { key, id, departure }).await?;
                spoke = true;
            }
        }
        Ok(spoke)
    }

    async fn tell_whole(&self, inbox: &Inbox, view: &View) -> Result<bool, InboxClosed> {
        let recovered = !self.told.failures.is_empty() && view.failures.is_empty();
        let moved = view.instances != self.told.instances;
        if !moved && !recovered && self.whole {
            return Ok(false);
        }
        let services = view.services.clone();
        let instances = view.instances.values().cloned().collect();
        inbox
            .send(Change::Reset {
                services,
                instances,
            })
            .await?;
        Ok(true)
    }
}

fn shorten(failures: &[String]) -> String {
    let told = failures.iter().take(FAILURES_TOLD_MAX);
    let text = told.cloned().collect::<Vec<_>>().join("; ");
    match failures.len().saturating_sub(FAILURES_TOLD_MAX) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}
