//! Speaks to one member of etcd at a time.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use portolan_model::{Departure, SourceId, route::Protocol};
use portolan_runtime::Env;
use portolan_sources::frame::{Ended, Follow, Teller};
use portolan_wire::{
    call::{Scheme, Url},
    tls::{ClientTls, Connector},
};

use super::{
    map,
    proto::{
        AUTHENTICATE, Ask, AuthenticateRequest, AuthenticateResponse, Event, Header, KeyValue,
        RANGE, RangeRequest, RangeResponse, WATCH, WatchCreate, WatchProgress, WatchRequest,
        WatchResponse,
    },
    settings::Settings,
};
use crate::{
    grpc::{Channel, GrpcError, KeepAlive, Stream},
    held::{Entry, Held, Made},
};

/// Keys of one page.
const PAGE_KEYS: i64 = 1000;
/// Most keys under a prefix.
const KEYS_MAX: usize = 200_000;
/// How long one call may take; a member without a leader says so after about 7 seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a member is asked for a sign of life.
const LIFE_EVERY: Duration = Duration::from_secs(2);
/// Questions for a sign of life that may stay unanswered.
const SILENCES_MAX: u32 = 2;

const TOKEN: HeaderName = HeaderName::from_static("token");
/// Asks a member to end a watch, rather than to be silent, when it has no leader.
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");

#[derive(Debug)]
pub(super) struct Etcd {
    settings: Settings,
    id: SourceId,
    env: Env,
    connector: Option<Arc<Connector>>,
    current: usize,
    cursor: Option<Cursor>,
    held: Held,
    /// Most keys under the prefix.
    pub(super) keys_max: usize,
}

/// Up to where everything was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    cluster: u64,
    revision: i64,
}

/// What a watch made necessary.
enum Next {
    /// What comes next is not there any more, or it is another cluster: read all again.
    List,
}

impl Etcd {
    pub(super) fn new(settings: Settings, id: SourceId, env: Env) -> Self {
        Self {
            settings,
            id,
            env,
            connector: None,
            current: 0,
            cursor: None,
            held: Held::default(),
            keys_max: KEYS_MAX,
        }
    }

    /// Speaks to one member for as long as it goes well.
    async fn talk(&mut self, url: &Url, teller: &mut Teller) -> Result<Infallible, Ended> {
        let mut channel = self.open(url).await?;
        loop {
            if self.cursor.is_none() {
                self.list(&mut channel, teller).await?;
            }
            let Next::List = self.watch(&mut channel, teller).await?;
            self.cursor = None;
        }
    }

    async fn open(&mut self, url: &Url) -> Result<Channel, Ended> {
        if url.scheme() == Scheme::Https && self.connector.is_none() {
            let made = ClientTls::new().connector(&self.settings.servers.tls, Protocol::Http2);
            self.connector = Some(made.map_err(|error| Ended::by(&error))?);
        }
        let tls = self.connector.as_deref();
        let opened = Channel::open(url, tls, KeepAlive::Ping, &self.env).await;
        let mut channel = opened.map_err(|error| Ended::by(&error))?;
        channel.extend_fields(self.settings.servers.fields.clone());
        let leader = (HAS_LEADER, HeaderValue::from_static("true"));
        channel.extend_fields(HeaderMap::from_iter([leader]));
        self.log_in(&mut channel).await?;
        Ok(channel)
    }

    /// Tokens are short-lived, so each session gets its own.
    async fn log_in(&self, channel: &mut Channel) -> Result<(), Ended> {
        let Some(login) = &self.settings.login else {
            return Ok(());
        };
        let request = AuthenticateRequest {
            name: login.username.clone(),
            password: login.password.clone(),
        };
        let answered = channel.call(AUTHENTICATE, &request, CALL_TIMEOUT).await;
        let answer: AuthenticateResponse = match answered {
            Ok(answer) => answer,
            Err(error) if error.to_string().contains("authentication is not enabled") => {
                tracing::warn!(source = %self.id, "etcd asks for no password; it is read without");
                return Ok(());
            }
            Err(error) => return Err(lost(&error)),
        };
        let token = HeaderValue::from_str(&answer.token);
        let mut token = token.map_err(|_| Ended::lost("the token that it gave is none"))?;
        token.set_sensitive(true);
        channel.extend_fields(HeaderMap::from_iter([(TOKEN, token)]));
        Ok(())
    }

    /// Reads everything at one revision, and says it at once.
    async fn list(&mut self, channel: &mut Channel, teller: &mut Teller) -> Result<(), Ended> {
        let mut request = RangeRequest {
            key: map::first_key(&self.settings.prefix).into(),
            range_end: map::end_key(&self.settings.prefix).into(),
            limit: PAGE_KEYS,
            revision: 0,
        };
        let mut seen = BTreeSet::new();
        let cursor = loop {
            let answer = channel.call(RANGE, &request, CALL_TIMEOUT).await;
            let answer: RangeResponse = answer.map_err(|error| lost(&error))?;
            let header = answer.header.unwrap_or_default();
            if request.revision == 0 {
                request.revision = header.revision;
            }
            for entry in &answer.kvs {
                let (path, made) = self.read(entry);
                self.held.take(&path, made);
                seen.insert(path);
            }
            if seen.len() > self.keys_max {
                return Err(self.too_many());
            }
            match answer.kvs.last().filter(|_| answer.more) {
                Some(last) => request.key = [&*last.key, &[0]].concat().into(),
                None => break cursor(&header, request.revision),
            }
        };
        self.held.retain(|path| seen.contains(path));
        teller.all(self.held.view()).await?;
        self.held.tell_unfit(teller);
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Follows what changes from the cursor on.
    async fn watch(&mut self, channel: &mut Channel, teller: &mut Teller) -> Result<Next, Ended> {
        let Some(cursor) = self.cursor else {
            return Ok(Next::List);
        };
        let mut stream = channel.stream(WATCH).await.map_err(|error| lost(&error))?;
        let create = WatchCreate {
            key: map::first_key(&self.settings.prefix).into(),
            range_end: map::end_key(&self.settings.prefix).into(),
            start_revision: cursor.revision.saturating_add(1),
            progress_notify: true,
            prev_kv: true,
            fragment: true,
        };
        say(&mut stream, Ask::Create(create))?;
        let mut life = Life::default();
        loop {
            let next = self.env.timeout(LIFE_EVERY, stream.next()).await;
            let answer: WatchResponse = match next {
                Ok(answer) => answer.map_err(|error| lost(&error))?.ok_or_else(over)?,
                Err(_elapsed) => {
                    life.ask()?;
                    say(&mut stream, Ask::Progress(WatchProgress {}))?;
                    continue;
                }
            };
            life.heard(&answer);
            if let Some(next) = self.hear(answer, teller).await? {
                return Ok(next);
            }
            if life.is_new() {
                // Whether there is a backlog is known once it answers this.
                say(&mut stream, Ask::Progress(WatchProgress {}))?;
            }
        }
    }

    /// Takes one answer of a watch.
    async fn hear(
        &mut self,
        answer: WatchResponse,
        teller: &mut Teller,
    ) -> Result<Option<Next>, Ended> {
        let header = answer.header.clone().unwrap_or_default();
        let Some(cursor) = self.cursor.as_mut() else {
            return Ok(Some(Next::List));
        };
        let is_other = header.cluster_id != cursor.cluster || header.revision < cursor.revision;
        if answer.created && is_other {
            return Ok(Some(Next::List));
        }
        if answer.canceled {
            if answer.compact_revision > 0 {
                return Ok(Some(Next::List));
            }
            let reason = answer.cancel_reason;
            return Err(Ended::lost(format!("it ended the watch: {reason}")));
        }
        if answer.events.is_empty() {
            if !answer.created {
                // Answers that concern all watches may be ahead of this one's events.
                let is_ours = answer.watch_id >= 0;
                cursor.revision = cursor
                    .revision
                    .max(if is_ours { header.revision } else { 0 });
                teller.still().await?;
            }
            return Ok(None);
        }
        let last = answer.events.iter().filter_map(|event| event.kv.as_ref());
        let last = last.map(|entry| entry.mod_revision).max();
        let is_whole = !answer.fragment;
        let changes = answer.events.iter().filter_map(|event| self.change(event));
        let changes = changes.collect();
        self.held.change(changes, teller).await?;
        if self.held.has_more_than(self.keys_max) {
            // Listed until there are fewer.
            self.cursor = None;
            return Err(self.too_many());
        }
        if let (Some(cursor), Some(last), true) = (self.cursor.as_mut(), last, is_whole) {
            cursor.revision = cursor.revision.max(last);
        }
        Ok(None)
    }

    fn too_many(&self) -> Ended {
        let most = self.keys_max;
        Ended::lost(format!("there are more than {most} keys under the prefix"))
    }

    fn change(&self, event: &Event) -> Option<(String, Entry)> {
        let entry = event.kv.as_ref()?;
        if event.kind == 0 {
            let (path, made) = self.read(entry);
            return Some((path, Entry::Read(made)));
        }
        // A key without a lease goes only where somebody takes it away. One with a lease may
        // have been taken away as well, which can't be told.
        let departure = match &event.prev_kv {
            Some(before) if before.lease == 0 => Departure::Explicit,
            Some(_) | None => Departure::Inferred,
        };
        Some((path_of(entry), Entry::Gone(departure)))
    }

    fn read(&self, entry: &KeyValue) -> (String, Made) {
        let path = path_of(entry);
        let made = map::read(&self.settings, &self.id, &path, &entry.value);
        (path, made)
    }
}

impl Follow for Etcd {
    async fn session(&mut self, teller: &mut Teller) -> Result<Infallible, Ended> {
        let Some(url) = self.settings.servers.urls.get(self.current).cloned() else {
            return Err(Ended::lost("there is no server to ask"));
        };
        let ended = self.talk(&url, teller).await;
        let count = self.settings.servers.urls.len();
        let next = self.current.saturating_add(1);
        self.current = if next < count { next } else { 0 };
        match ended {
            Ok(never) => Ok(never),
            Err(ended) => Err(named(ended, &url)),
        }
    }
}

/// Whether a member gives signs of life when it is asked for them.
#[derive(Debug, Default)]
struct Life {
    answers: bool,
    is_created: bool,
    asked_at_first: bool,
    silences: u32,
}

impl Life {
    /// Notes that it is asked. Members before 3.4 never answer: pings are left for those.
    fn ask(&mut self) -> Result<(), Ended> {
        self.silences = self.silences.saturating_add(1);
        if self.answers && self.silences > SILENCES_MAX {
            return Err(Ended::lost("it gives no sign of life"));
        }
        Ok(())
    }

    fn heard(&mut self, answer: &WatchResponse) {
        self.silences = 0;
        self.is_created |= answer.created;
        self.answers |= answer.events.is_empty() && !answer.created;
    }

    /// Whether the watch was created just now.
    fn is_new(&mut self) -> bool {
        self.is_created && !std::mem::replace(&mut self.asked_at_first, self.is_created)
    }
}

fn say(stream: &mut Stream, ask: Ask) -> Result<(), Ended> {
    let request = WatchRequest { ask: Some(ask) };
    stream.send(&request).map_err(|error| lost(&error))
}

fn cursor(header: &Header, revision: i64) -> Cursor {
    Cursor {
        cluster: header.cluster_id,
        revision,
    }
}

/// Says which member it was.
fn named(ended: Ended, url: &Url) -> Ended {
    match ended {
        Ended::Closed => Ended::Closed,
        Ended::Lost { reason, after } => Ended::Lost {
            reason: format!("etcd at {url}: {reason}"),
            after,
        },
    }
}

fn path_of(entry: &KeyValue) -> String {
    String::from_utf8_lossy(&entry.key).into_owned()
}

fn over() -> Ended {
    Ended::lost("it ended the watch")
}

fn lost(error: &GrpcError) -> Ended {
    let GrpcError::Refused(status) = error else {
        return Ended::by(error);
    };
    if status.is_unauthenticated() {
        return Ended::lost(format!("{status} (are `username` and `password` right?)"));
    }
    if status.is_denied() {
        return Ended::lost(format!("{status} (may this user read the prefix?)"));
    }
    Ended::by(error)
}
