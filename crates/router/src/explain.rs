//! Why a request goes where it goes.
//!
//! The plain way: every rule is looked at in the order of precedence, without the
//! table. Slow, and a second opinion on the search.

use portolan_model::{
    Name,
    http::RequestHead,
    route::{HostMatch, Match},
};

use crate::{Body, Router, Unmet, compile::Rule, path::PathTest};

/// One rule that was looked at: a match of a route on one of its hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Considered<'r> {
    /// The route.
    pub route: &'r Name,
    /// The host, any if none.
    pub host: Option<&'r HostMatch>,
    /// The match.
    pub condition: &'r Match,
    /// What became of it.
    pub verdict: Verdict<'r>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// It gets the request.
    Wins,
    /// It would get the request if no rule came before it.
    ComesLater,
    /// It does not match.
    Unmet(Unmet<'r>),
}

impl<T> Router<T> {
    /// Looks at every rule in the order of precedence. Lazy, and slow on purpose.
    pub fn explain<'r>(
        &'r self,
        listener: &'r Name,
        head: &'r RequestHead,
        body: Body<'r>,
    ) -> impl Iterator<Item = Considered<'r>> {
        let mut is_won = false;
        self.inner.rules.iter().map(move |rule| {
            let entry = &self.inner.entries[rule.entry as usize];
            let verdict = match self.look(rule, listener, head, body) {
                Err(unmet) => Verdict::Unmet(unmet),
                Ok(()) if is_won => Verdict::ComesLater,
                Ok(()) => Verdict::Wins,
            };
            is_won |= verdict == Verdict::Wins;
            Considered {
                route: &entry.name,
                host: entry.hosts.get(rule.host as usize),
                condition: &entry.matches[rule.place as usize],
                verdict,
            }
        })
    }

    fn look<'r>(
        &'r self,
        rule: &Rule,
        listener: &Name,
        head: &RequestHead,
        body: Body<'_>,
    ) -> Result<(), Unmet<'r>> {
        let entry = &self.inner.entries[rule.entry as usize];
        if !host_holds(entry.hosts.get(rule.host as usize), head.host()) {
            return Err(Unmet::Host);
        }
        let condition = &entry.matches[rule.place as usize];
        let path_holds = match rule.path {
            Some(path) => path_holds(&self.inner.paths[path as usize], head.path()),
            None => {
                PathTest::compile(&condition.path).is_ok_and(|test| path_holds(&test, head.path()))
            }
        };
        if !path_holds {
            return Err(Unmet::Path);
        }
        match rule.conditions {
            Some(conditions) => {
                self.inner.conditions[conditions as usize].check(listener, head, body)
            }
            None => Ok(()),
        }
    }
}

fn host_holds(host: Option<&HostMatch>, given: &str) -> bool {
    let bare = |text: &'_ str| text.strip_suffix('.').unwrap_or(text).len();
    let given = &given[..bare(given)];
    match host {
        None => true,
        Some(HostMatch::Exact(text)) => text[..bare(text)] == *given,
        Some(HostMatch::Suffix(text)) => {
            let text = &text[..bare(text)];
            given.len() > text.len() && given.ends_with(text)
        }
    }
}

fn path_holds(test: &PathTest, path: &str) -> bool {
    match test {
        PathTest::Segments(segments) => path.starts_with('/') && segments.holds(path),
        PathTest::Regex(regex) => path.starts_with('/') && regex.is_match(path.as_bytes()),
    }
}
