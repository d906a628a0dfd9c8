//! How the program is, by probes from here.
//!
//! Until it passes for the first time it is probed often, since somebody waits for it.
//! Later one good probe in a row is enough to pass, and three bad ones to fail; what has
//! failed once is looked at again soon.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_runtime::Env;

use super::{arguments::CheckArgument, probe::probe};

/// Bad probes in a row until the program is critical.
const FALL: u32 = 3;
/// The longest time between probes of a program that has not passed yet.
const EARLY_INTERVAL: Duration = Duration::from_millis(200);
/// The longest time between probes of a program that fails.
const FAILING_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for a probe.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is checked, where and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What is asked.
    pub(super) probe: CheckArgument,
    /// Who is asked.
    pub(super) address: SocketAddr,
    /// The time between two probes.
    pub(super) interval: Duration,
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
        Self {
            check,
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
            let timeout = TIMEOUT.min(check.interval);
            let probed = probe(&self.env, check.address, &check.probe, timeout).await;
            let news = self.judge(probed);
            self.rest = Some(self.interval(check.interval));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checkup() -> Checkup {
        Checkup::new(None, &Env::system())
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
