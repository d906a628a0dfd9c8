//! The files and what they last said.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use portolan_model::SourceId;

use super::{map::Reading, tree::Flaw};

/// Most files of a folder.
pub(super) const FILES_MAX: usize = 1000;
/// Largest file, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;

/// What may be skipped when files are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing: somebody wrote.
    Nothing,
    /// Files that look as they did.
    Looks,
}

/// The files and what they last said.
#[derive(Debug)]
pub(super) struct Files {
    source: SourceId,
    path: PathBuf,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Debug, Default)]
struct Known {
    looks: Option<Looks>,
    /// The last good reading, filled in by those before.
    reading: Option<Reading>,
    /// What hides the whole file now.
    broken: Option<Flaw>,
}

/// What a file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    modified: Option<SystemTime>,
    bytes: u64,
    /// Not a pipe or a device, which need not end.
    regular: bool,
}

/// What all files say together.
#[derive(Debug, Default)]
pub(super) struct View {
    /// `None` if nothing could be read yet.
    pub(super) all: Option<Reading>,
    /// What is wrong, each with its place.
    pub(super) reasons: Vec<String>,
}

impl Files {
    pub(super) fn new(source: &SourceId, path: &Path) -> Self {
        Self {
            source: source.clone(),
            path: path.to_owned(),
            known: BTreeMap::new(),
        }
    }

    /// Reads what changed. Blocks.
    pub(super) fn read(&mut self, trust: Trust) -> View {
        let mut reasons = Vec::new();
        match list(&self.path) {
            Ok(paths) => {
                self.known.retain(|path, _| paths.contains(path));
                for path in paths {
                    let known = self.known.entry(path.clone()).or_default();
                    known.read(&self.source, &path, trust);
                }
            }
            Err(reason) => reasons.push(format!("{}: {reason}", self.path.display())),
        }
        self.merge(reasons)
    }

    fn merge(&self, mut reasons: Vec<String>) -> View {
        let mut all: Option<Reading> = None;
        for (path, known) in &self.known {
            let flaws = known.reading.iter().flat_map(|reading| &reading.flaws);
            for flaw in known.broken.iter().chain(flaws) {
                reasons.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    flaw.line,
                    flaw.message
                ));
            }
            let Some(reading) = &known.reading else {
                continue;
            };
            let all = all.get_or_insert_default();
            all.services.extend(reading.services.iter().cloned());
            for (place, instance) in &reading.instances {
                if all.instances.contains_key(place) {
                    let (key, id) = place;
                    let twice = "is in another file, too, which counts";
                    let file = path.display();
                    reasons.push(format!("{file}: the instance `{id}` of `{key}` {twice}"));
                } else {
                    all.instances.insert(place.clone(), Arc::clone(instance));
                }
            }
        }
        View { all, reasons }
    }
}

impl Known {
    fn read(&mut self, source: &SourceId, path: &Path, trust: Trust) {
        let looks = fs::metadata(path).map(|metadata| Looks {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            regular: metadata.is_file(),
        });
        let same = looks.as_ref().ok() == self.looks.as_ref();
        if trust == Trust::Looks && same && looks.is_ok() {
            return;
        }
        self.looks = looks.as_ref().ok().copied();
        let text = looks.and_then(|looks| read(path, looks));
        let text = text.map_err(|error| Flaw::new(1, error.to_string()));
        match text.and_then(|text| Reading::parse(source, &text)) {
            Ok(mut reading) => {
                if let Some(before) = &self.reading {
                    reading.keep_hidden(before);
                }
                (self.reading, self.broken) = (Some(reading), None);
            }
            Err(flaw) => self.broken = Some(flaw),
        }
    }
}

fn read(path: &Path, looks: Looks) -> io::Result<String> {
    if !looks.regular {
        return Err(io::Error::other("this is neither a file nor a folder"));
    }
    let mut text = String::new();
    let most = FILE_BYTES_MAX.saturating_add(1);
    let bytes = fs::File::open(path)?.take(most).read_to_string(&mut text)?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        return Ok(text);
    }
    let limit = format!("the file is over the limit of {FILE_BYTES_MAX} bytes");
    Err(io::Error::new(io::ErrorKind::FileTooLarge, limit))
}

/// The files at a path: itself, or those of the folder.
fn list(path: &Path) -> Result<Vec<PathBuf>, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let fits = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if fits && !hidden && path.is_file() {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err(format!("the folder has more than {FILES_MAX} files"));
        }
    }
    if paths.is_empty() {
        // An unmounted volume looks like this; nobody says "no services" that way.
        return Err("the folder has no *.yaml, *.yml or *.json files".to_owned());
    }
    paths.sort();
    Ok(paths)
}
