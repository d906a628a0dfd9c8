//! The answer of a search.

use std::sync::Arc;

use portolan_model::{ByteSize, Name, http::Method};

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
