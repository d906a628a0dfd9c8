//! The time limit of request heads, without a timer for each.
//!
//! A connection waits for one head after the other, and each wait has a limit that hardly ever
//! counts. The one timer of a connection is therefore left where it stands: when it rings too
//! early for the head that is waited for by then, it is set again.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use portolan_runtime::Env;

type Ringing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The timer of one connection.
#[derive(Clone)]
pub(super) struct Alarm(Arc<Inner>);

struct Inner {
    env: Env,
    /// The timer as it was set last, if it was; the lock guards it and is held to poll it. The
    /// connection's one task is the only one that does.
    set: Mutex<Option<Ringing>>,
}

/// A wait that ends at its deadline.
struct Wait {
    deadline: Instant,
    alarm: Alarm,
}

impl Alarm {
    pub(super) fn new(env: &Env) -> Self {
        Self(Arc::new(Inner {
            env: env.clone(),
            set: Mutex::new(None),
        }))
    }

    /// Ready at the deadline. The timer is never set later than a deadline that is waited for,
    /// because each is later than the one before.
    fn poll_until(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut set = self.0.set.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let ringing = set.get_or_insert_with(|| {
                let env = self.0.env.clone();
                Box::pin(async move { env.sleep_until(deadline).await })
            });
            ready!(ringing.as_mut().poll(cx));
            *set = None;
            if self.0.env.instant() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

impl Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        let now = self.now();
        // A span that no clock reaches ends at once rather than never.
        self.sleep_until(now.checked_add(duration).unwrap_or(now))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait {
            deadline,
            alarm: self.clone(),
        })
    }

    fn now(&self) -> Instant {
        self.0.env.instant()
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.poll_until(self.deadline, cx)
    }
}

impl Sleep for Wait {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_and_none_before_it() {
        let env = Env::virtual_time(1);
        let alarm = Alarm::new(&env);
        let (second, begin) = (Duration::from_secs(1), env.instant());
        alarm.sleep(second).await;
        assert_eq!(env.instant() - begin, second);
        for _ in 0..3 {
            let head = alarm.sleep(10 * second);
            let waited = env.timeout(4 * second, head).await;
            assert!(waited.is_err(), "the head came");
        }
        let begin = env.instant();
        alarm.sleep(10 * second).await;
        assert_eq!(env.instant() - begin, 10 * second);
    }
}
