//! Nothing grows beyond what one sitting can read.

use std::collections::BTreeMap;

use crate::{finding::Finding, rust_text, tree::SourceFile};

use super::Source;

/// Lines of a file, tests put aside.
const FILE_LINES_MAX: usize = 400;
/// Lines of a function that hold code.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a crate, all files.
const CRATE_LINES_MAX: usize = 12_000;

pub(super) fn check_file(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let file = source.file;
    if file.is_tests() {
        return;
    }
    let code = rust_text::without_tests(&source.masked);
    let lines = code.trim_end().lines().count();
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines without tests; at most {FILE_LINES_MAX}: split it");
        findings.push(Finding::of_file(&file.path, message));
    }
    for at in rust_text::words(&code, "fn") {
        check_function(file, &code, at, findings);
    }
}

fn check_function(file: &SourceFile, code: &str, at: usize, findings: &mut Vec<Finding>) {
    let Some(length) = code[at..].find(['{', ';']) else {
        return;
    };
    let open = at + length;
    if code.as_bytes()[open] == b';' {
        return;
    }
    let body = &code[open..rust_text::closing(code, open)];
    let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > FUNCTION_LINES_MAX {
        // Tests are left out of `code`, so look the place up in the whole text.
        let signature = code[at..open].lines().next().unwrap_or_default().trim_end();
        let line = file
            .text
            .find(signature)
            .map_or(0, |at| rust_text::line_of(&file.text, at));
        let message = format!(
            "a function of {lines} lines; at most {FUNCTION_LINES_MAX}: let parts of it be functions"
        );
        findings.push(Finding::at(&file.path, line, message));
    }
}

pub(super) fn check_crates(files: &[SourceFile], findings: &mut Vec<Finding>) {
    let mut lines = BTreeMap::<&str, usize>::new();
    for file in files {
        if let Some(name) = file.crate_name() {
            *lines.entry(name).or_default() += file.text.lines().count();
        }
    }
    for (name, lines) in lines {
        if lines > CRATE_LINES_MAX {
            let message =
                format!("{lines} lines; at most {CRATE_LINES_MAX}: a second noun is in it");
            findings.push(Finding::of_file(&format!("crates/{name}"), message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn a_file_is_refused_at_one_past_the_limit() {
        let fits = ";\n".repeat(FILE_LINES_MAX);
        assert!(found(&fits, "crates/a/src/b.rs", check_file).is_empty());
        let over = format!("{fits};\n");
        assert_eq!(found(&over, "crates/a/src/b.rs", check_file).len(), 1);
        assert!(found(&over, "crates/a/src/tests.rs", check_file).is_empty());
        let tests = format!("{fits}#[cfg(test)]\nmod tests {{\n}}\n");
        assert!(found(&tests, "crates/a/src/b.rs", check_file).is_empty());
    }

    #[test]
    fn a_function_is_refused_at_one_past_the_limit() {
        let function = |lines: usize| format!("\nfn f() {{\n{}}}\n", "    a();\n\n".repeat(lines));
        let path = "crates/a/src/b.rs";
        assert!(found(&function(FUNCTION_LINES_MAX - 2), path, check_file).is_empty());
        let findings = found(&function(FUNCTION_LINES_MAX - 1), path, check_file);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].starts_with("crates/a/src/b.rs:2: "),
            "{}",
            findings[0]
        );
        assert!(found("trait T { fn f(a: [u8; 2]); }", path, check_file).is_empty());
    }
}
