//! Compiles the parts of each route, and leaves out a route that is bad or too much.

use std::collections::HashMap;

use portolan_model::{
    Problem,
    route::{HostMatch, Match, PathMatch},
};

use super::order::host_text;
use crate::{
    Effect, Entry, RouteProblem,
    condition::{Complaint, Conditions},
    path::PathTest,
};

/// Most regular expressions over paths on one host: they are tried one by one.
pub(crate) const REGEXES_PER_HOST_MAX: usize = 100;
/// Most rules of a router: a match of a route counts once for each of its hosts.
const RULES_MAX: usize = 1_000_000;
/// Longest host, in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// A compiled match, before its parts have found their places.
#[derive(Debug)]
pub(super) struct Tests {
    pub(super) path: PathTest,
    pub(super) conditions: Option<Conditions>,
}

/// Compiles routes one by one and keeps count of what is limited.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) problems: Vec<RouteProblem>,
    regexes: HashMap<Option<HostMatch>, usize>,
    rules: usize,
}

impl Checker {
    /// The compiled matches of a route; `None`, and problems, if it must be left out.
    pub(super) fn check(&mut self, entry: &Entry<()>) -> Option<Vec<Tests>> {
        let before = self.problems.len();
        let mut report = |problem| {
            self.problems.push(RouteProblem {
                route: entry.name.clone(),
                effect: Effect::LeftOut,
                problem,
            });
        };
        for (place, host) in entry.hosts.iter().enumerate() {
            if let Err(reason) = check_host(host) {
                report(Problem::new(format!("/hosts/{place}"), reason));
            }
        }
        let mut matches = Vec::with_capacity(entry.matches.len());
        for (place, condition) in entry.matches.iter().enumerate() {
            match compile_match(entry, condition) {
                Ok(tests) => matches.push(tests),
                Err(complaints) => complaints.into_iter().for_each(|(path, reason)| {
                    report(Problem::new(format!("/match/{place}{path}"), reason));
                }),
            }
        }
        if self.problems.len() > before {
            return None;
        }
        match self.count(entry, &matches) {
            Ok(()) => Some(matches),
            Err(problem) => {
                self.problems.push(RouteProblem {
                    route: entry.name.clone(),
                    effect: Effect::LeftOut,
                    problem,
                });
                None
            }
        }
    }

    /// Counts a route's rules and regular expressions unless they are too many.
    fn count(&mut self, entry: &Entry<()>, matches: &[Tests]) -> Result<(), Problem> {
        let rules = self.rules + matches.len() * entry.hosts.len().max(1);
        if rules > RULES_MAX {
            let message = format!("the routes have over {RULES_MAX} pairs of host and match");
            return Err(Problem::new("", message));
        }
        let is_regex = |tests: &&Tests| matches!(tests.path, PathTest::Regex(_));
        let regexes = matches.iter().filter(is_regex).count();
        let mut hosts: Vec<_> = entry.hosts.iter().cloned().map(Some).collect();
        if hosts.is_empty() {
            hosts.push(None);
        }
        let is_full = |host: &Option<HostMatch>| {
            let taken = self.regexes.get(host).copied().unwrap_or_default();
            taken + regexes > REGEXES_PER_HOST_MAX
        };
        if regexes > 0 && hosts.iter().any(is_full) {
            let message =
                format!("its host would have over {REGEXES_PER_HOST_MAX} regular expressions");
            let help = "they are tried one by one; use prefixes or templates where they will do";
            return Err(Problem::new("/match", message).with_help(help));
        }
        for host in hosts {
            *self.regexes.entry(host).or_default() += regexes;
        }
        self.rules = rules;
        Ok(())
    }
}

fn check_host(host: &HostMatch) -> Result<(), String> {
    let text = host_text(host);
    let name = match host {
        HostMatch::Exact(_) => Some(text),
        HostMatch::Suffix(_) => text.strip_prefix('.'),
    };
    let Some(name) = name.filter(|name| !name.is_empty() && !name.starts_with('.')) else {
        return Err(format!("`{text}` is no host"));
    };
    if text.len() > HOST_BYTES_MAX {
        return Err(format!(
            "a host of {} bytes is over the limit of {HOST_BYTES_MAX}",
            text.len()
        ));
    }
    let is_foreign = |c: char| c.is_ascii_uppercase() || c.is_whitespace() || "/*@?#".contains(c);
    if let Some(character) = name.chars().find(|c| is_foreign(*c) || !c.is_ascii()) {
        return Err(format!("the host `{text}` holds {character:?}"));
    }
    Ok(())
}

fn compile_match(entry: &Entry<()>, condition: &Match) -> Result<Tests, Vec<Complaint>> {
    let path = PathTest::compile(&condition.path)
        .map_err(|reason| (format!("/{}", path_word(&condition.path)), reason));
    let conditions = Conditions::compile(&entry.listeners, condition);
    match (path, conditions) {
        (Ok(path), Ok(conditions)) => Ok(Tests { path, conditions }),
        (Err(complaint), Ok(_)) => Err(vec![complaint]),
        (Ok(_), Err(complaints)) => Err(complaints),
        (Err(complaint), Err(mut complaints)) => {
            complaints.insert(0, complaint);
            Err(complaints)
        }
    }
}

const fn path_word(path: &PathMatch) -> &'static str {
    match path {
        PathMatch::Exact(_) => "exact",
        PathMatch::Prefix(_) => "prefix",
        PathMatch::Template(_) => "template",
        PathMatch::Regex(_) => "regex",
    }
}
