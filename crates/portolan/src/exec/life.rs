//! The life of a program: started, registered, stopped or dead.

use std::{net::TcpStream, time::Duration};

use portolan_client::{BadRegistration, Keeper, Standing};
use portolan_dialects::native::Span;
use portolan_model::Health;
use portolan_runtime::Env;
use rustix::process::Signal;
use tokio::sync::watch;

use super::{
    checkup::{Checkup, News},
    plan::Plan,
    program::{End, Program},
    say,
    signals::{Asked, Signals, name},
    story::{Story, farewell},
};
use crate::load::chain;

/// How long another program may take to show that it has the port.
const STRANGER: Duration = Duration::from_millis(200);
/// How long the rest of a drain is waited for when the program is dead already.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the system may take to end a program that was killed.
const KILLING: Duration = Duration::from_secs(5);
/// The exit code of a program that was killed and does not go.
const KILLED: u8 = 137;

/// A program and all that belongs to it.
pub(super) struct Life {
    env: Env,
    plan: Plan,
    signals: Signals,
    program: Program,
    checkup: Checkup,
    keeper: Option<Keeper>,
    standing: Option<watch::Receiver<Standing>>,
    story: Story,
}

/// What happens next.
enum Next {
    Ended(End),
    Asked(Asked),
    News(News),
    Stands(Standing),
}

impl Life {
    /// Starts the program.
    ///
    /// # Errors
    /// The exit code; people were told why.
    pub(super) fn begin(plan: Plan, env: &Env) -> Result<Self, u8> {
        let signals = Signals::listen().map_err(|error| {
            say(&format!("can't listen to signals: {error}"));
            super::UNUSABLE
        })?;
        if let Some(check) = &plan.check
            && TcpStream::connect_timeout(&check.address, STRANGER).is_ok()
        {
            let address = check.address;
            say(&format!(
                "{address} is taken already: the check will hear another program"
            ));
        }
        let program = Program::start(&plan.command).map_err(|error| {
            say(&format!("{}: {}", plan.program(), chain(&error)));
            error.exit_code()
        })?;
        let intent = match &plan.check {
            Some(check) => {
                let (probe, address) = (&check.probe.id, check.address);
                format!("it is registered once {probe} passes at {address}")
            }
            None => "it is registered now".to_owned(),
        };
        let (name, pid) = (plan.program(), program.pid());
        say(&format!("{name} runs as process {pid}; {intent}"));
        Ok(Self {
            env: env.clone(),
            checkup: Checkup::new(plan.check.clone(), env),
            story: Story::new(plan.service.clone()),
            plan,
            signals,
            program,
            keeper: None,
            standing: None,
        })
    }

    /// Lives it to its end; gives the exit code.
    pub(super) async fn live(mut self) -> u8 {
        loop {
            match self.next().await {
                Next::Ended(end) => return self.ended_by_itself(end).await,
                Next::Asked(Asked::Stop(signal)) => return self.stop(signal).await,
                Next::Asked(Asked::Pass(signal)) => self.program.signal(signal),
                Next::News(news) => {
                    if let Err(error) = self.hear(news) {
                        // The plan was checked, so this is about what changed since.
                        say(&format!("can't register: {}", chain(&error)));
                    }
                }
                Next::Stands(standing) => {
                    if let Some(words) = self.story.go_on(standing) {
                        say(&words);
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            end = self.program.ended() => Next::Ended(end),
            asked = self.signals.next() => Next::Asked(asked),
            standing = changed(&mut self.standing) => Next::Stands(standing),
            news = self.checkup.next() => Next::News(news),
        }
    }

    fn hear(&mut self, news: News) -> Result<(), BadRegistration> {
        match news {
            News::NotYet(reason) => say(&format!("the check does not pass yet: {reason}")),
            News::Passes => {
                let Some(keeper) = &self.keeper else {
                    return self.register();
                };
                say("the check passes again");
                keeper.report(Health::Passing, None);
            }
            News::Fails(reason) => {
                say(&format!("the check fails: {reason}; it gets no requests"));
                if let Some(keeper) = &self.keeper {
                    keeper.report(Health::Critical, Some(reason));
                }
            }
        }
        Ok(())
    }

    fn register(&mut self) -> Result<(), BadRegistration> {
        let keeper = self.plan.registration.clone().start(&self.env)?;
        self.standing = Some(keeper.standing());
        self.keeper = Some(keeper);
        Ok(())
    }

    /// The program has ended by itself: nobody should be sent to it any more.
    async fn ended_by_itself(mut self, end: End) -> u8 {
        say(&format!("{} {}", self.plan.program(), ending(end)));
        if let Some(keeper) = self.keeper.take() {
            say(&farewell(&keeper.leave(Duration::ZERO).await));
        }
        end.exit_code()
    }

    /// The program is to end: first its requests, then itself.
    async fn stop(mut self, signal: Signal) -> u8 {
        if let Some(keeper) = self.keeper.take()
            && let Some(end) = self.drain(keeper, signal).await
        {
            say(&format!("{} {}", self.plan.program(), ending(end)));
            return end.exit_code();
        }
        self.program.signal(signal);
        let (env, kill_after) = (self.env.clone(), self.plan.kill_after);
        let mut ended = env.timeout(kill_after, self.end()).await;
        if ended.is_err() {
            let span = Span(kill_after);
            say(&format!(
                "{} did not end within {span} and is killed",
                self.plan.program()
            ));
            self.program.kill();
            ended = env.timeout(KILLING, self.program.ended()).await;
        }
        match ended {
            Ok(end) => {
                say(&format!("{} {}", self.plan.program(), ending(end)));
                end.exit_code()
            }
            Err(_) => KILLED,
        }
    }

    /// Lets the requests of the program end. If the program ends first, that is given.
    async fn drain(&mut self, keeper: Keeper, signal: Signal) -> Option<End> {
        let span = Span(self.plan.drain);
        let signal = name(signal.as_raw());
        say(&format!(
            "{signal}: leaving the registry; requests have up to {span} to end"
        ));
        let mut leaving = std::pin::pin!(keeper.leave(self.plan.drain));
        loop {
            tokio::select! {
                biased;
                left = leaving.as_mut() => {
                    say(&farewell(&left));
                    return None;
                }
                end = self.program.ended() => {
                    // It has no requests any more, which the registry will soon see.
                    let left = self.env.timeout(FAREWELL, leaving.as_mut()).await;
                    if let Ok(left) = left {
                        say(&farewell(&left));
                    }
                    return Some(end);
                }
                asked = self.signals.next() => match asked {
                    Asked::Pass(signal) => self.program.signal(signal),
                    Asked::Stop(signal) => {
                        let signal = name(signal.as_raw());
                        say(&format!("{signal} again: not waiting for requests"));
                        return None;
                    }
                },
            }
        }
    }

    /// Waits for the program's end and passes on what comes meanwhile.
    async fn end(&mut self) -> End {
        loop {
            tokio::select! {
                biased;
                end = self.program.ended() => return end,
                asked = self.signals.next() => match asked {
                    Asked::Stop(signal) | Asked::Pass(signal) => self.program.signal(signal),
                },
            }
        }
    }
}

/// The standing that follows; never, while nothing is registered.
async fn changed(standing: &mut Option<watch::Receiver<Standing>>) -> Standing {
    if let Some(watch) = standing {
        if watch.changed().await.is_ok() {
            return watch.borrow_and_update().clone();
        }
        *standing = None;
    }
    std::future::pending().await
}

fn ending(end: End) -> String {
    match end {
        End::Code(code) => format!("ended with {code}"),
        End::Signal(signal) => format!("was ended by {}", name(signal)),
        End::Unseen => "ended; with what, somebody else knows".to_owned(),
    }
}
