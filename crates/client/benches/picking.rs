//! Nanoseconds of one thread's processor time per pick by a handle of the client library,
//! with its report and the end of its call.
//!
//! What is measured is what a program pays for each call besides the call: the look at the
//! catalogue, the choice, the counting and what is reported of it.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its table, and its names are good ones"
)]

use std::{error::Error, fmt::Write as _, fs, hint::black_box, time::Duration};

use portolan_client::{Balancing, Discovery, Picked, Service, Source};

const COUNTS: [usize; 2] = [10, 1_000];
const PICKS: u32 = 200_000;
/// Each draws a lot for every instance.
const STICKY_PICKS: u32 = 20_000;
const LATENCY: Duration = Duration::from_micros(300);

/// One way to pick.
struct Way {
    name: &'static str,
    picks: u32,
    narrow: fn(Service) -> Service,
    pick: fn(&Service, u32) -> Option<Picked>,
}

const WAYS: [Way; 6] = [
    Way {
        name: "latency",
        picks: PICKS,
        narrow: |service| service,
        pick: |service, _| service.pick().ok(),
    },
    Way {
        name: "round robin",
        picks: PICKS,
        narrow: |service| service.balancing(Balancing::RoundRobin),
        pick: |service, _| service.pick().ok(),
    },
    Way {
        name: "random",
        picks: PICKS,
        narrow: |service| service.balancing(Balancing::Random),
        pick: |service, _| service.pick().ok(),
    },
    Way {
        name: "zone-aware",
        picks: PICKS,
        narrow: |service| service.zone("eu-1"),
        pick: |service, _| service.pick().ok(),
    },
    Way {
        name: "subset",
        picks: PICKS,
        narrow: |service| service.subset("env", "prod"),
        pick: |service, _| service.pick().ok(),
    },
    Way {
        name: "sticky",
        picks: STICKY_PICKS,
        narrow: |service| service,
        pick: |service, number| service.pick_for(number.to_be_bytes()).ok(),
    },
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:<14}{}",
        "pick",
        COUNTS.map(|count| format!("{count:>9} inst")).concat()
    );
    let mut services = Vec::new();
    for count in COUNTS {
        services.push(discovered(count).await?);
    }
    for way in &WAYS {
        let costs = services
            .iter()
            .map(|(_, service)| format!("{:>11.1} ns", cost(service, way)));
        println!("{:<14}{}", way.name, costs.collect::<String>());
    }
    Ok(())
}

/// Picks, reports and ends a call, over and over.
fn cost(service: &Service, way: &Way) -> f64 {
    let service = (way.narrow)(service.clone());
    let call = |number| {
        let picked = (way.pick)(&service, number).expect("there are instances");
        picked.succeeded(LATENCY);
        drop(black_box(picked));
    };
    (0..100).for_each(call);
    let before = thread_nanos();
    (0..way.picks).for_each(call);
    (thread_nanos() - before) / f64::from(way.picks)
}

/// A service with so many instances in two zones, half of them of a subset.
async fn discovered(count: usize) -> Result<(Discovery, Service), Box<dyn Error>> {
    let mut text = "services:\n  orders:\n    instances:\n".to_owned();
    for number in 0..count {
        let (zone, env) = (number % 2 + 1, ["prod", "test"][number / 2 % 2]);
        writeln!(
            text,
            "      - {{address: 127.0.0.1, port: {}, zone: eu-{zone}, metadata: {{env: {env}}}}}",
            10_000 + number
        )?;
    }
    let file = std::env::temp_dir().join(format!("picking-{}-{count}.yaml", std::process::id()));
    fs::write(&file, text)?;
    let discovery = Discovery::builder().source(Source::file(&file)).start()?;
    let ready = discovery.ready(Duration::from_secs(30)).await;
    fs::remove_file(&file)?;
    ready?;
    let service = discovery.service("orders")?;
    Ok((discovery, service))
}

/// What the system has given this thread so far (proc(5), schedstat).
fn thread_nanos() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    nanos.unwrap_or(f64::NAN)
}
