//! The state of an instance on its separate axes, and the one fold over them.
//!
//! Whoever owns an axis writes only that axis: the instance or its check reports
//! health, an operator overrides, the guard holds, a drain marks leaving. Nobody
//! overwrites another's word; [`State::traffic`] decides.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Weight};

/// What the instance, or a check of it, last reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Works.
    #[default]
    Passing,
    /// Works, with a complaint: gets less traffic.
    Warning,
    /// Not there yet.
    Starting,
    /// Does not work.
    Critical,
}

impl Health {
    /// How bad it is: 0 works, 3 does not work.
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            Self::Passing => 0,
            Self::Warning => 1,
            Self::Starting => 2,
            Self::Critical => 3,
        }
    }
}

/// Health and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The health.
    pub health: Health,
    /// Why, in words for people: `connection refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
}

/// What an operator said, which no instance can undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Nothing.
    #[default]
    None,
    /// No new requests; what runs may finish.
    Drain,
    /// Out of service until said otherwise.
    Maintenance,
}

/// An operator's word about one instance: a fact of its own, beside what the instance
/// and its source say. It holds until an operator takes it back, whatever registers or
/// leaves meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Whether it gets traffic.
    #[serde(default, rename = "override")]
    pub traffic: Override,
    /// Its share, in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Who said so: an address, a token's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<str>>,
    /// When it was said.
    pub at: Timestamp,
}

/// What the guard does with the instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Nothing.
    #[default]
    None,
    /// Would have been removed by inference, but too much would go at once.
    Suspect,
    /// Went down too often lately.
    Flapping,
}

/// All axes of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The reported health.
    pub health: Health,
    /// Since when the health is what it is; the epoch if nobody knows.
    pub since: Timestamp,
    /// Since when the instance is there without a break, as its source or its catalogue saw it;
    /// the epoch if nobody knows.
    #[serde(skip_serializing_if = "is_unknown")]
    pub first_seen: Timestamp,
    /// Why, in the words of the check or of the instance: `connection refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
    /// The operator's word.
    #[serde(rename = "override")]
    pub overridden: Override,
    /// Who said so, when and why; and whether the weight is the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ruling: Option<Arc<Ruling>>,
    /// The guard's hold.
    pub guard: Guard,
    /// The instance asked to leave and is being drained.
    pub leaving: bool,
    /// The source no longer knows; this is its last word.
    pub stale: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_unknown(at: &Timestamp) -> bool {
    *at == Timestamp::default()
}

/// How much traffic an instance may get, and if none, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// Its full share.
    Full,
    /// A reduced share: a warning, held by the guard, or flapping.
    Reduced,
    /// None: it has not started.
    Starting,
    /// None: its check or its own report says it does not work.
    Critical,
    /// None: an operator took it out.
    Overridden,
    /// None: it is leaving.
    Leaving,
}

impl Traffic {
    /// Whether new requests may go there.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Full | Self::Reduced)
    }
}

impl State {
    /// Folds the axes into what the instance may get. The strongest word wins:
    /// leaving, then the operator, then health; a guard's hold keeps a silent
    /// instance, but never one that says itself that it does not work.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        if self.leaving {
            return Traffic::Leaving;
        }
        match (self.overridden, self.health, self.guard) {
            (Override::Drain | Override::Maintenance, _, _) => Traffic::Overridden,
            (Override::None, Health::Starting, _) => Traffic::Starting,
            (Override::None, Health::Critical, _) => Traffic::Critical,
            (Override::None, Health::Warning, _)
            | (Override::None, Health::Passing, Guard::Suspect | Guard::Flapping) => {
                Traffic::Reduced
            }
            (Override::None, Health::Passing, Guard::None) => Traffic::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(health: Health) -> State {
        State {
            health,
            ..State::default()
        }
    }

    #[test]
    fn the_strongest_axis_wins() {
        assert_eq!(state(Health::Passing).traffic(), Traffic::Full);
        assert_eq!(state(Health::Warning).traffic(), Traffic::Reduced);
        assert_eq!(state(Health::Starting).traffic(), Traffic::Starting);
        assert_eq!(state(Health::Critical).traffic(), Traffic::Critical);
        let held = State {
            guard: Guard::Suspect,
            ..state(Health::Passing)
        };
        assert_eq!(held.traffic(), Traffic::Reduced);
        let flapping = State {
            guard: Guard::Flapping,
            ..state(Health::Passing)
        };
        assert_eq!(flapping.traffic(), Traffic::Reduced);
        let drained = State {
            overridden: Override::Drain,
            ..held
        };
        assert_eq!(drained.traffic(), Traffic::Overridden);
        let leaving = State {
            leaving: true,
            ..drained
        };
        assert_eq!(leaving.traffic(), Traffic::Leaving);
    }
}
