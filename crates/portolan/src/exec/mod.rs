//! `portolan exec`: runs a program of any language and keeps it registered.
//!
//! The program is probed from here until it passes, and only then registered. When it is
//! to stop, it first leaves the registry, which returns when its requests have ended, and
//! is told only then. The program comes first: it runs whether or not there is a registry,
//! and its exit code is ours.

mod arguments;
mod checkup;
mod life;
mod plan;
mod program;
mod signals;
mod story;

use std::{
    env,
    io::{Write, stderr},
    process::ExitCode,
};

use portolan_runtime::Env;

pub(crate) use arguments::Arguments;

use life::Life;
use plan::{Plan, Usual};

use crate::command::token_of_environment;

/// Where the registry is, if no argument says so.
const REGISTRY: &str = "PORTOLAN_REGISTRY";
/// It can't be done like that.
const UNUSABLE: u8 = 2;

/// Runs the program to its end.
pub(crate) fn exec(arguments: Arguments) -> ExitCode {
    let env = Env::system();
    let usual = Usual {
        registries: usual_registries(),
        token: token_of_environment(),
    };
    let plan = match Plan::new(arguments, usual, &env) {
        Ok(plan) => plan,
        Err(error) => {
            say(&error.in_one_line());
            return ExitCode::from(UNUSABLE);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("can't begin: {error}"));
            return ExitCode::from(UNUSABLE);
        }
    };
    let code = runtime.block_on(async {
        match Life::begin(plan, &env) {
            Ok(life) => life.live().await,
            Err(code) => code,
        }
    });
    // A name that is still being looked up must not hold us.
    runtime.shutdown_background();
    ExitCode::from(code)
}

#[expect(
    clippy::disallowed_methods,
    reason = "only the binary reads the environment, and this is it"
)]
fn usual_registries() -> Vec<String> {
    let listed = env::var(REGISTRY).unwrap_or_default();
    let urls = listed.split(',').map(str::trim);
    urls.filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Says something to people. Nobody has to listen.
fn say(text: &str) {
    let _nobody_listens = writeln!(stderr(), "portolan: {text}");
}
