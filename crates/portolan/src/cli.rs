//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use crate::exec::Arguments as Exec;

/// API management built on service discovery.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do; `run` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the registry, the gateway and the admin API (the default).
    Run(Run),
    /// Check a configuration and print everything that is wrong with it.
    Check(Check),
    /// Say what a changed configuration would do.
    Diff(Diff),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Write a commented configuration to start from.
    Init(Init),
    /// Say how the sources of a program that runs are doing.
    Sources(Sources),
    /// Make, list and revoke the tokens of a program that runs.
    Token(Token),
    /// Copy the registry's store while it runs.
    Backup(Backup),
    /// Put a backup in the place of a store that does not run.
    Restore(Restore),
    /// Run a program and keep it registered as an instance of a service.
    #[command(disable_version_flag = true)]
    Exec(Box<Exec>),
}

/// How to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// The configuration; without one, everything runs on loopback by itself.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where data is kept.
    #[arg(long, value_name = "FOLDER", default_value = "portolan-data")]
    pub data_dir: PathBuf,
    /// Take the sockets over from the process that runs on the same data folder, and let it end.
    #[arg(long)]
    pub take_over: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            config: None,
            data_dir: PathBuf::from("portolan-data"),
            take_over: false,
        }
    }
}

/// What to check.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The configuration.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print findings as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// What to compare.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// The configuration that runs.
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The configuration that would run.
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Print the difference as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Whose sources to show.
#[derive(Args, Debug)]
pub(crate) struct Sources {
    /// Print them as JSON.
    #[arg(long)]
    pub json: bool,
    /// How to reach the program.
    #[command(flatten)]
    pub contact: Contact,
}

/// What to copy.
#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// What the copy is called; one of that name is replaced.
    #[arg(value_name = "NAME", default_value = "latest")]
    pub name: String,
    /// How to reach the program.
    #[command(flatten)]
    pub contact: Contact,
}

/// How a running program is reached.
#[derive(Args, Clone, Debug)]
pub(crate) struct Contact {
    /// The admin listener of the program that runs.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9070")]
    pub admin: String,
    /// A file with the token to show [default: that of `PORTOLAN_TOKEN`, else of the data
    /// folder].
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The certificate authorities that an `https` listener is verified against [default: the
    /// system's].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The certificate to show to an `https` listener.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// The data folder of the program, if it runs on this machine.
    #[arg(long, value_name = "FOLDER", default_value = "portolan-data")]
    pub data_dir: PathBuf,
}

/// What to do with tokens.
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// What to do.
    #[command(subcommand)]
    pub action: TokenAction,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token and print its secret, which nobody can see again.
    Create {
        /// What it is called: who is said to have made a change.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it is for: `read`, `register`, `register:orders-*`, `operate`, `admin`; may be
        /// given several times.
        #[arg(
            long = "scope",
            value_name = "SCOPE",
            required = true,
            value_delimiter = ','
        )]
        scopes: Vec<String>,
        /// How long it is good for [default: until it is revoked].
        #[arg(long, value_name = "SPAN")]
        expires_in: Option<String>,
        /// How to reach the program.
        #[command(flatten)]
        contact: Contact,
    },
    /// List tokens, without their secrets.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
        /// How to reach the program.
        #[command(flatten)]
        contact: Contact,
    },
    /// Revoke a token; its next call is refused.
    Revoke {
        /// Its id, or its name.
        #[arg(value_name = "TOKEN")]
        which: String,
        /// How to reach the program.
        #[command(flatten)]
        contact: Contact,
    },
    /// Make a secret and print it and its hash, for `tokens` of `access:` in a configuration.
    Generate,
}

/// What to restore.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The backup, or a copy of a store that did not run.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where data is kept; nothing may run there.
    #[arg(long, value_name = "FOLDER", default_value = "portolan-data")]
    pub data_dir: PathBuf,
}

/// What to write.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Where to write it; an existing file is never overwritten.
    #[arg(value_name = "FILE", default_value = "portolan.yaml")]
    pub file: PathBuf,
}
