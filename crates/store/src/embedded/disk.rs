//! The file below the engine.
//!
//! Room is reserved when the file grows, so that a full disk says so then and not in the middle
//! of a commit or, worse, when it is synced.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    ops::Bound,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use portolan_model::ByteSize;
use redb::{BackendError, Builder, Database, Error, StorageBackend, backends::FileBackend};
use rustix::fs::{FallocateFlags, fallocate};

use super::{
    format,
    rewriting::{Rewriting, Unsynced},
};

/// Where the file's header has its flags, and the one that says that a writer is at work.
const FLAGS_AT: u64 = 9;
const IN_USE: u8 = 0b10;

/// Where the engine keeps its database.
pub(super) trait Disk: fmt::Debug + Send {
    /// Opens what is stored, or an empty database: at the start, and after every failure.
    fn open(&mut self) -> Result<Opening, Error>;

    /// How messages call it.
    fn path(&self) -> &Path;
}

/// An open database.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) database: Database,
    /// Whoever had it open before did not close it.
    pub(super) was_in_use: bool,
    /// There was none before.
    pub(super) is_new: bool,
}

/// Makes an empty database of the present format.
pub(super) fn make_database(backend: impl StorageBackend) -> Result<(), Error> {
    let database = Builder::new().create_with_backend(backend)?;
    format::write_first(&database)?;
    Ok(database.close()?)
}

/// Opens the database on a backend and verifies all of it.
pub(super) fn open_database(
    backend: impl StorageBackend,
    cache: ByteSize,
) -> Result<Opening, Error> {
    let mut flags = [0];
    let was_in_use = backend.len()? > FLAGS_AT
        && backend.read(FLAGS_AT, &mut flags).is_ok()
        && flags[0] & IN_USE != 0;
    let mut builder = Builder::new();
    builder
        .set_cache_size(cache.as_usize())
        .set_check_integrity_on_open(true);
    // Bytes that no version of the library wrote can reach its own assertions.
    let opened = catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)));
    let database = opened.map_err(|_| Error::Corrupted("its trees make no sense".to_owned()))??;
    Ok(Opening {
        database,
        was_in_use,
        is_new: false,
    })
}

/// A file of the operating system.
#[derive(Debug)]
pub(super) struct FileDisk {
    path: PathBuf,
    cache: ByteSize,
    unsynced: Arc<Unsynced>,
    /// The file was there.
    was_open: bool,
}

impl FileDisk {
    pub(super) fn new(path: PathBuf, cache: ByteSize) -> Self {
        Self {
            path,
            cache,
            unsynced: Arc::default(),
            was_open: false,
        }
    }
}

impl FileDisk {
    /// Makes the file beside and gives it its name when it is whole: power that is lost on the
    /// way leaves none, and not half of one.
    fn make(&self) -> Result<(), Error> {
        let beside = with_suffix(&self.path, ".new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        make_database(ReservedFile::open(&options, &beside)?)?;
        fs::rename(&beside, &self.path)?;
        Ok(sync_folder(&self.path)?)
    }
}

impl Disk for FileDisk {
    fn open(&mut self) -> Result<Opening, Error> {
        let is_new = !is_filled(&self.path)?;
        if is_new && self.was_open {
            // Its volume went, or somebody removed it: one that begins anew would hide that.
            let gone = "the file is gone while it was in use";
            return Err(io::Error::new(ErrorKind::NotFound, gone).into());
        }
        if is_new {
            self.make()?;
        }
        self.was_open = true;
        let file = ReservedFile::open(OpenOptions::new().read(true).write(true), &self.path)?;
        let backend = Rewriting::new(file, Arc::clone(&self.unsynced))?;
        let opening = open_database(backend, self.cache)?;
        Ok(Opening { is_new, ..opening })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether there is a file with something in it.
fn is_filled(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// `path` with something after its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the name of a new file survive, which a sync of the file itself does not.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// A file whose growth is reserved. Locks are those of the library.
#[derive(Debug)]
struct ReservedFile {
    file: File,
    /// The same open file.
    locks: FileBackend,
}

impl ReservedFile {
    fn open(options: &OpenOptions, path: &Path) -> Result<Self, Error> {
        let file = options.open(path)?;
        Ok(Self {
            locks: FileBackend::new(file.try_clone()?)?,
            file,
        })
    }
}

impl StorageBackend for ReservedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let present = self.file.metadata()?.len();
        if length <= present {
            return self.file.set_len(length);
        }
        match fallocate(
            &self.file,
            FallocateFlags::empty(),
            present,
            length - present,
        ) {
            Ok(()) => Ok(()),
            // Some file systems can't reserve.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.file.set_len(length)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.locks.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.locks.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locks.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locks.query_lock_range(start, end)
    }
}
