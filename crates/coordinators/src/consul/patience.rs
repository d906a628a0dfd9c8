//! How long a blocking query waits in vain before it is asked again.
//!
//! Each answer that says nothing new is whole, so with thousands of services a long wait saves
//! most of what following them costs. But a proxy in between may cut what takes it too long. So
//! a query waits as long as it may, and one that is cut goes back to what nobody cuts; from
//! there it tries twice as long each time. If that is cut again, it stays with what went well:
//! a server that was restarted cuts once, a proxy always.

use std::time::Duration;

/// What proxies let through: their limits are a minute or little less.
pub(super) const BRIEF: Duration = Duration::from_secs(30);
/// What ends sooner than this failed for another reason than that it took long.
const CUT_AFTER: Duration = Duration::from_secs(15);

/// How long one query waits.
#[derive(Debug)]
pub(super) struct Patience {
    now: Duration,
    most: Duration,
    /// What went well last since it was cut; none if it was not.
    sound: Option<Duration>,
}

impl Patience {
    /// Waits for as long as that.
    pub(super) const fn new(most: Duration) -> Self {
        Self {
            now: most,
            most,
            sound: None,
        }
    }

    /// How long it waits.
    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    /// It waited for all of that time, and was told so.
    pub(super) fn served(&mut self) {
        if self.sound.is_some() {
            self.sound = Some(self.now);
            self.now = self.now.saturating_mul(2).min(self.most);
        }
    }

    /// It ended without an answer after so long. Says whether that may be because it took so
    /// long, and the next one waits for less.
    pub(super) fn cut(&mut self, after: Duration) -> bool {
        if self.now <= BRIEF || after < CUT_AFTER {
            return false;
        }
        let next = match self.sound {
            // It went well by luck: a wait differs a little from the one before.
            Some(sound) if sound == self.now => BRIEF,
            Some(sound) => sound,
            None => BRIEF,
        };
        if self.sound.is_some() {
            self.most = next;
        }
        (self.now, self.sound) = (next, Some(next));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// The waits of so many queries in a row, behind who cuts what takes that long.
    fn waits(patience: &mut Patience, cuts_at: Duration, count: usize) -> Vec<u64> {
        let wait = |_| {
            let wait = patience.now();
            if wait < cuts_at {
                patience.served();
            } else {
                assert!(patience.cut(cuts_at));
            }
            wait.as_secs()
        };
        (0..count).map(wait).collect()
    }

    #[test]
    fn behind_a_proxy_it_stays_with_what_goes_well() {
        let mut patience = Patience::new(secs(300));
        assert_eq!(waits(&mut patience, secs(50), 5), [300, 30, 60, 30, 30]);
        assert_eq!(waits(&mut patience, secs(50), 3), [30, 30, 30]);
    }

    #[test]
    fn what_went_well_by_luck_does_not_last() {
        let mut patience = Patience::new(secs(300));
        let (long, short) = (Duration::MAX, secs(59));
        assert!(patience.cut(secs(60)));
        assert_eq!(waits(&mut patience, long, 2), [30, 60]);
        assert_eq!(waits(&mut patience, short, 4), [120, 60, 30, 30]);
        assert_eq!(waits(&mut patience, short, 2), [30, 30]);
    }

    #[test]
    fn after_a_restart_it_comes_back_to_the_most() {
        let mut patience = Patience::new(secs(300));
        patience.served();
        assert!(patience.cut(secs(200)));
        let long = Duration::MAX;
        assert_eq!(waits(&mut patience, long, 6), [30, 60, 120, 240, 300, 300]);
    }

    #[test]
    fn what_fails_soon_or_was_brief_is_not_cut() {
        let mut patience = Patience::new(secs(300));
        assert!(!patience.cut(secs(14)));
        assert!(patience.cut(secs(15)));
        assert!(!patience.cut(secs(29)));
    }
}
