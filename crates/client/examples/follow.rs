//! Follows a service and shows who would get a call.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), and `serve` started and
//! stopped beside it:
//!
//! ```text
//! cargo run -p portolan-client --example follow
//! ```
//!
//! The name of the service can be given, and where to discover it, with any settings of that:
//!
//! ```text
//! -- orders portolan http://127.0.0.1:9070
//! -- orders consul http://127.0.0.1:8500
//! -- orders eureka http://127.0.0.1:8761/eureka interval=5s
//! -- orders file services.yaml
//! -- dns/_orders._tcp.service.consul dns _orders._tcp.service.consul resolvers=["127.0.0.1:8600"]
//! ```
//!
//! `remember=services.json` keeps what is known for the next start.

#![expect(clippy::print_stdout, reason = "a person reads it")]

use std::{env, error::Error, time::Duration};

use portolan_client::{Discovery, Source, Value};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "orders".to_owned());

    let mut builder = Discovery::builder();
    if let (Some(kind), Some(place)) = (words.next(), words.next()) {
        let mut source = match &*kind {
            "dns" => Source::dns([place]),
            "file" => Source::file(place),
            _ => Source::new(kind).server(place),
        };
        for word in words {
            match word.split_once('=') {
                Some(("remember", file)) => builder = builder.remember(file),
                Some((setting, value)) => source = source.set(setting, read(value)),
                None => return Err(format!("`{word}` is no setting: write `name=value`").into()),
            }
        }
        builder = builder.source(source);
    }
    let discovery = builder.start()?;
    println!(
        "ready: {:?}",
        discovery.ready(Duration::from_secs(5)).await?
    );

    let service = discovery.service(&name)?;
    let mut watch = service.watch();
    while let Some(instances) = watch.changed().await {
        let ids: Vec<&str> = instances.iter().map(|one| one.id.as_str()).collect();
        let is_stale = instances.iter().any(|one| one.state.stale);
        let stale = if is_stale { ", as last known" } else { "" };
        println!(
            "{name} has {} instances{stale}: {}",
            ids.len(),
            ids.join(" ")
        );
        match service.pick() {
            Ok(picked) => println!("a call would go to {}", picked.address()),
            Err(none) => println!("a call would fail: {none}"),
        }
    }
    Ok(())
}

/// A setting: JSON, or a text.
fn read(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| value.into())
}
