//! Keeps calling a service from hundreds of tasks, over HTTP and gRPC, and counts what fails.
//!
//! With a Portolan on this machine (`cargo run` or `portolan`), and some of `serve` started
//! and killed beside it:
//!
//! ```text
//! cargo run -p portolan-client --features full --example load
//! ```
//!
//! The registry and a file to remember in can be given:
//! `-- http://127.0.0.1:9070 services.json`. It counts every tenth of a second, as JSON. Calls
//! that may be carried out twice are `safe`, and none of them fails while one instance lives;
//! the others, `unsafe`, fail when their instance dies or freezes over them.

#![expect(clippy::print_stdout, reason = "a person or a test reads it")]
#![expect(clippy::disallowed_methods, reason = "programs spawn as they like")]

mod calls;

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_client::Discovery;
use serde::Serialize;

use calls::{Callers, Kind};

/// How many tasks make calls of a kind, one after the other.
const CALLERS: [(Kind, usize); 5] = [
    (Kind::Get, 80),
    (Kind::Put, 64),
    (Kind::GrpcSafe, 64),
    (Kind::Post, 24),
    (Kind::GrpcOnce, 24),
];

/// What became of calls.
#[derive(Debug, Default, Serialize)]
struct Tally {
    calls: u64,
    /// Calls under way.
    flying: usize,
    /// Failed calls that may be carried out twice, by kind and reason.
    failed: BTreeMap<String, u64>,
    /// Failed calls that may not.
    failed_unsafe: BTreeMap<String, u64>,
    /// Calls by who answered.
    answers: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default)]
struct Book(Arc<Mutex<Tally>>);

#[tokio::main]
async fn main() -> Result<(), calls::AnyError> {
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

    let book = Book::default();
    let callers = Callers::new(&discovery)?;
    for (kind, count) in CALLERS {
        for _ in 0..count {
            tokio::spawn(call(callers.clone(), kind, book.clone()));
        }
    }
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let line = serde_json::to_string(&*book.open())?;
        println!("{line}");
    }
}

async fn call(mut callers: Callers, kind: Kind, book: Book) {
    loop {
        book.open().flying += 1;
        let outcome = callers.call(kind).await;
        book.open().note(kind, outcome);
        // One that fails at once must not keep the others from calling.
        tokio::task::yield_now().await;
    }
}

impl Book {
    fn open(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn note(&mut self, kind: Kind, outcome: Result<String, calls::AnyError>) {
        self.calls += 1;
        self.flying -= 1;
        let count = match outcome {
            Ok(answer) => self.answers.entry(answer).or_default(),
            Err(error) => {
                let told = format!("{kind:?}: {}", told(&*error));
                if kind.is_safe() {
                    self.failed.entry(told).or_default()
                } else {
                    self.failed_unsafe.entry(told).or_default()
                }
            }
        };
        *count += 1;
    }
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
