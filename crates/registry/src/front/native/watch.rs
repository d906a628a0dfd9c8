//! Watches: server-sent events, or a long poll when `wait` is given.
//!
//! A stream tells `reset`, `put` and `remove`, and after each batch `synced` with the
//! revision as its id: only there may a client resume, by `Last-Event-ID` or `after`.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use portolan_dialects::native::{Gone, InstanceView, Synced};
use portolan_model::{Instance, Revision, ServiceKey};
use portolan_runtime::{Env, drain::DrainWatch};
use portolan_wire::serve::{Query, Response, full, streamed};
use serde::Serialize;

use super::{Parts, Refusal, query, response};
use crate::watch::{Scope, Shared, Told, Watcher};

/// The longest wait of a long poll.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// How often a silent stream says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Bytes after which a piece of the stream goes out.
const PIECE_BYTES: usize = 64 << 10;
/// News that may still follow where an event goes out as it is, in the buffer that all
/// watchers share; more of them go out together, which costs fewer writes than it copies.
const NEWS_ALONE: usize = 1;
/// How every stream begins: what a client waits before it comes back.
const RETRY: &[u8] = b"retry: 1000\n\n";
const STILL_HERE: &[u8] = b": still here\n\n";
/// What stands around the instance in an event about it.
const PUT: &str = "event: put\ndata: ";
const EVENT_END: &str = "\n\n";

pub(super) async fn watch(
    parts: &Parts,
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let scope = match query.find("service") {
        Some(text) => Scope::Service(ServiceKey::parse(text)?),
        None => Scope::Everything,
    };
    let wait = query::span(query, "wait", WAIT_MAX)?;
    let after = match resumed(headers)? {
        Some(revision) => Some(revision),
        None => query::revision(query, "after")?,
    };
    let reader = Arc::clone(parts.registry.reader());
    let watcher = Watcher::new(&parts.hub, reader, scope, after).await;
    let watcher = watcher.ok_or_else(|| {
        let detail = "the program is coming to its end";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "registry_stopped", detail)
    })?;
    let stream = Stream {
        watcher,
        shared: parts.hub.shared(),
        drain: parts.drain.clone(),
        env: parts.env.clone(),
        is_begun: false,
        told_at: after.unwrap_or(Revision::FIRST),
    };
    match wait {
        Some(wait) => {
            let body = full(stream.poll(wait).await);
            Ok(response(StatusCode::OK, "application/json", body))
        }
        None => Ok(response(
            StatusCode::OK,
            "text/event-stream",
            streamed(stream, Stream::piece),
        )),
    }
}

fn resumed(headers: &HeaderMap) -> Result<Option<Revision>, Refusal> {
    let Some(id) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = id.to_str().ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Refusal::malformed("Last-Event-ID is not a revision"))?;
    Ok(Some(Revision::from_u64(number)))
}

struct Stream {
    watcher: Watcher,
    shared: Arc<Shared>,
    drain: DrainWatch,
    env: Env,
    is_begun: bool,
    /// The revision that the client was told last.
    told_at: Revision,
}

impl Stream {
    /// The next piece of an event stream.
    async fn piece(mut self) -> Option<(Bytes, Self)> {
        if !self.is_begun {
            self.is_begun = true;
            return Some((Bytes::from_static(RETRY), self));
        }
        let first = tokio::select! {
            told = self.watcher.next() => told?,
            () = self.drain.draining() => return None,
            () = self.env.sleep(SIGN_OF_LIFE) => {
                return Some((Bytes::from_static(STILL_HERE), self));
            }
        };
        if let Told::Put(instance) = &first
            && let Some(revision) = self.watcher.end()
        {
            let (told_at, piece) = self.piece_about(instance, revision);
            self.told_at = told_at;
            return Some((piece, self));
        }
        self.note(&first);
        let first = self.event(&first);
        if self.watcher.news() <= NEWS_ALONE {
            return Some((first, self));
        }
        let mut piece = BytesMut::from(&*first);
        while self.watcher.has_news() && piece.len() < PIECE_BYTES {
            let told = self.watcher.next().await?;
            self.note(&told);
            piece.extend_from_slice(&self.event(&told));
        }
        Some((piece.freeze(), self))
    }

    /// What nearly every watcher is told of a change: one instance, and nothing else up to that
    /// revision. All of them share it; whoever got to know of it at a later revision may as well
    /// resume at an earlier one, as long as what it is told does not go back.
    fn piece_about(&self, instance: &Arc<Instance>, revision: Revision) -> (Revision, Bytes) {
        let make = |instance: &Arc<Instance>| {
            let put = self.shared.events.get(instance, put);
            let end = self.event(&Told::Synced(revision));
            (revision, [put, end].concat().into())
        };
        let shared = self.shared.pieces.get(instance, make);
        if (self.told_at..=revision).contains(&shared.0) {
            return shared;
        }
        make(instance)
    }

    fn note(&mut self, told: &Told) {
        if let Told::Reset(revision) | Told::Synced(revision) = told {
            self.told_at = *revision;
        }
    }

    fn event(&self, told: &Told) -> Bytes {
        match told {
            Told::Reset(revision) => event("reset", &synced(*revision)).into(),
            Told::Put(instance) => self.shared.events.get(instance, put),
            Told::Remove(key, id) => event("remove", &Gone::new(key, id.as_str())).into(),
            Told::Synced(revision) => {
                let event = event("synced", &synced(*revision));
                format!("id: {revision}\n{event}").into()
            }
        }
    }

    /// Everything up to the next point where a client may resume, as [`ChangeList`] has it.
    ///
    /// [`ChangeList`]: portolan_dialects::native::ChangeList
    async fn poll(mut self, wait: Duration) -> Vec<u8> {
        let (mut revision, mut is_reset) = (self.watcher.revision(), false);
        let mut changes = Vec::new();
        let until = self.env.instant() + wait;
        loop {
            let told = tokio::select! {
                biased;
                told = self.watcher.next() => told,
                () = self.drain.draining() => None,
                () = self.env.sleep_until(until) => None,
            };
            let (word, text) = match told {
                None => break,
                Some(Told::Synced(synced)) => {
                    revision = synced;
                    break;
                }
                Some(Told::Reset(_)) => {
                    is_reset = true;
                    continue;
                }
                Some(Told::Put(instance)) => ("put", text(&self.shared, &instance)),
                Some(Told::Remove(key, id)) => {
                    let gone = text_of(&Gone::new(&key, id.as_str()));
                    ("remove", gone.into())
                }
            };
            let comma = if changes.is_empty() { "" } else { "," };
            changes.extend_from_slice(format!("{comma}{{\"{word}\":").as_bytes());
            changes.extend_from_slice(&text);
            changes.push(b'}');
        }
        let head = format!("{{\"revision\":{revision},\"reset\":{is_reset},\"changes\":[");
        [head.as_bytes(), &changes, b"]}\n"].concat()
    }
}

fn synced(revision: Revision) -> Synced {
    Synced { revision }
}

/// An instance as an event.
fn put(instance: &Arc<Instance>) -> Bytes {
    let data = text_of(&InstanceView::from(&**instance));
    format!("{PUT}{data}{EVENT_END}").into()
}

/// An instance as JSON: what an event of [`put`] says.
pub(super) fn text(shared: &Shared, instance: &Arc<Instance>) -> Bytes {
    let put = shared.events.get(instance, put);
    put.slice(PUT.len()..put.len() - EVENT_END.len())
}

fn event(name: &str, data: &impl Serialize) -> String {
    format!("event: {name}\ndata: {}{EVENT_END}", text_of(data))
}

/// The shapes are ours and have JSON; it has no line ends.
fn text_of(data: &impl Serialize) -> String {
    serde_json::to_string(data).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portolan_catalog::{Catalog, Fold, GuardSettings, News, Saying};
    use portolan_dialects::native::{Change, ChangeList};
    use portolan_model::{
        Change as Said, InstanceId, Name, NamedPort, RevisionClock, SourceId, State, Weight,
    };
    use portolan_runtime::{Task, drain::Drain};
    use tokio::sync::{broadcast, watch};

    use super::*;
    use crate::{Follow, Following, Published, Reader, watch::Hub};

    const WATCHERS: usize = 500;

    /// A catalogue that changes when the test says so.
    struct Shelf {
        newest: watch::Sender<Catalog>,
        published: broadcast::Sender<Published>,
    }

    impl Reader for Shelf {
        fn catalog(&self) -> Catalog {
            self.newest.borrow().clone()
        }

        fn follow(&self) -> Box<dyn Follow> {
            Box::new(Subscribed(self.published.subscribe()))
        }
    }

    struct Subscribed(broadcast::Receiver<Published>);

    impl Follow for Subscribed {
        fn next(&mut self) -> Following<'_> {
            Box::pin(async { self.0.recv().await.ok() })
        }
    }

    struct World {
        env: Env,
        fold: Fold,
        shelf: Arc<Shelf>,
        hub: Hub,
        drain: Drain,
        _task: Task,
    }

    impl World {
        fn new() -> Self {
            let env = Env::system();
            let clock = RevisionClock::new(Revision::FIRST);
            let fold = Fold::new(GuardSettings::default(), clock, env.now());
            let shelf = Arc::new(Shelf {
                newest: watch::Sender::new(fold.catalog()),
                published: broadcast::Sender::new(8),
            });
            let (hub, task) = Hub::new(&*shelf);
            Self {
                _task: env.spawn("hub", task.run()),
                drain: Drain::new(),
                env,
                fold,
                shelf,
                hub,
            }
        }

        fn put(&mut self, id: &str) {
            self.put_in("orders", id);
        }

        fn put_in(&mut self, service: &str, id: &str) {
            let instance = Arc::new(Instance {
                key: ServiceKey::parse(service).unwrap(),
                id: InstanceId::parse(id).unwrap(),
                endpoints: Box::new([NamedPort {
                    name: Name::parse("default").unwrap(),
                    address: "127.0.0.1:9001".parse().unwrap(),
                }]),
                zone: None,
                version: None,
                weight: Weight::NORMAL,
                tags: Box::default(),
                metadata: BTreeMap::new(),
                source: SourceId::new("file"),
                state: State::default(),
            });
            let saying = Saying {
                source: SourceId::new("file"),
                actor: None,
                news: News::Said(Said::Put { instance }),
            };
            let applied = self.fold.apply(self.env.now(), saying);
            self.shelf.newest.send_replace(self.fold.catalog());
            let changed = Published::Changed(applied.revision, applied.changed.into());
            self.shelf.published.send(changed).unwrap();
        }

        async fn stream(&self) -> Stream {
            let reader = Arc::clone(&self.shelf) as Arc<dyn Reader>;
            let scope = Scope::Service(key());
            let watcher = Watcher::new(&self.hub, reader, scope, None).await.unwrap();
            Stream {
                watcher,
                shared: self.hub.shared(),
                drain: self.drain.watch(),
                env: self.env.clone(),
                is_begun: false,
                told_at: Revision::FIRST,
            }
        }
    }

    fn key() -> ServiceKey {
        ServiceKey::parse("orders").unwrap()
    }

    fn utf8(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn all_watchers_of_a_service_get_the_same_buffer() {
        let mut world = World::new();
        world.put("a");
        let (mut streams, mut whole) = (Vec::new(), None);
        for _ in 0..WATCHERS {
            let (retry, stream) = world.stream().await.piece().await.unwrap();
            let (reset, stream) = stream.piece().await.unwrap();
            let (put, stream) = stream.piece().await.unwrap();
            assert_eq!(&*retry, RETRY);
            assert!(
                utf8(&reset).starts_with("event: reset\n"),
                "{}",
                utf8(&reset)
            );
            assert!(utf8(&put).starts_with(PUT), "{}", utf8(&put));
            assert!(utf8(&put).contains("\nevent: synced\n"));
            assert_eq!(put.as_ptr(), *whole.get_or_insert(put.as_ptr()));
            streams.push(stream);
        }
        world.put("b");
        let mut first = None;
        for stream in streams {
            let (put, _) = stream.piece().await.unwrap();
            assert!(utf8(&put).starts_with(PUT) && utf8(&put).contains("\"id\":\"b\""));
            assert!(utf8(&put).contains("\n\nid: "), "{}", utf8(&put));
            assert_eq!(
                put.as_ptr(),
                *first.get_or_insert(put.as_ptr()),
                "encoded once"
            );
        }
    }

    #[tokio::test]
    async fn what_a_watcher_is_told_does_not_go_back() {
        let mut world = World::new();
        world.put("a");
        let first = world.stream().await;
        world.put_in("others", "b");
        let mut told = Vec::new();
        for stream in [first, world.stream().await] {
            let (_retry, stream) = stream.piece().await.unwrap();
            let (reset, stream) = stream.piece().await.unwrap();
            let (put, _) = stream.piece().await.unwrap();
            told.push((revision_of(&reset), revision_of(&put)));
        }
        assert!(told[0].0 < told[1].0, "{told:?}");
        assert!(
            told.iter().all(|(reset, synced)| reset == synced),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn an_instance_that_is_again_as_it_was_is_told_anew() {
        let mut world = World::new();
        world.put("a");
        let catalog = world.fold.catalog();
        let was = Arc::clone(&catalog.service(&key()).unwrap().instances[0]);
        let mut stream = world.stream().await;
        let [early, between, late] = [10, 20, 30].map(Revision::from_u64);
        assert_eq!(stream.piece_about(&was, early).0, early);
        // It was told of something else meanwhile.
        stream.told_at = between;
        assert_eq!(stream.piece_about(&was, late).0, late);
    }

    #[tokio::test]
    async fn a_watch_of_everything_hears_of_each_of_two_publications() {
        let mut world = World::new();
        let reader = Arc::clone(&world.shelf) as Arc<dyn Reader>;
        let after = Some(reader.revision());
        let watcher = Watcher::new(&world.hub, reader, Scope::Everything, after);
        let mut watcher = watcher.await.unwrap();
        world.put("a");
        world.put_in("users", "b");
        let last = world.fold.catalog().revision();
        let mut told = Vec::new();
        loop {
            match watcher.next().await.unwrap() {
                Told::Put(instance) => told.push(instance.id.to_string()),
                Told::Synced(revision) if revision == last => break,
                other @ (Told::Reset(_) | Told::Remove(..) | Told::Synced(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        assert_eq!(told, ["a", "b"]);
        // The second publication is heard of later, and tells nothing new.
        world.put_in("users", "c");
        let Some(Told::Put(instance)) = watcher.next().await else {
            panic!("nothing");
        };
        assert_eq!(instance.id.as_str(), "c");
    }

    /// The revision that a piece names last.
    fn revision_of(piece: &Bytes) -> u64 {
        let (_, number) = utf8(piece).rsplit_once("\"revision\":").unwrap();
        number.trim_end().trim_end_matches('}').parse().unwrap()
    }

    #[tokio::test]
    async fn a_long_poll_answers_in_the_shape_of_a_list() {
        let mut world = World::new();
        world.put("a");
        world.put("b");
        let body = world.stream().await.poll(Duration::ZERO).await;
        let list: ChangeList = serde_json::from_slice(&body).unwrap();
        let ids = list.changes.iter().map(|change| match change {
            Change::Put(view) => &*view.id,
            Change::Remove(gone) => &*gone.id,
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["a", "b"]);
        assert!(list.reset && list.revision == world.fold.catalog().revision());
        let mut again = serde_json::to_vec(&list).unwrap();
        again.push(b'\n');
        assert_eq!(body, again);
    }
}
