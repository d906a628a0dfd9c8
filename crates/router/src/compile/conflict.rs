//! Finds rules that can't get a request because another one asks for the same.

use std::{collections::HashMap, fmt::Write as _};

use portolan_model::{
    Name, Problem,
    http::Method,
    route::{BodyMatch, FieldMatch, HostMatch, Match, TextMatch},
};

use super::{Draft, order::host_text};
use crate::{Effect, Entry, RouteProblem};

/// What two matches must agree in, besides host and path, to be the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Asked<'a> {
    methods: Vec<&'a str>,
    headers: Vec<(String, &'a TextMatch)>,
    query: Vec<(&'a str, &'a TextMatch)>,
    body: Option<&'a BodyMatch>,
}

impl<'a> Asked<'a> {
    fn of(condition: &'a Match) -> Self {
        let mut methods: Vec<_> = condition.methods.iter().map(Method::as_str).collect();
        methods.sort_unstable();
        methods.dedup();
        let lower = |part: &'a FieldMatch| (part.name.to_ascii_lowercase(), &part.value);
        let mut headers: Vec<_> = condition.headers.iter().map(lower).collect();
        headers.sort();
        let pair = |part: &'a FieldMatch| (part.name.as_str(), &part.value);
        let mut query: Vec<_> = condition.query.iter().map(pair).collect();
        query.sort();
        Self {
            methods,
            headers,
            query,
            body: condition.body.as_ref(),
        }
    }
}

/// Reports rules that ask for the same as an earlier one.
pub(super) fn report_shadowed(
    entries: &[Entry<()>],
    drafts: &[Draft<'_>],
    problems: &mut Vec<RouteProblem>,
) {
    let same_place = |a: &Draft<'_>, b: &Draft<'_>| {
        (a.order.host, &a.order.path) == (b.order.host, &b.order.path)
    };
    for group in drafts.chunk_by(same_place).filter(|group| group.len() > 1) {
        let mut seen: HashMap<Asked<'_>, Vec<&Draft<'_>>> = HashMap::new();
        for draft in group {
            let entry = &entries[draft.rule.entry as usize];
            let earlier = seen
                .entry(Asked::of(&entry.matches[draft.rule.place as usize]))
                .or_default();
            let first = earlier.iter().find_map(|earlier| {
                let other = &entries[earlier.rule.entry as usize];
                meet(&entry.listeners, &other.listeners).then_some(other)
            });
            if let Some(first) = first {
                problems.push(shadowed(entry, draft, first));
            }
            earlier.push(draft);
        }
    }
}

/// Whether two routes serve a common listener.
fn meet(a: &[Name], b: &[Name]) -> bool {
    a.is_empty() || b.is_empty() || a.iter().any(|name| b.contains(name))
}

fn shadowed(entry: &Entry<()>, draft: &Draft<'_>, first: &Entry<()>) -> RouteProblem {
    let mut message = if entry.name == first.name {
        "an earlier match of this route asks for the same".to_owned()
    } else {
        format!(
            "route `{}` asks for the same and comes first by name",
            first.name
        )
    };
    if let Some(host) = entry.hosts.get(draft.rule.host as usize) {
        let star = if matches!(host, HostMatch::Suffix(_)) {
            "*"
        } else {
            ""
        };
        // Writing to a text can't fail.
        let _ = write!(message, ", on host `{star}{}`", host_text(host));
    }
    let path = format!("/match/{}", draft.rule.place);
    RouteProblem {
        route: entry.name.clone(),
        effect: Effect::Shadowed,
        problem: Problem::new(path, message)
            .with_help("remove one of them, or make one ask for more"),
    }
}
