//! The search, and its answer.

use std::{ops::ControlFlow, sync::Arc};

use portolan_model::{
    ByteSize, Name,
    http::{Method, RequestHead},
};

use crate::{
    Router, Unmet,
    compile::{Rule, RuleKind},
    condition::Conditions,
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

/// A rule whose host and path hold.
#[derive(Clone, Copy)]
struct Candidate {
    /// Its place among all rules; of a plain one, its entry.
    rule: usize,
    /// It asks for nothing else and captures nothing: it need not be looked at.
    is_plain: bool,
    /// Bytes of the path that it speaks for.
    bytes: usize,
}

/// How a search ends early.
enum Halt {
    At(Candidate),
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
        let _ = self.candidates(head, |candidate| {
            let conditions = self.conditions(candidate);
            let unmet = conditions.and_then(|all| all.check(listener, head, body).err());
            halt = match unmet {
                None => Some(Halt::At(candidate)),
                Some(Unmet::BodyUnknown(limit)) => Some(Halt::ForBody(limit)),
                Some(_) => return ControlFlow::Continue(()),
            };
            ControlFlow::Break(())
        });
        match halt {
            Some(Halt::At(candidate)) => Outcome::Found(self.found(candidate, head)),
            Some(Halt::ForBody(limit)) => Outcome::WantsBody { limit },
            None => Outcome::Nothing(self.miss(listener, head)),
        }
    }

    fn found(&self, candidate: Candidate, head: &RequestHead) -> Found<'_, T> {
        let (entry, test) = if candidate.is_plain {
            (candidate.rule, None)
        } else {
            let rule = &self.inner.rules[candidate.rule];
            (rule.entry as usize, self.path_test(rule))
        };
        let captures = match test {
            None => Captures::new(),
            Some(PathTest::Segments(segments)) => segments.captures(head.path()),
            Some(PathTest::Regex(regex)) => regex_captures(regex, head.path()),
        };
        Found {
            payload: &self.inner.payloads[entry],
            route: &self.inner.entries[entry].name,
            captures,
            prefix_bytes: candidate.bytes,
        }
    }

    /// What a rule asks for besides host and path.
    #[inline]
    fn conditions(&self, candidate: Candidate) -> Option<&Conditions> {
        if candidate.is_plain {
            return None;
        }
        let conditions = self.inner.rules[candidate.rule].conditions?;
        Some(&self.inner.conditions[conditions as usize])
    }

    fn path_test(&self, rule: &Rule) -> Option<&PathTest> {
        rule.path.map(|path| &self.inner.paths[path as usize])
    }

    #[cold]
    fn miss(&self, listener: &Name, head: &RequestHead) -> Miss {
        let mut allowed: Vec<Method> = Vec::new();
        let _ = self.candidates(head, |candidate| {
            let conditions = self.conditions(candidate);
            let wanted = conditions.map_or(&[][..], |all| all.methods_wanted(listener, head));
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

    /// Visits the rules whose host and path hold, in the order of precedence.
    #[inline]
    fn candidates(
        &self,
        head: &RequestHead,
        mut visit: impl FnMut(Candidate) -> ControlFlow<()>,
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
            for rule in stop.rules {
                if stop.is_plain || self.path_holds(&self.inner.rules[rule], path, stop.bytes) {
                    visit(Candidate {
                        rule,
                        is_plain: stop.is_plain,
                        bytes: stop.bytes,
                    })?;
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// Whether the path holds, of which the table has come as far as `bytes`.
    fn path_holds(&self, rule: &Rule, path: &[u8], bytes: usize) -> bool {
        match rule.kind {
            RuleKind::Whole | RuleKind::Prefix => true,
            // What it captures begins with a slash.
            RuleKind::Rest => bytes < path.len(),
            RuleKind::Regex => matches!(
                self.path_test(rule),
                Some(PathTest::Regex(regex)) if regex.is_match(path)
            ),
        }
    }
}
