//! From a configuration file to a plan.

use std::{env, error::Error, fs, io, path::Path};

use portolan_config::{Finding, Outside, Plan, Shelves, read};
use portolan_model::{
    Problem,
    route::{CertificateFiles, Protocol, UpstreamTls, Verify},
};
use portolan_runtime::Env;
use portolan_wire::tls::{Alpn, ClientTls, ServerSettings, ServerTls, Versions};

/// The tables of plugs of this program.
pub(crate) const SHELVES: Shelves<'static> = Shelves {
    policies: portolan_policies::KINDS,
    sources: &[
        portolan_sources::KINDS,
        portolan_coordinators::KINDS,
        portolan_orchestrators::KINDS,
        portolan_clouds::KINDS,
    ],
    balancers: portolan_balance::KINDS,
};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file can't be read.
    #[error("can't read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file can't be a plan.
    #[error("{file} has errors")]
    Findings {
        /// The file.
        file: String,
        /// Its text.
        text: String,
        /// Everything that is wrong.
        findings: Vec<Finding>,
    },
}

/// A plan and the text that it was read from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The plan; what is wrong with single objects is in its findings.
    pub plan: Plan,
    /// The text of the file.
    pub text: String,
}

/// Reads a configuration file.
///
/// # Errors
/// [`LoadError`]: the file, or the configuration as a whole, is unusable.
pub(crate) fn load(path: &Path) -> Result<Loaded, LoadError> {
    let file = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) => return Err(LoadError::Read { file, source }),
    };
    let outside = Outside {
        shelves: SHELVES,
        folder: path.parent().unwrap_or(Path::new("")),
        variable: &variable,
        certificate: &certificate,
        roots: &roots,
    };
    match read(&file, &text, &outside) {
        Ok(plan) => Ok(Loaded { plan, text }),
        Err(findings) => Err(LoadError::Findings {
            file,
            text,
            findings,
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only the binary reads the environment, and this is it"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn certificate(files: &CertificateFiles) -> Result<(), Problem> {
    let settings = ServerSettings {
        certificates: vec![files.clone()],
        versions: Versions::default(),
        alpn: Alpn::default(),
        clients: None,
    };
    let Err(errors) = ServerTls::new(&settings, Env::system().now()) else {
        return Ok(());
    };
    let Some(error) = errors.first() else {
        return Ok(());
    };
    let message = chain(error);
    let key = files.key.display().to_string();
    let path = if message.contains(&key) {
        "/key"
    } else {
        "/certificate"
    };
    Err(Problem::new(path, message))
}

fn roots(path: &Path) -> Result<(), Problem> {
    let settings = UpstreamTls {
        server_name: None,
        ca: Some(path.to_owned()),
        certificate: None,
        verify: Verify::Full,
    };
    match ClientTls::new().connector(&settings, Protocol::Auto) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::new("", chain(&error))),
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    //! Claims about every row of the shelves of sources.

    use portolan_catalog::SourceKind;

    use super::*;

    fn kinds() -> impl Iterator<Item = &'static SourceKind> {
        SHELVES.sources.iter().copied().flatten()
    }

    fn findings(kind: &SourceKind, settings: &str) -> Vec<Finding> {
        let lines = settings.lines().map(|line| format!("      {line}\n"));
        let lines: String = lines.collect();
        let text = format!("sources:\n  one:\n    {}:\n{lines}", kind.name);
        let outside = Outside {
            shelves: SHELVES,
            folder: Path::new("/nowhere"),
            variable: &|_| None,
            certificate: &|_| Ok(()),
            roots: &|_| Ok(()),
        };
        match read("portolan.yaml", &text, &outside) {
            Ok(plan) => plan.findings,
            Err(findings) => findings,
        }
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let mut names: Vec<_> = kinds().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), kinds().count());
    }

    #[test]
    fn every_example_is_accepted_and_every_bad_example_is_refused() {
        for kind in kinds() {
            let good = findings(kind, kind.example);
            assert!(good.is_empty(), "{}: {good:?}", kind.name);
            let bad = findings(kind, kind.bad_example);
            assert!(bad.len() > 1, "{}: {bad:?}", kind.name);
        }
    }

    #[test]
    fn every_line_of_a_mapping_says_what_something_becomes() {
        let ours = [
            "namespace",
            "service",
            "id",
            "address",
            "port",
            "version",
            "zone",
            "weight",
            "health",
            "out of service",
            "leaving",
            "tags",
            "metadata",
            "all fields",
        ];
        for kind in kinds() {
            assert!(kind.mapping.lines().count() > 3, "{}", kind.name);
            for line in kind.mapping.lines() {
                let becomes = line.split_once(" -> ").map(|(_, becomes)| becomes);
                let is_ours = |becomes: &str| ours.iter().any(|word| becomes.starts_with(word));
                assert!(becomes.is_some_and(is_ours), "{}: {line}", kind.name);
            }
        }
    }

    #[test]
    fn every_schema_describes_every_field() {
        for kind in kinds() {
            let schema = (kind.schema)();
            let fields = schema["properties"].as_object().unwrap();
            assert!(
                fields
                    .values()
                    .all(|field| field["description"].is_string()),
                "{}",
                kind.name
            );
            assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
        }
    }
}
