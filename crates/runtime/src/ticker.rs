//! One coarse clock a worker, and alarms on it.
//!
//! A gateway sets a timer several times a request and nearly none ever fires. An
//! [`Alarm`] is therefore one cell: setting it is a store. A tick looks at all
//! alarms of the worker; a deadline is met at most one tick late.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::Env;

/// How often alarms are looked at.
pub const TICK: Duration = Duration::from_millis(50);
/// The deadline of an alarm that is not set.
const NEVER: u64 = u64::MAX;

/// A worker's coarse clock. Lives on one thread.
#[derive(Debug)]
pub struct Ticker {
    start: Instant,
    now: Cell<u64>,
    /// When the millisecond after `now` begins.
    next: Cell<Instant>,
    entries: RefCell<Vec<Rc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    deadline: Cell<u64>,
    waker: RefCell<Option<Waker>>,
    /// Set when the alarm is dropped; the next tick forgets the entry.
    gone: Cell<bool>,
}

/// A deadline that is cheap to move. It is not set at first.
#[derive(Debug)]
pub struct Alarm {
    ticker: Rc<Ticker>,
    entry: Rc<Entry>,
}

impl Ticker {
    /// A clock that counts from `start`, the same for all workers.
    #[must_use]
    pub fn new(start: Instant, env: &Env) -> Rc<Self> {
        let ticker = Self {
            start,
            now: Cell::new(0),
            next: Cell::new(start),
            entries: RefCell::default(),
        };
        ticker.touch(env.instant());
        Rc::new(ticker)
    }

    /// Milliseconds since the start, as of the last tick or touch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// Moves the clock on to a precise reading that was taken anyway.
    pub fn touch(&self, instant: Instant) {
        // Under load, most readings are of the same millisecond.
        if instant < self.next.get() {
            return;
        }
        let millis = instant.saturating_duration_since(self.start).as_millis();
        let now = u64::try_from(millis).unwrap_or(NEVER);
        self.now.set(now);
        let next = Duration::from_millis(now.saturating_add(1));
        self.next
            .set(self.start.checked_add(next).unwrap_or(instant));
    }

    /// A new alarm on this clock.
    #[must_use]
    pub fn alarm(self: &Rc<Self>) -> Alarm {
        let entry = Rc::new(Entry {
            deadline: Cell::new(NEVER),
            waker: RefCell::new(None),
            gone: Cell::new(false),
        });
        self.entries.borrow_mut().push(Rc::clone(&entry));
        Alarm {
            ticker: Rc::clone(self),
            entry,
        }
    }

    /// Ticks for ever: the worker's own task.
    pub async fn run(&self, env: &Env) {
        loop {
            env.sleep(TICK).await;
            self.touch(env.instant());
            self.fire();
        }
    }

    /// Wakes every task that waits for an alarm, so that it looks around.
    pub fn wake_all(&self) {
        for entry in self.entries.borrow().iter() {
            if let Some(waker) = entry.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    fn fire(&self) {
        let now = self.now();
        self.entries.borrow_mut().retain(|entry| {
            if entry.deadline.get() <= now
                && let Some(waker) = entry.waker.borrow_mut().take()
            {
                waker.wake();
            }
            !entry.gone.get()
        });
    }
}

impl Alarm {
    /// Sets the deadline to `span` from now, in place of an earlier one.
    pub fn set(&self, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap_or(NEVER);
        self.entry
            .deadline
            .set(self.ticker.now().saturating_add(span));
    }

    /// Takes the deadline away.
    pub fn clear(&self) {
        self.entry.deadline.set(NEVER);
    }

    /// Ready when the deadline has passed; until then the task is woken when it does.
    pub fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.entry.deadline.get() <= self.ticker.now() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.entry.deadline.set(NEVER);
        self.entry.gone.set(true);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_shows_the_millisecond_of_the_latest_reading() {
        let env = Env::virtual_time(1);
        let start = env.instant();
        let ticker = Ticker::new(start, &env);
        for (micros, expected) in [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_999, 1),
            (900, 1),
            (5_000, 5),
            (4_999, 5),
            (6_001, 6),
        ] {
            ticker.touch(start + Duration::from_micros(micros));
            assert_eq!(ticker.now(), expected, "{micros}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_fires_within_a_tick() {
        let env = Env::virtual_time(1);
        let ticker = Ticker::new(env.instant(), &env);
        let alarm = ticker.alarm();
        alarm.set(Duration::from_millis(120));
        let passed = poll_fn(|cx| alarm.poll_passed(cx));
        tokio::select! {
            () = passed => {}
            () = ticker.run(&env) => {}
        }
        assert!((120..=120 + 50).contains(&ticker.now()), "{}", ticker.now());
        alarm.set(Duration::from_millis(1));
        drop(alarm);
        ticker.fire();
        assert!(ticker.entries.borrow().is_empty());
    }
}
