//! One call, tried on several instances: when it may be tried again, and how soon.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use portolan_balance::Slot;
use portolan_runtime::{Dice, Env};
use smallvec::SmallVec;

use super::{Failure, PickError, Picked, Service, view::Wanted};

/// The pause before the second retry; it doubles from there. The first is made at once.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Tries that cost no memory of their own: as many as there are by default.
const TRIED_INLINE: usize = 5;

/// How calls are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Most tries of one call, the first included. 1 never tries again.
    pub attempts_max: u32,
    /// Retries to a service as a share of the calls to it, in percent. What was not used in the
    /// last ten seconds is saved up. A try that reached nobody ([`Failure::Unreachable`]) is
    /// not paid for.
    pub budget_percent: u32,
    /// Retries to a service besides that, a second, saved up for ten seconds.
    pub budget_per_second: u16,
}

/// Whether a call may be carried out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Safety {
    /// Twice is as good as once: it is tried again after any failure.
    Idempotent,
    /// It is tried again only if nothing was sent.
    Once,
}

/// One call that may be tried on several instances, each of them once.
#[derive(Debug)]
pub struct Attempts {
    service: Service,
    sticky: Option<Box<[u8]>>,
    tried: SmallVec<[Slot; TRIED_INLINE]>,
    made: u32,
    /// Whether the last try reached nobody: the next is the first that costs a server anything.
    reached_nobody: Arc<AtomicBool>,
    dice: Dice,
}

impl Default for Retries {
    /// Five tries of a call; one retry in five calls, and ten a second.
    fn default() -> Self {
        Self {
            attempts_max: 5,
            budget_percent: 20,
            budget_per_second: 10,
        }
    }
}

impl Retries {
    pub(super) fn per_second(self) -> f32 {
        self.budget_per_second.into()
    }
}

impl Safety {
    /// Whether a call that failed like that may be tried again.
    #[must_use]
    pub fn allows_retry(self, failure: Failure) -> bool {
        match (self, failure) {
            (Self::Idempotent, _) | (Self::Once, Failure::Unreachable) => true,
            (Self::Once, Failure::Failed) => false,
        }
    }
}

impl Attempts {
    pub(super) fn new(service: Service, sticky: Option<Box<[u8]>>) -> Self {
        Self {
            dice: service.shared.env.dice(),
            service,
            sticky,
            tried: SmallVec::new(),
            made: 0,
            reached_nobody: Arc::default(),
        }
    }

    /// The instance to try next, one that was not tried yet. Retries cost some of the
    /// service's budget, and all but the first wait a little: up to 10 ms, and twice as long
    /// each time, 250 ms at most. Report how the try went before the next one is picked.
    ///
    /// # Errors
    /// [`PickError`]: the call has failed; [`PickError::Tried`] when it has been everywhere.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn pick(&mut self) -> Result<Picked, PickError> {
        self.check()?;
        let pause = pause(self.made, &mut self.dice);
        if !pause.is_zero() {
            self.env().sleep(pause).await;
        }
        let mut picked = self.service.choose(Wanted {
            tried: &self.tried,
            sticky: self.sticky.as_deref(),
        })?;
        if let Err(spent) = self.charge() {
            picked.withdraw();
            return Err(spent);
        }
        picked.note_in(&self.reached_nobody);
        self.tried.push(picked.endpoint().slot);
        self.made = self.made.saturating_add(1);
        Ok(picked)
    }

    /// How often it was tried.
    #[must_use]
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// Lets it go where it has been.
    #[cfg(any(feature = "tower", feature = "reqwest"))]
    pub(crate) fn start_over(&mut self) {
        self.tried.clear();
    }

    /// Whether it may be tried once more.
    fn check(&self) -> Result<(), PickError> {
        if self.made > 0 && self.made >= self.service.shared.retries.attempts_max {
            return Err(PickError::Attempts {
                service: self.service.key().clone(),
                attempts: self.made,
            });
        }
        Ok(())
    }

    /// Pays for a try that there is an instance for.
    fn charge(&self) -> Result<(), PickError> {
        let shared = &self.service.shared;
        let (retries, now) = (shared.retries, shared.millis());
        let mut books = self.service.entry.books();
        if self.made == 0 {
            let percent = retries.budget_percent;
            books.budget.deposit(percent, retries.per_second(), now);
            return Ok(());
        }
        if self.reached_nobody.swap(false, Relaxed) {
            return Ok(());
        }
        if !books.budget.withdraw(retries.per_second(), now) {
            return Err(PickError::Budget {
                service: self.service.key().clone(),
            });
        }
        Ok(())
    }

    pub(crate) fn env(&self) -> &Env {
        &self.service.shared.env
    }
}

/// The wait before a try, after so many: half of a span that doubles, and chance for the
/// other half.
fn pause(made: u32, dice: &mut Dice) -> Duration {
    if made < 2 {
        return Duration::ZERO;
    }
    let doubled = 1_u32 << (made - 2).min(16);
    let span = PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_MAX);
    span.mul_f64(0.5 + 0.5 * dice.unit_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_made_at_once_and_pauses_double_up_to_their_limit() {
        let mut dice = Dice::new(1);
        assert_eq!(
            [0, 1].map(|made| pause(made, &mut dice)),
            [Duration::ZERO; 2]
        );
        for (made, whole) in [(2, 10), (3, 20), (6, 160), (7, 250), (u32::MAX, 250)] {
            let (pause, whole) = (pause(made, &mut dice), Duration::from_millis(whole));
            assert!(pause >= whole / 2 && pause <= whole, "{made}: {pause:?}");
        }
    }

    #[test]
    fn only_what_was_not_sent_or_may_be_done_twice_is_tried_again() {
        for (safety, failure, allowed) in [
            (Safety::Idempotent, Failure::Failed, true),
            (Safety::Idempotent, Failure::Unreachable, true),
            (Safety::Once, Failure::Unreachable, true),
            (Safety::Once, Failure::Failed, false),
        ] {
            assert_eq!(
                safety.allows_retry(failure),
                allowed,
                "{safety:?} {failure:?}"
            );
        }
    }
}
