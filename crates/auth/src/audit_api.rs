//! `GET /v1/audit`.

use http::StatusCode;
use portolan_wire::serve::{Query, Response};
use serde::Serialize;

use crate::{
    answer::{fault, json, malformed},
    audit::{Entry, Filter, Outcome},
    keeping::Access,
};

/// Entries of one answer, if nobody asks for another number.
const ENTRIES: usize = 100;
/// Most entries of one answer.
const ENTRIES_MAX: usize = 1_000;

#[derive(Debug, Serialize)]
struct List {
    entries: Vec<Entry>,
    /// Where to go on, by `after`.
    next: u64,
    /// Whether there are more already.
    has_more: bool,
}

pub(crate) async fn find(access: &Access, query: &Query<'_>) -> Response {
    let (filter, after, limit) = match read(query) {
        Ok(asked) => asked,
        Err(detail) => return malformed(&detail),
    };
    match access.entries(&filter, after, limit).await {
        Ok((entries, has_more)) => {
            let last = entries.last().map(|entry| entry.sequence);
            let found = List {
                next: last.or(after).unwrap_or_default(),
                entries,
                has_more,
            };
            json(StatusCode::OK, &found)
        }
        Err(error) => fault(&error),
    }
}

fn read(query: &Query<'_>) -> Result<(Filter, Option<u64>, usize), String> {
    let number = |name: &str| {
        let text = query.find(name).map(str::parse::<u64>).transpose();
        text.map_err(|_| format!("`{name}` is a number"))
    };
    let limit = number("limit")?.map_or(Ok(ENTRIES), usize::try_from);
    let limit = limit.unwrap_or(usize::MAX);
    if !(1..=ENTRIES_MAX).contains(&limit) {
        return Err(format!("`limit` is from 1 to {ENTRIES_MAX}"));
    }
    let outcome = query.find("outcome").map(|word| {
        Outcome::parse(word).ok_or("`outcome` is `done`, `denied`, `limited` or `failed`")
    });
    let text = |name| query.find(name).map(str::to_owned);
    let filter = Filter {
        actor: text("actor"),
        listener: text("listener"),
        path: text("path"),
        outcome: outcome.transpose()?,
    };
    Ok((filter, number("after")?, limit))
}
