//! What goes into the compiler, and what it has to say about it.

use portolan_model::{
    Name, Problem,
    route::{HostMatch, Match, Route},
};

/// A route to compile, with whatever the caller wants back when it matches.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// The route's name; unique, and the last word on precedence.
    pub name: Name,
    /// The listeners that it serves; all if empty.
    pub listeners: Vec<Name>,
    /// The hosts that it serves; any if empty.
    pub hosts: Vec<HostMatch>,
    /// The requests that it serves, any of these; all if empty.
    pub matches: Vec<Match>,
    /// What a match gives back.
    pub payload: T,
}

impl<T> Entry<T> {
    /// The conditions of `route`, giving back `payload`.
    #[must_use]
    pub fn of(route: &Route, payload: T) -> Self {
        Self {
            name: route.name.clone(),
            listeners: route.listeners.clone(),
            hosts: route.hosts.clone(),
            matches: route.matches.clone(),
            payload,
        }
    }

    /// Parts the conditions from what they give back.
    pub(crate) fn part(self) -> (Entry<()>, T) {
        let Self {
            name,
            listeners,
            hosts,
            matches,
            payload,
        } = self;
        let conditions = Entry {
            name,
            listeners,
            hosts,
            matches,
            payload: (),
        };
        (conditions, payload)
    }
}

/// Something wrong with a route. The other routes are compiled without regard to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteProblem {
    /// The route.
    pub route: Name,
    /// What follows for it.
    pub effect: Effect,
    /// What is wrong; the path is a JSON pointer within the route.
    pub problem: Problem,
}

/// What a problem does to its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// No part of the route is served.
    LeftOut,
    /// This condition never gets a request, because another route has the same one and
    /// comes first; the route's other conditions are served.
    Shadowed,
}
