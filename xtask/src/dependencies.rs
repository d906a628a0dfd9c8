//! What the packages that we build on demand, and what is known against them.

use std::{
    io::{self, Write},
    path::Path,
};

use semver::Version;

use crate::{
    Failure, advisories,
    finding::Finding,
    licences,
    metadata::{Foreign, Metadata},
};

const LOCK: &str = "Cargo.lock";

/// Finds licences that are not allowed and versions with known advisories.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let metadata = Metadata::of_workspace(root)?;
    let mut findings = Vec::new();
    for package in &metadata.foreign {
        check_licence(package, &mut findings);
        check_advisories(package, &mut findings);
    }
    let as_of = advisories::as_of();
    let _unwritable = writeln!(
        io::stdout(),
        "licences: {} packages, advisories as of {as_of}; the live list: cargo deny check advisories",
        metadata.foreign.len()
    );
    findings.sort();
    Ok(findings)
}

fn check_licence(package: &Foreign, findings: &mut Vec<Finding>) {
    let Foreign { name, version, .. } = package;
    let licence = package.licence.as_deref().unwrap_or_default();
    if !licences::is_allowed(licence) {
        let message = format!("{name} {version} is under `{licence}`, which is not allowed");
        findings.push(Finding::of_file(LOCK, message));
    }
}

fn check_advisories(package: &Foreign, findings: &mut Vec<Finding>) {
    let Foreign { name, version, .. } = package;
    let Ok(parsed) = Version::parse(version) else {
        findings.push(Finding::of_file(
            LOCK,
            format!("{name} has no version but `{version}`"),
        ));
        return;
    };
    for advisory in advisories::all().filter(|advisory| advisory.concerns(name, &parsed)) {
        let message = format!("{name} {version} has a known advisory: {}", advisory.id);
        findings.push(Finding::of_file(LOCK, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(version: &str, licence: Option<&str>) -> usize {
        let package = Foreign {
            name: "h2".to_owned(),
            version: version.to_owned(),
            licence: licence.map(str::to_owned),
        };
        let mut findings = Vec::new();
        check_licence(&package, &mut findings);
        check_advisories(&package, &mut findings);
        findings.len()
    }

    #[test]
    fn a_package_needs_a_licence_and_a_clean_record() {
        assert_eq!(found("0.4.20", Some("MIT")), 0);
        assert_eq!(found("0.4.20", None), 1);
        assert_eq!(found("0.4.15", Some("MIT")), 1);
    }
}
