//! Follows a file or a folder and tells the inbox what changed.

use std::{ffi::OsString, path::Path, sync::Arc, time::Duration};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use portolan_catalog::{Inbox, InboxClosed, Source, SourceRun};
use portolan_model::{Change, Departure, SourceId, Timestamp};
use portolan_runtime::Env;
use tokio::sync::Notify;

use super::{
    files::{Files, Trust, View},
    map::Reading,
    settings::Settings,
};

/// Writers are given this long to finish after each sign of work.
const QUIET: Duration = Duration::from_millis(50);
/// A file that is written to all the time is read this often.
const QUIET_ROUNDS_MAX: usize = 20;
/// Reasons that are told; the others are counted.
const REASONS_MAX: usize = 3;

#[derive(Debug)]
pub(super) struct FileSource {
    settings: Settings,
    id: SourceId,
    env: Env,
}

impl FileSource {
    pub(super) const fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        Self { settings, id, env }
    }

    async fn follow(self, inbox: Inbox) {
        let mut bell = Bell::new(&self.settings.path);
        let mut files = Files::new(&self.id, &self.settings.path);
        let mut told = Told::default();
        // A file is the word of its author, also about what was remembered of it.
        if inbox.overrule().await.is_err() {
            return;
        }
        let mut trust = Trust::Nothing;
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let view = files.read(trust);
                (files, view)
            });
            let Ok((back, view)) = read.await else {
                return;
            };
            if view.reasons.is_empty() {
                inbox.pulse().confirm(self.env.now());
            }
            files = back;
            if told.tell((&inbox, self.env.now()), view).await.is_err() {
                return;
            }
            bell.hang(&self.settings.path);
            trust = bell.wait(&self.env, self.settings.poll).await;
        }
    }
}

impl Source for FileSource {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        Box::pin(self.follow(inbox))
    }
}

/// What the inbox was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    all: Option<Reading>,
    stale: bool,
    reasons: Vec<String>,
}

impl Told {
    /// Tells what is new in a view: instances one by one, so that a departure is
    /// explicit, and everything at once where that is the only word for it.
    pub(super) async fn tell(
        &mut self,
        (inbox, now): (&Inbox, Timestamp),
        view: View,
    ) -> Result<(), InboxClosed> {
        let View { all, reasons } = view;
        if let Some(all) = all {
            let spoke = self.tell_all(inbox, all, reasons.is_empty()).await?;
            self.stale &= !spoke;
        }
        if !reasons.is_empty() && (!self.stale || reasons != self.reasons) {
            for reason in &reasons {
                let source = inbox.source();
                tracing::warn!(%source, %reason, "file is not sound; keeping what it hides");
            }
            inbox.pulse().fail(now, &shorten(&reasons));
            let reason = shorten(&reasons).into();
            inbox.send(Change::Stale { reason }).await?;
            self.stale = true;
        }
        self.reasons = reasons;
        Ok(())
    }

    /// Says whether it said anything, which ends staleness.
    async fn tell_all(
        &mut self,
        inbox: &Inbox,
        all: Reading,
        sound: bool,
    ) -> Result<bool, InboxClosed> {
        let mut spoke = false;
        let mut whole = self.stale && sound;
        if let Some(before) = &self.all {
            for (place, instance) in &all.instances {
                if before.instances.get(place) != Some(instance) {
                    let instance = Arc::clone(instance);
                    inbox.send(Change::Put { instance }).await?;
                    spoke = true;
                }
            }
            let gone = before.instances.keys();
            for (key, id) in gone.filter(|place| !all.instances.contains_key(place)) {
                let (key, id, departure) = (key.clone(), id.clone(), Departure::Explicit);
                inbox.send(Change::Remove { key, id, departure }).await?;
            }
            whole |= before.services != all.services;
        } else {
            whole = true;
        }
        if whole {
            let services = all.services.iter().cloned().collect();
            let instances = all.instances.values().cloned().collect();
            inbox
                .send(Change::Reset {
                    services,
                    instances,
                })
                .await?;
        }
        self.all = Some(all);
        Ok(spoke || whole)
    }
}

fn shorten(reasons: &[String]) -> String {
    let told = reasons.iter().take(REASONS_MAX);
    let text = told.cloned().collect::<Vec<_>>().join("; ");
    let more = reasons.len().saturating_sub(REASONS_MAX);
    if more > 0 {
        return format!("{text}; and {more} more");
    }
    text
}

/// Rings when somebody touches the files, if the system says so.
struct Bell {
    rung: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

impl Bell {
    fn new(path: &Path) -> Self {
        let mut bell = Self {
            rung: Arc::default(),
            watcher: None,
        };
        bell.hang(path);
        bell
    }

    /// Watches the folder, since editors replace files by new ones.
    fn hang(&mut self, path: &Path) {
        if self.watcher.is_some() {
            return;
        }
        let folder = if path.is_dir() {
            Some(path)
        } else {
            path.parent()
        };
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let name = (!path.is_dir())
            .then(|| path.file_name().map(OsString::from))
            .flatten();
        let rung = Arc::clone(&self.rung);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| concerns(&event, name.as_ref())) {
                rung.notify_one();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => tracing::debug!(%error, "no notifications for a file; it is polled"),
        }
    }

    /// Waits until somebody wrote and has finished, or for the poll.
    async fn wait(&self, env: &Env, poll: Duration) -> Trust {
        if env.timeout(poll, self.rung.notified()).await.is_err() {
            return Trust::Looks;
        }
        for _ in 0..QUIET_ROUNDS_MAX {
            if env.timeout(QUIET, self.rung.notified()).await.is_err() {
                break;
            }
        }
        Trust::Nothing
    }
}

/// Whether an event may have changed the file of that name, or any if there is none.
fn concerns(event: &notify::Event, name: Option<&OsString>) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => {}
        EventKind::Access(_) => return false,
    }
    let Some(name) = name else {
        return true;
    };
    // Kubernetes swaps a folder `..data` behind the files of a ConfigMap.
    let names = event.paths.iter().filter_map(|path| path.file_name());
    event.paths.is_empty()
        || names
            .into_iter()
            .any(|other| other == name || other.as_encoded_bytes().starts_with(b".."))
}
