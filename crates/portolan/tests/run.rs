//! The program as it starts, reloads and fails to start, run as a service manager runs it.

#![expect(clippy::expect_used, reason = "a test without the program can't go on")]

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

use portolan_testkit::Scratch;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const GOOD: &str = "\
listeners: {web: {address: '127.0.0.1:0'}}
admin: {address: '127.0.0.1:0'}
routes: {shop: {target: orders}}
upstreams: {orders: {service: orders}}
";

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command
        .args(["run", "--config", "a.yaml", "--data-dir", "data"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The program and the lines of its log.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    /// Starts the program and waits until it listens.
    fn start(folder: &Path) -> Self {
        let mut child = command(folder).spawn().expect("the program can be started");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut welcome = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.trim_start().starts_with("data ") {
            line.clear();
            let read = welcome.read_line(&mut line);
            assert_ne!(read.expect("text is printed"), 0, "it ended early");
        }
        // What else it prints is of no interest, but must not fill the pipe.
        thread::spawn(move || welcome.lines().count());
        Self { child, log }
    }

    fn reload(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("it runs");
    }

    /// The lines of the log up to one with that message. All of them are JSON.
    fn log_until(&mut self, message: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).expect("text is logged");
            assert_ne!(read, 0, "it ended without {message}: {lines:#?}");
            let line: Value = serde_json::from_str(&line).expect("a line is JSON");
            let is_last = line["message"].as_str() == Some(message);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that has failed does not mind how it ends.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn mode(path: &Path) -> u32 {
    let data = fs::metadata(path).expect("it is there");
    data.permissions().mode() & 0o777
}

#[test]
fn a_data_folder_is_made_for_its_user_only_and_one_that_is_there_keeps_its_mode() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = taken.local_addr().expect("it is bound").port();
    // The program makes its folder, and then ends because it can't listen.
    scratch.write(
        "a.yaml",
        &format!("admin: {{address: '127.0.0.1:{port}'}}\n"),
    );
    let data = scratch.path().join("data");
    let output = command(scratch.path()).output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(mode(&data), 0o700);
    fs::set_permissions(&data, Permissions::from_mode(0o750)).expect("it is ours");
    command(scratch.path()).output().expect("it ends");
    assert_eq!(mode(&data), 0o750);
}

#[test]
fn findings_of_a_reload_are_lines_of_the_log() {
    let scratch = Scratch::new();
    let file = scratch.write("a.yaml", GOOD);
    let mut running = Running::start(scratch.path());

    running.reload();
    running.log_until("the configuration says what it said before; nothing changed");

    let bad = GOOD.replace("{target: orders}", "{tagret: orders}");
    fs::write(&file, &bad).expect("it is ours");
    let lines = running.log_until("configuration in force");
    let with = |message: &str| {
        let found = lines.iter().find(|line| line["message"] == message);
        found.cloned().unwrap_or_default()
    };
    let error = with("the configuration has an error");
    assert_eq!(error["level"], "ERROR");
    assert_eq!(error["concern"], "route shop");
    assert_eq!(error["path"], "a.yaml:3:17");
    assert_eq!(
        error["reason"],
        "unknown field `tagret` (did you mean `target`?)"
    );
    let warning = with("the configuration may not mean what it says");
    assert_eq!(warning["concern"], "upstream orders");
    let aside = with("objects are in quarantine; all others apply");
    assert_eq!(aside["concern"], "route shop");

    fs::write(&file, "routes: [").expect("it is ours");
    let lines = running.log_until("the new configuration is not used; the running one stays");
    let errors = lines.iter().filter(|line| line["level"] == "ERROR");
    assert_eq!(errors.count(), 2, "{lines:#?}");
}

#[test]
fn what_makes_a_start_impossible_is_in_the_log() {
    let scratch = Scratch::new();
    scratch.write("a.yaml", "guard: {share: 200}\n");
    let output = command(scratch.path()).output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).expect("text is logged");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let [finding, end] = lines.as_slice() else {
        panic!("{lines:#?}");
    };
    assert_eq!(finding["concern"], "section guard");
    assert_eq!(end["error"], "a.yaml has errors");
}
