//! Signs of instances whose lease has ended, for the guard that may hold them.

use portolan_catalog::Sign;
use portolan_model::Health;

use crate::core::{Input, Subject};

/// An instance about which an input says something, none if it is about many, and what.
pub(crate) type Sighted = (Option<Subject>, Sign);

/// What an input says about an instance even if it has no lease.
pub(crate) fn sign_of(input: &Input) -> Option<Sighted> {
    match input {
        Input::Renew(subject, _) => Some((Some(subject.clone()), Sign::Alive)),
        Input::RenewAll(_) => Some((None, Sign::Alive)),
        Input::Judge(subject, _, Some(verdict)) => {
            let sign = match verdict.health {
                Health::Passing | Health::Warning => Sign::Alive,
                Health::Starting | Health::Critical => Sign::Dead,
            };
            Some((Some(subject.clone()), sign))
        }
        Input::Judge(_, _, None)
        | Input::Register(_)
        | Input::Patch(..)
        | Input::Recheck(..)
        | Input::Rule(..)
        | Input::Rulings
        | Input::Deregister(_)
        | Input::Leave(..)
        | Input::Drained(..)
        | Input::Tick
        | Input::Rebound(_)
        | Input::Export
        | Input::Resume
        | Input::Adopt(_) => None,
    }
}
