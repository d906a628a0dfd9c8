//! `portolan sources`: how the sources of a program that runs are doing.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use http::StatusCode;
use portolan_dialects::native::{SourceList, SourceState, SourceView};
use portolan_model::Timestamp;
use portolan_runtime::Env;
use portolan_wire::call::{Answer, Call};

use super::{contact::ask, say, unusable};
use crate::cli;

/// How long the program may take to answer.
const ANSWERING: Duration = Duration::from_secs(10);
const HEADS: [&str; 8] = [
    "SOURCE",
    "STATE",
    "SERVICES",
    "INSTANCES",
    "HELD",
    "CHANGES/S",
    "RESYNCS",
    "CONFIRMED",
];

/// Prints a table, and below it what is wrong in the words of each source. Exits with 1
/// if a source does not know what it speaks of.
pub(crate) fn sources(arguments: &cli::Sources) -> ExitCode {
    let Answer { status, body, .. } =
        match ask(&arguments.contact, Call::get("/v1/sources"), ANSWERING) {
            Ok(answer) => answer,
            Err(why) => return unusable(&why),
        };
    if status != StatusCode::OK {
        let detail = String::from_utf8_lossy(&body);
        return unusable(&format!("{status}: {}", detail.trim()));
    }
    let list: SourceList = match serde_json::from_slice(&body) {
        Ok(list) => list,
        Err(error) => return unusable(&format!("the answer makes no sense: {error}")),
    };
    if arguments.json {
        say(&format!("{}\n", String::from_utf8_lossy(&body).trim_end()));
    } else {
        say(&table(&list.sources, Env::system().now()));
    }
    let is_well = |source: &SourceView| source.state == SourceState::Current;
    if list.sources.iter().all(is_well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn table(sources: &[SourceView], now: Timestamp) -> String {
    let heads = HEADS.map(str::to_owned);
    let rows = sources.iter().map(|source| row(source, now));
    let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            let width = width.max().unwrap_or_default();
            let _written = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for source in sources {
        for words in words(source) {
            let _written = writeln!(text, "\n{}: {words}", source.id);
        }
    }
    text
}

fn row(source: &SourceView, now: Timestamp) -> [String; 8] {
    let state = match source.state {
        SourceState::Current => "current",
        SourceState::Stale => "stale",
        SourceState::Silent => "silent",
    };
    [
        source.id.to_string(),
        state.to_owned(),
        source.services.to_string(),
        source.instances.to_string(),
        source.held.to_string(),
        format!("{:.1}", source.pulse.changes_per_second),
        source.pulse.resyncs.to_string(),
        source
            .pulse
            .confirmed_at
            .as_deref()
            .map_or_else(|| "-".to_owned(), |at| ago(at, now)),
    ]
}

/// What somebody should know beyond numbers.
fn words(source: &SourceView) -> Vec<String> {
    let mut words = Vec::new();
    match (&source.stale, &source.pulse.last_failure) {
        (Some(stale), _) => words.push(format!("stale since {}: {}", stale.since, stale.reason)),
        (None, Some(failure)) => {
            words.push(format!("last failed at {}: {}", failure.at, failure.reason));
        }
        (None, None) => {}
    }
    if let Some(example) = &source.pulse.unfit_example {
        words.push(format!(
            "can't use {}, for one {example}",
            source.pulse.unfit
        ));
    }
    words
}

/// How long ago, in the largest unit that says something.
fn ago(at: &str, now: Timestamp) -> String {
    let Ok(at) = Timestamp::parse(at) else {
        return at.to_owned();
    };
    let seconds = now.since(at).as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use portolan_dialects::native::{FailureView, PulseView, StalenessView};

    use super::*;

    #[test]
    fn a_table_says_what_is_wrong_below_it() {
        let now = Timestamp::parse("2026-11-27T12:00:00Z").unwrap();
        let source = |id: &str, state| SourceView {
            id: id.into(),
            state,
            stale: None,
            services: 2,
            instances: 10,
            held: 0,
            heard_at: None,
            changed_at: None,
            pulse: PulseView::default(),
        };
        let mut stale = source("consul:east", SourceState::Stale);
        stale.stale = Some(StalenessView {
            reason: "connection refused".into(),
            since: "2026-11-27T11:59:00Z".to_owned(),
        });
        let mut well = source("file:edge", SourceState::Current);
        well.pulse = PulseView {
            changes_per_second: 1.25,
            resyncs: 3,
            confirmed_at: Some("2026-11-27T11:58:00Z".to_owned()),
            last_failure: Some(FailureView {
                at: "2026-11-27T10:00:00Z".to_owned(),
                reason: "no such file".into(),
            }),
            unfit: 2,
            unfit_example: Some("web/1: it has no port".into()),
            ..PulseView::default()
        };
        let text = table(&[stale, well], now);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "SOURCE       STATE    SERVICES  INSTANCES  HELD  CHANGES/S  RESYNCS  CONFIRMED",
                "consul:east  stale    2         10         0     0.0        0        -",
                "file:edge    current  2         10         0     1.2        3        2m ago",
                "",
                "consul:east: stale since 2026-11-27T11:59:00Z: connection refused",
                "",
                "file:edge: last failed at 2026-11-27T10:00:00Z: no such file",
                "",
                "file:edge: can't use 2, for one web/1: it has no port",
            ]
        );
    }
}
