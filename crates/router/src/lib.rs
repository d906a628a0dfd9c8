//! Compiles routes into a matcher.
//!
//! A route serves requests by host, path, method, header fields, query and, if it
//! asks for it, body. Which of several matching routes gets a request is one total
//! order, that of the Kubernetes Gateway API with a place for templates. The first
//! rule that differs decides:
//!
//! 1. **Host**: a whole host, then the longest `*.suffix`, then any host. If no
//!    route of a more specific host matches, those of a less specific one are asked.
//! 2. **Path**, segment by segment from the left: a literal segment goes before a
//!    captured one, a captured one before an open end, and `/{*rest}` before a
//!    prefix that ends at the same place. So an exact path goes before all others
//!    and the longest prefix before shorter ones. Regular expressions come after
//!    all of these, the longest text first, then by text.
//! 3. **Method**: given before not given.
//! 4. **Headers**: more before fewer.
//! 5. **Query parameters**: more before fewer.
//! 6. **Body**: given before not given.
//! 7. **Name** of the route, in alphabetical order.
//! 8. **Place** of the match within the route.
//!
//! A search costs about as many memory accesses as the path has segments that
//! routes tell apart, whatever the number of routes; regular expressions are tried
//! one by one and are therefore few per host. Nothing is allocated but captures.
//!
//! Invariant: [`Router::find`] gives what [`Router::explain`] says, which looks at
//! every rule without the table.
//! Source: Gateway API v1, `HTTPRouteRule.matches` and `HTTPRouteSpec.hostnames`.

mod compile;
mod condition;
mod entry;
mod explain;
mod find;
mod path;
mod table;
#[cfg(test)]
mod tests;
mod text;

use compile::Compiled;
pub use condition::Unmet;
pub use entry::{Effect, Entry, RouteProblem};
pub use explain::{Considered, Verdict};
pub use find::{Body, Captures, Found, Miss, Outcome};

/// All routes, compiled. Immutable: a new plan compiles a new one.
#[derive(Debug)]
pub struct Router<T> {
    inner: Compiled<T>,
}

impl<T> Router<T> {
    /// Compiles routes. One that has a problem is left out and reported, and the others
    /// are not touched; conditions that another route has as well are reported, too.
    #[must_use]
    pub fn compile(entries: Vec<Entry<T>>) -> (Self, Vec<RouteProblem>) {
        let (inner, problems) = compile::compile(entries);
        (Self { inner }, problems)
    }
}
