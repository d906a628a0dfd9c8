//! Statuses: words, the hash over them, and the mapping to the axes of the model.

use std::fmt::Write as _;

use portolan_model::{Health, Override, State};

/// What Eureka says of an instance. The order is that of the hash: by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Does not work.
    Down,
    /// Taken out, by an operator or by itself.
    OutOfService,
    /// Not there yet.
    Starting,
    /// Nobody knows.
    Unknown,
    /// Works.
    Up,
}

impl Status {
    /// Every status, by name.
    pub const ALL: [Self; 5] = [
        Self::Down,
        Self::OutOfService,
        Self::Starting,
        Self::Unknown,
        Self::Up,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Starting => "STARTING",
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
        }
    }

    /// Reads a word exactly; a caller that sends another one is answered 500.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Reads a word of a body: in any case, and [`Self::Unknown`] if there is no such word.
    #[must_use]
    pub fn read(word: &str) -> Self {
        Self::parse(&word.to_ascii_uppercase()).unwrap_or(Self::Unknown)
    }

    /// What an instance of the model is in Eureka's words: as [`resolve`] has it, one that
    /// is down or starting says so, whatever an operator wants of it.
    #[must_use]
    pub const fn of(state: &State) -> Self {
        let is_out = state.leaving || !matches!(state.overridden, Override::None);
        match state.health {
            Health::Starting => Self::Starting,
            Health::Critical => Self::Down,
            Health::Passing | Health::Warning if is_out => Self::OutOfService,
            Health::Passing | Health::Warning => Self::Up,
        }
    }

    /// What an instance that says this of itself is in the model's words. An instance that
    /// takes itself out, or does not know, gets nothing: the word is kept beside it.
    #[must_use]
    pub const fn to_health(self) -> Health {
        match self {
            Self::Up => Health::Passing,
            Self::Starting => Health::Starting,
            Self::Down | Self::OutOfService | Self::Unknown => Health::Critical,
        }
    }

    /// The override that an operator's word is.
    #[must_use]
    pub const fn of_override(overridden: Override) -> Option<Self> {
        match overridden {
            Override::None => None,
            Override::Drain | Override::Maintenance => Some(Self::OutOfService),
        }
    }
}

/// Who sends a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The instance itself.
    Client,
    /// Another server, which tells what it was told.
    Peer,
}

/// The status that a registration leads to. An instance that is down or starting knows best;
/// then an operator's override counts, then what was known before, then what was sent.
#[must_use]
pub const fn resolve(
    sent: Status,
    overridden: Option<Status>,
    known: Option<Status>,
    sender: Sender,
) -> Status {
    if !matches!(sent, Status::Up | Status::OutOfService) {
        return sent;
    }
    match (overridden, known, sender) {
        (Some(overridden), _, _) => overridden,
        (None, Some(known @ (Status::Up | Status::OutOfService)), Sender::Client) => known,
        (None, _, _) => sent,
    }
}

/// How many instances have which status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; Status::ALL.len()]);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, status: Status) {
        if let Some(count) = self.0.get_mut(status as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds those of another set.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// The hash by which a client sees that its copy is whole: `DOWN_1_UP_4_`.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = String::new();
        for (status, count) in Status::ALL.into_iter().zip(self.0) {
            if count > 0 {
                // Writing to a string can't fail.
                let _written = write!(hash, "{}_{count}_", status.as_str());
            }
        }
        hash
    }
}

impl FromIterator<Status> for Counts {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Self {
        let mut counts = Self::default();
        for status in statuses {
            counts.add(status);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_sorts_by_name_and_skips_what_is_not_there() {
        let statuses = [Status::Up, Status::Down, Status::Up, Status::OutOfService];
        let counts: Counts = statuses.into_iter().collect();
        assert_eq!(counts.hash(), "DOWN_1_OUT_OF_SERVICE_1_UP_2_");
        assert_eq!(Counts::default().hash(), "");
    }

    #[test]
    fn every_state_of_the_model_has_a_word() {
        let health = |health| State {
            health,
            ..State::default()
        };
        let word = |state: State| Status::of(&state).as_str();
        assert_eq!(word(health(Health::Passing)), "UP");
        assert_eq!(word(health(Health::Warning)), "UP");
        assert_eq!(word(health(Health::Starting)), "STARTING");
        assert_eq!(word(health(Health::Critical)), "DOWN");
        for overridden in [Override::Drain, Override::Maintenance] {
            let state = State {
                overridden,
                ..State::default()
            };
            assert_eq!(word(state), "OUT_OF_SERVICE");
        }
        let suspect = State {
            guard: portolan_model::Guard::Suspect,
            ..State::default()
        };
        assert_eq!(word(suspect), "UP");
        let leaving = State {
            leaving: true,
            ..State::default()
        };
        assert_eq!(word(leaving), "OUT_OF_SERVICE");
        let sick = State {
            overridden: Override::Drain,
            ..health(Health::Critical)
        };
        assert_eq!(word(sick), "DOWN");
    }

    #[test]
    fn words_are_exact_in_calls_and_lenient_in_bodies() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert_eq!(Status::read(&status.as_str().to_lowercase()), status);
        }
        assert_eq!(Status::parse("up"), None);
        assert_eq!(Status::read("elsewhere"), Status::Unknown);
    }

    #[test]
    fn overrides_survive_registrations_but_the_sick_know_best() {
        use Status::{Down, OutOfService, Starting, Unknown, Up};
        let out = Some(OutOfService);
        for (sent, overridden, known, sender, expected) in [
            (Up, None, None, Sender::Client, Up),
            (Up, out, None, Sender::Client, OutOfService),
            (Up, out, Some(Up), Sender::Peer, OutOfService),
            (Down, out, Some(Up), Sender::Client, Down),
            (Starting, out, None, Sender::Client, Starting),
            (Unknown, None, Some(Up), Sender::Client, Unknown),
            (Up, None, out, Sender::Client, OutOfService),
            (Up, None, out, Sender::Peer, Up),
            (OutOfService, Some(Up), None, Sender::Client, Up),
            (Up, None, Some(Down), Sender::Client, Up),
        ] {
            let resolved = resolve(sent, overridden, known, sender);
            assert_eq!(
                resolved, expected,
                "{sent:?} {overridden:?} {known:?} {sender:?}"
            );
        }
    }
}
