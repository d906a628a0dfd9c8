//! Notices when a file that the configuration depends on has changed.
//!
//! Files are looked at by name, a few times a second: that sees edits in place,
//! editors that rename over, and folders of links that are swapped as a whole, on
//! every kind of file system. A change counts once it has been still for one look.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::PathBuf, time::Duration};

use portolan_runtime::Env;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What tells two versions of a file apart; `None` if it can't be looked at.
type Mark = Option<(u64, u64, u64, i64, i64)>;

/// The files that are looked at.
#[derive(Debug)]
pub(crate) struct FileWatch {
    env: Env,
    marks: BTreeMap<PathBuf, Mark>,
    /// What was seen at the last look, while it differs from what is in force.
    unsettled: Option<BTreeMap<PathBuf, Mark>>,
}

impl FileWatch {
    /// Looks at nothing yet.
    #[must_use]
    pub(crate) const fn new(env: Env) -> Self {
        Self {
            env,
            marks: BTreeMap::new(),
            unsettled: None,
        }
    }

    /// Looks at these files from now on, taking them to be known as they are.
    pub(crate) fn follow(&mut self, files: impl Iterator<Item = PathBuf>) {
        self.marks = files.map(|file| (file.clone(), mark(&file))).collect();
        self.unsettled = None;
    }

    /// Resolves when a file has changed and is still. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            self.env.sleep(LOOK).await;
            let seen: BTreeMap<_, _> = self
                .marks
                .keys()
                .map(|file| (file.clone(), mark(file)))
                .collect();
            if seen == self.marks {
                self.unsettled = None;
            } else if self.unsettled.as_ref() == Some(&seen) {
                self.marks = seen;
                self.unsettled = None;
                return;
            } else {
                self.unsettled = Some(seen);
            }
        }
    }
}

fn mark(file: &PathBuf) -> Mark {
    let data = fs::metadata(file).ok()?;
    Some((
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use portolan_testkit::Scratch;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_noticed_once_it_is_still() {
        let folder = Scratch::new();
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new(Env::virtual_time(1));
        watch.follow([file.clone()].into_iter());
        fs::write(&file, "ab").unwrap();
        watch.changed().await;
        let again = watch.env.clone();
        assert!(again.timeout(LOOK * 10, watch.changed()).await.is_err());
        fs::remove_file(&file).unwrap();
        watch.changed().await;
    }
}
