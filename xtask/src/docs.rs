//! Reference pages, written from the tables in the code.

use std::{fmt::Write as _, fs, path::Path};

use portolan_config::Shelves;
use portolan_model::{Cause, Side};
use portolan_telemetry::{LOG_FIELDS, families};

use crate::{Failure, finding::Finding, tree};

/// A page that is made, never edited.
struct Page {
    path: &'static str,
    text: String,
}

/// Writes every page.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    for page in pages() {
        let path = root.join(page.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(tree::at(folder))?;
        }
        fs::write(&path, page.text).map_err(tree::at(&path))?;
    }
    Ok(())
}

/// Finds pages that differ from what would be written.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for page in pages() {
        let path = root.join(page.path);
        let text = if path.exists() {
            tree::read(&path)?
        } else {
            String::new()
        };
        if text != page.text {
            let message = "is not what the code says: run `cargo xtask docs`";
            findings.push(Finding::of_file(page.path, message));
        }
    }
    Ok(findings)
}

fn pages() -> Vec<Page> {
    vec![
        Page {
            path: "docs/reference/causes.md",
            text: causes(),
        },
        Page {
            path: "docs/reference/metrics.md",
            text: metrics(),
        },
        Page {
            path: "docs/reference/logs.md",
            text: logs(),
        },
        Page {
            path: "docs/reference/configuration.md",
            text: portolan_config::reference_markdown(SHELVES),
        },
    ]
}

/// The shelves of the shipped program.
const SHELVES: Shelves<'_> = Shelves {
    policies: portolan_policies::KINDS,
    sources: &[
        portolan_sources::KINDS,
        portolan_coordinators::KINDS,
        portolan_orchestrators::KINDS,
        portolan_clouds::KINDS,
    ],
    balancers: portolan_balance::KINDS,
};

const MADE: &str = "<!-- Made by `cargo xtask docs`; edit the table in the code. -->\n";

fn causes() -> String {
    let mut page = format!(
        "# Causes\n\n{MADE}\nWhy a request did not get the answer that it wanted: in `cause` of problem documents, in \
         `Proxy-Status`, in access\nrecords and in `portolan_faults_total`. Names follow RFC 9209 where it has one. Status 0: \
         no answer can be sent.\n\n| cause | side | status | meaning |\n|---|---|---|---|\n"
    );
    for cause in Cause::ALL {
        let side = match cause.side() {
            Side::Client => "client",
            Side::Upstream => "upstream",
            Side::Gateway => "gateway",
        };
        let (id, status, meaning) = (cause.id(), cause.status(), cell(cause.meaning()));
        row(
            &mut page,
            format_args!("| `{id}` | {side} | {status} | {meaning} |"),
        );
    }
    page
}

fn metrics() -> String {
    let mut page = format!(
        "# Metrics\n\n{MADE}\n`GET /metrics` on the admin listener, Prometheus text format 0.0.4. Series that never counted \
         anything are left out.\nService `none` (with an empty namespace) stands for requests that reached no service, `other` \
         for services beyond the\nlimit of rows.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
    );
    for family in families() {
        let labels: Vec<_> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, kind, help) = (family.name, family.kind.as_str(), cell(family.help));
        let labels = labels.join(" ");
        row(
            &mut page,
            format_args!("| `{name}` | {kind} | {labels} | {help} |"),
        );
    }
    page
}

fn logs() -> String {
    let mut page = format!(
        "# Log fields\n\n{MADE}\nFacts in structured logs have these names and no others.\n\n| field | meaning |\n|---|---|\n"
    );
    for field in LOG_FIELDS {
        row(
            &mut page,
            format_args!("| `{}` | {} |", field.name, cell(field.meaning)),
        );
    }
    page
}

fn row(page: &mut String, row: std::fmt::Arguments<'_>) {
    let _infallible = writeln!(page, "{row}");
}

/// Text as it may stand in a table.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_and_metric_is_on_its_page() {
        let (causes, metrics) = (causes(), metrics());
        for cause in Cause::ALL {
            assert!(causes.contains(&format!("| `{}` |", cause.id())));
        }
        for family in families() {
            assert!(metrics.contains(&format!("| `{}` |", family.name)));
        }
    }

    #[test]
    fn a_bar_does_not_end_a_cell() {
        assert_eq!(cell(" a|b "), "a\\|b");
    }
}
