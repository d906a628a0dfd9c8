//! `portolan check`: everything that is wrong with a configuration, at once.

use std::{io, process::ExitCode};

use portolan_config::{Finding, Plan, Severity};

use super::{ERRORS, findings::render, say, unusable, wants_colours};
use crate::{
    cli,
    load::{LoadError, Loaded, chain, load},
};

/// Checks a configuration file. Nothing but the files that it names is opened.
pub(crate) fn check(arguments: &cli::Check) -> ExitCode {
    let file = arguments.file.display().to_string();
    let (plan, findings, text) = match load(&arguments.file) {
        Ok(Loaded { plan, text }) => (Some(plan.clone()), plan.findings, text),
        Err(LoadError::Findings { findings, text, .. }) => (None, findings, text),
        Err(error @ LoadError::Read { .. }) => return unusable(&chain(&error)),
    };
    if arguments.json {
        say(&as_json(&findings));
    } else {
        say(&render(
            &findings,
            &file,
            &text,
            wants_colours(&io::stdout()),
        ));
        say(&format!("{file}: {}\n", verdict(plan.as_ref(), &findings)));
    }
    match errors(&findings) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(ERRORS),
    }
}

fn errors(findings: &[Finding]) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count()
}

fn as_json(findings: &[Finding]) -> String {
    // A finding is made of texts and numbers, which are always JSON.
    let lines = findings
        .iter()
        .filter_map(|finding| serde_json::to_string(finding).ok());
    lines.map(|line| line + "\n").collect()
}

/// What follows from the findings, in a line.
fn verdict(plan: Option<&Plan>, findings: &[Finding]) -> String {
    let errors = errors(findings);
    let found = match (errors, findings.len().saturating_sub(errors)) {
        (0, 0) => "no findings".to_owned(),
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!(
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ),
    };
    let Some(plan) = plan else {
        return format!("{found}; nothing of it would run");
    };
    // A route in quarantine stands in the plan to answer with an error; of other kinds, only
    // what runs does.
    let routes = plan.routes.iter();
    let routes = routes.filter(|planned| planned.quarantine.is_none());
    let parts = [
        counted(plan.listeners.len(), "listener"),
        counted(routes.count(), "route"),
        counted(plan.upstreams.len(), "upstream"),
        counted(plan.sources.len(), "source"),
    ];
    let mut verdict = format!("{found}; {} would run", parts.join(", "));
    let aside: Vec<_> = plan.quarantined().map(ToString::to_string).collect();
    if !aside.is_empty() {
        verdict.push_str(", without ");
        verdict.push_str(&aside.join(", "));
    }
    verdict
}

pub(super) fn counted(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}
