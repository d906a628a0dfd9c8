//! What people are told about the registration: a line for each turn, and no line twice.

use std::{collections::BTreeSet, sync::Arc};

use portolan_client::{LeaveError, Left, Registered, Standing};
use portolan_dialects::native::Drained;

/// Different reasons that are told while the registry is away.
const REASONS_MAX: usize = 8;

/// What was told so far.
#[derive(Debug)]
pub(super) struct Story {
    service: String,
    /// What holds, as far as people know.
    registered: Option<Registered>,
    /// Why the registry can't be told now; empty if it can.
    reasons: BTreeSet<Arc<str>>,
}

impl Story {
    /// Nothing was told.
    pub(super) const fn new(service: String) -> Self {
        Self {
            service,
            registered: None,
            reasons: BTreeSet::new(),
        }
    }

    /// What to tell about how the registration stands, if it is news.
    pub(super) fn go_on(&mut self, standing: Standing) -> Option<String> {
        match standing {
            Standing::Registered(now) => self.registered(now),
            Standing::Retrying { reason, .. } => {
                let is_new =
                    self.reasons.len() < REASONS_MAX && self.reasons.insert(Arc::clone(&reason));
                is_new.then(|| format!("the registry can't be told, trying on: {reason}"))
            }
            Standing::New | Standing::Leaving | Standing::Left(_) => None,
        }
    }

    fn registered(&mut self, now: Registered) -> Option<String> {
        let was_away = !std::mem::take(&mut self.reasons).is_empty();
        let (registry, revision) = (Arc::clone(&now.registry), now.revision);
        let words = match &self.registered {
            None => {
                let url = now.url.as_ref();
                let served = url.map_or_else(String::new, |url| format!("; {url}"));
                let (service, id) = (&self.service, &now.id);
                Some(format!(
                    "{service} is registered as {id} at {registry}, revision {revision}{served}"
                ))
            }
            Some(before) if before.revision != revision || before.registry != registry => Some(
                format!("registered again at {registry}, revision {revision}"),
            ),
            Some(_) if was_away => Some(format!("{registry} is back and still has it")),
            Some(_) => None,
        };
        self.registered = Some(now);
        words
    }
}

/// What to tell about the end of a registration.
pub(super) fn farewell(left: &Result<Left, LeaveError>) -> String {
    match left {
        Ok(Left::Drained(Drained::Idle)) => "deregistered; no request is left".to_owned(),
        Ok(Left::Drained(Drained::Deadline { in_flight })) => {
            format!("deregistered; {in_flight} of its requests did not end in time")
        }
        Ok(Left::Drained(Drained::Returned)) => {
            "another program has registered under its id meanwhile".to_owned()
        }
        Ok(Left::Removed) => "deregistered".to_owned(),
        Ok(Left::Unknown) => "the registry did not have it".to_owned(),
        Err(error) => format!("not deregistered: {error}; its ttl will do that"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_model::Revision;

    use super::*;

    fn held(revision: u64, registry: &str) -> Standing {
        Standing::Registered(Registered {
            id: "a".into(),
            revision: Revision::from_u64(revision),
            registry: registry.into(),
            url: Some("http://g/orders/".into()),
            ttl: Duration::from_secs(1),
        })
    }

    fn away(reason: &str) -> Standing {
        Standing::Retrying {
            reason: reason.into(),
            failures: 1,
        }
    }

    #[test]
    fn every_turn_is_told_once() {
        let mut story = Story::new("orders".to_owned());
        for (standing, told) in [
            (Standing::New, ""),
            (away("x"), "the registry can't be told, trying on: x"),
            (away("y"), "the registry can't be told, trying on: y"),
            (away("x"), ""),
            (
                held(7, "r"),
                "orders is registered as a at r, revision 7; http://g/orders/",
            ),
            (held(7, "r"), ""),
            (away("x"), "the registry can't be told, trying on: x"),
            (held(7, "r"), "r is back and still has it"),
            (held(8, "r"), "registered again at r, revision 8"),
            (held(8, "s"), "registered again at s, revision 8"),
            (Standing::Leaving, ""),
        ] {
            let words = story.go_on(standing.clone()).unwrap_or_default();
            assert_eq!(words, told, "{standing:?}");
        }
    }

    #[test]
    fn reasons_are_told_up_to_their_limit() {
        let mut story = Story::new("orders".to_owned());
        let told = (0..20).filter(|number| story.go_on(away(&number.to_string())).is_some());
        assert_eq!(told.count(), REASONS_MAX);
    }
}
