//! What the program says to people when something is wrong: findings with carets on a
//! terminal, lines of the log elsewhere.

use std::{
    error::Error,
    io::{IsTerminal, stderr},
    path::Path,
};

use portolan_config::{Finding, Plan, Severity};
use tracing::field::display;

use crate::{
    command::print_findings,
    load::{LoadError, Loaded, chain},
};

/// Says why the program could not start or go on.
pub(crate) fn failure(error: &(dyn Error + Send + Sync + 'static)) {
    if let Some(error) = error.downcast_ref() {
        findings_of(error);
    }
    if stderr().is_terminal() {
        eprintln!("portolan: {}", chain(error));
    } else {
        tracing::error!(error = chain(error), "the program can't run");
    }
}

/// Says what was found in a configuration that is used all the same, and what of it is not.
pub(crate) fn loaded(loaded: &Loaded, path: &Path) {
    let Loaded { plan, text } = loaded;
    findings(&plan.findings, &path.display().to_string(), text);
    if let Some(aside) = quarantined(plan) {
        tracing::warn!(
            concern = aside,
            "objects are in quarantine; all others apply"
        );
    }
}

/// Says everything that makes a configuration unusable.
pub(crate) fn findings_of(error: &LoadError) {
    if let LoadError::Findings {
        file,
        text,
        findings: found,
    } = error
    {
        findings(found, file, text);
    }
}

fn findings(findings: &[Finding], file: &str, text: &str) {
    if findings.is_empty() {
        return;
    }
    if stderr().is_terminal() {
        print_findings(findings, file, text);
    } else {
        findings.iter().for_each(log);
    }
}

fn log(finding: &Finding) {
    let Finding {
        severity,
        object,
        origin,
        message,
        help,
    } = finding;
    let concern = object.as_ref().map(display);
    let reason = match help {
        Some(help) => format!("{message} ({help})"),
        None => message.clone(),
    };
    match severity {
        Severity::Error => {
            tracing::error!(concern, path = %origin, reason, "the configuration has an error");
        }
        Severity::Warning => {
            tracing::warn!(concern, path = %origin, reason, "the configuration may not mean what it says");
        }
    }
}

/// The objects in quarantine, if there are any.
fn quarantined(plan: &Plan) -> Option<String> {
    let aside: Vec<_> = plan.quarantined().map(ToString::to_string).collect();
    (!aside.is_empty()).then(|| aside.join(", "))
}

/// A configuration that can't be used, in one line for an answer.
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
