//! The `portolan` program: wiring, command line, signals.
//!
//! The only crate that reads the environment and prints for people.

mod cli;
mod command;
mod control;
mod data_lock;
mod exec;
mod handover;
mod history;
mod limits;
mod load;
mod logs;
mod memory;
mod node_id;
mod report;
mod run;
mod service_manager;
mod signals;
mod sources;
mod store;
mod summary;
mod upgrade;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use cli::{Cli, Command};

// Request paths allocate little, but what they do is spread over threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::parse()
        .command
        .unwrap_or_else(|| Command::Run(cli::Run::default()))
    {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => command::check(&arguments),
        Command::Diff(arguments) => command::diff(&arguments),
        Command::Schema => command::schema(),
        Command::Init(arguments) => command::init(&arguments),
        Command::Sources(arguments) => command::sources(&arguments),
        Command::Token(arguments) => command::token(arguments),
        Command::Backup(arguments) => command::backup(&arguments),
        Command::Restore(arguments) => command::restore(&arguments),
        Command::Exec(arguments) => exec::exec(*arguments),
    }
}
