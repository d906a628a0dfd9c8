//! How the program is, by probes from here.
//!
//! Until it passes for the first time it is probed often, since somebody waits for it.
//! Later one good probe in a row is enough to pass, and three bad ones to fail; what has
//! failed once is looked at again soon.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_model::{Health, route::Probe};
use portolan_probe::{Outcome, Reach, ReachSettings, Task};
use portolan_runtime::Env;
use tokio::sync::watch;

/// Bad probes in a row until the program is critical.
const FALL: u32 = 3;
/// The longest time between probes of a program that has not passed yet.
const EARLY_INTERVAL: Duration = Duration::from_millis(200);
/// The longest time between probes of a program that fails.
const FAILING_INTERVAL: Duration = Duration::from_secs(1);

/// What is checked, where and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What is asked, and how often.
    pub(super) probe: Probe,
    /// Who is asked.
    pub(super) address: SocketAddr,
}

/// What has become of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It does not pass yet, for a reason that is new.
    NotYet(Arc<str>),
    /// It passes, from now on.
    Passes,
    /// It fails, from now on.
    Fails(Arc<str>),
}

/// The probing of a program.
#[derive(Debug)]
pub(super) struct Checkup {
    check: Option<Check>,
    reach: Reach,
    env: Env,
    state: State,
    /// Bad probes in a row.
    failures: u32,
    rest: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It never passed; this is why.
    Early(Arc<str>),
    Passing,
    Failing,
}

impl Checkup {
    /// Nothing is probed yet. Without a check, the program passes from the beginning.
    pub(super) fn new(check: Option<Check>, env: &Env) -> Self {
        let (_, settings) = watch::channel(ReachSettings::default());
        Self {
            check,
            reach: Reach::new(env.clone(), settings),
            env: env.clone(),
            state: State::Early("".into()),
            failures: 0,
            rest: None,
        }
    }

    /// Probes until there is news. Cancel-safe: what was under way begins anew.
    pub(super) async fn next(&mut self) -> News {
        let Some(check) = self.check.clone() else {
            if self.state == State::Passing {
                std::future::pending::<()>().await;
            }
            self.state = State::Passing;
            return News::Passes;
        };
        loop {
            if let Some(rest) = self.rest {
                self.env.sleep(rest).await;
            }
            let task = Task {
                about: None,
                address: check.address,
                probe: &check.probe,
            };
            let outcome = self.reach.probe(task).await;
            let news = self.judge(fitness(outcome));
            self.rest = Some(self.interval(check.probe.interval));
            if let Some(news) = news {
                return news;
            }
        }
    }

    /// What a probe means; news if it changes anything.
    fn judge(&mut self, probed: Result<(), Arc<str>>) -> Option<News> {
        match (probed, &self.state) {
            (Ok(()), State::Passing) => {
                self.failures = 0;
                None
            }
            (Ok(()), State::Early(_) | State::Failing) => {
                self.failures = 0;
                self.state = State::Passing;
                Some(News::Passes)
            }
            (Err(reason), State::Early(known)) => {
                let is_new = *known != reason;
                self.state = State::Early(Arc::clone(&reason));
                is_new.then_some(News::NotYet(reason))
            }
            (Err(reason), State::Passing) => {
                self.failures += 1;
                if self.failures < FALL {
                    return None;
                }
                self.state = State::Failing;
                Some(News::Fails(reason))
            }
            (Err(_), State::Failing) => None,
        }
    }

    fn interval(&self, usual: Duration) -> Duration {
        match self.state {
            State::Early(_) => usual.min(EARLY_INTERVAL),
            State::Passing if self.failures == 0 => usual,
            State::Passing | State::Failing => usual.min(FAILING_INTERVAL),
        }
    }
}

/// Well, or why not. A program that complains (429) has no room for requests.
fn fitness(outcome: Outcome) -> Result<(), Arc<str>> {
    if outcome.health == Health::Passing {
        Ok(())
    } else {
        Err(outcome.reason.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use portolan_model::ByteSize;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{super::arguments::CheckArgument, *};

    fn checkup() -> Checkup {
        Checkup::new(None, &Env::system())
    }

    /// A program that answers each of its connections like that.
    async fn program(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).await.unwrap();
                assert!(buffer[..count].starts_with(b"GET /health?a HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        Env::system().spawn("program", answering).detach();
        address
    }

    async fn first_news(check: &str, address: SocketAddr) -> News {
        let means = check.parse::<CheckArgument>().unwrap().means().unwrap();
        let probe = Probe {
            timeout: Duration::from_secs(20),
            output_max: ByteSize::from_bytes(0),
            ..Probe::new(check, means)
        };
        let check = Check { probe, address };
        Checkup::new(Some(check), &Env::system()).next().await
    }

    #[tokio::test]
    async fn a_connection_is_enough_for_tcp() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(first_news("tcp", address).await, News::Passes);
        drop(listener);
        for check in ["tcp", "http:/", "grpc", "grpc:a.b"] {
            let refused = News::NotYet("connection refused".into());
            assert_eq!(first_news(check, address).await, refused);
        }
    }

    #[tokio::test]
    async fn http_wants_a_2xx_and_no_more_than_that() {
        for (answer, news) in [
            ("HTTP/1.1 204 Fine\r\n\r\n", News::Passes),
            (
                "HTTP/1.1 200 Fine\r\nContent-Length: 999999999\r\n\r\nx",
                News::Passes,
            ),
            (
                "HTTP/1.1 302 Elsewhere\r\nLocation: /\r\n\r\n",
                News::NotYet("status 302".into()),
            ),
            (
                "HTTP/1.1 429 Much\r\n\r\n",
                News::NotYet("status 429".into()),
            ),
            ("HTTP/1.1 503 No\r\n\r\n", News::NotYet("status 503".into())),
            (
                "SSH-2.0\r\n",
                News::NotYet("the answer is not HTTP/1".into()),
            ),
        ] {
            let address = program(answer).await;
            assert_eq!(
                first_news("http:/health?a", address).await,
                news,
                "{answer}"
            );
        }
    }

    fn bad(reason: &str) -> Result<(), Arc<str>> {
        Err(reason.into())
    }

    #[test]
    fn a_program_fails_with_the_third_bad_probe_in_a_row() {
        let mut checkup = checkup();
        assert_eq!(checkup.judge(Ok(())), Some(News::Passes));
        for probed in [bad("a"), bad("a"), Ok(()), bad("a"), bad("b")] {
            assert_eq!(checkup.judge(probed), None);
        }
        assert_eq!(checkup.judge(bad("c")), Some(News::Fails("c".into())));
        assert_eq!(checkup.judge(bad("d")), None);
        assert_eq!(checkup.judge(Ok(())), Some(News::Passes));
    }

    #[test]
    fn before_the_first_pass_every_new_reason_is_news() {
        let mut checkup = checkup();
        let refused = News::NotYet("refused".into());
        assert_eq!(checkup.judge(bad("refused")), Some(refused));
        assert_eq!(checkup.judge(bad("refused")), None);
        let status = News::NotYet("status 503".into());
        assert_eq!(checkup.judge(bad("status 503")), Some(status));
        assert_eq!(checkup.judge(Ok(())), Some(News::Passes));
    }

    #[test]
    fn somebody_waits_for_the_first_pass_and_for_the_end_of_a_failure() {
        let minute = Duration::from_mins(1);
        let mut checkup = checkup();
        assert_eq!(checkup.interval(minute), EARLY_INTERVAL);
        let _news = checkup.judge(Ok(()));
        assert_eq!(checkup.interval(minute), minute);
        let _no_news = checkup.judge(bad("a"));
        assert_eq!(checkup.interval(minute), FAILING_INTERVAL);
        let short = Duration::from_millis(100);
        assert_eq!(checkup.interval(short), short);
    }

    #[tokio::test]
    async fn without_a_check_a_program_passes_once() {
        let mut checkup = checkup();
        assert_eq!(checkup.next().await, News::Passes);
        let soon = Duration::from_millis(10);
        let env = Env::system();
        assert!(env.timeout(soon, checkup.next()).await.is_err());
    }
}
