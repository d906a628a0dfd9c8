//! An instance that registers itself, and leaves when it is told to stop.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), as often as you like:
//!
//! ```text
//! cargo run -p portolan-client --example serve
//! ```
//!
//! It takes a free port. The name of the service, the registry and how many milliseconds an
//! answer takes can be given: `-- orders http://127.0.0.1:9070 0`. Stop it with Ctrl-C.

#![expect(clippy::print_stdout, reason = "a person reads it")]
#![expect(
    clippy::disallowed_methods,
    reason = "programs spawn and sleep as they like"
)]

mod echo;

use std::{env, error::Error, time::Duration};

use portolan_client::Registration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let service = words.next().unwrap_or_else(|| "orders".to_owned());
    let registry = words.next();
    let takes = words.next().map_or(Ok(0), |word| word.parse())?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let mut registration = Registration::new(&service)
        .address(address.ip().to_string())
        .port(address.port())
        .metadata("language", "rust")
        .ttl(Duration::from_secs(10));
    if let Some(registry) = registry {
        registration = registration.registry(registry);
    }
    let keeper = registration.keep_alive()?;
    let name = format!("{service} at {address}");
    println!("{name}");

    // It goes on serving until nobody sends calls any more, and then ends those that it has.
    let told = keeper.leave_on_signal(Duration::from_secs(5));
    let left = echo::serve(listener, name, Duration::from_millis(takes), told).await?;
    println!("left: {:?}", left?);
    Ok(())
}
