//! Keeps calling a service from several tasks and counts what fails.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), and some of `serve` started
//! and killed beside it:
//!
//! ```text
//! cargo run -p portolan-client --features tower --example load
//! ```
//!
//! The registry and a file to remember in can be given:
//! `-- http://127.0.0.1:9070 services.json`. It counts every tenth of a second, as JSON.

#![expect(clippy::print_stdout, reason = "a person or a test reads it")]
#![expect(clippy::disallowed_methods, reason = "programs spawn as they like")]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use portolan_client::{Discovery, HttpClient};
use serde::Serialize;
use tower::Service;

const CLIENTS: usize = 8;
/// How long one instance may take.
const TRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Default, Serialize)]
struct Tally {
    calls: u64,
    /// Failed calls by their reason.
    failed: BTreeMap<String, u64>,
    /// Calls by what was answered.
    answers: BTreeMap<String, u64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let mut builder = Discovery::builder();
    if let Some(registry) = words.next() {
        builder = builder.registry(registry);
    }
    if let Some(memory) = words.next() {
        builder = builder.remember(memory);
    }
    let discovery = builder.start()?;
    println!(
        "ready: {:?}",
        discovery.ready(Duration::from_secs(5)).await?
    );

    let tally = Arc::new(Mutex::new(Tally::default()));
    for _ in 0..CLIENTS {
        tokio::spawn(call(discovery.clone(), Arc::clone(&tally)));
    }
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let line = serde_json::to_string(&*tally.lock().unwrap_or_else(PoisonError::into_inner))?;
        println!("{line}");
    }
}

async fn call(discovery: Discovery, tally: Arc<Mutex<Tally>>) {
    let mut client = discovery.http_client().each_within(TRY);
    loop {
        let outcome = once(&mut client).await;
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.calls += 1;
            let count = match outcome {
                Ok(answer) => tally.answers.entry(answer).or_default(),
                Err(error) => tally.failed.entry(told(&*error)).or_default(),
            };
            *count += 1;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(
    client: &mut HttpClient<Empty<Bytes>>,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let request = Request::get("http://orders/").body(Empty::new())?;
    let answer = client.call(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(answer.status().to_string().into());
    }
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).trim_end().to_owned())
}

/// An error and what caused it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
