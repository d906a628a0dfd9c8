//! Follows a service and shows who would get a call.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), and `serve` started and
//! stopped beside it:
//!
//! ```text
//! cargo run -p portolan-client --example follow
//! ```
//!
//! The name of the service and the registry can be given: `-- orders http://127.0.0.1:9070`.

#![expect(clippy::print_stdout, reason = "a person reads it")]

use std::{env, error::Error, time::Duration};

use portolan_client::Discovery;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "orders".to_owned());

    let mut builder = Discovery::builder();
    if let Some(registry) = words.next() {
        builder = builder.registry(registry);
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
