//! Idle connections of one worker, by endpoint and transport.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    task::{Context, Waker},
    time::Duration,
};

use portolan_balance::Slot;

use crate::{http2::Client, io::Link};

/// Most idle HTTP/1 connections of one worker to one endpoint: what a few busy HTTP/2 clients
/// have under way at a time, so that they need not dial anew all the while.
pub const IDLE_MAX: usize = 1024;
/// Most HTTP/2 connections of one worker to one endpoint.
const SHARED_MAX: usize = 8;
/// How long a connection may be idle. Below the 75 s and 60 s after which common servers close,
/// so that a reused connection rarely meets a closing one.
const IDLE_FOR: Duration = Duration::from_secs(55);

/// Which connections are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The endpoint.
    pub slot: Slot,
    /// The number of the transport.
    pub transport: u32,
}

/// A worker's idle connections.
#[derive(Debug, Default)]
pub struct Pool {
    shelves: RefCell<HashMap<PoolKey, Shelf, BuildHasherDefault<Mix>>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// The latest used is last, and is used first: the others age and close.
    idle: Vec<Idle>,
    shared: Vec<Client>,
}

#[derive(Debug)]
struct Idle {
    /// In a box: it moves into a request and back, time and again.
    link: Box<Link>,
    since: u64,
}

impl Pool {
    /// An idle HTTP/1 connection that the other side has not closed.
    #[must_use]
    pub fn take(&self, key: PoolKey) -> Option<Box<Link>> {
        let mut shelves = self.shelves.borrow_mut();
        let kept = shelves.get_mut(&key)?;
        while let Some(idle) = kept.idle.pop() {
            // The driver has noted a close by itself: looking costs no system call.
            let mut cx = Context::from_waker(Waker::noop());
            if idle.link.poll_gone(&mut cx, 1).is_pending() && !idle.link.has_unread() {
                return Some(idle.link);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless `most` are idle. `now` in milliseconds of
    /// the coarse clock.
    pub fn put(&self, key: PoolKey, link: Box<Link>, now: u64, most: usize) {
        link.rest();
        let mut shelves = self.shelves.borrow_mut();
        let kept = shelves.entry(key).or_default();
        if kept.idle.len() < most.min(IDLE_MAX) {
            kept.idle.push(Idle { link, since: now });
        }
    }

    /// A shared connection with a free stream.
    #[must_use]
    pub fn shared(&self, key: PoolKey) -> Option<Client> {
        let mut shelves = self.shelves.borrow_mut();
        let kept = shelves.get_mut(&key)?;
        if kept.shared.iter().any(Client::is_closed) {
            kept.shared.retain(|client| !client.is_closed());
        }
        // The oldest that has room: requests that go together share their writes.
        if let Some(client) = kept.shared.iter().find(|client| client.has_room()) {
            return Some(client.clone());
        }
        let is_full = kept.shared.len() >= SHARED_MAX;
        let least = kept.shared.iter().min_by_key(|client| client.open());
        least.filter(|_| is_full).cloned()
    }

    /// Shares a connection with the requests that follow, unless one that is shared already has
    /// room for them: many requests may have dialled at a time. It then ends with its own.
    pub fn share(&self, key: PoolKey, client: &Client) {
        let mut shelves = self.shelves.borrow_mut();
        let shared = &mut shelves.entry(key).or_default().shared;
        shared.retain(|client| !client.is_closed());
        if shared.len() < SHARED_MAX && !shared.iter().any(Client::has_room) {
            shared.push(client.clone());
        }
    }

    /// Closes connections that have been idle for too long or whose endpoint `is_gone`. Shared
    /// connections end with their last request.
    pub fn sweep(&self, now: u64, is_gone: impl Fn(PoolKey) -> bool) {
        let idle_for = u64::try_from(IDLE_FOR.as_millis()).unwrap_or(u64::MAX);
        self.shelves.borrow_mut().retain(|key, shelf| {
            if is_gone(*key) {
                return false;
            }
            shelf.idle.retain(|idle| {
                let mut cx = Context::from_waker(Waker::noop());
                now.saturating_sub(idle.since) < idle_for
                    && idle.link.poll_gone(&mut cx, 1).is_pending()
            });
            shelf.shared.retain(|client| !client.is_closed());
            !shelf.idle.is_empty() || !shelf.shared.is_empty()
        });
    }

    /// The endpoints that there are connections to.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        self.shelves.borrow().keys().map(|key| key.slot).collect()
    }

    /// How many HTTP/1 connections are idle.
    #[must_use]
    pub fn idle_count(&self) -> usize {
        self.shelves
            .borrow()
            .values()
            .map(|shelf| shelf.idle.len())
            .sum()
    }
}

/// Mixes three small numbers that no client chooses.
#[derive(Debug, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
