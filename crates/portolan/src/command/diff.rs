//! `portolan diff`: what a changed configuration would do.

use std::{collections::BTreeSet, fmt::Write, path::Path, process::ExitCode};

use portolan_config::{Change, Difference, FieldChange, ObjectChange, Plan, Severity};
use portolan_model::Name;

use super::{ERRORS, check::counted, print_findings, say, unusable};
use crate::{
    cli,
    load::{LoadError, chain, load},
};

/// Most names of routes in a line.
const NAMES_MAX: usize = 12;

/// Compares two configuration files.
pub(crate) fn diff(arguments: &cli::Diff) -> ExitCode {
    let (old, new) = match (plan(&arguments.old), plan(&arguments.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(code), _) | (Ok(_), Err(code)) => return code,
    };
    let difference = Difference::between(&old.objects, &new.objects);
    if arguments.json {
        match serde_json::to_string_pretty(&difference) {
            Ok(text) => say(&(text + "\n")),
            Err(error) => return unusable(&error.to_string()),
        }
    } else {
        say(&describe(&difference, &new));
    }
    let is_error = |finding: &portolan_config::Finding| finding.severity == Severity::Error;
    if new.findings.iter().any(is_error) {
        ExitCode::from(ERRORS)
    } else {
        ExitCode::SUCCESS
    }
}

fn plan(path: &Path) -> Result<Plan, ExitCode> {
    match load(path) {
        Ok(loaded) => Ok(loaded.plan),
        Err(LoadError::Findings {
            file,
            text,
            findings,
        }) => {
            print_findings(&findings, &file, &text);
            eprintln!("portolan: {file} can't be compared before these are mended");
            Err(ExitCode::from(ERRORS))
        }
        Err(error @ LoadError::Read { .. }) => Err(unusable(&chain(&error))),
    }
}

/// The difference for people.
fn describe(difference: &Difference, new: &Plan) -> String {
    if difference.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut out = String::new();
    for change in &difference.changes {
        describe_change(&mut out, change, new);
    }
    let total = new.routes.len().max(difference.routes.len());
    let _infallible = write!(
        out,
        "\n{}; {} of {} touched",
        counted(difference.changes.len(), "change"),
        difference.routes.len(),
        counted(total, "route"),
    );
    if !difference.routes.is_empty() {
        let _infallible = write!(out, ": {}", names(&difference.routes));
    }
    out.push('\n');
    if !difference.listeners.is_empty() {
        let _infallible = writeln!(out, "listeners touched: {}", names(&difference.listeners));
    }
    out
}

fn describe_change(out: &mut String, change: &ObjectChange, new: &Plan) {
    let ObjectChange {
        object,
        change,
        routes,
    } = change;
    let (sign, note) = match change {
        Change::Added => ("+", ""),
        Change::Removed => ("-", ""),
        Change::Changed(_) => ("~", ""),
        Change::SetAside => ("!", " is set aside"),
        Change::Restored => ("~", " applies again"),
    };
    let _infallible = write!(out, "{sign} {object}{note}");
    if let Some(described) = new.objects.get(object) {
        let _infallible = write!(out, "  ({})", described.origin);
    }
    out.push('\n');
    if let Change::Changed(fields) = change {
        for field in fields {
            describe_field(out, field);
        }
    }
    let is_itself = routes.len() == 1 && routes.contains(&object.name);
    if !routes.is_empty() && !is_itself {
        let _infallible = writeln!(
            out,
            "    touches {}: {}",
            counted(routes.len(), "route"),
            names(routes)
        );
    }
}

fn describe_field(out: &mut String, field: &FieldChange) {
    let FieldChange { path, old, new } = field;
    let _infallible = match (old, new) {
        (Some(old), Some(new)) => writeln!(out, "    {path}: {old} -> {new}"),
        (None, Some(new)) => writeln!(out, "    {path}: {new} (new)"),
        (Some(old), None) => writeln!(out, "    {path}: {old} (gone)"),
        (None, None) => Ok(()),
    };
}

fn names(names: &BTreeSet<Name>) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(Name::as_str).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
