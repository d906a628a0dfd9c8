//! What a registry hands to its successor.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod common;

use std::{net::Ipv4Addr, time::Duration};

use common::World;
use portolan_dialects::native::Registration;
use portolan_model::{Guard, InstanceId, ServiceKey, SourceId};
use portolan_registry::core::Subject;
use portolan_runtime::Env;

const TTL: Duration = Duration::from_secs(10);

fn orders() -> ServiceKey {
    ServiceKey::parse("orders").unwrap()
}

async fn register(world: &World, key: ServiceKey, id: &str) {
    let registration: Registration =
        serde_json::from_str(r#"{"port": 9001, "ttl": "10s"}"#).unwrap();
    let id = InstanceId::parse(id).ok();
    let described = registration.describe(
        key,
        id,
        Ipv4Addr::LOCALHOST.into(),
        &SourceId::new("registry"),
    );
    world
        .registry
        .register(None, described.unwrap())
        .await
        .unwrap();
}

/// Ids of a service; suspects have a question mark.
fn ids(world: &World, key: &ServiceKey) -> Option<Vec<String>> {
    let catalog = world.reader.catalog();
    let instances = catalog.service(key)?.instances.iter();
    let shown = instances.map(|instance| {
        let is_suspect = instance.state.guard == Guard::Suspect;
        format!("{}{}", instance.id, if is_suspect { "?" } else { "" })
    });
    Some(shown.collect())
}

/// A successor that took over through the text that is sent to it.
async fn succeed(old: &World) -> World {
    let handed = old.registry.export().await.unwrap();
    let text = serde_json::to_string(&handed).unwrap();
    let new = World::new(old.env.clone());
    let adopted = new.registry.adopt(serde_json::from_str(&text).unwrap());
    adopted.await.unwrap();
    new
}

#[tokio::test(start_paused = true)]
async fn suspects_are_held_by_the_successor_too() {
    let old = World::new(Env::virtual_time(1));
    for id in ["a", "b", "c"] {
        register(&old, orders(), id).await;
    }
    old.env.sleep(TTL * 2).await;
    // One may go at a time; the others are held.
    assert_eq!(ids(&old, &orders()).unwrap(), ["b?", "c?"]);
    register(&old, orders(), "d").await;

    let new = succeed(&old).await;
    assert_eq!(ids(&new, &orders()).unwrap(), ["b?", "c?", "d"]);
    let silent = Subject {
        key: orders(),
        id: InstanceId::parse("b").unwrap(),
    };
    assert!(new.registry.renew(None, silent, None).await.is_err());
    register(&new, orders(), "b").await;
    assert_eq!(ids(&new, &orders()).unwrap(), ["b", "c?", "d"]);
}

#[tokio::test(start_paused = true)]
async fn services_without_instances_stay_known() {
    let old = World::new(Env::virtual_time(1));
    register(&old, orders(), "a").await;
    let subject = Subject {
        key: orders(),
        id: InstanceId::parse("a").unwrap(),
    };
    old.registry.deregister(None, subject, None).await.unwrap();
    let new = succeed(&old).await;
    assert_eq!(ids(&new, &orders()), Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_just_before_the_export_is_not_lost() {
    let old = World::new(Env::virtual_time(1));
    register(&old, orders(), "a").await;
    // The registry wakes at the same moment as we, and either way round is fine.
    old.env.sleep(TTL).await;
    let new = succeed(&old).await;
    let held = ids(&new, &orders()).unwrap();
    assert!(held == ["a"] || held == ["a?"], "{held:?}");
}
