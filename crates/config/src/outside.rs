//! What a reader may ask of the world outside. The binary fills it in.

use std::path::Path;

use portolan_balance::BalanceKind;
use portolan_catalog::SourceKind;
use portolan_model::{Problem, route::CertificateFiles};
use portolan_policy::PolicyKind;
use serde_json::Value;

use crate::table::Shelf;

/// The tables of plugs. A kind's row is its rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shelves<'a> {
    /// The policies, in the order of a chain.
    pub policies: &'a [PolicyKind],
    /// The sources, shelf by shelf.
    pub sources: &'a [&'a [SourceKind]],
    /// The balancing algorithms.
    pub balancers: &'a [BalanceKind],
}

/// What all rows of all shelves say of themselves.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) schema: fn() -> Value,
    pub(crate) example: &'static str,
    /// Lines of `theirs -> ours`; empty for what maps nothing.
    pub(crate) mapping: &'static str,
}

macro_rules! kinds {
    ($rows:expr) => {
        kinds!($rows, |_| "")
    };
    ($rows:expr, $mapping:expr) => {
        $rows
            .map(|row| Kind {
                name: row.name,
                summary: row.summary,
                schema: row.schema,
                example: row.example,
                mapping: $mapping(row),
            })
            .collect()
    };
}

impl Shelves<'_> {
    pub(crate) fn kinds(self, of: Shelf) -> Vec<Kind> {
        match of {
            Shelf::Policies => kinds!(self.policies.iter()),
            Shelf::Sources => {
                let rows = self.sources.iter().copied().flatten();
                kinds!(rows, |row: &SourceKind| row.mapping)
            }
            Shelf::Balancers => kinds!(self.balancers.iter()),
        }
    }
}

/// What a reader may ask of the world outside.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The tables of plugs.
    pub shelves: Shelves<'a>,
    /// The folder that file names are relative to.
    pub folder: &'a Path,
    /// Reads a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Opens a certificate and its key. A problem's path is `/certificate` or `/key`.
    pub certificate: &'a dyn Fn(&CertificateFiles) -> Result<(), Problem>,
    /// Opens trusted roots.
    pub roots: &'a dyn Fn(&Path) -> Result<(), Problem>,
}

impl Default for Outside<'_> {
    /// No plugs, no environment; files are not opened.
    fn default() -> Self {
        Self {
            shelves: Shelves::default(),
            folder: Path::new(""),
            variable: &|_| None,
            certificate: &|_| Ok(()),
            roots: &|_| Ok(()),
        }
    }
}
