//! Follows a service and shows who would get a call.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), and `serve` started and
//! stopped beside it:
//!
//! ```text
//! cargo run -p portolan-client --example follow
//! ```
//!
//! The name of the service, and where to discover it, can be given:
//! `-- orders portolan http://127.0.0.1:9070`, or `consul http://127.0.0.1:8500`, or
//! `eureka http://127.0.0.1:8761/eureka`.

#![expect(clippy::print_stdout, reason = "a person reads it")]

use std::{env, error::Error, time::Duration};

use portolan_client::{Discovery, Source};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "orders".to_owned());

    let mut builder = Discovery::builder();
    if let (Some(kind), Some(url)) = (words.next(), words.next()) {
        builder = builder.source(Source::new(kind).server(url));
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
        println!("{name} has {} instances: {}", ids.len(), ids.join(" "));
        match service.pick() {
            Ok(picked) => println!("a call would go to {}", picked.address()),
            Err(none) => println!("a call would fail: {none}"),
        }
    }
    Ok(())
}
