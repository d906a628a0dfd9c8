//! Follows one collection: a list, then watches, one after the other.

use std::{sync::Arc, time::Duration};

use portolan_runtime::{Dice, Env};
use portolan_sources::frame::{Backoff, Ended};
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::{
    api::{Api, Failure, Watch, is_forgotten},
    collection::Collection,
    map::text,
};

/// How long the server keeps a watch open; up to twice as long by chance.
const SPAN: Duration = Duration::from_mins(1);
/// A watch whose end does not arrive is given up this much later.
const GRACE: Duration = Duration::from_secs(10);
/// Between two watches that came to nothing.
const PACE: Duration = Duration::from_secs(1);
/// A watch that went on for so long was a good one.
const GOOD: Duration = Duration::from_secs(30);
/// The server is asked this often whether it is there.
const PING: Duration = Duration::from_secs(5);

/// What a watcher has to say.
#[derive(Debug)]
pub(super) enum News {
    /// This is all there is.
    Listed {
        objects: Vec<Value>,
        version: String,
    },
    /// This is so now, or is gone.
    Changed {
        event: Event,
        object: Value,
        version: String,
    },
    /// Nothing changed up to this point.
    Unchanged { version: String },
    /// It is being watched.
    Open,
    /// The server is there.
    Alive,
    /// It is no more.
    Lost(Ended),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Put,
    Gone,
}

/// Whose news it is, by its place in the list of collections.
pub(super) type Told = (usize, News);

/// What happened to a watch.
#[derive(Debug)]
pub(super) enum Next {
    /// Watch again from there.
    Watch(String),
    /// List again.
    List,
}

/// How soon everything is listed again. A server that forgets each point at once is asked
/// for everything ever later.
#[derive(Debug)]
pub(super) struct Lists(Backoff);

impl Lists {
    pub(super) const fn new(dice: Dice) -> Self {
        Self(Backoff::new(dice))
    }

    /// A watch went on for so long.
    pub(super) fn watched(&mut self, span: Duration) {
        if span >= GOOD {
            self.0.reset();
        }
    }

    /// The pause before what comes next.
    pub(super) fn pause(&mut self, then: &Next) -> Duration {
        match then {
            Next::Watch(_) => Duration::ZERO,
            Next::List => self.0.next(None),
        }
    }
}

/// Nobody listens any more, or the server is lost: it is over.
struct Over;

pub(super) struct Watcher {
    pub(super) api: Arc<Api>,
    pub(super) env: Env,
    pub(super) index: usize,
    pub(super) collection: Collection,
    pub(super) told: Sender<Told>,
}

impl Watcher {
    /// Follows the collection from a point, or from its list.
    pub(super) async fn run(self, version: Option<String>) {
        let mut next = version.map_or(Next::List, Next::Watch);
        let mut lists = Lists::new(self.env.dice());
        loop {
            let began = self.env.instant();
            let done = match next {
                Next::List => self.list().await,
                Next::Watch(version) => {
                    let done = self.watch(version).await;
                    lists.watched(self.env.instant().saturating_duration_since(began));
                    done
                }
            };
            let Ok(then) = done else {
                return;
            };
            self.env.sleep(lists.pause(&then)).await;
            next = then;
        }
    }

    async fn list(&self) -> Result<Next, Over> {
        match self.api.list(&self.collection).await {
            Ok(list) => {
                let version = list.version.clone();
                let news = News::Listed {
                    objects: list.objects,
                    version: list.version,
                };
                self.tell(news).await?;
                Ok(Next::Watch(version))
            }
            // The list itself was too old to be gone on with.
            Err(Failure::Forgotten) => Ok(Next::List),
            Err(Failure::Ended(ended)) => self.lose(ended).await,
        }
    }

    async fn watch(&self, mut version: String) -> Result<Next, Over> {
        let span = SPAN.mul_f64(1.0 + self.env.dice().unit_f64());
        let began = self.env.instant();
        let mut watch = match self.api.watch(&self.collection, &version, span).await {
            Ok(watch) => watch,
            Err(Failure::Forgotten) => return Ok(Next::List),
            Err(Failure::Ended(ended)) => return self.lose(ended).await,
        };
        self.tell(News::Open).await?;
        let over = began
            .checked_add(span.saturating_add(GRACE))
            .unwrap_or(began);
        loop {
            let left = over.saturating_duration_since(self.env.instant());
            let event = match self.env.timeout(left, watch.next()).await {
                Ok(Ok(Some(event))) => event,
                Ok(Ok(None)) | Err(_) => return self.pause(began, version).await,
                Ok(Err(ended)) => return self.lose(ended).await,
            };
            match self.take(event, &mut version).await? {
                Taken::Goes => {}
                Taken::Forgotten => return Ok(Next::List),
                Taken::Lost(ended) => return self.lose(ended).await,
            }
        }
    }

    /// A server that ends watches at once is not to be asked without end.
    async fn pause(&self, began: std::time::Instant, version: String) -> Result<Next, Over> {
        if self.env.instant().saturating_duration_since(began) < PACE {
            self.env.sleep(PACE).await;
        }
        Ok(Next::Watch(version))
    }

    async fn take(&self, event: Value, version: &mut String) -> Result<Taken, Over> {
        let kind = text(&event, "/type").to_owned();
        let mut event = event;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        let event = match kind.as_str() {
            "ADDED" | "MODIFIED" => Event::Put,
            "DELETED" => Event::Gone,
            "BOOKMARK" => {
                text(&object, "/metadata/resourceVersion").clone_into(version);
                let version = version.clone();
                self.tell(News::Unchanged { version }).await?;
                return Ok(Taken::Goes);
            }
            _ => return Ok(failed(&object)),
        };
        text(&object, "/metadata/resourceVersion").clone_into(version);
        let version = version.clone();
        self.tell(News::Changed {
            event,
            object,
            version,
        })
        .await?;
        Ok(Taken::Goes)
    }

    async fn lose(&self, ended: Ended) -> Result<Next, Over> {
        self.tell(News::Lost(ended)).await?;
        Err(Over)
    }

    async fn tell(&self, news: News) -> Result<(), Over> {
        self.told.send((self.index, news)).await.map_err(|_| Over)
    }
}

enum Taken {
    Goes,
    Forgotten,
    Lost(Ended),
}

/// A watch can end with a status in place of an event.
fn failed(status: &Value) -> Taken {
    let code = status
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    let message = text(status, "/message");
    if is_forgotten(code.unwrap_or_default(), message) {
        return Taken::Forgotten;
    }
    let code = code.map_or_else(String::new, |code| format!(" {code}"));
    Taken::Lost(Ended::lost(format!(
        "the API server ended a watch{code}: {message}"
    )))
}

/// Asks the server, over and over, whether it is there: a watch can be silent for long.
pub(super) async fn ping(api: Arc<Api>, env: Env, told: Sender<Told>) {
    loop {
        env.sleep(PING).await;
        let news = api.ping().await.map_or_else(News::Lost, |()| News::Alive);
        let lost = matches!(news, News::Lost(_));
        if told.send((usize::MAX, news)).await.is_err() || lost {
            return;
        }
    }
}

/// A watch is not shown: it has nothing to show.
impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}
