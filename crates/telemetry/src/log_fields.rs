//! The names of the facts in structured logs: one list, so that a search for one finds all.

/// A name that a fact has in structured logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogField {
    /// The field's name.
    pub name: &'static str,
    /// What it holds.
    pub meaning: &'static str,
}

macro_rules! fields {
    ($($name:literal: $meaning:literal;)+) => {
        /// Every field, in the order of the reference.
        pub const LOG_FIELDS: &[LogField] = &[$(LogField { name: $name, meaning: $meaning },)+];
    };
}

fields! {
    "actor": "who made a change: the name of a token or certificate, or an address";
    "address": "a socket address: of a client, an instance or a listener";
    "allowed": "how much the system allows";
    "attempt": "which try of a request this was, from 1";
    "cause": "a cause id, see causes";
    "concern": "what a finding is about: an object of the configuration";
    "connections": "how many connections";
    "elapsed_ms": "how long it took, in milliseconds";
    "error": "the error with its sources";
    "errors": "how many errors";
    "instance": "an instance's id";
    "lag_ms": "how far behind a source is, in milliseconds";
    "limit": "the limit that was met";
    "listener": "a listener's name";
    "method": "the method of a call to a control listener";
    "needed": "how much would be needed";
    "path": "a file";
    "peer": "the address at the other end of a connection";
    "pid": "a process";
    "policy": "a policy's kind";
    "problems": "what is wrong with a setting";
    "reason": "why, in words for a person";
    "resource": "the path that a call to a control listener was about";
    "revision": "a revision of the catalogue";
    "route": "a route's name";
    "service": "a service, `name` or `namespace/name`";
    "side": "whose side a fault is on: client, upstream or gateway";
    "source": "a source's name";
    "status": "a status of HTTP or of an instance";
    "task": "a task's name";
    "upstream": "an upstream's name";
    "version": "a version of the program";
    "worker": "a worker's number";
    "written": "how many records were written to the store";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_listed_once_and_in_order() {
        assert!(
            LOG_FIELDS
                .windows(2)
                .all(|pair| pair[0].name < pair[1].name)
        );
    }
}
