//! Dependencies are declared once, small, and each with its reason.

use std::path::Path;

use crate::{Failure, finding::Finding, metadata::Metadata, tree};

const ROOT: &str = "Cargo.toml";

pub(super) fn check(
    root: &Path,
    metadata: &Metadata,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    check_root(&tree::read(&root.join(ROOT))?, findings);
    for member in metadata.members() {
        check_member(
            &member.manifest,
            &tree::read(&root.join(&member.manifest))?,
            findings,
        );
    }
    Ok(())
}

fn check_root(text: &str, findings: &mut Vec<Finding>) {
    for (number, line) in section(text, |name| name == "workspace.dependencies") {
        if line.contains("path = ") {
            continue;
        }
        if !line.contains("default-features = false") {
            let message = "a dependency with default features: turn them off, name what is needed";
            findings.push(Finding::at(ROOT, number, message));
        }
        if reason(line).is_none() {
            findings.push(Finding::at(ROOT, number, "a dependency without `# reason`"));
        }
    }
}

fn check_member(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (number, line) in section(text, |name| name.ends_with("dependencies")) {
        if !line.contains("workspace = true") {
            let message = "declared here: declare it once, in the workspace's Cargo.toml";
            findings.push(Finding::at(path, number, message));
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::of_file(
            path,
            "does not take the workspace's lints",
        ));
    }
}

/// The entries of the sections whose name is `wanted`, with their line numbers.
fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[') {
            inside = wanted(name.trim_end().trim_end_matches(']'));
        } else if inside && line.contains('=') && !line.starts_with('#') {
            entries.push((index + 1, line));
        }
    }
    entries
}

fn reason(line: &str) -> Option<&str> {
    let (_, reason) = line.rsplit_once('#')?;
    Some(reason.trim()).filter(|reason| !reason.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_small_and_has_a_reason() {
        let line = |line: &str| {
            let mut findings = Vec::new();
            check_root(
                &format!("[workspace.dependencies]\n{line}\n[x]\na = 1\n"),
                &mut findings,
            );
            findings.len()
        };
        assert_eq!(
            line("a = { version = \"1\", default-features = false } # because"),
            0
        );
        assert_eq!(line("a = { version = \"1\", default-features = false }"), 1);
        assert_eq!(line("a = \"1\""), 2);
        assert_eq!(line("a = { path = \"crates/a\" }"), 0);
    }

    #[test]
    fn a_crate_takes_dependencies_from_the_workspace() {
        let text = "[lints]\nworkspace = true\n[dev-dependencies]\na = \"1\"\nb.workspace = true\n";
        let mut findings = Vec::new();
        check_member("crates/a/Cargo.toml", text, &mut findings);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 4);
    }
}
