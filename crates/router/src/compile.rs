//! From routes to rules in one total order.
//!
//! A rule is one match of one route on one host. Rules are sorted once by the
//! order that the crate's documentation states; the table, the search and the
//! explanation all follow that one list.

use portolan_model::route::{HostMatch, Match};

use crate::{
    Entry, RouteProblem,
    condition::Conditions,
    path::{End, PathTest},
    table::{Builder, Table},
};

mod check;
mod conflict;
mod order;

#[cfg(test)]
pub(crate) use check::REGEXES_PER_HOST_MAX;
use check::{Checker, Tests};
use conflict::report_shadowed;
use order::{Order, PathKey};

/// One match of one route on one host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) entry: u32,
    /// Which host of the entry, if it has some.
    pub(crate) host: u32,
    /// Which match of the entry.
    pub(crate) place: u32,
    /// Its conditions besides host and path, if it has some.
    pub(crate) conditions: Option<u32>,
    /// Its path test, if more is to be done with it than the table does.
    pub(crate) path: Option<u32>,
    pub(crate) kind: RuleKind,
}

/// What a rule's path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleKind {
    Whole,
    Rest,
    Prefix,
    Regex,
}

/// Everything that a router is made of.
#[derive(Debug)]
pub(crate) struct Compiled<T> {
    /// The routes by name, without what they carry.
    pub(crate) entries: Vec<Entry<()>>,
    /// What each entry carries, dense: a search that ends at a plain rule reads nothing else
    /// of it.
    pub(crate) payloads: Vec<T>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) conditions: Vec<Conditions>,
    pub(crate) paths: Vec<PathTest>,
    pub(crate) table: Table,
}

/// Compiles routes; what is wrong with them comes second.
pub(crate) fn compile<T>(mut given: Vec<Entry<T>>) -> (Compiled<T>, Vec<RouteProblem>) {
    given.sort_by(|a, b| a.name.cmp(&b.name));
    let mut checker = Checker::default();
    let mut entries = Vec::with_capacity(given.len());
    let mut payloads = Vec::with_capacity(given.len());
    let mut matches = Vec::new();
    for entry in given {
        let (mut entry, payload) = entry.part();
        normalise(&mut entry);
        if let Some(tests) = checker.check(&entry) {
            payloads.push(payload);
            entries.push(entry);
            matches.push(tests);
        }
    }
    let mut problems = checker.problems;
    let mut drafts = draft(&entries, &matches);
    drafts.sort_unstable_by(|a, b| a.order.cmp(&b.order));
    report_shadowed(&entries, &drafts, &mut problems);
    let table = build(&drafts);
    let rules: Vec<_> = drafts.into_iter().map(|draft| draft.rule).collect();
    let (conditions, paths) = collect(matches);
    let compiled = Compiled {
        entries,
        payloads,
        rules,
        conditions,
        paths,
        table,
    };
    (compiled, problems)
}

/// Says what is meant by empty lists, and each host once.
fn normalise(entry: &mut Entry<()>) {
    if entry.matches.is_empty() {
        entry.matches.push(Match::default());
    }
    let mut seen = Vec::with_capacity(entry.hosts.len());
    entry.hosts.retain(|host| {
        let is_new = !seen.contains(host);
        seen.push(host.clone());
        is_new
    });
}

/// A rule and its place among all.
#[derive(Debug)]
struct Draft<'a> {
    order: Order<'a>,
    rule: Rule,
}

fn draft<'a>(entries: &'a [Entry<()>], matches: &'a [Vec<Tests>]) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    let mut conditions = 0;
    let mut paths = 0;
    for (number, (entry, matches)) in (0..).zip(entries.iter().zip(matches)) {
        for (place, (condition, tests)) in (0..).zip(entry.matches.iter().zip(matches)) {
            // The same count that `collect` takes them in.
            let own = |count: &mut u32, is_kept: bool| {
                *count += u32::from(is_kept);
                is_kept.then(|| *count - 1)
            };
            let rule = Rule {
                entry: number,
                host: 0,
                place,
                conditions: own(&mut conditions, tests.conditions.is_some()),
                path: own(&mut paths, tests.path.is_kept()),
                kind: rule_kind(&tests.path),
            };
            let mut push = |host: Option<&'a HostMatch>, rule| {
                let order = Order::of(host, condition, &tests.path, &rule);
                drafts.push(Draft { order, rule });
            };
            if entry.hosts.is_empty() {
                push(None, rule);
            }
            for (place, host) in (0..).zip(&entry.hosts) {
                push(
                    Some(host),
                    Rule {
                        host: place,
                        ..rule
                    },
                );
            }
        }
    }
    drafts
}

const fn rule_kind(path: &PathTest) -> RuleKind {
    match path {
        PathTest::Regex(_) => RuleKind::Regex,
        PathTest::Segments(segments) => match segments.end {
            End::Whole => RuleKind::Whole,
            End::Rest(_) => RuleKind::Rest,
            End::Prefix => RuleKind::Prefix,
        },
    }
}

fn collect(matches: Vec<Vec<Tests>>) -> (Vec<Conditions>, Vec<PathTest>) {
    let mut conditions = Vec::new();
    let mut paths = Vec::new();
    for tests in matches.into_iter().flatten() {
        conditions.extend(tests.conditions);
        if tests.path.is_kept() {
            paths.push(tests.path);
        }
    }
    (conditions, paths)
}

fn build(drafts: &[Draft<'_>]) -> Table {
    let mut builder = Builder::default();
    for (number, draft) in (0..).zip(drafts) {
        let host = draft.order.host.text();
        match &draft.order.path {
            PathKey::Segments(tokens) => {
                let is_plain = draft.rule.conditions.is_none() && draft.rule.path.is_none();
                let plain = is_plain.then_some(draft.rule.entry);
                builder.insert(number, host, tokens, plain);
            }
            PathKey::Regex(..) => builder.insert_regex(number, host),
        }
    }
    builder.finish()
}
