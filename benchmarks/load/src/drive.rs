//! Requests by a schedule, over a fixed number of kept-alive connections.
//!
//! In open loop a request is due at a fixed time whether or not the server
//! keeps up: it waits for a free connection, and its latency counts that wait.
//! In closed loop a request is due when its connection is free.
//!
//! Invariant: every request that was due ends in exactly one of `answered` or
//! `failed`, or is counted as `unsent` when the run ends first.

mod client;
mod request;
mod tally;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::poll::Poll;
use client::{Client, Outcome};
use request::Request;
use tally::Tally;

/// Token of standard input, beside the clients' own numbers.
const STDIN: u64 = u64::MAX;
/// How often timeouts are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);
/// How long answers are awaited after the last request.
const LINGER: Duration = Duration::from_secs(2);
/// Requests that may wait for a connection before the rest counts as unsent.
const BACKLOG_MAX: usize = 1_000_000;
const READ_BYTES: usize = 64 * 1024;

struct Settings {
    address: SocketAddr,
    requests: Vec<Request>,
    /// Time between two requests; zero is closed loop.
    spacing: Duration,
    connections: usize,
    /// Zero: until standard input closes, or `count` requests are sent.
    duration: Duration,
    /// Requests after which the run ends.
    count: usize,
    timeout: Duration,
    /// Zero: only a summary.
    report_interval: Duration,
}

impl Settings {
    fn read(arguments: &Arguments) -> Result<Self, String> {
        let address: SocketAddr = arguments.value("address", ([127, 0, 0, 1], 8080).into())?;
        let host = arguments.value("host", address.to_string())?;
        let mut requests: Vec<_> = arguments
            .all("request")
            .map(|text| Request::parse(text, &host))
            .collect::<Result<_, _>>()?;
        for path in arguments.all("requests") {
            requests.extend(Request::read_file(path, &host)?);
        }
        if requests.is_empty() {
            return Err("no --request".to_owned());
        }
        let rate: f64 = arguments.value("rate", 0.0)?;
        let seconds: f64 = arguments.value("seconds", 3.0)?;
        Ok(Self {
            address,
            requests,
            spacing: if rate > 0.0 {
                Duration::from_secs_f64(1.0 / rate)
            } else {
                Duration::ZERO
            },
            connections: arguments.value("connections", 64)?,
            duration: Duration::from_secs_f64(seconds),
            count: arguments.value("count", usize::MAX)?,
            timeout: Duration::from_millis(arguments.value("timeout-ms", 10_000)?),
            report_interval: Duration::from_millis(arguments.value("report-ms", 0)?),
        })
    }
}

/// Runs the schedule and prints what came of it.
///
/// # Errors
/// Bad arguments, or a server that refuses the first connections.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let settings = Settings::read(arguments)?;
    let mut run = Run::start(&settings)?;
    while run.step()? {}
    run.tally.print_summary(
        run.started.elapsed(),
        run.backlog.len() as u64 + run.overflow,
    );
    Ok(())
}

struct Run<'a> {
    settings: &'a Settings,
    poll: Poll,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    idle: Vec<usize>,
    /// Times at which requests were due that no connection was free for.
    backlog: VecDeque<Instant>,
    overflow: u64,
    tally: Tally,
    started: Instant,
    next_due: Instant,
    next_sweep: Instant,
    next_report: Instant,
    ends: Option<Instant>,
    sent: usize,
}

impl<'a> Run<'a> {
    fn start(settings: &'a Settings) -> Result<Self, String> {
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        for number in 0..settings.connections {
            let mut client = Client::new(settings.address);
            client.connect(&poll, number as u64)?;
            clients.push(client);
        }
        let until_told = settings.duration.is_zero();
        if until_told && settings.count == usize::MAX {
            poll.watch(std::io::stdin(), STDIN)?;
        }
        let now = Instant::now();
        Ok(Self {
            settings,
            poll,
            buffer: vec![0; READ_BYTES],
            idle: (0..clients.len()).collect(),
            clients,
            backlog: VecDeque::new(),
            overflow: 0,
            tally: Tally::new(),
            started: now,
            next_due: now,
            next_sweep: now + SWEEP_INTERVAL,
            next_report: now + settings.report_interval,
            ends: (!until_told).then(|| now + settings.duration),
            sent: 0,
        })
    }

    /// One turn; false when the run is over.
    fn step(&mut self) -> Result<bool, String> {
        let now = Instant::now();
        let ending = self.ends.is_some_and(|ends| now >= ends);
        if ending {
            let drained = self.idle.len() == self.clients.len();
            if drained || self.ends.is_some_and(|ends| now >= ends + LINGER) {
                return Ok(false);
            }
        } else {
            self.fall_due(now);
            self.dispatch();
        }
        self.housekeep(now)?;
        let wake = if ending {
            self.next_sweep
        } else {
            self.next_sweep.min(self.next_wake())
        };
        let ready = self
            .poll
            .wait(wake.saturating_duration_since(Instant::now()))
            .to_vec();
        for token in ready {
            if token == STDIN {
                self.poll.forget(std::io::stdin());
                self.ends = Some(Instant::now());
            } else if let Ok(number) = usize::try_from(token) {
                self.receive(number)?;
            }
        }
        Ok(true)
    }

    fn next_wake(&self) -> Instant {
        let open_loop = !self.settings.spacing.is_zero();
        let wake = if open_loop {
            self.next_due
        } else {
            self.next_sweep
        };
        self.ends.map_or(wake, |ends| wake.min(ends))
    }

    fn fall_due(&mut self, now: Instant) {
        if self.settings.spacing.is_zero() {
            self.backlog
                .extend(std::iter::repeat_n(now, self.idle.len()));
            return;
        }
        while self.next_due <= now {
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push_back(self.next_due);
            } else {
                self.overflow += 1;
            }
            self.next_due += self.settings.spacing;
        }
    }

    fn dispatch(&mut self) {
        while !self.backlog.is_empty() {
            if self.sent == self.settings.count {
                self.backlog.clear();
                self.ends.get_or_insert(Instant::now());
                return;
            }
            let Some(number) = self.idle.pop() else {
                return;
            };
            let Some(due) = self.backlog.pop_front() else {
                return;
            };
            let kind = self.sent % self.settings.requests.len();
            self.sent += 1;
            let outcome = self.clients[number].send(kind, &self.settings.requests[kind].bytes, due);
            self.settle(number, outcome);
        }
    }

    fn receive(&mut self, number: usize) -> Result<(), String> {
        let was_idle = self.clients[number].is_idle();
        let outcome = self.clients[number].receive(&mut self.buffer);
        if was_idle {
            // The server closed a connection on which nothing was asked.
            return self.clients[number].connect(&self.poll, number as u64);
        }
        self.settle(number, outcome);
        Ok(())
    }

    /// Books the end of a request and readies its connection for the next.
    fn settle(&mut self, number: usize, outcome: Outcome) {
        let Outcome::Ended { kind, due, result } = outcome else {
            return;
        };
        let request = &self.settings.requests[kind];
        self.tally.add(request, due.elapsed(), result);
        if self.clients[number].is_closed() {
            // A server that refuses leaves this client without a connection;
            // its next request fails and tries again.
            let _ = self.clients[number].connect(&self.poll, number as u64);
        }
        self.idle.push(number);
    }

    fn housekeep(&mut self, now: Instant) -> Result<(), String> {
        if now < self.next_sweep {
            return Ok(());
        }
        self.next_sweep = now + SWEEP_INTERVAL;
        for number in 0..self.clients.len() {
            let outcome = self.clients[number].expire(now, self.settings.timeout);
            self.settle(number, outcome);
        }
        if !self.settings.report_interval.is_zero() && now >= self.next_report {
            self.next_report += self.settings.report_interval;
            self.tally.print_interval()?;
        }
        Ok(())
    }
}
