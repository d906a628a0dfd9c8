//! What the prober found, in the words of Consul's clients.

use std::sync::Arc;

use portolan_dialects::consul::Found;
use portolan_model::route::Means;
use portolan_registry::check::CheckState;

/// A check as it stands. Clients look at one text, which holds the reason as well.
pub(super) fn found(state: &CheckState) -> Found {
    let said = &state.output;
    let output = match &state.note {
        None => Arc::clone(said),
        Some(why) if why == said => Arc::clone(said),
        Some(_) if matches!(state.probe.means, Means::Ttl(_)) => expired(said),
        Some(why) if said.is_empty() => Arc::clone(why),
        Some(why) => format!("{why}: {said}").into(),
    };
    Found {
        id: Arc::clone(&state.probe.id),
        health: state.health,
        output,
    }
}

/// What stands as the reason was not said by whoever reports: the time is over.
fn expired(last: &str) -> Arc<str> {
    match last {
        "" => "TTL expired".into(),
        last => format!("TTL expired (last output before timeout follows): {last}").into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_model::{
        Health, Timestamp,
        route::{Place, Probe},
    };

    use super::*;

    #[test]
    fn the_reason_and_the_output_are_one_text() {
        let ttl = Means::Ttl(Duration::from_secs(1));
        let tcp = Means::Tcp {
            at: Place::Home,
            tls: None,
        };
        let cases = [
            (&tcp, None, "fine", "fine"),
            (&tcp, Some("refused"), "", "refused"),
            (&tcp, Some("status 503"), "down", "status 503: down"),
            (&ttl, Some("disk full"), "disk full", "disk full"),
            (&ttl, Some("no report within 1s"), "", "TTL expired"),
            (
                &ttl,
                Some("no report within 1s"),
                "ok",
                "TTL expired (last output before timeout follows): ok",
            ),
        ];
        for (means, note, output, expected) in cases {
            let state = CheckState {
                probe: Arc::new(Probe::new("c", means.clone())),
                is_configured: false,
                health: Health::Critical,
                note: note.map(Arc::from),
                output: output.into(),
                since: Timestamp::default(),
            };
            assert_eq!(&*found(&state).output, expected);
        }
    }
}
