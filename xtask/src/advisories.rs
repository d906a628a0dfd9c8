//! Known vulnerabilities, from a list in the tree.
//!
//! The live database can't be read offline, so this finds what was known when the
//! list was made; `cargo deny check advisories` finds the rest.

use semver::{Version, VersionReq};

const LIST: &str = include_str!("../advisories.txt");

/// An advisory about one package.
#[derive(Clone, Debug)]
pub(crate) struct Advisory {
    /// Its id in the database.
    pub(crate) id: &'static str,
    package: &'static str,
    /// Requirements; a version that meets one of them is safe.
    safe: &'static str,
}

/// Every advisory of the list.
pub(crate) fn all() -> impl Iterator<Item = Advisory> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (id, rest) = line.split_once(' ')?;
        let (package, safe) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Advisory { id, package, safe })
    })
}

/// When the list was made.
pub(crate) fn as_of() -> &'static str {
    let words = LIST
        .lines()
        .next()
        .unwrap_or_default()
        .split("as of ")
        .nth(1);
    words
        .and_then(|rest| rest.split(':').next())
        .unwrap_or("an unknown day")
}

impl Advisory {
    /// Whether it speaks of that version of that package.
    pub(crate) fn concerns(&self, package: &str, version: &Version) -> bool {
        let safe = |requirement: &str| {
            VersionReq::parse(requirement).is_ok_and(|requirement| requirement.matches(version))
        };
        self.package == package && !self.safe.split(" || ").any(safe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_safe_from_the_patch_on() {
        let flood = all()
            .find(|advisory| advisory.id == "RUSTSEC-2024-0332")
            .unwrap();
        for (version, concerned) in [("0.4.3", true), ("0.4.4", false), ("0.3.26", false)] {
            let version = Version::parse(version).unwrap();
            assert_eq!(flood.concerns("h2", &version), concerned, "{version}");
            assert!(!flood.concerns("hyper", &version));
        }
    }

    #[test]
    fn the_list_can_be_read() {
        assert!(all().count() > 500);
        assert_eq!(as_of().len(), "2026-01-01".len(), "{}", as_of());
        for advisory in all() {
            for requirement in advisory.safe.split(" || ").filter(|text| !text.is_empty()) {
                assert!(VersionReq::parse(requirement).is_ok(), "{advisory:?}");
            }
        }
    }
}
