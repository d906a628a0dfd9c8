//! The rules of the house, each in a file of its own.

mod floors;
mod log_fields;
mod manifest;
mod names;
mod sizes;
mod style;

use std::path::Path;

use crate::{
    Failure, api, docs, finding::Finding, metadata::Metadata, rust_text, tree, tree::SourceFile,
};

/// A source file with what the checks need of it.
struct Source<'a> {
    file: &'a SourceFile,
    /// Its text with comments and literals blanked out.
    masked: String,
}

/// Every broken rule, sorted.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let files = tree::rust_files(root)?;
    let metadata = Metadata::of_workspace(root)?;
    let mut findings = docs::check(root)?;
    findings.extend(api::check(root, &files)?);
    for file in &files {
        let source = Source {
            file,
            masked: rust_text::mask(&file.text),
        };
        sizes::check_file(&source, &mut findings);
        style::check(&source, &mut findings);
        names::check_module(&source, &mut findings);
        log_fields::check(&source, &mut findings);
    }
    sizes::check_crates(&files, &mut findings);
    names::check_crates(&metadata, &mut findings);
    floors::check(&metadata, &mut findings);
    manifest::check(root, &metadata, &mut findings)?;
    findings.sort();
    Ok(findings)
}

#[cfg(test)]
fn found(text: &str, path: &str, check: impl Fn(&Source<'_>, &mut Vec<Finding>)) -> Vec<String> {
    let file = SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let source = Source {
        masked: rust_text::mask(text),
        file: &file,
    };
    let mut findings = Vec::new();
    check(&source, &mut findings);
    findings.iter().map(ToString::to_string).collect()
}
