//! Claims about inboxes.

use std::time::Duration;

use portolan_model::{Departure, InstanceId, RevisionClock, ServiceKey, Timestamp};

use super::*;
use crate::{Fold, GuardSettings};

fn change(name: &str) -> Change {
    Change::Remove {
        key: ServiceKey::parse("orders").unwrap(),
        id: InstanceId::parse(name).unwrap(),
        departure: Departure::Explicit,
    }
}

fn id(name: &str) -> SourceId {
    SourceId::new(name)
}

/// `source:id` of each arrival, or `source:word`.
fn show(batch: &[Arrival]) -> Vec<String> {
    let show = |arrival: &Arrival| {
        let word = match &arrival.saying.news {
            News::Said(Change::Remove { id, .. }) => id.to_string(),
            News::Said(Change::Stale { reason }) => reason.to_string(),
            other @ (News::Said(_)
            | News::Replaced
            | News::Closed
            | News::Judged(_)
            | News::Ruled(_)
            | News::Bequeathed(_)
            | News::Remembered(_)
            | News::Recalled(_)
            | News::Seen(_)
            | News::Resolved(_)) => format!("{other:?}"),
        };
        format!("{}:{word}", arrival.saying.source)
    };
    batch.iter().map(show).collect()
}

async fn is_full(inbox: &Inbox) -> bool {
    let send = inbox.send(change("more"));
    tokio::time::timeout(Duration::from_secs(1), send)
        .await
        .is_err()
}

#[tokio::test(start_paused = true)]
async fn an_inbox_is_full_at_its_limit_and_only_for_its_source() {
    let (mut hub, mut inflow) = inboxes();
    let (busy, idle) = (
        hub.open(&id("busy"), Turn::Fair),
        hub.open(&id("idle"), Turn::Fair),
    );
    for _ in 0..INBOX_CHANGES_MAX {
        busy.send(change("a")).await.unwrap();
    }
    assert!(is_full(&busy).await);
    assert!(!is_full(&idle).await);
    inflow.batch(2).await;
    assert!(!is_full(&busy).await);
    assert!(is_full(&busy).await);
}

#[tokio::test]
async fn every_source_has_its_turn_and_the_registry_is_first() {
    let (mut hub, mut inflow) = inboxes();
    let a = hub.open(&id("a"), Turn::Fair);
    let b = hub.open(&id("b"), Turn::Fair);
    let registry = hub.open(&id("registry"), Turn::First);
    for n in 0..6 {
        a.send(change(&n.to_string())).await.unwrap();
        registry.send(change(&n.to_string())).await.unwrap();
    }
    b.send(change("0")).await.unwrap();
    b.send(change("1")).await.unwrap();
    let expected = ["registry:0", "registry:1", "a:0", "b:0"];
    assert_eq!(show(&inflow.batch(4).await), expected);
    assert_eq!(
        show(&inflow.batch(3).await),
        ["registry:2", "registry:3", "a:1"]
    );
    assert_eq!(
        show(&inflow.batch(3).await),
        ["registry:4", "registry:5", "b:1"]
    );
    assert_eq!(show(&inflow.batch(9).await), ["a:2", "a:3", "a:4", "a:5"]);
}

#[tokio::test]
async fn the_registry_fills_what_the_others_leave() {
    let (mut hub, mut inflow) = inboxes();
    let registry = hub.open(&id("registry"), Turn::First);
    for n in 0..4 {
        registry.send(change(&n.to_string())).await.unwrap();
    }
    assert_eq!(inflow.batch(4).await.len(), 4);
}

#[tokio::test]
async fn a_commit_resolves_with_the_revision_of_the_swap() {
    let (mut hub, mut inflow) = inboxes();
    let inbox = hub.open(&id("registry"), Turn::First);
    let mut fold = Fold::new(
        GuardSettings::default(),
        RevisionClock::new(Revision::FIRST),
        Timestamp::from_millis(0),
    );
    let fold_one = async {
        let arrival = inflow.batch(8).await.remove(0);
        let applied = fold.apply(Timestamp::from_millis(1), arrival.saying);
        arrival.done.unwrap().send(applied.revision).unwrap();
        applied.revision
    };
    let (seen, published) = tokio::join!(inbox.commit(None, change("a")), fold_one);
    assert_eq!(seen, Ok(published));
}

#[tokio::test]
async fn a_change_that_is_not_taken_in_is_an_error_to_its_author() {
    let (mut hub, inflow) = inboxes();
    let inbox = hub.open(&id("registry"), Turn::First);
    let ticket = inbox.post(None, change("a")).await.unwrap();
    drop(inflow);
    assert_eq!(ticket.await, Err(InboxClosed));
    assert_eq!(inbox.send(change("b")).await, Err(InboxClosed));
}

#[tokio::test]
async fn a_closed_inbox_says_so_on_both_ends() {
    let (mut hub, mut inflow) = inboxes();
    let inbox = hub.open(&id("file"), Turn::Fair);
    inbox.send(change("a")).await.unwrap();
    hub.close(&id("file"));
    assert_eq!(inbox.send(change("b")).await, Err(InboxClosed));
    drop(inbox);
    assert_eq!(show(&inflow.batch(8).await), ["file:a", "file:Closed"]);
    let again = hub.open(&id("file"), Turn::Fair);
    again.send(change("c")).await.unwrap();
    assert_eq!(show(&inflow.batch(8).await), ["file:c"]);
}

#[tokio::test]
async fn words_of_a_replaced_inbox_come_too_late() {
    let (mut hub, mut inflow) = inboxes();
    let old = hub.open(&id("file"), Turn::Fair);
    let new = hub.open(&id("file"), Turn::Fair);
    assert_eq!(old.send(change("old")).await, Err(InboxClosed));
    drop(old);
    new.send(change("new")).await.unwrap();
    assert_eq!(show(&inflow.batch(8).await), ["file:Replaced", "file:new"]);
}

#[tokio::test]
async fn a_source_that_ends_by_itself_is_stale() {
    let (mut hub, mut inflow) = inboxes();
    drop(hub.open(&id("dns"), Turn::Fair));
    assert_eq!(show(&inflow.batch(8).await), ["dns:the source stopped"]);
}

#[tokio::test]
async fn an_inflow_without_sources_ends() {
    let (mut hub, mut inflow) = inboxes();
    drop(hub.open(&id("dns"), Turn::Fair));
    drop(hub);
    assert_eq!(inflow.batch(8).await.len(), 1);
    assert!(inflow.batch(8).await.is_empty());
}
