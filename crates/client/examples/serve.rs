//! An instance that registers itself, and leaves when it is told to stop.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), as often as you like:
//!
//! ```text
//! cargo run -p portolan-client --example serve
//! ```
//!
//! It takes a free port. The name of the service and the registry can be given:
//! `-- orders http://127.0.0.1:9070`. Stop it with Ctrl-C.

#![expect(clippy::print_stdout, reason = "a person reads it")]
#![expect(clippy::disallowed_methods, reason = "programs spawn as they like")]

use std::{convert::Infallible, env, error::Error, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use portolan_client::Registration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let service = words.next().unwrap_or_else(|| "orders".to_owned());
    let registry = words.next();

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
    println!("{service} at {address}");

    tokio::select! {
        ended = serve(listener, format!("{service} at {address}\n")) => ended?,
        // It goes on serving until the registry says that nobody calls any more.
        left = keeper.leave_on_signal(Duration::from_secs(5)) => println!("left: {:?}", left?),
    }
    Ok(())
}

async fn serve(listener: TcpListener, text: String) -> Result<(), Box<dyn Error>> {
    loop {
        let (socket, _) = listener.accept().await?;
        let text = Bytes::from(text.clone());
        let answer = service_fn(move |_| {
            let text = text.clone();
            async { Ok::<_, Infallible>(Response::new(Full::new(text))) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
    }
}
