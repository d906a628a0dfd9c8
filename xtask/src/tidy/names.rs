//! Words that say nothing are no names.

use crate::{finding::Finding, metadata::Metadata};

use super::Source;

/// Names under which unrelated things gather.
const EMPTY_WORDS: [&str; 7] = [
    "util", "utils", "common", "helper", "helpers", "misc", "prelude",
];
/// Crates in the workspace; more is a sign that crates are too small.
const CRATES_MAX: usize = 32;

pub(super) fn check_module(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let path = &source.file.path;
    if source.file.is_tests() {
        return;
    }
    let words = path.trim_end_matches(".rs").split('/');
    for word in words.filter(|word| EMPTY_WORDS.contains(word)) {
        let message = format!("`{word}` says nothing: name the noun that lives there");
        findings.push(Finding::of_file(path, message));
    }
}

pub(super) fn check_crates(metadata: &Metadata, findings: &mut Vec<Finding>) {
    let members = metadata.members();
    let count = members
        .iter()
        .filter(|member| member.folder().starts_with("crates/"))
        .count();
    if count > CRATES_MAX {
        let message = format!("{count} crates; at most {CRATES_MAX}");
        findings.push(Finding::of_file("Cargo.toml", message));
    }
    for member in members {
        let folder = member.folder();
        if let Some(name) = folder.strip_prefix("crates/")
            && member.name != format!("portolan-{name}")
            && member.name != name
        {
            let message = format!(
                "the package is called `{}`, not `portolan-{name}`",
                member.name
            );
            findings.push(Finding::of_file(&folder, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn empty_words_are_found_as_file_and_folder() {
        assert_eq!(found("", "crates/a/src/utils.rs", check_module).len(), 1);
        assert_eq!(found("", "crates/common/src/lib.rs", check_module).len(), 1);
        assert!(found("", "crates/a/src/commonplace.rs", check_module).is_empty());
    }
}
