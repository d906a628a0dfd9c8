//! Claims about the `file` source.

use std::{fs, time::Duration};

use portolan_catalog::{Fold, GuardSettings, Inflow, Turn, inboxes};
use portolan_model::{Revision, RevisionClock, ServiceKey, SourceId};
use portolan_runtime::{Env, Task};
use portolan_testkit::Scratch;
use serde_json::json;

use super::{
    files::{FILE_BYTES_MAX, FILES_MAX, Files, Trust},
    map::Reading,
    settings,
};

fn read(text: &str) -> Reading {
    Reading::parse(&SourceId::new("edge"), text).unwrap()
}

fn broken(text: &str) -> String {
    let flaw = Reading::parse(&SourceId::new("edge"), text).unwrap_err();
    format!("{}: {}", flaw.line, flaw.message)
}

fn flaws(reading: &Reading) -> Vec<String> {
    let flaws = reading.flaws.iter();
    flaws
        .map(|flaw| format!("{}: {}", flaw.line, flaw.message))
        .collect()
}

fn ids(reading: &Reading) -> Vec<String> {
    let places = reading.instances.keys();
    places.map(|(key, id)| format!("{key} {id}")).collect()
}

/// A source at work on a path, and the fold that listens.
struct Running {
    inflow: Inflow,
    fold: Fold,
    env: Env,
    _source: Task,
}

impl Running {
    fn start(env: Env, path: &std::path::Path, poll: &str) -> Self {
        let (mut hub, inflow) = inboxes();
        let id = SourceId::new("edge");
        let spec = settings::parse(&json!({"path": path, "poll": poll})).unwrap();
        let source = spec.build(&id, &env);
        let run = source.run(hub.open(&id, Turn::Fair));
        let fold = Fold::new(
            GuardSettings::default(),
            RevisionClock::new(Revision::FIRST),
            env.now(),
        );
        Self {
            inflow,
            fold,
            _source: env.spawn("source", run),
            env,
        }
    }

    /// Folds what the source says until `ids` of `orders` are these.
    async fn shows(&mut self, ids: &[&str]) {
        self.until(|running| running.ids() == Some(ids.iter().map(ToString::to_string).collect()))
            .await;
    }

    /// Folds what the source says until its reason for being stale contains this.
    async fn complains(&mut self, part: &str) {
        self.until(|running| running.reason().is_some_and(|reason| reason.contains(part)))
            .await;
    }

    async fn until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        while !holds(self) {
            let wait = self
                .env
                .timeout(Duration::from_mins(10), self.inflow.batch(1));
            let batch = wait.await.unwrap_or_else(|_| {
                panic!(
                    "nothing more is said; {:?}, {:?}",
                    self.ids(),
                    self.reason()
                )
            });
            for arrival in batch {
                self.fold.apply(self.env.now(), arrival.saying);
            }
        }
    }

    fn ids(&self) -> Option<Vec<String>> {
        let catalog = self.fold.catalog();
        let service = catalog.service(&ServiceKey::parse("orders").unwrap())?;
        let instances = service.instances.iter();
        Some(instances.map(|instance| instance.id.to_string()).collect())
    }

    fn reason(&self) -> Option<String> {
        let catalog = self.fold.catalog();
        let stale = catalog.sources().first()?.stale.as_ref()?;
        Some(stale.reason.to_string())
    }
}

fn orders(ids: &[&str]) -> String {
    let instance = |id: &&str| format!("{{id: {id}, address: 127.0.0.1, port: 9001}}");
    let instances: Vec<_> = ids.iter().map(instance).collect();
    format!(
        "services: {{orders: {{instances: [{}]}}}}\n",
        instances.join(", ")
    )
}

#[test]
fn a_file_says_everything_about_an_instance() {
    let reading = read(
        "services:
  shop/Orders:
    instances:
      - id: a
        address: 127.0.0.1
        port: 9001
        ports: {grpc: 9002}
        metadata: {env: prod, build: 17}
        tags: [blue, 1]
        version: 1.10
        zone: eu-1
        weight: 50
      - {address: '::1', port: 80}
  empty:
",
    );
    assert_eq!(reading.flaws, []);
    assert_eq!(reading.services.len(), 2);
    assert_eq!(ids(&reading), ["shop/orders [::1]:80", "shop/orders a"]);
    let instance = reading.instances.values().last().unwrap();
    let text = serde_json::to_value(instance.as_ref()).unwrap();
    assert_eq!(
        text,
        json!({
            "key": "shop/orders", "id": "a",
            "endpoints": [
                {"name": "default", "address": "127.0.0.1:9001"},
                {"name": "grpc", "address": "127.0.0.1:9002"}
            ],
            "zone": "eu-1", "version": "1.10", "weight": 50, "tags": ["blue", "1"],
            "metadata": {"build": "17", "env": "prod"}, "source": "edge",
            "state": serde_json::to_value(portolan_model::State::default()).unwrap(),
        })
    );
}

#[test]
fn json_is_yaml() {
    let text = r#"{"services": {"orders": {"instances": [{"address": "10.0.0.1", "port": 80}]}}}"#;
    assert_eq!(ids(&read(text)), ["orders 10.0.0.1:80"]);
}

#[test]
fn a_whole_file_is_refused_with_its_line() {
    assert_eq!(
        broken(""),
        "1: the file is empty; write `services: {}` for none"
    );
    assert_eq!(broken("# nothing\n"), broken(""));
    assert_eq!(broken("[]"), "1: the file is not a map");
    assert_eq!(broken("service: {}"), "1: there is no `services`");
    assert_eq!(broken("services: [a]"), "1: `services` is not a map");
    assert!(
        broken("services:\n  a: {\n").starts_with("3: "),
        "{}",
        broken("services:\n  a: {\n")
    );
    assert!(broken("services: {}\n---\nservices: {}\n").contains("second document"));
    assert!(
        broken("services: {a: , a: }").contains("duplicate"),
        "{}",
        broken("services: {a: , a: }")
    );
    let deep = format!("services: {}", "[".repeat(40));
    assert_eq!(
        broken(&deep),
        "1: lists and maps are nested more than 32 deep"
    );
}

#[test]
fn every_flaw_is_named_with_its_line_and_hides_no_other() {
    let reading = read(
        "services:
  orders:
    instances:
      - {address: 127.0.0.1, port: 0}
      - {address: localhost, port: 1}
      - {port: 1}
      - {address: 127.0.0.1}
      - {address: 127.0.0.1, port: 1, weight: 0}
      - {id: a/b, address: 127.0.0.1, port: 1}
      - {id: ok, address: 127.0.0.1, port: 1, wieght: 1}
      - {id: ok, address: 127.0.0.1, port: 2}
      - {address: 127.0.0.1, ports: {a: 1, A: 2}}
  users: [1]
  what is this:
  Orders:
stray: 1
",
    );
    assert_eq!(
        flaws(&reading),
        [
            "16: a file has no field `stray`; known are services",
            "4: a port is a number from 1 to 65535",
            "5: `address` is not an IP address; host names are for a `dns` source",
            "6: an instance needs an `address`",
            "7: an instance needs a `port`, or `ports`",
            "8: `weight` is a number from 1 to 65535",
            "9: `a/b` holds '/'; a name has letters, digits, `-`, `_`, `.` and `:`",
            "10: an instance has no field `wieght`; known are id, address, port, ports, \
             metadata, tags, version, zone, weight",
            "11: the instance `ok` of `orders` is named twice",
            "12: the port `a` is named twice",
            "13: a service is not a map",
            "14: `what is this` holds ' '; a name has letters, digits, `-`, `_`, `.` and `:`",
            "15: the service `orders` is named twice",
        ]
    );
    assert_eq!(ids(&reading), ["orders ok"]);
}

#[test]
fn what_a_flaw_hides_is_kept_and_nothing_else() {
    let before = read(
        "services:
  orders: {instances: [{id: a, address: 127.0.0.1, port: 1}, {id: b, address: 127.0.0.1, port: 2}]}
  users: {instances: [{id: c, address: 127.0.0.1, port: 3}]}
",
    );
    let mut after = read(
        "services:
  orders: {instances: [{id: a, address: 127.0.0.1, port: 9}, {id: b, address: 127.0.0.1, port: x}]}
",
    );
    after.keep_hidden(&before);
    assert_eq!(ids(&after), ["orders a", "orders b"]);
    let mut misnamed = read("services: {'orders!': {}}");
    misnamed.keep_hidden(&before);
    assert_eq!(ids(&misnamed), ["orders a", "orders b", "users c"]);
}

#[test]
fn a_folder_is_the_sum_of_its_files() {
    let scratch = Scratch::new();
    let _a = scratch.write("a.yaml", &orders(&["a"]));
    let _b = scratch.write("b.json", &orders(&["b", "a"]));
    let _hidden = scratch.write(".c.yaml", &orders(&["c"]));
    let _other = scratch.write("d.txt", "nothing");
    let mut files = Files::new(&SourceId::new("edge"), scratch.path());
    let view = files.read(Trust::Nothing);
    assert_eq!(ids(&view.all.unwrap()), ["orders a", "orders b"]);
    assert_eq!(view.reasons.len(), 1);
    assert!(
        view.reasons[0].ends_with(
            "b.json: the instance `a` of `orders` is in another file, too, which counts"
        )
    );
    fs::remove_file(scratch.path().join("a.yaml")).unwrap();
    let view = files.read(Trust::Looks);
    assert_eq!(
        (ids(&view.all.unwrap()), view.reasons.len()),
        (vec!["orders a".into(), "orders b".into()], 0)
    );
}

#[test]
fn an_empty_folder_keeps_what_it_said() {
    let scratch = Scratch::new();
    let path = scratch.write("a.yaml", &orders(&["a"]));
    let mut files = Files::new(&SourceId::new("edge"), scratch.path());
    files.read(Trust::Nothing);
    fs::remove_file(path).unwrap();
    let view = files.read(Trust::Nothing);
    assert_eq!(ids(&view.all.unwrap()), ["orders a"]);
    assert!(view.reasons[0].ends_with("the folder has no *.yaml, *.yml or *.json files"));
}

#[test]
fn a_folder_is_refused_at_one_file_past_the_limit() {
    let scratch = Scratch::new();
    for n in 0..FILES_MAX {
        let _path = scratch.write(&format!("{n}.yaml"), "services: {}");
    }
    let mut files = Files::new(&SourceId::new("edge"), scratch.path());
    assert_eq!(files.read(Trust::Nothing).reasons, [""; 0]);
    let _path = scratch.write("more.yaml", "services: {}");
    assert!(files.read(Trust::Nothing).reasons[0].ends_with("more than 1000 files"));
}

#[test]
fn a_file_is_refused_at_one_byte_past_the_limit() {
    let scratch = Scratch::new();
    let path = scratch.write("a.yaml", "services: {}\n");
    let mut files = Files::new(&SourceId::new("edge"), &path);
    let text = format!(
        "services: {{}}\n#{}",
        " ".repeat(usize::try_from(FILE_BYTES_MAX).unwrap())
    );
    let text = text.as_bytes();
    fs::write(
        &path,
        text.split_at(usize::try_from(FILE_BYTES_MAX).unwrap()).0,
    )
    .unwrap();
    assert_eq!(files.read(Trust::Nothing).reasons, [""; 0]);
    fs::write(
        &path,
        text.split_at(usize::try_from(FILE_BYTES_MAX).unwrap() + 1)
            .0,
    )
    .unwrap();
    let reasons = files.read(Trust::Nothing).reasons;
    assert!(
        reasons[0].ends_with("the file is over the limit of 16777216 bytes"),
        "{reasons:?}"
    );
}

#[test]
fn a_device_is_no_file() {
    let mut files = Files::new(&SourceId::new("edge"), std::path::Path::new("/dev/zero"));
    let reasons = files.read(Trust::Nothing).reasons;
    assert_eq!(
        reasons,
        ["/dev/zero:1: this is neither a file nor a folder"]
    );
}

#[test]
fn settings_that_are_the_same_are_known_to_be() {
    let spec = |poll: &str| settings::parse(&json!({"path": "a.yaml", "poll": poll})).unwrap();
    assert!(spec("10s").same_as(spec("10s").as_ref()));
    assert!(!spec("10s").same_as(spec("11s").as_ref()));
}

#[test]
fn every_problem_of_the_settings_is_named() {
    let problems = settings::parse(&json!({"poll": "1ms", "paht": "x"})).unwrap_err();
    let problems: Vec<_> = problems
        .iter()
        .map(|problem| format!("{} {}", problem.path, problem.message))
        .collect();
    assert_eq!(
        problems,
        [
            "/path a `file` source needs a path",
            "/poll `1ms` is not between 100ms and 86400s",
            "/paht there is no field `paht`",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_file_is_told_at_the_next_poll() {
    let scratch = Scratch::new();
    let path = scratch.write("services.yaml", &orders(&["a", "b", "c"]));
    let mut running = Running::start(Env::virtual_time(1), &path, "10s");
    running.shows(&["a", "b", "c"]).await;
    let _path = scratch.write("services.yaml", &orders(&["c", "dd"]));
    running.shows(&["c", "dd"]).await;
    assert_eq!(running.reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_keeps_the_last_good_one_and_says_where() {
    let scratch = Scratch::new();
    let path = scratch.write("services.yaml", &orders(&["a", "b"]));
    let mut running = Running::start(Env::virtual_time(1), &path, "10s");
    running.shows(&["a", "b"]).await;
    let _path = scratch.write("services.yaml", "services:\n  orders: {\n");
    running.complains("services.yaml:3: ").await;
    assert_eq!(running.ids().unwrap(), ["a", "b"]);
    let _path = scratch.write(
        "services.yaml",
        "services: {orders: {instances: [{id: x}]}}",
    );
    running
        .complains("services.yaml:1: an instance needs an `address`")
        .await;
    fs::remove_file(&path).unwrap();
    running.complains("No such file").await;
    assert_eq!(running.ids().unwrap(), ["a", "b"]);
    let _path = scratch.write("services.yaml", "services: {orders: }");
    running.shows(&[]).await;
    running.until(|running| running.reason().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_comes_later_is_found() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sub/services.yaml");
    let mut running = Running::start(Env::virtual_time(1), &path, "10s");
    running.complains("No such file").await;
    fs::create_dir(scratch.path().join("sub")).unwrap();
    let _path = scratch.write("sub/services.yaml", &orders(&["a"]));
    running.shows(&["a"]).await;
    assert_eq!(running.reason(), None);
}

#[tokio::test]
async fn notifications_tell_of_a_file_that_is_replaced_like_editors_do() {
    let scratch = Scratch::new();
    let path = scratch.write("services.yaml", &orders(&["a"]));
    let mut running = Running::start(Env::system(), &path, "24h");
    running.shows(&["a"]).await;
    for id in ["b", "c"] {
        let new = scratch.write("services.yaml~", &orders(&[id]));
        fs::rename(new, &path).unwrap();
        running.shows(&[id]).await;
    }
    let _path = scratch.write("services.yaml", &orders(&["d"]));
    running.shows(&["d"]).await;
}
