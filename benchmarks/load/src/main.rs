//! Load generator and backends for `./bench`.
//!
//! `drive` sends requests by a schedule that no slow answer can delay, and
//! names every request that failed. `fleet` is many backends in one process
//! that come, stop and die by command. Both run on one thread, so that they
//! can share a core with the rest of a bench.
//!
//! Source of the schedule: Tene, "How not to measure latency": latency counts
//! from the moment a request was due, not from the moment it could be sent.

mod arguments;
mod drive;
mod fleet;
mod histogram;
mod poll;
mod response;
mod watch;

use std::process::ExitCode;

use arguments::Arguments;

const USAGE: &str = "\
usage: portolan-load drive --address IP:PORT --request 'GET /path' [--request ...]
                           [--rate PER_SECOND] [--connections 64] [--seconds 3]
                           [--requests FILE] [--count N] [--timeout-ms 10000]
                           [--report-ms 0] [--host NAME]
       portolan-load fleet [--address 127.0.0.1]
       portolan-load watch --address IP:PORT [--path /v1/watch] [--connections 100]
                           [--streams 100]

drive  without --rate every connection is always busy (closed loop); with it,
       requests are due at a constant rate (open loop). --seconds 0 runs until
       standard input closes; --count ends a run after so many requests. A file
       has a request a line: METHOD /path, then, each after a tab, header fields
       and a body behind '='. Prints one JSON object per line.
fleet  reads 'open ID PORT', 'stop ID', 'kill ID' on standard input, answers
       each with one line, and ends when standard input closes.
watch  opens streams of events over HTTP/2 and prints when all have their state;
       each line on standard input begins a round, which is printed when a change
       has reached all of them. Ends when standard input closes.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let result = Arguments::parse(words).and_then(|arguments| match command.as_str() {
        "drive" => drive::run(&arguments),
        "fleet" => fleet::run(&arguments),
        "watch" => watch::run(&arguments),
        _ => Err(USAGE.to_owned()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
