//! Nanoseconds of one thread's processor time per pick, with 1 to 8 threads at once.
//!
//! A pick looks at the gauges of all workers and writes those of its own. If threads
//! wrote what others write, the cost would grow with their number although each has a
//! core's time to itself; so it is thread time that is measured, not the clock.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its table, and its names are good ones"
)]

use std::{collections::BTreeMap, fs, hint::black_box, sync::Arc, thread, time::Duration};

use portolan_balance::{Board, Endpoint, KINDS, Pool, SlotTable, Turn, WorkerGauges};
use portolan_model::{Instance, InstanceId, Name, NamedPort, ServiceKey, SourceId, State, Weight};
use portolan_runtime::Dice;

const ENDPOINTS: u16 = 20;
const PICKS: u32 = 3_000_000;
const THREADS: [usize; 4] = [1, 2, 4, 8];

fn main() {
    println!(
        "{:<14}{}",
        "balance",
        THREADS.map(|n| format!("{n:>8} thr")).concat()
    );
    for kind in KINDS {
        let costs = THREADS.map(|threads| format!("{:>9.1} ns", cost(kind.name, threads)));
        println!("{:<14}{}", kind.name, costs.concat());
    }
}

/// The mean over the threads.
#[expect(clippy::cast_precision_loss, reason = "there are few threads")]
fn cost(kind: &str, threads: usize) -> f64 {
    let board = Board::new(threads);
    let pool = Arc::new(pool());
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let (board, pool, kind) = (Arc::clone(&board), Arc::clone(&pool), kind.to_owned());
            thread::spawn(move || work(&board, &pool, &kind, worker))
        })
        .collect();
    let nanos: f64 = workers
        .into_iter()
        .map(|worker| worker.join().unwrap_or(f64::NAN))
        .sum();
    nanos / threads as f64
}

/// Picks, counts a request in and out, and notes how long it took.
fn work(board: &Arc<Board>, pool: &Pool, kind: &str, worker: usize) -> f64 {
    let gauges = WorkerGauges::new(Arc::clone(board), worker);
    let mut dice = Dice::new(worker as u64);
    let found = KINDS.iter().find(|row| row.name == kind);
    let spec = found.and_then(|row| (row.parse)(&serde_json::Value::Null).ok());
    let Some(balance) = spec.map(|spec| spec.build(pool, board.workers(), &mut dice)) else {
        return f64::NAN;
    };
    let before = thread_nanos();
    for now in 0..PICKS {
        let turn = Turn {
            gauges: &gauges,
            dice: &mut dice,
            now: u64::from(now / 1000),
            tried: &[],
        };
        let picked = balance.pick(pool, turn);
        let Some(endpoint) = picked.and_then(|index| pool.endpoints.get(index)) else {
            continue;
        };
        let in_flight = black_box(gauges.begin(endpoint.slot));
        gauges.observe(
            endpoint.slot,
            Duration::from_micros(300),
            u64::from(now / 1000),
        );
        drop(in_flight);
    }
    (thread_nanos() - before) / f64::from(PICKS)
}

/// What the system has given this thread so far (proc(5), schedstat).
fn thread_nanos() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    nanos.unwrap_or(f64::NAN)
}

fn pool() -> Pool {
    let mut slots = SlotTable::default();
    let key = ServiceKey::parse("orders").expect("a name");
    let endpoint = |port: u16| {
        let address = ([127, 0, 0, 1], 9000 + port).into();
        let id = InstanceId::parse(&port.to_string()).expect("an id");
        let name = Name::parse("default").expect("a name");
        Endpoint {
            slot: slots.slot(&key, &id, address),
            instance: Arc::new(Instance {
                key: key.clone(),
                id,
                endpoints: Box::new([NamedPort { name, address }]),
                zone: None,
                version: None,
                weight: Weight::NORMAL,
                tags: Box::default(),
                metadata: BTreeMap::new(),
                source: SourceId::new("bench"),
                state: State::default(),
            }),
            address,
            weight: Weight::NORMAL,
        }
    };
    Pool {
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        excluded: Box::default(),
    }
}
