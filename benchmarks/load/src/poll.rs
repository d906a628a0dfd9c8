//! Readiness: a small epoll set, level-triggered, with waits in nanoseconds.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const EVENTS_PER_WAIT_MAX: usize = 256;

/// Sockets that are waited for, each with a token.
pub(crate) struct Poll {
    epoll: OwnedFd,
    ready: Vec<u64>,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub(crate) fn new() -> Result<Self, String> {
        // Without this, every wait ends up to 50 microseconds late.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))
            .map_err(|error| format!("timer slack: {error}"))?;
        let epoll =
            epoll::create(CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        Ok(Self {
            epoll,
            ready: Vec::with_capacity(EVENTS_PER_WAIT_MAX),
        })
    }

    /// Waits for `source` to be readable or closed, until it is dropped.
    ///
    /// # Errors
    /// The descriptor cannot be polled (a regular file) or is already in the set.
    pub(crate) fn watch(&self, source: impl AsFd, token: u64) -> Result<(), String> {
        epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(token),
            EventFlags::IN,
        )
        .map_err(|error| format!("epoll: {error}"))
    }

    /// Stops waiting for `source`.
    pub(crate) fn forget(&self, source: impl AsFd) {
        // An unknown descriptor is what the caller asks for.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Tokens of the sockets that are ready, after at most `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> &[u64] {
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS_PER_WAIT_MAX];
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        self.ready.clear();
        // An interrupted wait is a wait without events.
        if let Ok((events, _)) = epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            self.ready
                .extend(events.iter().map(|event| event.data.u64()));
        }
        &self.ready
    }
}
