//! How many descriptors the program may have open.
//!
//! Every connection is one, towards clients and towards instances. The soft limit is
//! small by tradition (1024), for programs that use select(2); we do not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that the program needs besides connections and listening sockets:
/// files, logs, event queues of workers, the control plane.
const OWN: u64 = 256;

/// Descriptors for `listeners` with so many `workers` and, in all, `connections` of clients.
#[must_use]
pub(crate) const fn descriptors_needed(connections: u64, listeners: u64, workers: u64) -> u64 {
    // Each client's connection may need one to an instance. A listening socket is
    // open twice: its owner's and its worker's.
    let sockets = listeners.saturating_mul(workers).saturating_mul(2);
    connections
        .saturating_mul(2)
        .saturating_add(sockets)
        .saturating_add(OWN)
}

/// Raises the soft limit to the hard one and says what holds; `None` is no limit.
pub(crate) fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be raised");
            limit.current
        }
    }
}

/// Warns if fewer descriptors are allowed than may be needed.
pub(crate) fn warn_of_descriptors(allowed: Option<u64>, needed: u64) {
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "fewer open files are allowed than the configured connections may need; \
             raise the hard limit (ulimit -n, LimitNOFILE=) or lower `limits.connections`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        assert_eq!(raise_descriptors(), getrlimit(Resource::Nofile).maximum);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn every_connection_counts_twice() {
        assert_eq!(descriptors_needed(0, 0, 0), OWN);
        assert_eq!(descriptors_needed(1000, 2, 4), 2000 + 16 + OWN);
        assert_eq!(descriptors_needed(u64::MAX, 1, 1), u64::MAX);
    }
}
