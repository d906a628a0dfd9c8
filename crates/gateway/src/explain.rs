//! Why a cluster has nobody to send a request to, in one sentence.

use portolan_model::{Cause, ServiceKey, Timestamp, Traffic};
use portolan_policy::Fault;
use portolan_snapshot::Cluster;

/// The fault of a cluster without a usable instance.
pub(crate) fn no_instance(cluster: &Cluster) -> Fault {
    let service = &cluster.service;
    if !cluster.is_known {
        return unknown_service(service);
    }
    let excluded = &cluster.pool.excluded;
    if excluded.is_empty() && cluster.pool.endpoints.is_empty() {
        let subset = &cluster.template.subset;
        if subset.is_empty() {
            return Fault::new(
                Cause::NoInstance,
                format!("service {service}: no instances"),
            );
        }
        let wanted: Vec<_> = subset
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let explanation = format!("service {service}: no instance with {}", wanted.join(", "));
        return Fault::new(Cause::NoInstance, explanation);
    }
    if excluded.is_empty() {
        let tried = cluster.pool.endpoints.len();
        let explanation = format!("service {service}: all of its {tried} instances were tried");
        return Fault::new(Cause::NoInstance, explanation);
    }
    let explanation = format!("service {service}: {}", reasons(cluster));
    let addresses: Vec<_> = excluded
        .iter()
        .map(|gone| gone.instance.id.to_string())
        .collect();
    Fault::new(Cause::NoInstance, explanation)
        .with_detail(format!("left out: {}", addresses.join(", ")))
}

/// The fault of a request for a service that nobody has heard of.
pub(crate) fn unknown_service(service: &ServiceKey) -> Fault {
    Fault::new(
        Cause::ServiceUnknown,
        format!("no service is called {service}"),
    )
}

fn reasons(cluster: &Cluster) -> String {
    let excluded = &cluster.pool.excluded;
    let count = excluded.len();
    let noun = if count == 1 {
        "1 instance"
    } else {
        &format!("{count} instances")
    };
    let because =
        |reason: Option<Traffic>| excluded.iter().filter(move |gone| gone.reason == reason);
    let kinds = [
        (Some(Traffic::Critical), "failing"),
        (Some(Traffic::Starting), "starting"),
        (Some(Traffic::Overridden), "taken out by an operator"),
        (Some(Traffic::Leaving), "leaving"),
        (None, "without the port that the upstream names"),
    ];
    let mut parts = Vec::new();
    for (reason, words) in kinds {
        let some = because(reason).count();
        if some == 0 {
            continue;
        }
        let how_many = if some == count && count > 1 {
            "all".to_owned()
        } else {
            some.to_string()
        };
        let how_many = if count == 1 {
            String::new()
        } else {
            format!("{how_many} ")
        };
        parts.push(format!("{how_many}{words}{}", health(because(reason))));
    }
    format!("{noun}, {}", parts.join(", "))
}

/// Since when and why, as the checks say; one reason stands for all.
fn health<'a>(excluded: impl Iterator<Item = &'a portolan_balance::Excluded>) -> String {
    let states: Vec<_> = excluded.map(|gone| &gone.instance.state).collect();
    let since = states
        .iter()
        .map(|state| state.since)
        .min()
        .unwrap_or_default();
    let note = states.iter().find_map(|state| state.note.as_deref());
    let since = if since == Timestamp::default() {
        String::new()
    } else {
        // The time of day is what a person compares with a clock: 2026-11-23T12:03:11.207Z.
        let text = since.to_string();
        format!(" since {}", text.get(11..19).unwrap_or(&text))
    };
    match note {
        Some(note) => format!("{since}: {note}"),
        None => since,
    }
}
