//! Who keeps whom waiting while a request goes out.

use std::time::Duration;

use portolan_model::Cause;
use portolan_policy::Fault;
use portolan_runtime::Alarm;
use portolan_wire::io::Relay;

use super::Attempt;

/// The timer of a request on its way out: a client has its own time between two pieces of a
/// body, an instance has the time to its first byte.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    alarm: &'a Alarm,
    body: Duration,
    first_byte: Duration,
    moved: u64,
    waits_for: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The client is to send more of the body.
    Client,
    /// The instance is to take more of the body.
    Taker,
    /// The request is out; the instance is to answer.
    Answer,
}

impl<'a> Pace<'a> {
    pub(super) fn new(alarm: &'a Alarm, body: Duration, first_byte: Duration) -> Self {
        alarm.set(first_byte);
        Self {
            alarm,
            body,
            first_byte,
            moved: 0,
            waits_for: Waits::Taker,
        }
    }

    /// The body waits: for more of it, or for room. Any progress gives new time.
    pub(super) fn note(&mut self, relay: &Relay<'_>) {
        let (moved, waits_for) = if relay.is_waiting() {
            (relay.bytes(), Waits::Client)
        } else {
            (relay.bytes(), Waits::Taker)
        };
        if (moved, waits_for) == (self.moved, self.waits_for) {
            return;
        }
        (self.moved, self.waits_for) = (moved, waits_for);
        self.alarm.set(match waits_for {
            Waits::Client => self.body,
            Waits::Taker | Waits::Answer => self.first_byte,
        });
    }

    /// All of the request is out.
    pub(super) fn done(&mut self) {
        self.waits_for = Waits::Answer;
        self.alarm.set(self.first_byte);
    }

    /// Whose time ran out.
    pub(super) fn fault(&self, attempt: &Attempt<'_, '_>) -> Fault {
        match self.waits_for {
            Waits::Client => Fault::new(Cause::RequestTimeout, "the body did not come in time"),
            Waits::Taker => attempt.fault(
                Cause::WriteTimeout,
                "the instance did not take the request in time",
            ),
            Waits::Answer => attempt.fault(
                Cause::FirstByteTimeout,
                "the instance did not answer in time",
            ),
        }
    }
}
