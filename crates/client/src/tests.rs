//! The keeper on the virtual clock with a registry made of paper, and the API's calls over a socket.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_dialects::native::{CheckShape, Drained, Removed, Span, TcpShape, Written};
use portolan_model::{Health, Revision, ServiceKey};
use portolan_runtime::{Env, Task, drain::Drain};
use portolan_wire::serve::{self, Hosts, Limits, Request, Settings, full};
use tokio::sync::Notify;

use crate::{
    Keeper, LeaveError, Left, Registration, Standing,
    api::{Refusal, Registry, Report},
};

/// How a call on paper ends.
#[derive(Clone, Debug)]
enum End {
    Fine,
    Unknown,
    Fails,
    /// Never, so that the caller has to give up.
    Hangs,
}

/// What the paper registry saw: milliseconds since its beginning, and the call.
type Calls = Arc<Mutex<Vec<(u64, String)>>>;

struct Paper {
    env: Env,
    began: std::time::Instant,
    calls: Calls,
    script: VecDeque<End>,
    closing: Arc<Notify>,
    key: ServiceKey,
    id: Option<&'static str>,
    count: usize,
    at: usize,
}

impl Paper {
    /// Whose calls end like that, and well ever after.
    fn new(env: &Env, script: impl IntoIterator<Item = End>) -> Self {
        Self {
            env: env.clone(),
            began: env.instant(),
            calls: Calls::default(),
            script: script.into_iter().collect(),
            closing: Arc::default(),
            key: ServiceKey::parse("orders").unwrap(),
            id: None,
            count: 1,
            at: 0,
        }
    }

    async fn end(&mut self, call: String, within: Duration) -> Result<(), Refusal> {
        let millis = (self.env.instant() - self.began).as_millis();
        let millis = u64::try_from(millis).unwrap();
        self.calls.lock().unwrap().push((millis, call));
        match self.script.pop_front().unwrap_or(End::Fine) {
            End::Fine => Ok(()),
            End::Unknown => Err(Refusal::Unknown),
            End::Fails => Err(Refusal::Failed("away".into())),
            End::Hangs => {
                self.env.sleep(within).await;
                Err(Refusal::Failed("hung".into()))
            }
        }
    }

    fn written(&self, id: Option<&str>) -> Written {
        let id = id.unwrap_or("127.0.0.1:1");
        let ttl = Span(Duration::from_secs(30));
        Written::new(Revision::from_u64(7), &self.key, id, ttl)
    }
}

impl Registry for Paper {
    async fn register(
        &mut self,
        id: Option<&str>,
        report: &Report,
        within: Duration,
    ) -> Result<Written, Refusal> {
        let call = format!("register {id:?} {:?} at {}", report.health, self.at);
        self.end(call, within).await?;
        Ok(self.written(id))
    }

    async fn renew(
        &mut self,
        id: &str,
        report: Option<&Report>,
        within: Duration,
    ) -> Result<Written, Refusal> {
        let news = report.map(|report| report.health);
        let call = format!("renew {id} {news:?} at {}", self.at);
        self.end(call, within).await?;
        Ok(self.written(Some(id)))
    }

    async fn leave(
        &mut self,
        id: &str,
        drain: Duration,
        within: Duration,
    ) -> Result<Removed, Refusal> {
        self.end(format!("leave {id} {drain:?}"), within).await?;
        Ok(Removed {
            revision: Revision::from_u64(8),
            drain: (!drain.is_zero()).then_some(Drained::Idle),
        })
    }

    async fn closed(&mut self) {
        self.closing.notified().await;
    }

    fn turn(&mut self) {
        self.at = (self.at + 1) % self.count;
    }

    fn count(&self) -> usize {
        self.count
    }

    fn place(&self) -> Arc<str> {
        self.at.to_string().into()
    }

    fn service(&self) -> &ServiceKey {
        &self.key
    }

    fn id(&self) -> Option<&str> {
        self.id
    }
}

const DROP_DRAIN: Duration = Duration::from_secs(3);

fn keep(paper: Paper) -> (Keeper, Calls) {
    let (env, calls) = (paper.env.clone(), Arc::clone(&paper.calls));
    (Keeper::start(paper, &env, None, DROP_DRAIN), calls)
}

/// The calls without their times.
fn said(calls: &Calls) -> Vec<String> {
    let calls = calls.lock().unwrap();
    calls.iter().map(|(_, call)| call.clone()).collect()
}

fn times(calls: &Calls) -> Vec<u64> {
    calls.lock().unwrap().iter().map(|(at, _)| *at).collect()
}

const REGISTER: &str = "register None None at 0";
const AGAIN: &str = "register Some(\"127.0.0.1:1\") None at 0";
const RENEW: &str = "renew 127.0.0.1:1 None at 0";

#[tokio::test(start_paused = true)]
async fn an_instance_registers_and_renews_at_a_third_of_its_ttl() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, []));
    let registered = keeper.registered().await.unwrap();
    assert_eq!(registered.revision, Revision::from_u64(7));
    assert_eq!(&*registered.id, "127.0.0.1:1");
    env.sleep(Duration::from_secs(26)).await;
    assert_eq!(said(&calls), [REGISTER, RENEW, RENEW]);
    let times = times(&calls);
    assert!((9000..=10_000).contains(&times[1]), "{times:?}");
    assert!((18_000..=20_000).contains(&times[2]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_the_registry_lost_registers_again_at_once() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, [End::Fine, End::Unknown]));
    keeper.registered().await.unwrap();
    env.sleep(Duration::from_secs(11)).await;
    assert_eq!(said(&calls), [REGISTER, RENEW, AGAIN]);
    let times = times(&calls);
    assert_eq!(times[1], times[2]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_tried_ever_after() {
    let env = Env::virtual_time(1);
    let away = std::iter::repeat_n(End::Fails, 50);
    let (keeper, calls) = keep(Paper::new(&env, away));
    let mut standing = keeper.standing();
    let retrying = standing.wait_for(|now| matches!(now, Standing::Retrying { failures: 2, .. }));
    let reason = "away".into();
    let shown = retrying.await.unwrap().clone();
    assert_eq!(
        shown,
        Standing::Retrying {
            reason,
            failures: 2
        }
    );
    keeper.registered().await.unwrap();
    let times = times(&calls);
    assert_eq!(times.len(), 51);
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= 250, "{waits:?}");
    assert!(waits[5..].iter().all(|wait| (2500..=5000).contains(wait)));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_is_given_up() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, [End::Hangs]));
    keeper.registered().await.unwrap();
    let times = times(&calls);
    assert!(times[1] >= 5000 && times[1] <= 5250, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_failed_is_a_renewal_again() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, [End::Fine, End::Fails]));
    let first = keeper.registered().await.unwrap();
    let mut standing = keeper.standing();
    let lost = standing.wait_for(|now| matches!(now, Standing::Retrying { .. }));
    lost.await.unwrap();
    assert_eq!(keeper.registered().await.unwrap(), first);
    let news = "renew 127.0.0.1:1 Some(None) at 0";
    assert_eq!(said(&calls), [REGISTER, RENEW, news]);
}

#[tokio::test(start_paused = true)]
async fn another_registry_takes_over_without_a_wait() {
    let env = Env::virtual_time(1);
    let script = [End::Fine, End::Fails, End::Unknown];
    let paper = Paper {
        count: 2,
        ..Paper::new(&env, script)
    };
    let (keeper, calls) = keep(paper);
    keeper.registered().await.unwrap();
    env.sleep(Duration::from_secs(11)).await;
    let expected = [
        REGISTER,
        RENEW,
        "renew 127.0.0.1:1 Some(None) at 1",
        "register Some(\"127.0.0.1:1\") None at 1",
    ];
    assert_eq!(said(&calls), expected);
    let times = times(&calls);
    assert_eq!(times[1], times[3]);
    assert_eq!(&*keeper.registered().await.unwrap().registry, "1");
}

#[tokio::test(start_paused = true)]
async fn a_closed_line_is_looked_after_at_once() {
    let env = Env::virtual_time(1);
    let paper = Paper::new(&env, []);
    let closing = Arc::clone(&paper.closing);
    let (keeper, calls) = keep(paper);
    keeper.registered().await.unwrap();
    env.sleep(Duration::from_secs(3)).await;
    closing.notify_one();
    env.sleep(Duration::from_secs(1)).await;
    assert_eq!(said(&calls), [REGISTER, RENEW]);
    let times = times(&calls);
    assert!((3000..=3250).contains(&times[1]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn news_about_the_instance_are_told_at_once_and_once() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, []));
    keeper.registered().await.unwrap();
    env.sleep(Duration::from_secs(1)).await;
    keeper.report(Health::Critical, Some("full".into()));
    keeper.report(Health::Critical, Some("full".into()));
    env.sleep(Duration::from_secs(10)).await;
    let told = "renew 127.0.0.1:1 Some(Some(Critical)) at 0";
    assert_eq!(said(&calls), [REGISTER, told, RENEW]);
    assert_eq!(times(&calls)[1], 1000);
}

#[tokio::test(start_paused = true)]
async fn news_wait_for_a_registry_that_is_away() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, [End::Hangs, End::Fails]));
    keeper.report(Health::Warning, None);
    keeper.report(Health::Critical, None);
    keeper.registered().await.unwrap();
    let last = said(&calls).pop().unwrap();
    assert_eq!(last, "register None Some(Critical) at 0");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_drained_and_told_how_it_ended() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, []));
    keeper.registered().await.unwrap();
    let standing = keeper.standing();
    let began = env.instant();
    let left = keeper.leave(Duration::from_secs(20)).await;
    assert_eq!(left, Ok(Left::Drained(Drained::Idle)));
    // Whoever follows the registry without a gateway has heard of it, too.
    assert_eq!(env.instant() - began, Duration::from_millis(500));
    assert_eq!(said(&calls), [REGISTER, "leave 127.0.0.1:1 20s"]);
    let shown = Standing::Left(Ok(Some(Drained::Idle)));
    assert_eq!(*standing.borrow(), shown);
}

#[tokio::test(start_paused = true)]
async fn whoever_drains_for_ever_leaves_too() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, []));
    keeper.registered().await.unwrap();
    let left = keeper.leave(Duration::MAX).await;
    assert_eq!(left, Ok(Left::Drained(Drained::Idle)));
    // A registry refuses more than that.
    assert_eq!(said(&calls), [REGISTER, "leave 127.0.0.1:1 3600s"]);
}

#[tokio::test(start_paused = true)]
async fn leaving_does_not_wait_for_a_renewal() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, [End::Fine, End::Hangs]));
    keeper.registered().await.unwrap();
    env.sleep(Duration::from_secs(11)).await;
    assert_eq!(keeper.leave(Duration::ZERO).await, Ok(Left::Removed));
    assert_eq!(said(&calls), [REGISTER, RENEW, "leave 127.0.0.1:1 0ns"]);
    assert_eq!(times(&calls)[2], 11_000);
}

#[tokio::test(start_paused = true)]
async fn leaving_is_tried_until_its_time_is_up() {
    let env = Env::virtual_time(1);
    let away = [End::Fine].into_iter().chain(vec![End::Fails; 99]);
    let (keeper, calls) = keep(Paper::new(&env, away));
    keeper.registered().await.unwrap();
    let began = env.instant();
    let reason = "away".into();
    let left = keeper.leave(Duration::from_secs(2)).await;
    assert_eq!(left, Err(LeaveError::Away { reason }));
    let passed = env.instant() - began;
    let bounds = Duration::from_secs(2)..Duration::from_secs(7);
    assert!(bounds.contains(&passed), "{passed:?}");
    let times = times(&calls);
    assert!((6..=9).contains(&times.len()), "{times:?}");

    let (keeper, _) = keep(Paper::new(&env, [End::Fine, End::Hangs, End::Hangs]));
    keeper.registered().await.unwrap();
    let began = env.instant();
    assert!(keeper.leave(Duration::from_secs(2)).await.is_err());
    assert_eq!(env.instant() - began, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_starts_anew_is_told_of_who_leaves() {
    let env = Env::virtual_time(1);
    let starting = [End::Fine].into_iter().chain(vec![End::Fails; 3]);
    let (keeper, calls) = keep(Paper::new(&env, starting));
    keeper.registered().await.unwrap();
    assert_eq!(keeper.leave(Duration::ZERO).await, Ok(Left::Removed));
    assert_eq!(said(&calls).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn while_one_registry_hangs_another_is_told_of_who_leaves() {
    let env = Env::virtual_time(1);
    let paper = Paper {
        count: 2,
        ..Paper::new(&env, [End::Fine, End::Hangs])
    };
    let (keeper, calls) = keep(paper);
    keeper.registered().await.unwrap();
    let left = keeper.leave(Duration::from_secs(20)).await;
    assert_eq!(left, Ok(Left::Drained(Drained::Idle)));
    let expected = [REGISTER, "leave 127.0.0.1:1 20s", "leave 127.0.0.1:1 15s"];
    assert_eq!(said(&calls), expected);
}

#[tokio::test(start_paused = true)]
async fn who_never_registered_and_has_no_id_has_nothing_to_leave() {
    let env = Env::virtual_time(1);
    let (keeper, calls) = keep(Paper::new(&env, std::iter::repeat_n(End::Fails, 99)));
    env.sleep(Duration::from_secs(1)).await;
    let before = said(&calls).len();
    let left = keeper.leave(Duration::from_secs(1)).await;
    assert_eq!(left, Ok(Left::Unknown));
    assert_eq!(said(&calls).len(), before);
}

#[tokio::test(start_paused = true)]
async fn an_instance_leaves_when_its_keeper_is_dropped() {
    let env = Env::virtual_time(1);
    let paper = Paper {
        id: Some("a"),
        ..Paper::new(&env, [])
    };
    let (keeper, calls) = keep(paper);
    keeper.registered().await.unwrap();
    let mut standing = keeper.standing();
    drop(keeper);
    let left = standing.wait_for(|now| matches!(now, Standing::Left(_)));
    left.await.unwrap();
    let expected = ["register Some(\"a\") None at 0", "leave a 3s"];
    assert_eq!(said(&calls), expected);
}

/// A server that keeps what it is asked and answers as the registry does.
fn server(env: &Env, drain: &Drain, seen: &Arc<Mutex<Vec<String>>>) -> (String, Task) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = Settings {
        limits: Limits::default(),
        hosts: Hosts::Named(Vec::new()),
        tls: None,
    };
    let seen = Arc::clone(seen);
    let handler = move |request: Request| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let limit = portolan_model::ByteSize::from_bytes(1 << 16);
            let body = serve::collect(body, limit).await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            let line = format!("{} {} {body}", head.method, head.uri);
            seen.lock().unwrap().push(line);
            let answer = if head.method == "DELETE" {
                r#"{"revision":8,"drain":{"ended":"deadline","in_flight":2}}"#
            } else {
                r#"{"revision":7,"service":"a","namespace":"b","id":"h:1","ttl":"10s","url":"http://g/a/","new":1}"#
            };
            http::Response::new(full(answer))
        }
    };
    let serving = serve::serve(
        listener,
        Arc::new(handler),
        settings,
        drain.watch(),
        env.clone(),
    );
    let task = env.spawn("server", async move { serving.await.unwrap() });
    (url, task)
}

#[tokio::test]
async fn the_calls_are_those_of_the_native_api() {
    let env = Env::system();
    let (drain, seen) = (Drain::new(), Arc::default());
    let (url, _server) = server(&env, &drain, &seen);
    let check = CheckShape {
        tcp: Some(TcpShape::default()),
        ..CheckShape::default()
    };
    let keeper = Registration::new("a")
        .namespace("b")
        .named_port("http", 1)
        .named_port("grpc", 2)
        .metadata("k", "v")
        .tags(["t"])
        .zone("z")
        .version("v1")
        .weight(50)
        .ttl(Duration::from_secs(10))
        .check(check)
        .registry(url.clone())
        .start(&env)
        .unwrap();
    let registered = keeper.registered().await.unwrap();
    assert_eq!(registered.ttl, Duration::from_secs(10));
    assert_eq!(registered.url.as_deref(), Some("http://g/a/"));
    assert_eq!(*registered.registry, *url);
    keeper.report(Health::Warning, Some("slow".into()));
    while seen.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let left = keeper.leave(Duration::from_secs(90)).await.unwrap();
    assert_eq!(left, Left::Drained(Drained::Deadline { in_flight: 2 }));
    let path = "/v1/namespaces/b/services/a/instances";
    let shape = r#"{"ports":{"grpc":2,"http":1},"ttl":"10s","metadata":{"k":"v"},"tags":["t"],"version":"v1","zone":"z","weight":50,"check":{"tcp":{}}}"#;
    let expected = [
        format!("POST {path} {shape}"),
        format!(r#"PUT {path}/h%3A1/heartbeat {{"status":"warning","note":"slow"}}"#),
        format!("DELETE {path}/h%3A1?drain=90s "),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_next_registry_is_called_when_one_is_away() {
    let env = Env::system();
    let (drain, seen) = (Drain::new(), Arc::default());
    let (url, _server) = server(&env, &drain, &seen);
    let away = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = format!("http://{}", away.local_addr().unwrap());
    drop(away);
    let keeper = Registration::new("a").id("x").port(1).registry(nobody);
    let keeper = keeper.registry(url.clone()).start(&env).unwrap();
    assert_eq!(*keeper.registered().await.unwrap().registry, *url);
    let first = "PUT /v1/services/a/instances/x {\"port\":1}";
    assert_eq!(seen.lock().unwrap()[0], first);
}
