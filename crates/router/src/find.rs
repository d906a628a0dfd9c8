//! The search, and its answer.

use std::{ops::ControlFlow, sync::Arc};

use portolan_model::{
    ByteSize, Name,
    http::{Method, RequestHead},
};

use crate::{
    Router, Unmet,
    compile::{Rule, RuleKind},
    path::{PathTest, regex_captures},
};

/// Named parts of a path, in its canonical form: what was percent-encoded still is.
pub type Captures = Vec<(Arc<str>, Box<str>)>;

/// How much of a request's body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing was read: the router asks if it needs it.
    #[default]
    Unread,
    /// The first bytes; there are more.
    Part(&'a [u8]),
    /// All of it.
    Whole(&'a [u8]),
}

/// What a search found.
#[derive(Debug, PartialEq)]
pub enum Outcome<'r, T> {
    /// The first route, in the order of precedence, whose conditions all hold.
    Found(Found<'r, T>),
    /// No route matches.
    Nothing(Miss),
    /// A route that comes first may match by its body: collect it up to one byte over
    /// this limit and search again.
    WantsBody {
        /// The largest body that could match.
        limit: ByteSize,
    },
}

/// A route that matches.
#[derive(Debug, PartialEq)]
pub struct Found<'r, T> {
    /// What its entry carried.
    pub payload: &'r T,
    /// The route's name.
    pub route: &'r Name,
    /// What its template or regular expression captured; without memory if it has none.
    pub captures: Captures,
    /// How many bytes of the path its condition spoke for: the prefix (0 for `/`), the
    /// whole path, or what stands before `/{*rest}`.
    pub prefix_bytes: usize,
}

/// Why no route matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Miss {
    /// Whether some route serves this host.
    pub host_known: bool,
    /// Methods with which this same request would match, without repeats: a reason to
    /// answer 405 instead of 404 unless empty.
    pub allowed: Vec<Method>,
}

/// How a search ends early.
enum Halt<'r> {
    /// This rule matches, and speaks for so many bytes of the path.
    At(&'r Rule, usize),
    ForBody(ByteSize),
}

impl<T> Router<T> {
    /// The route of a request. Allocates only for captures.
    #[must_use]
    pub fn find(&self, listener: &Name, head: &RequestHead) -> Outcome<'_, T> {
        self.find_with_body(listener, head, Body::Unread)
    }

    /// The route of a request whose body was asked for.
    #[must_use]
    pub fn find_with_body(
        &self,
        listener: &Name,
        head: &RequestHead,
        body: Body<'_>,
    ) -> Outcome<'_, T> {
        let mut halt = None;
        let _ = self.candidates(head, |rule, bytes| {
            let unmet = rule.conditions.and_then(|conditions| {
                let conditions = &self.inner.conditions[conditions as usize];
                conditions.check(listener, head, body).err()
            });
            halt = match unmet {
                None => Some(Halt::At(rule, bytes)),
                Some(Unmet::BodyUnknown(limit)) => Some(Halt::ForBody(limit)),
                Some(_) => return ControlFlow::Continue(()),
            };
            ControlFlow::Break(())
        });
        match halt {
            Some(Halt::At(rule, bytes)) => Outcome::Found(self.found(rule, bytes, head)),
            Some(Halt::ForBody(limit)) => Outcome::WantsBody { limit },
            None => Outcome::Nothing(self.miss(listener, head)),
        }
    }

    fn found(&self, rule: &Rule, bytes: usize, head: &RequestHead) -> Found<'_, T> {
        let entry = &self.inner.entries[rule.entry as usize];
        let captures = match rule.path.map(|path| &self.inner.paths[path as usize]) {
            None => Captures::new(),
            Some(PathTest::Segments(segments)) => segments.captures(head.path()),
            Some(PathTest::Regex(regex)) => regex_captures(regex, head.path()),
        };
        Found {
            payload: &entry.payload,
            route: &entry.name,
            captures,
            prefix_bytes: bytes,
        }
    }

    #[cold]
    fn miss(&self, listener: &Name, head: &RequestHead) -> Miss {
        let mut allowed: Vec<Method> = Vec::new();
        let _ = self.candidates(head, |rule, _| {
            let wanted = rule.conditions.map_or(&[][..], |conditions| {
                self.inner.conditions[conditions as usize].methods_wanted(listener, head)
            });
            for method in wanted {
                if !allowed.contains(method) {
                    allowed.push(method.clone());
                }
            }
            ControlFlow::Continue(())
        });
        Miss {
            host_known: self.inner.table.knows(head.host()),
            allowed,
        }
    }

    /// Visits the rules whose host and path hold, in the order of precedence, with the
    /// bytes of the path that they speak for.
    #[inline]
    fn candidates<'r>(
        &'r self,
        head: &RequestHead,
        mut visit: impl FnMut(&'r Rule, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let path = match head.path() {
            // The server as a whole (RFC 9112, section 3.2.4): whoever serves all of it.
            "*" => "/",
            path => path,
        };
        let path = path.as_bytes();
        let table = &self.inner.table;
        let host = if table.has_hosts() { head.host() } else { "" };
        table.walk(host, path, &mut |stop| {
            for rule in &self.inner.rules[stop.rules] {
                let holds = match rule.kind {
                    RuleKind::Whole | RuleKind::Prefix => true,
                    // What it captures begins with a slash.
                    RuleKind::Rest => stop.bytes < path.len(),
                    RuleKind::Regex => self.regex_holds(rule, path),
                };
                if holds {
                    visit(rule, stop.bytes)?;
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn regex_holds(&self, rule: &Rule, path: &[u8]) -> bool {
        let test = rule.path.map(|path| &self.inner.paths[path as usize]);
        matches!(test, Some(PathTest::Regex(regex)) if regex.is_match(path))
    }
}
