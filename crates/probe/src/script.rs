//! A probe by a program of this machine.
//!
//! The program gets a group of its own, which is killed as a whole when time is up. It is
//! not waited for before its output has ended, so that until then the group's number is
//! not given to anybody else. It gets a bare environment: whoever registers a program is
//! not to read what was meant for us.

use std::{process::Stdio, sync::Arc};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use super::{Failed, Outcome, Task, connect::words, exited};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program, killed with its group when it is let go before it has ended.
struct Leash(Child);

impl Drop for Leash {
    fn drop(&mut self) {
        // There is no number once it has been waited for.
        let id = self
            .0
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = id {
            // It may have ended just now.
            let _ended = kill_process_group(group, Signal::KILL);
        }
    }
}

pub(super) async fn run(
    task: Task<'_>,
    command: &[Arc<str>],
    output_max: usize,
) -> Result<Outcome, Failed> {
    let (program, arguments) = command.split_first().ok_or("there is no program")?;
    let mut command = Command::new(&**program);
    command
        .args(arguments.iter().map(|argument| &**argument))
        .env_clear()
        .env("PATH", PATH)
        .env("PORTOLAN_ADDRESS", task.address.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some((service, instance)) = task.about {
        command
            .env("PORTOLAN_SERVICE", service.to_string())
            .env("PORTOLAN_INSTANCE", instance.as_str());
    }
    let child = command
        .spawn()
        .map_err(|error| -> Failed { format!("`{program}`: {}", words(&error)).into() })?;
    let mut leash = Leash(child);
    let (stdout, stderr) = (leash.0.stdout.take(), leash.0.stderr.take());
    let (mut output, errors) = tokio::join!(read(stdout, output_max), read(stderr, output_max));
    output.extend(errors);
    output.truncate(output_max);
    let status = leash.0.wait().await.map_err(|error| words(&error))?;
    Ok(exited(status.code().map(i64::from), &output))
}

/// The beginning of what is said; the rest is read and dropped, so that nobody is stuck
/// in saying it.
async fn read(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let Some(mut from) = from else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return kept,
            Ok(count) => {
                let rest = most.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(buffer.get(..rest).unwrap_or_default());
            }
        }
    }
}
