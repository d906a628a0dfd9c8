//! Calls a service once a second, whoever of its instances is there.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), and some of `serve` started
//! and stopped beside it:
//!
//! ```text
//! cargo run -p portolan-client --features tower --example call
//! ```
//!
//! The URL and the registry can be given: `-- http://orders/ http://127.0.0.1:9070`.

#![expect(clippy::print_stdout, reason = "a person reads it")]
#![expect(clippy::disallowed_methods, reason = "programs sleep as they like")]

use std::{env, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use portolan_client::{Discovery, HttpClient};
use tower::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let url: Uri = words
        .next()
        .as_deref()
        .unwrap_or("http://orders/")
        .parse()?;

    let mut builder = Discovery::builder();
    if let Some(registry) = words.next() {
        builder = builder.registry(registry);
    }
    let discovery = builder.start()?;
    discovery.ready(Duration::from_secs(5)).await?;

    let mut client: HttpClient<Empty<Bytes>> = discovery.http_client();
    loop {
        let request = Request::get(url.clone()).body(Empty::new())?;
        match client.call(request).await {
            Ok(answer) => {
                let status = answer.status();
                let body = answer.into_body().collect().await?.to_bytes();
                println!("{status}: {}", String::from_utf8_lossy(&body).trim_end());
            }
            Err(error) => println!("failed: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
