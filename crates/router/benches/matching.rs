//! Nanoseconds per match from 10 to 10,000 routes, for several shapes of routes.
//!
//! Requests come in random order and are written into one head, as a connection
//! does it; the time of writing is measured alone and taken off. The best of
//! several rounds counts. A word picks the shapes that hold it. With `--check` the program fails if exact or prefix
//! routes cost over 1.3 times as much at 10,000 as at 10.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints its table"
)]

use std::{
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use portolan_model::{
    Name,
    http::RequestHead,
    route::{HostMatch, Match, PathMatch},
};
use portolan_router::{Entry, Outcome, Router};

const COUNTS: [usize; 4] = [10, 100, 1_000, 10_000];
const MATCHES: usize = 20_000;
const ROUNDS: usize = 101;
const RATIO_MAX: f64 = 1.3;

/// Routes of one shape: the host, the path condition and a request for the `n`th.
struct Shape {
    name: &'static str,
    is_checked: bool,
    host: fn(usize) -> String,
    path: fn(usize) -> PathMatch,
    request: fn(usize) -> String,
    counts: &'static [usize],
}

const SHAPES: [Shape; 7] = [
    Shape {
        name: "one prefix, any host",
        is_checked: false,
        host: |_| String::new(),
        path: |_| PathMatch::Prefix("/".to_owned()),
        request: |n| format!("/api/orders/{n}"),
        counts: &[1],
    },
    Shape {
        name: "exact, one host",
        is_checked: true,
        host: |_| "shop.example.com".to_owned(),
        path: |n| PathMatch::Exact(format!("/api/v1/service-{n}/status")),
        request: |n| format!("/api/v1/service-{n}/status"),
        counts: &COUNTS,
    },
    Shape {
        name: "prefix, one host",
        is_checked: true,
        host: |_| "shop.example.com".to_owned(),
        path: |n| PathMatch::Prefix(format!("/service-{n}")),
        request: |n| format!("/service-{n}/items/1234"),
        counts: &COUNTS,
    },
    Shape {
        name: "prefix, ten a host",
        is_checked: true,
        host: |n| format!("tenant-{}.example.com", n / 10),
        path: |n| PathMatch::Prefix(format!("/part-{}", n % 10)),
        request: |n| format!("/part-{}/items/1234", n % 10),
        counts: &COUNTS,
    },
    Shape {
        name: "prefix, host each",
        is_checked: true,
        host: |n| format!("tenant-{n}.example.com"),
        path: |_| PathMatch::Prefix("/".to_owned()),
        request: |n| format!("/items/{n}"),
        counts: &COUNTS,
    },
    Shape {
        name: "template, one host",
        is_checked: false,
        host: |_| "shop.example.com".to_owned(),
        path: |n| PathMatch::Template(format!("/service-{n}/users/{{id}}")),
        request: |n| format!("/service-{n}/users/1234"),
        counts: &COUNTS,
    },
    Shape {
        name: "regex, ten a host",
        is_checked: false,
        host: |n| format!("tenant-{}.example.com", n / 10),
        path: |n| PathMatch::Regex(format!("/v[0-9]+/part-{}/.*", n % 10)),
        request: |n| format!("/v12/part-{}/items", n % 10),
        counts: &[10, 100, 1_000],
    },
];

fn main() -> ExitCode {
    let is_checked = std::env::args().any(|argument| argument == "--check");
    println!("ns per match");
    let mut is_good = true;
    let is_wanted = |shape: &&Shape| {
        let mut words = std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with("--"));
        words.next().is_none_or(|word| shape.name.contains(&word))
    };
    for shape in SHAPES.iter().filter(is_wanted) {
        let times = measure(shape);
        let cells: Vec<_> = times
            .iter()
            .map(|(count, ns)| format!("{ns:7.1} at {count:<6}"))
            .collect();
        let (first, last) = (times[0].1, times[times.len() - 1].1);
        let ratio = last / first;
        println!("{:22}{}  x{ratio:.2}", shape.name, cells.join(" "));
        is_good &= !shape.is_checked || ratio <= RATIO_MAX;
    }
    if is_checked && !is_good {
        println!("a match costs over {RATIO_MAX} times as much with many routes");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A router with its requests, and the best time of writing them and of both.
struct Subject {
    count: usize,
    router: Router<usize>,
    requests: Requests,
    best: [Duration; 2],
}

impl Subject {
    fn new(shape: &Shape, count: usize) -> Self {
        let entries = (0..count).map(|n| entry(shape, n)).collect();
        let (router, problems) = Router::compile(entries);
        assert!(problems.is_empty(), "{problems:?}");
        Self {
            count,
            router,
            requests: Requests::new(shape, count),
            best: [Duration::MAX; 2],
        }
    }

    fn round(&mut self, listener: &Name) {
        let mut head = RequestHead::default();
        for (place, is_search) in [false, true].into_iter().enumerate() {
            let start = Instant::now();
            for (host, target) in self.requests.iter() {
                head.authority.clear();
                head.authority.push_str(host);
                let written = head.target.set(target.as_bytes());
                assert!(written.is_ok(), "a request of the benchmark is a path");
                let head = black_box(&head);
                if is_search {
                    let outcome = self.router.find(listener, head);
                    assert!(matches!(outcome, Outcome::Found(_)), "{target} is served");
                }
            }
            self.best[place] = self.best[place].min(start.elapsed());
        }
    }

    fn nanoseconds(&self) -> f64 {
        let [write, both] = self.best.map(|time| time.as_secs_f64() * 1e9);
        #[expect(clippy::cast_precision_loss, reason = "the number of matches is small")]
        let matches = MATCHES as f64;
        (both - write) / matches
    }
}

/// Nanoseconds per match by number of routes. The numbers take turns, so that another
/// program's load falls on all of them.
fn measure(shape: &Shape) -> Vec<(usize, f64)> {
    let subject = |count: &usize| Subject::new(shape, *count);
    let mut subjects: Vec<_> = shape.counts.iter().map(subject).collect();
    let listener = name("web");
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            subject.round(&listener);
        }
    }
    let time = |subject: &Subject| (subject.count, subject.nanoseconds());
    subjects.iter().map(time).collect()
}

fn entry(shape: &Shape, n: usize) -> Entry<usize> {
    let host = (shape.host)(n);
    Entry {
        name: name(&format!("route-{n:05}")),
        listeners: Vec::new(),
        hosts: Some(host)
            .filter(|host| !host.is_empty())
            .into_iter()
            .map(HostMatch::Exact)
            .collect(),
        matches: vec![Match {
            path: (shape.path)(n),
            ..Match::default()
        }],
        payload: n,
    }
}

/// Requests, end to end in memory: a connection reads each into the same buffer, so
/// where they come from must not push the routes out of the caches.
#[derive(Default)]
struct Requests {
    text: String,
    /// Where each host and each target ends.
    ends: Vec<(u32, u32)>,
}

impl Requests {
    /// Requests for random routes, in one order for all rounds.
    fn new(shape: &Shape, count: usize) -> Self {
        let mut seed: usize = 0x2545_f491;
        let mut next = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (seed >> 33) % count
        };
        let mut all = Self::default();
        for n in (0..MATCHES).map(|_| next()) {
            let host_end = all.push(&(shape.host)(n));
            let target_end = all.push(&(shape.request)(n));
            all.ends.push((host_end, target_end));
        }
        all
    }

    fn push(&mut self, text: &str) -> u32 {
        self.text.push_str(text);
        u32::try_from(self.text.len()).unwrap_or_else(|bad| panic!("{bad}"))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().map(move |(host_end, target_end)| {
            let (host_end, target_end) = (*host_end as usize, *target_end as usize);
            let request = (
                &self.text[start..host_end],
                &self.text[host_end..target_end],
            );
            start = target_end;
            request
        })
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap_or_else(|bad| panic!("{bad}"))
}
