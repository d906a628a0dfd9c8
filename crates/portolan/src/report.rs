//! What the program says to people when something is wrong.

use std::error::Error;

use portolan_config::{Finding, Severity};

use crate::{
    command::print_findings,
    load::{LoadError, chain},
};

/// Says why the program could not start or go on.
pub(crate) fn failure(error: &(dyn Error + Send + Sync + 'static)) {
    if let Some(LoadError::Findings {
        file,
        text,
        findings,
    }) = error.downcast_ref()
    {
        print_findings(findings, file, text);
    }
    eprintln!("portolan: {}", chain(error));
}

/// Says what was found in a configuration that is used all the same.
pub(crate) fn findings(findings: &[Finding], file: &str, text: &str) {
    if !findings.is_empty() {
        print_findings(findings, file, text);
    }
}

/// A configuration that can't be used, in one line for a log or an answer.
pub(crate) fn load_error(error: &LoadError) -> String {
    let LoadError::Findings { findings, .. } = error else {
        return chain(error);
    };
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
