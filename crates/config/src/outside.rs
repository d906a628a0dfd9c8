//! What a reader may ask of the world outside. The binary fills it in.

use std::path::Path;

use portolan_balance::BalanceKind;
use portolan_catalog::SourceKind;
use portolan_model::{Problem, route::CertificateFiles};
use portolan_policy::PolicyKind;

use crate::table::Shelf;

/// The tables of plugs. A kind's row is its rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shelves<'a> {
    /// The policies, in the order of a chain.
    pub policies: &'a [PolicyKind],
    /// The sources.
    pub sources: &'a [SourceKind],
    /// The balancing algorithms.
    pub balancers: &'a [BalanceKind],
}

impl<'a> Shelves<'a> {
    pub(crate) fn names(self, shelf: Shelf) -> Vec<&'a str> {
        match shelf {
            Shelf::Policies => self.policies.iter().map(|kind| kind.name).collect(),
            Shelf::Sources => self.sources.iter().map(|kind| kind.name).collect(),
            Shelf::Balancers => self.balancers.iter().map(|kind| kind.name).collect(),
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
