//! Claims about servers and proxies that are restarted, or fail for a moment.

use std::{net::Ipv4Addr, sync::Arc};

use portolan_runtime::{
    Env, Task,
    drain::{Drain, DrainWatch},
};
use portolan_wire::serve::{self, Hosts, Limits, Request, Settings};
use serde_json::json;

use super::{
    super::KIND,
    fake::{Fake, entry},
};
use crate::testing::World;

fn serve_on(listener: &std::net::TcpListener, fake: &Fake, drain: DrainWatch) -> Task {
    let env = Env::system();
    let settings = Settings {
        limits: Limits::default(),
        hosts: Hosts::Named(Vec::new()),
        tls: None,
    };
    let fake = fake.clone();
    let handler = move |request: Request| fake.clone().answer(request);
    let listener = listener.try_clone().unwrap();
    let serving = serve::serve(listener, Arc::new(handler), settings, drain, env.clone());
    env.spawn("server", async move { serving.await.unwrap() })
}

/// A server of HTTP/2 with so many services, and what it is known for.
fn many(count: usize) -> (Fake, std::net::TcpListener, String) {
    let fake = Fake::new();
    for number in 0..count {
        let name = format!("s{number}");
        fake.put(&name, &[entry(&name, &name)]);
    }
    fake.sign(2);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (fake, listener, url)
}

#[tokio::test]
async fn a_server_that_is_replaced_is_neither_an_outage_nor_read_anew() {
    let (fake, listener, url) = many(150);
    let (old, new) = (Drain::new(), Drain::new());
    let _old = serve_on(&listener, &fake, old.watch());
    let settings = json!({"url": url, "connections": 4, "wait": "1s"});
    let mut world = World::of(&KIND, &settings);
    while world.next_reset().await.is_none() {}
    fake.waits_for(150 + 1).await;
    let _new = serve_on(&listener, &fake, new.watch());
    old.start();
    // Each is asked again, on another connection.
    let (fetched, anew) = (fake.fetches(), fake.anew());
    while fake.fetches() < fetched + 2 * 150 {
        tokio::task::yield_now().await;
    }
    fake.put("s7", &[entry("s7", "s7"), entry("s7", "new")]);
    assert_eq!(world.next().await, "put new");
    assert_eq!(fake.anew(), anew, "each goes on from what it saw");
}

#[tokio::test]
async fn a_query_that_fails_is_not_the_others_fault() {
    let (fake, listener, url) = many(70);
    let drain = Drain::new();
    let _server = serve_on(&listener, &fake, drain.watch());
    let settings = json!({"url": url, "connections": 1});
    let mut world = World::of(&KIND, &settings);
    while world.next_reset().await.is_none() {}
    fake.waits_for(70 + 1).await;
    // Its query, and the one after it.
    fake.answer_oddly("/v1/health/service/s7", 2, (504, "slowly"));
    fake.put("s7", &[entry("s7", "s7"), entry("s7", "new")]);
    assert_eq!(world.next().await, "put new");
    fake.waits_for(70 + 1).await;
    assert!(fake.is_waited_for("s7"), "it has its query again");
    assert_eq!(world.besides(), [""; 0]);
}

#[tokio::test]
async fn when_another_server_takes_over_the_queries_wait_there() {
    let (one, other) = (Fake::new(), Fake::new());
    for name in ["orders", "users"] {
        one.put(name, &[entry(name, name)]);
        other.put(name, &[entry(name, name)]);
    }
    let servers = [one.start(), other.start()];
    let urls = servers.each_ref().map(|server| server.url.clone());
    let mut world = World::of(&KIND, &json!({"urls": urls}));
    assert_eq!(world.next_reset().await.unwrap().len(), 2);
    one.waits_for(2 + 1).await;
    one.refuse("dc1", Some((500, "rpc error: No cluster leader")));
    other.waits_for(2 + 1).await;
    for name in ["orders", "users"] {
        assert!(other.is_waited_for(name), "{name} has its query");
    }
    other.put("users", &[entry("users", "users"), entry("users", "new")]);
    world.until("put new@n1").await;
}
