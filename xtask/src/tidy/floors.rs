//! An arrow between crates only ever goes to a lower floor.

use crate::{
    finding::Finding,
    metadata::{Kind, Member, Metadata},
};

/// Crates by floor, lowest first. Within a floor nobody depends on anybody.
const FLOORS: [&[&str]; 9] = [
    &["model"],
    &["runtime", "console", "expression"],
    &[
        "catalog",
        "router",
        "balance",
        "policy",
        "telemetry",
        "dialects",
        "access",
    ],
    &["config", "wire", "store", "forwarder"],
    &["probe"],
    &[
        "snapshot", "sources", "policies", "ai", "registry", "ledger", "auth",
    ],
    &[
        "gateway",
        "dns",
        "admin",
        "consul",
        "eureka",
        "coordinators",
        "orchestrators",
        "clouds",
    ],
    &["client"],
    &["portolan"],
];
/// For tests of every crate; stands on the lowest two floors itself.
const TESTKIT: &str = "testkit";
const TESTKIT_FLOOR: usize = 2;

pub(super) fn check(metadata: &Metadata, findings: &mut Vec<Finding>) {
    for member in metadata.members() {
        let folder = member.folder();
        let Some(name) = folder.strip_prefix("crates/") else {
            continue;
        };
        let Some(floor) = floor_of(name) else {
            let message = "stands on no floor: give it one in ARCHITECTURE.md and in xtask";
            findings.push(Finding::of_file(&folder, message));
            continue;
        };
        check_arrows(&member, name, floor, findings);
    }
}

fn check_arrows(member: &Member, name: &str, floor: usize, findings: &mut Vec<Finding>) {
    for arrow in &member.dependencies {
        let Some(target) = arrow.name.strip_prefix("portolan-") else {
            continue;
        };
        let for_tests = arrow.kind == Kind::Dev && target == TESTKIT;
        let lower = target != TESTKIT && floor_of(target).is_some_and(|below| below < floor);
        if !lower && !for_tests {
            let message =
                format!("`{name}` must not depend on `{target}`: it is not on a lower floor");
            findings.push(Finding::of_file(
                &format!("{}/Cargo.toml", member.folder()),
                message,
            ));
        }
    }
}

fn floor_of(name: &str) -> Option<usize> {
    if name == TESTKIT {
        return Some(TESTKIT_FLOOR);
    }
    FLOORS.iter().position(|floor| floor.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Arrow;

    fn arrow(from: &str, to: &str, kind: Kind) -> Vec<Finding> {
        let arrow = Arrow {
            name: format!("portolan-{to}"),
            kind,
        };
        let metadata = Metadata::of_members(vec![Member {
            name: format!("portolan-{from}"),
            manifest: format!("crates/{from}/Cargo.toml"),
            dependencies: vec![arrow],
        }]);
        let mut findings = Vec::new();
        check(&metadata, &mut findings);
        findings
    }

    #[test]
    fn arrows_go_down() {
        assert!(arrow("gateway", "wire", Kind::Normal).is_empty());
        assert!(arrow("runtime", "model", Kind::Normal).is_empty());
        assert_eq!(arrow("wire", "gateway", Kind::Normal).len(), 1);
        assert_eq!(arrow("catalog", "router", Kind::Normal).len(), 1);
        assert_eq!(arrow("catalog", "router", Kind::Dev).len(), 1);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert!(arrow("model", "testkit", Kind::Dev).is_empty());
        assert_eq!(arrow("gateway", "testkit", Kind::Normal).len(), 1);
        assert_eq!(arrow("testkit", "catalog", Kind::Normal).len(), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(arrow("attic", "model", Kind::Normal).len(), 1);
    }
}
