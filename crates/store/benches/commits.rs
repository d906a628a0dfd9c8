//! What a commit costs with many writers at once, and how long a restart takes.
//!
//! `cargo bench -p portolan-store`. The file is made in the folder that the first argument
//! names, or in the system's for temporary files: the disk below it decides about the time of
//! a sync, and not about the processor time.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its table, and stops where it can't go on"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use portolan_model::{InstanceId, Name, Revision, ServiceKey};
use portolan_runtime::Env;
use portolan_store::{Batch, Embedded, FactKey, Facts, JournalLine, Settings};

const WRITERS: [u32; 4] = [1, 8, 64, 512];
const COMMITS: u32 = 40_000;
const FACTS: u32 = 100_000;
const FACT_BYTES: usize = 600;

/// What a commit holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fact = 1,
    FactAndLine = 2,
}

const KINDS: [Kind; 2] = [Kind::Fact, Kind::FactAndLine];

fn main() {
    let folder = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("portolan-store-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder can be made");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let env = Env::system();
        commits(&env, &folder.join("commits")).await;
        restarts(&env, &folder.join("restarts")).await;
    });
    fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// Small records over 10,000 facts, alone and with a line of the journal each. The processor
/// time is that of the writers, too.
async fn commits(env: &Env, path: &Path) {
    println!("records/commit  writers  commits/s  processor us/commit  mean wait ms");
    for (what, writers) in KINDS
        .iter()
        .flat_map(|kind| WRITERS.map(|writers| (kind, writers)))
    {
        let (store, _) = Embedded::open(env, Settings::of(path)).expect("the file opens");
        let each = COMMITS.min(writers * 400) / writers;
        let (began, used) = (env.instant(), processor());
        let tasks: Vec<_> = (0..writers)
            .map(|writer| env.spawn("writer", write(store.clone(), *what, writer, writers, each)))
            .collect();
        for task in tasks {
            task.await;
        }
        let (elapsed, used) = (env.instant() - began, processor().saturating_sub(used));
        let commits = f64::from(writers * each);
        println!(
            "{:>14} {writers:>8} {:>10.0} {:>20.1} {:>13.2}",
            *what as u8,
            commits / elapsed.as_secs_f64(),
            used.as_secs_f64() * 1e6 / commits,
            elapsed.as_secs_f64() * 1e3 / f64::from(each),
        );
        store.close().await;
    }
}

async fn write(store: Embedded, what: Kind, writer: u32, writers: u32, commits: u32) {
    let (env, text) = (Env::system(), vec![b'v'; 200]);
    for number in 0..commits {
        let mut batch = Batch::new();
        batch.put(
            fact((number * writers + writer) * 7919 % 10_000),
            text.clone(),
        );
        if what == Kind::FactAndLine {
            batch.write(JournalLine {
                revision: Revision::from_u64(u64::from(number) * 1000 + u64::from(writer) + 1),
                at: env.now(),
                text: text.clone().into(),
            });
        }
        store.commit(batch).await.expect("a commit");
    }
}

async fn restarts(env: &Env, path: &Path) {
    let (store, _) = Embedded::open(env, Settings::of(path)).expect("the file opens");
    for first in (0..FACTS).step_by(1000) {
        let mut batch = Batch::new();
        for number in first..first + 1000 {
            batch.put(fact(number * 7919 % FACTS), vec![b'v'; FACT_BYTES]);
        }
        store.commit(batch).await.expect("a commit");
    }
    let backup = path.with_extension("backup");
    let began = env.instant();
    store.backup(backup).await.expect("a backup");
    println!("backup of {FACTS} facts: {:?}", env.instant() - began);
    // What a kill leaves: a file that nobody has closed.
    let killed = path.with_extension("killed");
    fs::copy(path, &killed).expect("a copy");
    store.close().await;
    for (name, path) in [("closed", path), ("killed", &*killed)] {
        let (began, used) = (env.instant(), processor());
        let (store, start) = Embedded::open(env, Settings::of(path)).expect("the file opens");
        let opened = env.instant() - began;
        let loaded = store.load().await.expect("facts");
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len()) >> 20;
        println!(
            "restart after {name} ({start:?}, {length} MiB): opened in {opened:?}, {} facts in {:?}, processor {:?}",
            loaded.facts.len(),
            env.instant() - began,
            processor().saturating_sub(used),
        );
        store.close().await;
    }
}

fn fact(number: u32) -> FactKey {
    FactKey {
        kind: Name::parse("lease").expect("a good name"),
        service: ServiceKey::parse(&format!("service-{}", number % 1000)).expect("a good name"),
        id: InstanceId::parse(&format!("10.0.0.1:{number}")).ok(),
    }
}

/// Processor time of all threads so far.
fn processor() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux counts in hundredths of a second for every program.
    Duration::from_millis(ticks * 10)
}
