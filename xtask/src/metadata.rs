//! What cargo says about the workspace and its dependencies.

use std::{path::Path, process::Command};

use serde::Deserialize;

use crate::Failure;

/// Every package that a build for this machine may use.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    members: Vec<Member>,
    /// Packages from elsewhere.
    pub(crate) foreign: Vec<Foreign>,
}

/// A crate of ours.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Its manifest, relative to the root.
    pub(crate) manifest: String,
    pub(crate) dependencies: Vec<Arrow>,
}

/// A dependency of a crate of ours.
#[derive(Clone, Debug)]
pub(crate) struct Arrow {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Dev,
    Build,
}

/// A package from elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
}

impl Member {
    /// Its folder, relative to the root.
    pub(crate) fn folder(&self) -> String {
        self.manifest.trim_end_matches("/Cargo.toml").to_owned()
    }
}

impl Metadata {
    /// Asks cargo; the lock file must be up to date.
    pub(crate) fn of_workspace(root: &Path) -> Result<Self, Failure> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([
                "metadata",
                "--format-version=1",
                "--locked",
                "--all-features",
            ])
            .current_dir(root);
        cargo.arg("--filter-platform").arg(host(root)?);
        let output = run(&mut cargo)?;
        let raw: Raw = serde_json::from_slice(&output)
            .map_err(|error| Failure::Metadata(error.to_string()))?;
        Ok(Self::from_raw(root, raw))
    }

    #[cfg(test)]
    pub(crate) fn of_members(members: Vec<Member>) -> Self {
        Self {
            members,
            foreign: Vec::new(),
        }
    }

    /// The crates of the workspace.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.members.clone()
    }

    fn from_raw(root: &Path, raw: Raw) -> Self {
        let mut metadata = Self::default();
        let used: Vec<String> = raw.resolve.nodes.into_iter().map(|node| node.id).collect();
        for package in raw
            .packages
            .into_iter()
            .filter(|package| used.contains(&package.id))
        {
            if package.source.is_some() {
                metadata.foreign.push(Foreign {
                    name: package.name,
                    version: package.version,
                    licence: package.license,
                });
                continue;
            }
            let manifest = Path::new(&package.manifest_path);
            let manifest = manifest.strip_prefix(root).unwrap_or(manifest);
            metadata.members.push(Member {
                name: package.name,
                manifest: manifest.to_string_lossy().into_owned(),
                dependencies: package.dependencies.into_iter().map(Arrow::from).collect(),
            });
        }
        metadata
    }
}

impl From<RawDependency> for Arrow {
    fn from(raw: RawDependency) -> Self {
        let kind = match raw.kind.as_deref() {
            Some("dev") => Kind::Dev,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        };
        Self {
            name: raw.name,
            kind,
        }
    }
}

/// The triple of this machine: crates for other systems are not even fetched.
fn host(root: &Path) -> Result<String, Failure> {
    let output = run(Command::new(env!("CARGO")).arg("-vV").current_dir(root))?;
    let text = String::from_utf8_lossy(&output);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::Metadata("cargo -vV names no host".to_owned()))
}

fn run(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let output = command
        .output()
        .map_err(|error| Failure::Metadata(error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::Metadata(message))
}

#[derive(Deserialize)]
struct Raw {
    packages: Vec<RawPackage>,
    resolve: RawResolve,
}

#[derive(Deserialize)]
struct RawResolve {
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawNode {
    id: String,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    license: Option<String>,
    manifest_path: String,
    dependencies: Vec<RawDependency>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    kind: Option<String>,
}
