//! One hold: whom the guard keeps, since when and why.

use std::sync::Arc;

use portolan_model::Timestamp;

use super::{Excess, Reading, Sign};

/// Of what too much would have gone at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What one source says about one service.
    Service,
    /// A zone, whatever the service and the source.
    Zone(Arc<str>),
    /// All that one source says.
    Source,
    /// The whole catalogue.
    All,
    /// A predecessor of this process held it; its reasons were not handed over.
    Predecessor,
    /// Nothing: it is there, although its source is silent about it.
    Evidence,
}

impl Scope {
    /// Every kind of scope, as [`Self::as_str`] names it.
    pub const NAMES: &'static [&'static str] = &[
        "service",
        "zone",
        "source",
        "all",
        "predecessor",
        "evidence",
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Zone(_) => "zone",
            Self::Source => "source",
            Self::All => "all",
            Self::Predecessor => "predecessor",
            Self::Evidence => "evidence",
        }
    }
}

/// Why an instance is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Of what too much would have gone.
    pub scope: Scope,
    /// How many would have gone by inference within one hold time.
    pub gone: usize,
    /// How many were expected to be there.
    pub expected: usize,
}

impl Cause {
    pub(crate) const fn new(scope: Scope, excess: Excess) -> Self {
        let Excess { gone, expected } = excess;
        Self {
            scope,
            gone,
            expected,
        }
    }

    /// A cause that is not a matter of numbers.
    pub(crate) const fn plain(scope: Scope) -> Self {
        Self {
            scope,
            gone: 0,
            expected: 0,
        }
    }
}

/// How its source came not to speak of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It was silent for longer than its lease. Whoever finds it there, contradicts.
    Silent,
    /// A list did not name it any more. That it is there still says little: it may have
    /// been taken out of service. It counts only if the list names nobody else.
    Unlisted,
}

/// How the guard keeps an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// With reduced traffic, until its time is over.
    Suspect,
    /// With reduced traffic, until it is heard of: an operator said so.
    Told,
    /// With all of its traffic, while there is evidence that it is there.
    Vouched,
}

impl Keeping {
    /// Whether it shows as a suspect.
    pub(crate) const fn is_suspect(self) -> bool {
        matches!(self, Self::Suspect | Self::Told)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) absence: Absence,
    pub(crate) keeping: Keeping,
    pub(crate) cause: Cause,
    pub(crate) since: Timestamp,
    /// When it may go; none if only its source or an operator can end the hold.
    pub(crate) until: Option<Timestamp>,
    /// What was known at the last look.
    pub(crate) reading: Reading,
}

impl Hold {
    /// Whether its time is over.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// How many held instances may still go in this pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// Instances that the service has now, whatever their source.
    pub(crate) left: usize,
    /// Of the service.
    pub(crate) of_service: usize,
    /// In all.
    pub(crate) of_all: usize,
}

impl Room {
    /// Whether one more may go, and `least` are left then.
    const fn is_there(&self, least: usize) -> bool {
        self.of_service > 0 && self.of_all > 0 && self.left > least
    }

    /// Counts one that goes.
    pub(crate) const fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.of_service = self.of_service.saturating_sub(1);
        self.of_all = self.of_all.saturating_sub(1);
    }
}

/// What becomes of a held instance for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Stays,
    /// It is there: its traffic is whole again.
    Vouched,
    /// Nothing speaks for it any more: it is judged anew.
    Lapsed,
    /// It goes early: it was found dead.
    Dead,
    /// It goes: its time is over.
    Over,
}

/// What a look at a hold found besides the hold itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) now: Timestamp,
    pub(crate) sign: Option<Sign>,
    /// Its source speaks of no other instance of the service that gets traffic.
    pub(crate) is_alone: bool,
    pub(crate) room: Room,
}

impl Hold {
    /// What becomes of it.
    pub(crate) fn decide(&self, look: &Look) -> Fate {
        let is_alive = look.sign == Some(Sign::Alive);
        match self.keeping {
            Keeping::Vouched if !is_alive => Fate::Lapsed,
            Keeping::Told | Keeping::Vouched => Fate::Stays,
            Keeping::Suspect => self.decide_suspect(look, is_alive),
        }
    }

    fn decide_suspect(&self, look: &Look, is_alive: bool) -> Fate {
        if is_alive && self.absence == Absence::Silent {
            return Fate::Vouched;
        }
        if is_alive && look.is_alone {
            return Fate::Stays;
        }
        // The last one of a service may be refused by a broken network as well.
        if look.sign == Some(Sign::Dead) && look.room.is_there(1) {
            return Fate::Dead;
        }
        if self.is_over(look.now) && look.room.is_there(0) {
            return Fate::Over;
        }
        Fate::Stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn hold(keeping: Keeping, absence: Absence) -> Hold {
        Hold {
            absence,
            keeping,
            cause: Cause::plain(Scope::Service),
            since: at(0),
            until: Some(at(300)),
            reading: Reading::default(),
        }
    }

    fn look(seconds: u64, sign: Option<Sign>, left: usize) -> Look {
        Look {
            now: at(seconds),
            sign,
            is_alone: false,
            room: Room {
                left,
                of_service: 1,
                of_all: 1,
            },
        }
    }

    #[test]
    fn a_suspect_goes_when_its_time_is_over_and_not_before() {
        let hold = hold(Keeping::Suspect, Absence::Silent);
        assert_eq!(hold.decide(&look(299, None, 1)), Fate::Stays);
        assert_eq!(hold.decide(&look(300, None, 1)), Fate::Over);
    }

    #[test]
    fn nothing_goes_without_room() {
        let hold = hold(Keeping::Suspect, Absence::Silent);
        for room in [(0, 1), (1, 0)] {
            let (of_service, of_all) = room;
            let room = Room {
                left: 9,
                of_service,
                of_all,
            };
            for sign in [None, Some(Sign::Dead)] {
                let look = Look {
                    room,
                    ..look(300, sign, 9)
                };
                assert_eq!(hold.decide(&look), Fate::Stays);
            }
        }
    }

    #[test]
    fn who_is_found_dead_goes_early_unless_it_is_the_last() {
        let hold = hold(Keeping::Suspect, Absence::Silent);
        assert_eq!(hold.decide(&look(1, Some(Sign::Dead), 2)), Fate::Dead);
        assert_eq!(hold.decide(&look(1, Some(Sign::Dead), 1)), Fate::Stays);
        assert_eq!(hold.decide(&look(300, Some(Sign::Dead), 1)), Fate::Over);
    }

    #[test]
    fn a_sign_of_life_frees_who_was_silent() {
        let silent = hold(Keeping::Suspect, Absence::Silent);
        assert_eq!(
            silent.decide(&look(301, Some(Sign::Alive), 9)),
            Fate::Vouched
        );
        let unlisted = hold(Keeping::Suspect, Absence::Unlisted);
        assert_eq!(
            unlisted.decide(&look(301, Some(Sign::Alive), 9)),
            Fate::Over
        );
        let alone = Look {
            is_alone: true,
            ..look(301, Some(Sign::Alive), 9)
        };
        assert_eq!(unlisted.decide(&alone), Fate::Stays);
    }

    #[test]
    fn who_lives_by_evidence_is_judged_anew_without_it() {
        let vouched = hold(Keeping::Vouched, Absence::Silent);
        assert_eq!(
            vouched.decide(&look(999, Some(Sign::Alive), 1)),
            Fate::Stays
        );
        assert_eq!(vouched.decide(&look(1, None, 1)), Fate::Lapsed);
        assert_eq!(vouched.decide(&look(1, Some(Sign::Dead), 1)), Fate::Lapsed);
    }

    #[test]
    fn an_operator_s_word_outlasts_time_and_evidence() {
        let told = hold(Keeping::Told, Absence::Silent);
        for sign in [None, Some(Sign::Alive), Some(Sign::Dead)] {
            assert_eq!(told.decide(&look(999, sign, 9)), Fate::Stays);
        }
    }
}
