//! Rules of style that the compiler's lints can't say.

use crate::{finding::Finding, rust_text};

use super::Source;

/// Marks of unfinished work, spelt apart so that this file holds none.
const MARKS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

pub(super) fn check(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let file = source.file;
    if !file.text.trim_start().starts_with("//!") {
        findings.push(Finding::at(
            &file.path,
            1,
            "no module doc: begin with `//!` and what it is",
        ));
    }
    check_attributes(source, findings);
    check_marks(source, findings);
    check_globs(source, findings);
}

fn check_attributes(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let (path, masked) = (&source.file.path, &source.masked);
    let attributes = masked
        .match_indices("#[")
        .chain(masked.match_indices("#!["));
    for (at, start) in attributes {
        let attribute = &masked[at..rust_text::closing(masked, at + start.len() - 1)];
        let line = rust_text::line_of(masked, at);
        if has_word(attribute, "allow") {
            let message = "`allow` hides what changes: use `expect` with a reason";
            findings.push(Finding::at(path, line, message));
        }
        if attribute.starts_with(&format!("{start}expect(")) && !has_word(attribute, "reason") {
            findings.push(Finding::at(path, line, "`expect` without a reason"));
        }
    }
}

fn check_marks(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let text = &source.file.text;
    for mark in MARKS {
        for at in rust_text::words(text, mark) {
            let issue = text[at + mark.len()..].strip_prefix("(#");
            if !issue.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                let line = rust_text::line_of(text, at);
                let message = format!("a {mark} needs its issue: `{mark}(#123): ...`");
                findings.push(Finding::at(&source.file.path, line, message));
            }
        }
    }
}

fn check_globs(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let code = rust_text::without_tests(&source.masked);
    if source.file.is_tests() {
        return;
    }
    for line in code.lines().map(str::trim) {
        let import = line.starts_with("use ") || line.starts_with("pub use ");
        if import && line.contains("::*") {
            let place = source.file.text.find(line);
            let number = place.map_or(0, |at| rust_text::line_of(&source.file.text, at));
            let message = "a glob import hides where names come from";
            findings.push(Finding::at(&source.file.path, number, message));
        }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    rust_text::words(text, word).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    fn style(text: &str) -> Vec<String> {
        found(&format!("//! Doc.\n{text}"), "a.rs", check)
    }

    #[test]
    fn a_file_without_module_doc_is_found() {
        assert_eq!(found("fn a() {}", "a.rs", check).len(), 1);
    }

    #[test]
    fn lints_are_expected_with_a_reason() {
        assert_eq!(style("#[allow(dead_code)]\nfn a() {}").len(), 1);
        assert_eq!(style("#![cfg_attr(test, allow(dead_code))]").len(), 1);
        assert_eq!(style("#[expect(dead_code)]").len(), 1);
        assert!(style("#[expect(dead_code, reason = \"why\")]\nfn allow() {}").is_empty());
    }

    #[test]
    fn a_mark_names_its_issue() {
        let mark = MARKS[0];
        assert_eq!(style(&format!("// {mark}: later")).len(), 1);
        assert!(style(&format!("// {mark}(#12): later")).is_empty());
    }

    #[test]
    fn globs_are_for_tests() {
        assert_eq!(style("use a::*;").len(), 1);
        assert!(style("#[cfg(test)]\nmod tests {\n    use super::*;\n}").is_empty());
    }
}
