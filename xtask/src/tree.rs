//! The files of the project, read once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Failure;

/// Folders whose Rust files are held to the rules.
const FOLDERS: [&str; 4] = ["crates", "xtask", "fuzz", "benchmarks"];
/// Folders that hold no source of ours.
const SKIPPED: [&str; 4] = ["target", "corpus", "artifacts", "node_modules"];

/// A file of the project.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Its path, relative to the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether it holds tests only.
    pub(crate) fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The crate that it belongs to, if it is in `crates`.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

/// Every Rust file of the project, sorted.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<SourceFile>, Failure> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        let folder = root.join(folder);
        if folder.exists() {
            walk(root, &folder, &mut files)?;
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(at(path))
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(SourceFile {
                path: relative(root, &path),
                text: read(&path)?,
            });
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/")
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = PathBuf::from(path);
    move |source| Failure::File {
        path: path.clone(),
        source,
    }
}
