//! Compiles routes into a matcher.

mod entry;
mod find;

pub use entry::{Effect, Entry, RouteProblem};
pub use find::{Body, Captures, Found, Miss, Outcome};

use portolan_model::{Name, http::RequestHead};

/// All routes, compiled. Immutable: a new plan compiles a new one.
#[derive(Debug)]
pub struct Router<T> {
    entries: Vec<Entry<T>>,
}

impl<T> Router<T> {
    /// Compiles entries. A route with a problem is left out, the others are not touched.
    #[must_use]
    pub fn compile(entries: Vec<Entry<T>>) -> (Self, Vec<RouteProblem>) {
        (Self { entries }, Vec::new())
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, listener: &Name, head: &RequestHead) -> Outcome<'_, T> {
        self.find_with_body(listener, head, Body::Unread)
    }

    /// The route of a request whose body was asked for.
    #[must_use]
    pub fn find_with_body(&self, _: &Name, _: &RequestHead, _: Body<'_>) -> Outcome<'_, T> {
        Outcome::Nothing(Miss { host_known: !self.entries.is_empty(), ..Miss::default() })
    }
}
