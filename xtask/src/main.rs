//! The project's own tools.
//!
//! `tidy` executes the rules of the house as tests: sizes, floors, names, docs in
//! step. `api` lists what the client library hands out. `docs` writes the reference pages from the tables in the code. `licences`
//! looks at what the dependencies demand and at what is known against them.

mod advisories;
mod api;
mod dependencies;
mod docs;
mod finding;
mod licences;
mod metadata;
mod rust_text;
mod tidy;
mod tree;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use finding::Finding;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  tidy       check the rules of the house (sizes, floors, names, reference pages)
  api        write the list of the client library's public API
  docs       write the reference pages from the tables in the code
  licences   check licences of dependencies, and advisories as far as known offline
";

/// A tool that could not do its work; a finding is no failure.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cargo metadata: {0}")]
    Metadata(String),
}

fn main() -> ExitCode {
    let root = root();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["tidy"] => tidy::check(&root),
        ["api"] => api::write(&root).map(|()| Vec::new()),
        ["docs"] => docs::write(&root).map(|()| Vec::new()),
        ["licences"] => dependencies::check(&root),
        _ => return usage(),
    };
    match outcome {
        Ok(findings) => report(words[0], &findings),
        Err(failure) => {
            let _unwritable = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn usage() -> ExitCode {
    let _unwritable = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::FAILURE
}

fn report(command: &str, findings: &[Finding]) -> ExitCode {
    let mut out = io::stdout().lock();
    for finding in findings {
        let _unwritable = writeln!(out, "{finding}");
    }
    if findings.is_empty() {
        let _unwritable = writeln!(out, "{command}: nothing to find");
        return ExitCode::SUCCESS;
    }
    let _unwritable = writeln!(out, "{command}: {} found", findings.len());
    ExitCode::FAILURE
}
