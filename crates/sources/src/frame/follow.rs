//! Keeps a source alive: tries again after an outage, and says when it does not know.

use std::{
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use portolan_catalog::{Inbox, InboxClosed, Source, SourceRun};
use portolan_model::Change;
use portolan_runtime::Env;
use portolan_wire::tls::registry_tls_failure;

use super::{Backoff, Teller, teller::Mood};

/// A source that is back this soon was not lost: a leader that changed, a server that was
/// restarted behind others.
const PATIENCE: Duration = Duration::from_secs(2);

/// A source that speaks like that, over outages, for as long as it is heard.
#[must_use]
pub fn following(protocol: impl Follow + 'static, env: &Env) -> Box<dyn Source> {
    Box::new(Following {
        protocol,
        env: env.clone(),
    })
}

struct Following<F> {
    protocol: F,
    env: Env,
}

impl<F: Follow + 'static> Source for Following<F> {
    fn run(self: Box<Self>, inbox: Inbox) -> SourceRun {
        Box::pin(follow(self.protocol, inbox, self.env))
    }
}

/// A source's protocol, one session at a time.
pub trait Follow: Send {
    /// Connects, says everything or takes up where it left off, and goes on saying what
    /// changes. Called again, after a pause, whenever it ends with [`Ended::Lost`].
    ///
    /// # Errors
    /// [`Ended`]: it never ends by itself.
    ///
    /// # Cancellation
    /// It may be dropped at any await, and is not called again then.
    fn session(
        &mut self,
        teller: &mut Teller,
    ) -> impl Future<Output = Result<Infallible, Ended>> + Send;
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The inbox is closed.
    Closed,
    /// What is read is not there, or makes no sense.
    Lost {
        /// Why, in words for the operator, who may have to mend it.
        reason: String,
        /// How long it asked to be left alone.
        after: Option<Duration>,
    },
}

impl Ended {
    /// Lost, and why.
    #[must_use]
    pub fn lost(reason: impl Into<String>) -> Self {
        Self::Lost {
            reason: reason.into(),
            after: None,
        }
    }

    /// Lost by an error, with all of its causes; what is about TLS in plain words.
    #[must_use]
    pub fn by(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let plain = registry_tls_failure(cause);
            let cause_text = plain.unwrap_or_else(|| cause.to_string());
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::lost(text)
    }
}

impl From<InboxClosed> for Ended {
    fn from(_: InboxClosed) -> Self {
        Self::Closed
    }
}

/// Runs sessions until the inbox is closed.
pub async fn follow(mut source: impl Follow, inbox: Inbox, env: Env) {
    let inbox = Arc::new(inbox);
    let mood = Arc::new(Mood::default());
    let mut teller = Teller::new(Arc::clone(&inbox), env.clone(), Arc::clone(&mood));
    let keeper = Keeper {
        env: env.clone(),
        inbox,
        mood,
    };
    let mut backoff = Backoff::new(env.dice());
    let mut doubt: Option<Doubt> = None;
    loop {
        keeper.mood.spoke.store(false, Relaxed);
        let session = source.session(&mut teller);
        let ended = keeper.watch(session, doubt.take()).await;
        let Err(Ended::Lost { reason, after }) = ended else {
            return;
        };
        let spoke = keeper.mood.spoke.load(Relaxed);
        if spoke {
            backoff.reset();
        }
        keeper.inbox.pulse().fail(env.now(), &reason);
        let pause = backoff.next(after);
        if spoke && pause < PATIENCE {
            doubt = Some(Doubt { reason });
        } else if keeper.admit(&reason).await.is_err() {
            return;
        }
        env.sleep(pause).await;
    }
}

/// An outage that may be over before it is worth telling.
struct Doubt {
    reason: String,
}

struct Keeper {
    env: Env,
    inbox: Arc<Inbox>,
    mood: Arc<Mood>,
}

impl Keeper {
    /// Waits for the end of a session; if there is a doubt, tells it unless the session has
    /// something to say in time.
    async fn watch(
        &self,
        session: impl Future<Output = Result<Infallible, Ended>>,
        doubt: Option<Doubt>,
    ) -> Result<Infallible, Ended> {
        let mut session = pin!(session);
        let Some(doubt) = doubt else {
            return session.await;
        };
        let early = self.env.timeout(PATIENCE, session.as_mut()).await;
        match early {
            Ok(ended) => {
                // The next failure is told by its own words.
                return ended;
            }
            Err(_elapsed) if self.mood.spoke.load(Relaxed) => {}
            Err(_elapsed) => self.admit(&doubt.reason).await?,
        }
        session.await
    }

    /// Says that the source does not know.
    async fn admit(&self, reason: &str) -> Result<(), InboxClosed> {
        let first = !self.mood.stale.swap(true, Relaxed);
        if first {
            let source = self.inbox.source();
            tracing::warn!(%source, reason, "source is lost; keeping what it said last");
        }
        let reason = reason.into();
        self.inbox.send(Change::Stale { reason }).await
    }
}
