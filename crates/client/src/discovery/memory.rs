//! Last known good on disk: what sources said outlives the program.
//!
//! One JSON file, written as a whole beside its place and then renamed, so that a crash
//! leaves the old one or the new one. Programs that share a file each write one of their own
//! first, and the last rename counts. It is read once, at the start, and what is in it is
//! stale until its source speaks. A file that can't be used is told and passed over: a
//! program that starts with no memory is better than one that does not start.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portolan_catalog::{Catalog, InboxHub};
use portolan_model::{Guard, Instance, SourceId, Timestamp};
use portolan_runtime::Env;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The shape of the file.
const VERSION: u32 = 1;
/// The largest file that is written or read, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// Changes are gathered for so long.
const GATHERING: Duration = Duration::from_secs(1);
/// A file that could not be written is tried again after so long.
const RETRY: Duration = Duration::from_secs(30);
/// Nobody but the program's user: metadata may hold secrets.
const MODE: u32 = 0o600;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Opening a pipe would wait for whoever writes into it.
    #[error("it is no regular file")]
    NoFile,
    #[error("it is over the limit of {BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is no memory of discovered services: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("its version is {0}, and {VERSION} is read")]
    Version(u32),
}

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    version: u32,
    written_at: Timestamp,
    instances: Vec<Arc<Instance>>,
}

/// Only this much is read of a file of another version.
#[derive(Debug, Deserialize)]
struct Cover {
    version: u32,
}

/// What is remembered.
pub(super) struct Memory {
    env: Env,
    path: PathBuf,
    said: BTreeMap<SourceId, Vec<Arc<Instance>>>,
}

impl Memory {
    /// Reads the file, if there is one.
    pub(super) fn open(path: PathBuf, env: &Env) -> Self {
        let page = read(&path).unwrap_or_else(|unusable| {
            let path = path.display();
            tracing::warn!(%path, reason = %unusable, "what was discovered before can't be read; starting without it");
            None
        });
        let mut said: BTreeMap<SourceId, Vec<Arc<Instance>>> = BTreeMap::new();
        for instance in page.map(|page| page.instances).unwrap_or_default() {
            let source = instance.source.clone();
            said.entry(source).or_default().push(instance);
        }
        Self {
            env: env.clone(),
            path,
            said,
        }
    }

    /// Tells the fold what that source said before; it has an inbox.
    pub(super) fn remind(&self, hub: &InboxHub, source: &SourceId) {
        if let Some(instances) = self.said.get(source) {
            // It is taken in before anything that the source says.
            let _ticket = hub.recollection().remind(source, instances.clone());
        }
    }

    /// Writes what is known whenever it has changed.
    pub(super) async fn record(self, mut catalog: watch::Receiver<Catalog>) {
        let mut written = None;
        let mut is_well = true;
        loop {
            let changed = catalog.changed();
            let changed = if is_well {
                changed.await
            } else {
                self.env.timeout(RETRY, changed).await.unwrap_or(Ok(()))
            };
            if changed.is_err() {
                return;
            }
            self.env.sleep(GATHERING).await;
            let latest = catalog.borrow_and_update().clone();
            if Some(latest.revision()) == written || !speaks(&latest) {
                continue;
            }
            let revision = latest.revision();
            let outcome = self.write(latest).await;
            if outcome.is_ok() {
                written = Some(revision);
            }
            if let (Err(unusable), true) = (&outcome, is_well) {
                let path = self.path.display();
                tracing::warn!(%path, reason = %unusable, "what is discovered can't be written down");
            }
            is_well = outcome.is_ok();
        }
    }

    async fn write(&self, catalog: Catalog) -> Result<(), Unusable> {
        let (path, written_at) = (self.path.clone(), self.env.now());
        let mut fresh = path.clone().into_os_string();
        fresh.push(format!(".{:016x}.new", self.env.dice().u64()));
        let writing = tokio::task::spawn_blocking(move || {
            let instances = catalog.services().flat_map(|service| &service.instances);
            let page = Page {
                version: VERSION,
                written_at,
                instances: instances.map(bare).collect(),
            };
            write(&path, fresh.as_ref(), &page)
        });
        writing.await.map_err(io::Error::from)?
    }
}

/// Whether a source knows something that is not in the file.
fn speaks(catalog: &Catalog) -> bool {
    let mut sources = catalog.sources().iter();
    sources.any(|source| source.stale.is_none() && source.heard_at.is_some())
}

/// The instance without what others than its source say of it.
fn bare(instance: &Arc<Instance>) -> Arc<Instance> {
    let mut bare = Arc::clone(instance);
    if bare.state.stale || bare.state.guard != Guard::None {
        let state = &mut Arc::make_mut(&mut bare).state;
        (state.stale, state.guard) = (false, Guard::None);
    }
    bare
}

fn read(path: &Path) -> Result<Option<Page>, Unusable> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(Unusable::NoFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut text = Vec::new();
    File::open(path)?
        .take(BYTES_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Unusable::TooLarge);
    }
    parse(&text).map(Some)
}

fn parse(text: &[u8]) -> Result<Page, Unusable> {
    let Cover { version } = serde_json::from_slice(text)?;
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    Ok(serde_json::from_slice(text)?)
}

/// Writes a page to `fresh`, which nobody else has, and puts it in its place.
fn write(path: &Path, fresh: &Path, page: &Page) -> Result<(), Unusable> {
    let text = serde_json::to_vec(page)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Unusable::TooLarge);
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(fresh)?;
    let placed = file
        .write_all(&text)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(fresh, path));
    if let Err(error) = placed {
        // It may be what fills the disk.
        let _removed = fs::remove_file(fresh);
        return Err(error.into());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use portolan_testkit::Scratch;

    use super::{super::tests::instance, *};

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let scratch = Scratch::new();
        let path = scratch.write("services.json", "");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(BYTES_MAX).unwrap();
        assert!(matches!(read(&path), Err(Unusable::Shape(_))));
        file.set_len(BYTES_MAX + 1).unwrap();
        assert!(matches!(read(&path), Err(Unusable::TooLarge)));
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let scratch = Scratch::new();
        assert!(matches!(read(scratch.path()), Err(Unusable::NoFile)));
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(Unusable::NoFile)
        ));
    }

    /// A page with one of everything.
    fn page() -> Vec<u8> {
        let text = r#"{"version":1,"written_at":1800000000000,"instances":[]}"#;
        let mut page: Page = serde_json::from_str(text).unwrap();
        page.instances.push(Arc::new(instance("a")));
        serde_json::to_vec(&page).unwrap()
    }

    #[test]
    fn a_page_that_was_cut_short_or_changed_is_read_or_refused() {
        let whole = page();
        let outcome = |text: &[u8]| parse(text).map(|page| page.instances.len());
        assert_eq!(outcome(&whole).unwrap(), 1);
        for cut in 0..whole.len() {
            let told = outcome(&whole[..cut]).unwrap_err().to_string();
            assert!(told.starts_with("it is no memory"), "{cut}: {told}");
        }
        let mut refused = 0;
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match outcome(&damaged) {
                Ok(count) => assert_eq!(count, 1, "{bit}"),
                Err(Unusable::Shape(_) | Unusable::Version(_)) => refused += 1,
                Err(told) => panic!("{bit}: {told}"),
            }
        }
        assert!(refused > whole.len(), "{refused}");
    }

    #[test]
    fn a_page_that_can_not_be_written_leaves_the_old_one() {
        let scratch = Scratch::new();
        let path = scratch.path().join("services.json");
        let page = |at| Page {
            version: VERSION,
            written_at: Timestamp::from_millis(at),
            instances: Vec::new(),
        };
        assert!(read(&path).unwrap().is_none());
        let fresh = scratch.path().join("services.json.new");
        write(&path, &fresh, &page(7)).unwrap();
        // Somebody else is writing there.
        fs::write(&fresh, "half a page").unwrap();
        assert!(write(&path, &fresh, &page(8)).is_err());
        assert_eq!(fs::read_to_string(&fresh).unwrap(), "half a page");
        let kept = read(&path).unwrap().unwrap();
        assert_eq!(kept.written_at, Timestamp::from_millis(7));
        let folder = scratch.path().join("folder");
        fs::create_dir_all(folder.join("in the way")).unwrap();
        let fresh = scratch.path().join("folder.new");
        assert!(write(&folder, &fresh, &page(8)).is_err());
        assert!(!fresh.exists());
    }
}
